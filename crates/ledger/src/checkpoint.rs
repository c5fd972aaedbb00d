//! Checkpoints (C2SP `tlog-checkpoint`): a log's origin, size and root, signed as a note.

use crate::decimal;
use crate::hash::{Hash, empty_root};
use crate::note::{self, Signer, Verifier};

/// What a log was at some size. One that came from outside is worth nothing unless
/// [`Checkpoint::open`] gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is its key's name too.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// Why a checkpoint is not accepted. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not the three lines of a checkpoint, or it says that an empty log has another root.
    #[error("malformed checkpoint")]
    Malformed,
    /// The origin is not the name of the key.
    #[error("the checkpoint is of another log than the key")]
    Origin,
    /// The note is not accepted.
    #[error("the checkpoint's note is not accepted")]
    Note(#[from] note::Error),
}

// === impl Checkpoint ===

impl Checkpoint {
    /// The three lines that are signed.
    pub fn to_text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, self.root.to_base64())
    }

    /// The checkpoint of that text. Further lines, which the specification advises against and
    /// our logs never write, are refused: no auditor could check them.
    ///
    /// # Errors
    /// [`Error::Malformed`], unless [`Checkpoint::to_text`] gives the very same text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let lines = text.strip_suffix('\n').ok_or(Error::Malformed)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(Error::Malformed);
        };
        let size = decimal::parse(size).ok_or(Error::Malformed)?;
        let root = Hash::from_base64(root).ok_or(Error::Malformed)?;
        if !note::is_key_name(origin) || (size == 0 && root != empty_root()) {
            return Err(Error::Malformed);
        }
        Ok(Self { origin: origin.to_owned(), size, root })
    }

    /// The signed note. The signer ensures that no two checkpoints of one log contradict
    /// each other.
    ///
    /// # Errors
    /// [`Error::Origin`] if the key is another log's; [`Error::Malformed`] if no one could open
    /// it (a wrong root for size 0).
    pub fn sign(&self, signer: &Signer) -> Result<String, Error> {
        if self.origin != signer.name() {
            return Err(Error::Origin);
        }
        let text = self.to_text();
        Self::parse(&text)?;
        Ok(note::sign(&text, &[signer])?)
    }

    /// The checkpoint of a note that `log`'s key has signed.
    ///
    /// # Errors
    /// [`Error`]: not signed by that key, malformed, or of another origin.
    pub fn open(note: &str, log: &Verifier) -> Result<Self, Error> {
        let opened = note::open(note, std::slice::from_ref(log))?;
        let checkpoint = Self::parse(&opened.text)?;
        if checkpoint.origin == log.name() { Ok(checkpoint) } else { Err(Error::Origin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::from_seed("example.org/log", &[7; 32]).unwrap()
    }

    fn checkpoint() -> Checkpoint {
        let origin = "example.org/log".to_owned();
        Checkpoint { origin, size: 12, root: Hash([3; 32]) }
    }

    #[test]
    fn what_is_signed_opens() {
        let note = checkpoint().sign(&signer()).unwrap();
        assert_eq!(Checkpoint::open(&note, &signer().verifier()), Ok(checkpoint()));
    }

    #[test]
    fn the_empty_log_has_one_root() {
        let empty = Checkpoint { size: 0, root: empty_root(), ..checkpoint() };
        let note = empty.sign(&signer()).unwrap();
        assert!(note.contains("\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"));
        assert_eq!(Checkpoint::open(&note, &signer().verifier()), Ok(empty));
        let wrong = Checkpoint { size: 0, ..checkpoint() };
        assert_eq!(wrong.sign(&signer()), Err(Error::Malformed));
        assert_eq!(Checkpoint::parse(&wrong.to_text()), Err(Error::Malformed));
    }

    #[test]
    fn another_log_is_refused() {
        let other = Signer::from_seed("example.org/other", &[7; 32]).unwrap();
        assert_eq!(checkpoint().sign(&other), Err(Error::Origin));
        // The key of another log has signed this log's text.
        let note = note::sign(&checkpoint().to_text(), &[&other]).unwrap();
        assert_eq!(Checkpoint::open(&note, &other.verifier()), Err(Error::Origin));
        let unknown = Error::Note(note::Error::Unverified);
        assert_eq!(Checkpoint::open(&note, &signer().verifier()), Err(unknown));
    }

    #[test]
    fn only_the_three_lines_are_accepted() {
        let root = Hash([3; 32]).to_base64();
        let good = format!("example.org/log\n12\n{root}\n");
        assert_eq!(Checkpoint::parse(&good), Ok(checkpoint()));
        for bad in [
            String::new(),
            "\n".into(),
            format!("example.org/log\n12\n{root}"),
            format!("\n12\n{root}\n"),
            format!("example org\n12\n{root}\n"),
            format!("example+org\n12\n{root}\n"),
            format!("example.org/log\n012\n{root}\n"),
            format!("example.org/log\n+12\n{root}\n"),
            format!("example.org/log\n18446744073709551616\n{root}\n"),
            format!("example.org/log\n12\n{root}\nextension\n"),
            format!("example.org/log\n12\n{root}\n\n"),
            format!("example.org/log\r\n12\r\n{root}\r\n"),
            "example.org/log\n12\nAAAA\n".into(),
            "example.org/log\n12\n".into(),
        ] {
            assert_eq!(Checkpoint::parse(&bad), Err(Error::Malformed), "{bad:?}");
        }
    }
}
