//! What a subject's row keeps of a choice of its region: the choice that counts, one that waits for its
//! confirmation, and the requests of the last day, so that a retry is known.

use terms::RegionId;
use terms::limits::{REQUEST_IDS_KEPT_HOURS, REQUEST_IDS_KEPT_MAX};

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::types::{EntryAt, Fingerprint, Minute, Recent};

/// Hours in which a proposal can be confirmed: 30 days.
const PROPOSED_HOURS: u32 = 30 * 24;

/// What was proposed and chosen.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The region that was chosen. The map says at each ruling whether that counts.
    pub(crate) chosen: Option<RegionId>,
    /// What waits for another caller, lapsed or not.
    proposed: Option<Proposal>,
    /// The requests of the last day, oldest first.
    requests: Vec<Recent>,
}

/// A region that a caller proposes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) region: RegionId,
    /// Who proposed it: a keyed hash of the caller's name, which no period of the log changes.
    pub(crate) caller: Fingerprint,
    pub(crate) minute: Minute,
    /// Its entry.
    pub(crate) entry: EntryAt,
}

impl Choice {
    /// What a request with that id did.
    pub(crate) fn request(&self, id: &[u8; 16]) -> Option<&Recent> {
        self.requests.iter().find(|recent| recent.request_id == *id)
    }

    /// What can be confirmed now.
    pub(crate) fn proposed(&self, now: Minute) -> Option<&Proposal> {
        let oldest = now.minus_hours(PROPOSED_HOURS);
        self.proposed.as_ref().filter(|proposal| proposal.minute >= oldest)
    }

    /// Proposes a region, in place of what was proposed before.
    pub(crate) fn propose(&mut self, proposal: Proposal) {
        self.proposed = Some(proposal);
    }

    /// Chooses a region. Nothing is proposed any more.
    pub(crate) fn choose(&mut self, region: RegionId) {
        (self.chosen, self.proposed) = (Some(region), None);
    }

    /// Forgets requests that are older than a day, and a proposal that has lapsed.
    pub(crate) fn forget(&mut self, now: Minute) {
        let oldest = a_day_before(now);
        self.requests.retain(|recent| recent.minute >= oldest);
        if self.proposed(now).is_none() {
            self.proposed = None;
        }
    }

    /// Whether one more request of the last day can be remembered. Proposals leave the last place to a
    /// confirmation: who proposes cannot keep another caller from confirming.
    pub(crate) fn has_room(&self, now: Minute, confirms: bool) -> bool {
        let oldest = a_day_before(now);
        let kept = self.requests.iter().filter(|recent| recent.minute >= oldest).count();
        kept + usize::from(!confirms) < REQUEST_IDS_KEPT_MAX
    }

    /// Remembers a request.
    pub(crate) fn remember(&mut self, recent: Recent) {
        self.requests.push(recent);
    }

    pub(super) fn write(&self, state: &mut Writer) {
        state.text(self.chosen.as_ref().map_or("", RegionId::as_str));
        state.u8(u8::from(self.proposed.is_some()));
        if let Some(Proposal { region, caller, minute, entry }) = &self.proposed {
            state.text(region.as_str()).fixed(&caller.0).u32(minute.0);
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
                minute: Minute(state.u32()?),
                entry: EntryAt::read(state)?,
            }),
            _ => return Err(Malformed),
        };
        let requests = (0..state.u8()?).map(|_| Recent::read(state)).collect::<Result<_, _>>()?;
        Ok(Self { chosen, proposed, requests })
    }
}

fn a_day_before(now: Minute) -> Minute {
    now.minus_hours(u32::try_from(REQUEST_IDS_KEPT_HOURS).expect("a day or so"))
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
        let minute = Minute(5);
        let proposal = Proposal { region: region("kz-ala"), caller, minute, entry: AT };
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
        let last = u8::try_from(REQUEST_IDS_KEPT_MAX).unwrap() - 1;
        for n in 0..last {
            assert!(choice.has_room(Minute(10 + u32::from(n)), false));
            choice.remember(recent(n, 10 + u32::from(n)));
        }
        // The last place is for a confirmation.
        let full = Minute(10 + day);
        assert!(!choice.has_room(full, false) && choice.has_room(full, true));
        choice.remember(recent(last, 10 + day));
        assert!(!choice.has_room(full, true), "each of them may come again");
        choice.forget(full);
        assert!(choice.request(&[0; 16]).is_some());
        choice.forget(Minute(11 + day));
        assert!(choice.request(&[0; 16]).is_none() && choice.request(&[1; 16]).is_some());
        assert!(choice.has_room(Minute(11 + day), true));
    }

    #[test]
    fn a_proposal_lapses() {
        let (mut choice, lapse) = (Choice::default(), PROPOSED_HOURS * 60);
        let region = RegionId::parse("eu-fra").unwrap();
        let (caller, minute) = (Fingerprint([3; 16]), Minute(5));
        choice.propose(Proposal { region, caller, minute, entry: AT });
        choice.forget(Minute(5 + lapse));
        assert!(choice.proposed(Minute(5 + lapse)).is_some());
        assert!(choice.proposed(Minute(6 + lapse)).is_none());
        choice.forget(Minute(6 + lapse));
        assert!(choice == Choice::default(), "nothing of it is stored again");
    }
}
