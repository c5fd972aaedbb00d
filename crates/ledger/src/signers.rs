//! The keys whose signatures count: of people who sign region maps.

use crate::note::{self, Error, Opened, Verifier};

/// Keys at the most.
pub const SIGNERS_MAX: usize = 32;
/// Keys at the least. What needs two signatures could otherwise never pass.
pub const SIGNERS_MIN: usize = 2;

/// Why a set of keys cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A key cannot be read.
    #[error(transparent)]
    Key(#[from] Error),
    /// One key, or one name, stands twice: it would count as two people.
    #[error("a key or a name is there twice")]
    Twice,
    /// There are fewer than [`SIGNERS_MIN`], or more than [`SIGNERS_MAX`].
    #[error("there must be at least 2 keys, and at most 32")]
    Number,
}

/// What a note says, if one of these keys has signed it. A key that cannot be read has signed
/// nothing.
pub fn said_by(vkeys: &[String], note: &str) -> Option<String> {
    let known: Vec<Verifier> =
        vkeys.iter().filter_map(|vkey| Verifier::from_vkey(vkey).ok()).collect();
    note::open(note, &known).ok().map(|opened| opened.text)
}

/// Keys that are known, each another person's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signers(Vec<Verifier>);

impl Signers {
    /// The keys of these texts, as [`Verifier::from_vkey`] reads them.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn parse<'a>(vkeys: impl IntoIterator<Item = &'a str>) -> Result<Self, Refused> {
        let mut known: Vec<Verifier> = Vec::new();
        for vkey in vkeys {
            let key = Verifier::from_vkey(vkey)?;
            if known.iter().any(|other| other.name() == key.name() || other.same_key(&key)) {
                return Err(Refused::Twice);
            }
            known.push(key);
        }
        let fits = (SIGNERS_MIN..=SIGNERS_MAX).contains(&known.len());
        if fits { Ok(Self(known)) } else { Err(Refused::Number) }
    }

    /// Opens a note that at least one of them has signed. Each is named once.
    ///
    /// # Errors
    /// As [`note::open`].
    pub fn open(&self, note: &str) -> Result<Opened, Error> {
        note::open(note, &self.0)
    }

    /// The text of a note, and the names of the known keys that signed it. None: no known key has.
    pub fn signed_by(&self, note: &str) -> Option<(String, Vec<String>)> {
        let opened = self.open(note).ok()?;
        Some((opened.text, opened.verified.into_iter().map(|key| key.name).collect()))
    }

    /// The keys.
    pub fn keys(&self) -> &[Verifier] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::note::{Signer, sign};

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::from_seed(name, &[seed; 32]).unwrap()
    }

    #[test]
    fn one_key_is_one_person_whatever_its_names() {
        let (anna, boris) = (signer("anna", 1), signer("boris", 2));
        let (again, other) = (signer("anna-2", 1), signer("anna", 3));
        let read = |signers: &[&Signer]| {
            let vkeys: Vec<String> = signers.iter().map(|signer| signer.vkey()).collect();
            Signers::parse(vkeys.iter().map(String::as_str)).map(|signers| signers.keys().len())
        };
        assert_eq!(read(&[&anna, &boris]), Ok(2));
        assert_eq!(read(&[&anna, &again]), Err(Refused::Twice));
        assert_eq!(read(&[&anna, &other]), Err(Refused::Twice));
        assert_eq!(read(&[&anna]), Err(Refused::Number));
        assert_eq!(Signers::parse(["x", "y"]), Err(Refused::Key(Error::VerifierKey)));
    }

    #[test]
    fn a_signature_counts_once_however_often_it_stands_there() {
        let (anna, boris, carol) = (signer("anna", 1), signer("boris", 2), signer("carol", 3));
        let vkeys = [anna.vkey(), boris.vkey()];
        let signers = Signers::parse(vkeys.iter().map(String::as_str)).unwrap();
        let signed = |by: &[&Signer]| {
            let note = sign("a map\n", by).unwrap();
            signers.open(&note).map(|opened| opened.verified.len())
        };
        assert_eq!(signed(&[&anna, &anna]), Ok(1));
        assert_eq!(signed(&[&anna, &boris, &carol]), Ok(2));
        assert_eq!(signed(&[&carol]), Err(Error::Unverified));
    }
}
