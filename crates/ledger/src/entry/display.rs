//! An entry as one line for people. It shows every field, so two entries have two lines.

use std::fmt;

use super::{Caller, Detail, Entry, MapRef};

/// A minute as date and time in UTC.
#[derive(Debug, Clone, Copy)]
pub struct Minute(pub u32);

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, minutes) = (self.0 / 1440, self.0 % 1440);
        // The Gregorian calendar in years that begin in March, so that the leap day is the last:
        // an era of 400 years has 146,097 days, and 1970-01-01 is day 719,468.
        let days = days + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        let year = era * 400 + year_of_era + u32::from(month <= 2);
        let (hour, minute) = (minutes / 60, minutes % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}Z")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, Minute(self.minute))?;
        if let Some(tag) = &self.tenant_tag {
            write!(f, " tenant={}", hex::encode(tag))?;
        }
        if let Some(collection) = &self.collection {
            write!(f, " collection={collection}")?;
        }
        for (name, list) in [
            ("jurisdictions", &self.jurisdictions),
            ("statutes", &self.statutes),
            ("clauses", &self.clauses),
        ] {
            if !list.is_empty() {
                write!(f, " {name}={}", list.join(","))?;
            }
        }
        if let Some(MapRef { epoch, digest }) = &self.map {
            write!(f, " map={epoch}:{}", hex::encode(digest))?;
        }
        for (i, kind) in self.evidence_kinds.iter().enumerate() {
            f.write_str(if i == 0 { " evidence=" } else { "," })?;
            write!(f, "{kind}")?;
        }
        if let Some(Caller { role, tag, territory }) = &self.caller {
            write!(f, " caller={role}:{}", hex::encode(tag))?;
            if let Some(territory) = territory {
                write!(f, "@{territory}")?;
            }
        }
        if let Some(earlier) = self.earlier {
            write!(f, " earlier={earlier}")?;
        }
        self.details.iter().try_for_each(|detail| write!(f, " {detail}"))?;
        match &self.commitment {
            Some(commitment) => write!(f, " commitment={}", hex::encode(commitment)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(n) => write!(f, "count={n}"),
            Self::Reason(text) => write!(f, "reason={text:?}"),
            Self::OldHead { origin, size, root } => write!(f, "old_head={origin:?}:{size}:{root}"),
            Self::Peer { origin, index } => write!(f, "peer={origin:?}:{index}"),
            Self::Deadline(minute) => write!(f, "deadline={}", Minute(*minute)),
            Self::LogKey(vkey) => write!(f, "log_key={vkey:?}"),
            Self::PhoneData(version) => write!(f, "phone_data={version:?}"),
            Self::IpData(version) => write!(f, "ip_data={version:?}"),
            Self::Signers(names) => write!(f, "signers={names:?}"),
            Self::Region(name) => write!(f, "region={name:?}"),
            Self::References(all) => write!(f, "references={all:?}"),
        }
    }
}
