//! The findings about one person, as they are ruled upon and as a shard keeps them.

use std::fmt;

use smallvec::SmallVec;
use terms::limits::FINDINGS_KEPT_MAX;

use crate::{Country, EvidenceKind, Finding, Kinds};

/// There is no room for another finding: [`FINDINGS_KEPT_MAX`] are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {FINDINGS_KEPT_MAX} findings about one subject")]
pub struct FindingsFull;

/// Bytes that are no encoding of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("findings of format {0} are not what was written")]
pub struct FindingsDamaged(
    /// The format that the first byte names; 0 when there is none.
    pub u8,
);

/// The format that [`Findings::encode`] writes.
const FORMAT: u8 = 1;
/// Bytes of one finding: the number of its kind and two letters.
const FINDING_BYTES: usize = 3;

/// What is known of where one person belongs: an ordered set of at most [`FINDINGS_KEPT_MAX`]
/// findings. The order in which they came does not count. Personal data: `Debug` shows kinds only.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Findings(SmallVec<[Finding; 12]>);

impl Findings {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding, and says whether it is new.
    ///
    /// # Errors
    /// [`FindingsFull`] when it is new and there is no room; nothing is changed then.
    pub fn insert(&mut self, finding: Finding) -> Result<bool, FindingsFull> {
        match self.0.binary_search(&finding) {
            Ok(_) => Ok(false),
            Err(_) if self.0.len() >= FINDINGS_KEPT_MAX => Err(FindingsFull),
            Err(place) => {
                self.0.insert(place, finding);
                Ok(true)
            }
        }
    }

    /// Adds all of `other`, and says whether any is new.
    ///
    /// # Errors
    /// [`FindingsFull`] when there is no room for all; nothing is changed then.
    pub fn merge(&mut self, other: &Self) -> Result<bool, FindingsFull> {
        let mut merged = self.clone();
        let mut new = false;
        for finding in other.iter() {
            new |= merged.insert(*finding)?;
        }
        *self = merged;
        Ok(new)
    }

    /// Keeps only those that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&Finding) -> bool) {
        self.0.retain(|finding| keep(finding));
    }

    /// The findings, by kind and country.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether that finding is among them.
    pub fn contains(&self, finding: &Finding) -> bool {
        self.0.binary_search(finding).is_ok()
    }

    /// The kinds of evidence behind them.
    pub fn kinds(&self) -> Kinds {
        self.iter().fold(Kinds::EMPTY, |kinds, finding| kinds.with(finding.kind()))
    }

    /// The kinds whose findings play a part in a ruling: see [`Kinds::counted`].
    pub fn counted(&self) -> Kinds {
        self.kinds().counted()
    }

    /// Their one encoding: format (1), then for each the number of its kind and two letters, in
    /// ascending order. The caller seals it: it is personal data.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + self.len() * FINDING_BYTES);
        bytes.push(FORMAT);
        for finding in self.iter() {
            bytes.push(finding.kind().number());
            bytes.extend_from_slice(finding.code().as_bytes());
        }
        bytes
    }

    /// Reads what [`Findings::encode`] wrote, and nothing else.
    ///
    /// # Errors
    /// [`FindingsDamaged`] for another format, an unknown kind or country, a wrong order, a
    /// finding twice, too many of them, or bytes left over.
    pub fn decode(bytes: &[u8]) -> Result<Self, FindingsDamaged> {
        let (format, rest) = bytes.split_first().ok_or(FindingsDamaged(0))?;
        let damaged = FindingsDamaged(*format);
        let (all, left) = rest.as_chunks::<FINDING_BYTES>();
        if *format != FORMAT || !left.is_empty() || all.len() > FINDINGS_KEPT_MAX {
            return Err(damaged);
        }
        let mut findings = Self::new();
        for [number, a, b] in all {
            let kind = EvidenceKind::of_number(*number).ok_or(damaged)?;
            let finding = match Country::of_letters(*a, *b) {
                Some(country) => Finding::new(kind, country),
                None if [*a, *b] == *Finding::STATELESS.as_bytes() => {
                    Finding::stateless(kind).ok_or(damaged)?
                }
                None => return Err(damaged),
            };
            if findings.0.last().is_some_and(|last| *last >= finding) {
                return Err(damaged);
            }
            findings.0.push(finding);
        }
        Ok(findings)
    }
}

impl<'a> IntoIterator for &'a Findings {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Findings({}: {})", self.len(), self.kinds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(items: &[(EvidenceKind, &str)]) -> Findings {
        let mut findings = Findings::new();
        for (kind, code) in items {
            findings.insert(Finding::parse(*kind, code).unwrap()).unwrap();
        }
        findings
    }

    #[test]
    fn the_encoding_is_canonical() {
        use EvidenceKind::{Citizenship, Phone, Residence};
        let one = findings(&[(Phone, "KZ"), (Citizenship, "RU"), (Citizenship, "XX")]);
        let two = findings(&[(Citizenship, "XX"), (Phone, "KZ"), (Citizenship, "RU")]);
        assert_eq!(one, two);
        assert_eq!(one.encode(), b"\x01\x01XX\x01RU\x06KZ");
        assert_eq!(Findings::decode(&one.encode()), Ok(one.clone()));
        assert_eq!(Findings::decode(&Findings::new().encode()), Ok(Findings::new()));
        let more = findings(&[(Residence, "RU"), (Phone, "KZ")]);
        let mut merged = one.clone();
        assert_eq!(merged.merge(&more), Ok(true));
        assert_eq!(merged.merge(&one), Ok(false));
        assert_eq!(merged.len(), 4);
    }

    #[test]
    fn nothing_else_decodes() {
        let bad: [&[u8]; 10] = [
            b"",
            b"\x02",
            b"\x01\x01RUx",
            b"\x01\x08RU",
            b"\x01\x00RU",
            b"\x01\x01ru",
            b"\x01\x03XX",
            b"\x01\x06KZ\x01RU",
            b"\x01\x01RU\x01RU",
            b"\x01\x01RU\x01XX",
        ];
        for bytes in bad {
            assert!(Findings::decode(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn there_is_an_end_to_them() {
        let mut findings = Findings::new();
        let mut all = [EvidenceKind::Citizenship, EvidenceKind::Residence]
            .into_iter()
            .flat_map(|kind| Country::all().map(move |c| Finding::new(kind, c)));
        for finding in all.by_ref().take(FINDINGS_KEPT_MAX) {
            assert_eq!(findings.insert(finding), Ok(true));
        }
        let over = all.next().unwrap();
        assert_eq!(findings.insert(over), Err(FindingsFull));
        let known = *findings.iter().next().unwrap();
        assert_eq!(findings.insert(known), Ok(false));
        assert_eq!(Findings::decode(&findings.encode()), Ok(findings.clone()));
        assert_eq!(findings.len(), FINDINGS_KEPT_MAX);
    }

    #[test]
    fn they_do_not_show_countries() {
        let some = findings(&[(EvidenceKind::Phone, "KZ"), (EvidenceKind::Citizenship, "RU")]);
        assert_eq!(format!("{some:?}"), "Findings(2: citizenship, phone)");
    }
}
