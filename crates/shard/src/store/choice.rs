//! What a subject's row keeps of a choice of its region: the choice that counts, one that waits for its
//! confirmation, and the requests of the last day, so that a retry is known.

use terms::RegionId;
use terms::limits::{REQUEST_IDS_KEPT_HOURS, REQUEST_IDS_KEPT_MAX};

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::{EntryAt, Fingerprint, Minute, Recent};

/// What was proposed and chosen.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The region that was chosen. The map says at each ruling whether that counts.
    pub(crate) chosen: Option<RegionId>,
    /// What waits for another caller.
    pub(crate) proposed: Option<Proposal>,
    /// The requests of the last day, oldest first.
    requests: Vec<Recent>,
}

/// A region that a caller proposes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) region: RegionId,
    /// Who proposed it: a keyed hash of the caller's name, which no period of the log changes.
    pub(crate) caller: Fingerprint,
    /// Its entry.
    pub(crate) entry: EntryAt,
}

impl Choice {
    /// What a request with that id did.
    pub(crate) fn request(&self, id: &[u8; 16]) -> Option<&Recent> {
        self.requests.iter().find(|recent| recent.request_id == *id)
    }

    /// Forgets what is older than a day. False: there are too many of the last day for one more.
    pub(crate) fn make_room(&mut self, now: Minute) -> bool {
        let hours = u32::try_from(REQUEST_IDS_KEPT_HOURS).expect("a day or so");
        let oldest = now.minus_hours(hours);
        self.requests.retain(|recent| recent.minute >= oldest);
        self.requests.len() < REQUEST_IDS_KEPT_MAX
    }

    /// Remembers a request.
    pub(crate) fn remember(&mut self, recent: Recent) {
        self.requests.push(recent);
    }

    pub(super) fn write(&self, state: &mut Writer) {
        state.text(self.chosen.as_ref().map_or("", RegionId::as_str));
        state.u8(u8::from(self.proposed.is_some()));
        if let Some(Proposal { region, caller, entry }) = &self.proposed {
            state.text(region.as_str()).fixed(&caller.0);
            entry.write(state);
        }
        state.u8(u8::try_from(self.requests.len()).expect("bounded by REQUEST_IDS_KEPT_MAX"));
        self.requests.iter().for_each(|recent| recent.write(state));
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, Malformed> {
        let chosen = read_region(state)?;
        let proposed = match state.u8()? {
            0 => None,
            1 => Some(Proposal {
                region: read_region(state)?.ok_or(Malformed)?,
                caller: Fingerprint(state.array()?),
                entry: EntryAt::read(state)?,
            }),
            _ => return Err(Malformed),
        };
        let requests = (0..state.u8()?).map(|_| Recent::read(state)).collect::<Result<_, _>>()?;
        Ok(Self { chosen, proposed, requests })
    }
}

/// A region, or none.
pub(crate) fn read_region(row: &mut Reader<'_>) -> Result<Option<RegionId>, Malformed> {
    match row.text()? {
        "" => Ok(None),
        name => RegionId::parse(name).map(Some).map_err(|_| Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::types::{LogId, LogIndex, Version};

    const AT: EntryAt = EntryAt { log: LogId([7; 8]), index: LogIndex(9), first: LogIndex(8) };

    fn recent(n: u8, minute: u32) -> Recent {
        let fingerprint = Fingerprint([n; 16]);
        let (minute, version) = (Minute(minute), Version::NONE);
        Recent { request_id: [n; 16], fingerprint, minute, version, entry: AT }
    }

    #[test]
    fn what_is_written_is_read() {
        let region = |name| RegionId::parse(name).unwrap();
        let caller = Fingerprint([3; 16]);
        let proposal = Proposal { region: region("kz-ala"), caller, entry: AT };
        let none = Choice::default();
        let mut all = Choice { chosen: Some(region("eu-fra")), proposed: Some(proposal), ..none };
        all.remember(recent(1, 5));
        all.remember(recent(2, 6));
        for choice in [Choice::default(), all] {
            let mut state = Writer::with_capacity(256);
            choice.write(&mut state);
            let mut reader = Reader::new(&state.0);
            assert!(Choice::read(&mut reader).unwrap() == choice);
            reader.end().unwrap();
            for cut in 0..state.0.len() {
                assert!(Choice::read(&mut Reader::new(&state.0[..cut])).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn a_day_of_requests_is_remembered_and_no_more() {
        let day = u32::try_from(REQUEST_IDS_KEPT_HOURS).unwrap() * 60;
        let mut choice = Choice::default();
        for n in 0..u8::try_from(REQUEST_IDS_KEPT_MAX).unwrap() {
            assert!(choice.make_room(Minute(10 + u32::from(n))));
            choice.remember(recent(n, 10 + u32::from(n)));
        }
        assert!(!choice.make_room(Minute(10 + day)), "each of them may come again");
        assert!(choice.request(&[0; 16]).is_some());
        assert!(choice.make_room(Minute(11 + day)));
        assert!(choice.request(&[0; 16]).is_none() && choice.request(&[1; 16]).is_some());
    }
}
