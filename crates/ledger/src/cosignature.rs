//! Cosignatures of witnesses (C2SP `tlog-cosignature`) with Ed25519 keys, type 4.
//!
//! A witness signs that, at some time, it saw a checkpoint which extends every one of that log that
//! it had seen before. Its line on the note is as any signature's, with
//! `u64 seconds || signature` where a log has its signature alone; what is signed is
//! ```text
//! cosignature/v1
//! time <seconds since 1970-01-01T00:00Z>
//! <the whole text of the checkpoint>
//! ```

use ed25519_dalek::{Signature, VerifyingKey};

use crate::base64;
use crate::note::{self, Error, KeyRef};

/// The type byte of a witness's Ed25519 key.
const COSIGNER: u8 = 0x04;

/// The key of a witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosigner {
    key: VerifyingKey,
    about: KeyRef,
}

// === impl Cosigner ===

impl Cosigner {
    /// The key of a text `<name>+<id as 8 lower-case hex digits>+<base64 of type and key>`.
    ///
    /// # Errors
    /// [`Error::KeyName`]; [`Error::VerifierKey`]; [`Error::KeyType`], if it is no Ed25519 key of
    /// a witness: a log's own key is none, for what it signs is another message.
    pub fn from_vkey(vkey: &str) -> Result<Self, Error> {
        let (about, key) = note::parse_vkey(vkey, COSIGNER)?;
        Ok(Self { key, about })
    }

    /// The key as text: what [`Cosigner::from_vkey`] reads.
    pub fn vkey(&self) -> String {
        let typed: Vec<u8> = [COSIGNER].into_iter().chain(*self.key.as_bytes()).collect();
        format!("{}+{:08x}+{}", self.about.name, self.about.id, base64::encode(&typed))
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// Whether it is the same key, under whatever name. The message that is signed does not name
    /// the witness, so two witnesses with one key are one.
    pub fn same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// When this witness cosigned the note of a checkpoint, in seconds since
    /// 1970-01-01T00:00Z: the latest, if it did so more than once. None: it has not.
    ///
    /// # Errors
    /// [`Error::Malformed`]; [`Error::BadSignature`] if a line names this key and is not by it.
    pub fn cosigned(&self, note: &str) -> Result<Option<u64>, Error> {
        let (text, lines) = note::split(note)?;
        let mut latest = None;
        for (_, payload) in lines.iter().filter(|(key, _)| *key == self.about) {
            let time = self.accepts(text, payload).ok_or(Error::BadSignature)?;
            latest = latest.max(Some(time));
        }
        Ok(latest)
    }

    /// The first of at most `most` lines that is by this key, good for that note: what a witness
    /// answered may hold anything, and one line of it is what it is for. With its end.
    pub fn line_among(&self, lines: &str, note: &str, most: usize) -> Option<String> {
        let all = lines.lines().take(most).map(|line| format!("{line}\n"));
        let good = |line: &String| {
            let alone = !self.cosigned(note).is_ok_and(|before| before.is_some());
            alone && matches!(self.cosigned(&format!("{note}{line}")), Ok(Some(_)))
        };
        all.into_iter().find(good)
    }

    /// The time in a line's payload, if the signature is this key's.
    fn accepts(&self, text: &str, payload: &[u8]) -> Option<u64> {
        let (time, signature) = payload.split_first_chunk::<8>()?;
        let time = u64::from_be_bytes(*time);
        let signature = Signature::from_slice(signature).ok()?;
        self.key.verify_strict(message(time, text).as_bytes(), &signature).ok()?;
        Some(time)
    }
}

fn message(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};

    use super::*;
    use crate::note::Signer;
    use crate::testing::flips;
    use crate::{Checkpoint, hash::Hash};

    /// A witness's key and its text.
    fn witness(name: &str, seed: u8) -> (SigningKey, String) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let mut typed = vec![COSIGNER];
        typed.extend_from_slice(key.verifying_key().as_bytes());
        let id = KeyRef::new(name, &typed).id;
        (key, format!("{name}+{id:08x}+{}", base64::encode(&typed)))
    }

    /// The line by which a witness cosigns.
    fn line(name: &str, seed: u8, time: u64, text: &str) -> String {
        let (key, vkey) = witness(name, seed);
        let mut payload = Cosigner::from_vkey(&vkey).unwrap().about.id.to_be_bytes().to_vec();
        payload.extend_from_slice(&time.to_be_bytes());
        payload.extend_from_slice(&key.sign(message(time, text).as_bytes()).to_bytes());
        format!("\u{2014} {name} {}\n", base64::encode(&payload))
    }

    fn note() -> String {
        let log = Signer::from_seed("example.org/log", &[7; 32]).unwrap();
        let origin = "example.org/log".to_owned();
        Checkpoint { origin, size: 12, root: Hash([3; 32]) }.sign(&log).unwrap()
    }

    fn text() -> String {
        note().split_once("\n\n").unwrap().0.to_owned() + "\n"
    }

    #[test]
    fn a_witness_is_heard_with_its_time() {
        let cosigner = Cosigner::from_vkey(&witness("w.example", 1).1).unwrap();
        assert_eq!(cosigner.vkey(), witness("w.example", 1).1);
        assert_eq!(cosigner.cosigned(&note()), Ok(None));
        let once = note() + &line("w.example", 1, 1_780_000_000, &text());
        assert_eq!(cosigner.cosigned(&once), Ok(Some(1_780_000_000)));
        let twice = once + &line("w.example", 1, 1_770_000_000, &text());
        assert_eq!(cosigner.cosigned(&twice), Ok(Some(1_780_000_000)));
        let other = Cosigner::from_vkey(&witness("v.example", 2).1).unwrap();
        assert_eq!(other.cosigned(&twice), Ok(None));
        // The log's own signature stays as it was.
        let log = Signer::from_seed("example.org/log", &[7; 32]).unwrap();
        assert!(Checkpoint::open(&twice, &log.verifier()).is_ok());
    }

    #[test]
    fn one_line_is_taken_from_an_answer_and_no_other() {
        let cosigner = Cosigner::from_vkey(&witness("w.example", 1).1).unwrap();
        let (own, other) = (
            line("w.example", 1, 1_780_000_000, &text()),
            line("w.example", 2, 1_780_000_000, &text()),
        );
        let junk = format!("{own}{own}").replace('A', "B");
        for lines in [own.clone(), format!("{other}{own}{own}"), format!("junk\n\n{own}")] {
            assert_eq!(cosigner.line_among(&lines, &note(), 16).as_ref(), Some(&own), "{lines}");
        }
        let elsewhere = line("w.example", 1, 1_780_000_000, "another text\n");
        for lines in [String::new(), other.repeat(16) + &own, other, elsewhere, junk] {
            assert_eq!(cosigner.line_among(&lines, &note(), 16), None, "{lines}");
        }
        // Nothing is added twice.
        assert_eq!(cosigner.line_among(&own, &(note() + &own), 16), None);
    }

    #[test]
    fn what_it_did_not_sign_is_refused() {
        let cosigner = Cosigner::from_vkey(&witness("w.example", 1).1).unwrap();
        let other_text = text().replace("12", "13");
        let wrong = note() + &line("w.example", 1, 5, &other_text);
        assert_eq!(cosigner.cosigned(&wrong), Err(Error::BadSignature));
        // No bit of the payload can be changed: time and signature are both covered.
        let good = line("w.example", 1, 5, &text());
        let payload = base64::decode(good.trim_end().rsplit_once(' ').unwrap().1).unwrap();
        for other in flips(&payload[4..]) {
            let mut bytes = payload[..4].to_vec();
            bytes.extend_from_slice(&other);
            let line = format!("\u{2014} w.example {}\n", base64::encode(&bytes));
            assert_eq!(cosigner.cosigned(&(note() + &line)), Err(Error::BadSignature));
        }
        assert_eq!(cosigner.cosigned("no note"), Err(Error::Malformed));
    }

    #[test]
    fn a_log_s_key_is_no_witness_s() {
        let log = Signer::from_seed("example.org/log", &[7; 32]).unwrap();
        assert_eq!(Cosigner::from_vkey(&log.vkey()), Err(Error::KeyType));
        let (_, vkey) = witness("w.example", 1);
        assert_eq!(note::Verifier::from_vkey(&vkey), Err(Error::KeyType));
        assert_eq!(Cosigner::from_vkey(&vkey.replace("w.", "v.")), Err(Error::VerifierKey));
        let (a, b) = (Cosigner::from_vkey(&vkey), Cosigner::from_vkey(&witness("v.example", 1).1));
        assert!(a.unwrap().same_key(&b.unwrap()), "one key under two names");
    }
}
