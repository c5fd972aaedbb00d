//! What a mirror must not forget: findings, signed notes that contradict it or that it does not hold
//! yet, and that its key was never compared. Every run reports it until an auditor has removed it.

use std::fmt;
use std::fs;
use std::io;

use ledger::Checkpoint;
use ledger::entry::MapRef;
use ledger::note::{NOTE_BYTES_MAX, Verifier};
use ledger::tree;

use super::{Error, Folder};
use crate::rules::{MAPS_MAX, Rules, State};

/// Where contradicting checkpoints are kept.
pub const CONFLICTS: &str = "conflicts";
/// Where signed checkpoints are kept that say more than the mirror, until it holds what they say.
pub const PENDING: &str = "pending";
/// The file of what entries break, a line each. The auditor deletes it.
pub const FINDINGS: &str = "findings";
/// The file that marks a key that was never compared with the operators' statement of it.
pub const ON_TRUST: &str = "vkey.on-trust";

/// Signed notes that are kept in one folder at the most.
const NOTES_MAX: usize = 100;
/// Lines of the file of findings at the most.
const FINDINGS_LINES_MAX: usize = 1000;
/// Bytes of that file at the most.
const FINDINGS_BYTES_MAX: usize = 1 << 20;
/// The file of where the rules stand: size, minute and whether the log has ended; then a line for
/// each MAP entry, with the map's number and digest.
const STATE: &str = "state";
/// Bytes of that file at the most: lines of two numbers of 20 digits, or a number and a digest.
const STATE_BYTES_MAX: usize = (MAPS_MAX + 1) * 86;
/// What begins the line that counts the findings that were not kept.
const MORE: &str = "more ";
/// What the file that marks a key says.
const TRUSTED: &str = "This key came from the shard, and nobody has compared it with what the \
                       region's operators say. Delete this file once that is done.\n";

/// Of what kind a standing finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StandingKind {
    /// An entry breaks a rule.
    Entry,
    /// Time went back.
    Clock,
    /// The log's key has signed something that contradicts the mirror.
    Conflict,
    /// The log's key has signed something that the mirror does not hold yet.
    Pending,
}

/// A finding of an earlier run that is still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Of what kind.
    pub kind: StandingKind,
    /// What it is, in one sentence without the folder's name.
    pub text: String,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A signed note that is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Its file.
    pub(crate) path: String,
    /// It.
    pub(crate) note: String,
    /// What it says.
    pub(crate) at: Checkpoint,
}

// === impl Folder ===

impl Folder {
    /// Whether the log's key was taken from the shard, and never compared.
    pub fn is_on_trust(&self) -> bool {
        self.path.join(ON_TRUST).is_file()
    }

    /// Says so from now on, or no more.
    pub(crate) fn set_on_trust(&self, on_trust: bool) -> Result<(), Error> {
        match (on_trust, self.is_on_trust()) {
            (true, false) => self.replace(ON_TRUST, TRUSTED.as_bytes()),
            (false, true) => self.remove(ON_TRUST),
            _ => Ok(()),
        }
    }

    /// What was found before, and still stands.
    ///
    /// # Errors
    /// [`Error`], when a file cannot be read.
    pub fn standing(&self) -> Result<Vec<Standing>, Error> {
        let mut standing = Vec::new();
        let (lines, more) = self.findings()?;
        for line in &lines {
            let kind = if line.contains(CLOCK) { StandingKind::Clock } else { StandingKind::Entry };
            standing.push(Standing { kind, text: crate::shown(line) });
        }
        if more > 0 {
            let text = format!("{FINDINGS}: {more} more were found, and not kept");
            standing.push(Standing { kind: StandingKind::Entry, text });
        }
        for name in self.names(CONFLICTS)? {
            let text = format!(
                "SPLIT VIEW: {CONFLICTS}/{} is signed by the log's key, and contradicts the mirror",
                crate::shown(&name)
            );
            standing.push(Standing { kind: StandingKind::Conflict, text });
        }
        for name in self.names(PENDING)? {
            let text = format!(
                "{PENDING}/{} was signed by the log's key, and the mirror does not hold what it says",
                crate::shown(&name)
            );
            standing.push(Standing { kind: StandingKind::Pending, text });
        }
        Ok(standing)
    }

    /// Adds to the file of findings, and to the count of those that it does not hold.
    pub(crate) fn add_findings(&self, texts: &[String], beyond: u64) -> Result<(), Error> {
        if texts.is_empty() && beyond == 0 {
            return Ok(());
        }
        let (mut lines, mut more) = self.findings()?;
        more = more.saturating_add(beyond);
        for text in texts {
            if lines.iter().any(|line| line == text) {
                continue;
            }
            if lines.len() < FINDINGS_LINES_MAX {
                lines.push(text.clone());
            } else {
                more = more.saturating_add(1);
            }
        }
        if more > 0 {
            lines.push(format!("{MORE}{more}"));
        }
        self.replace(FINDINGS, format!("{}\n", lines.join("\n")).as_bytes())
    }

    /// The lines of the file of findings, and how many it does not hold.
    fn findings(&self) -> Result<(Vec<String>, u64), Error> {
        let text = match self.text(FINDINGS, FINDINGS_BYTES_MAX) {
            Err(Error::Missing(_)) => return Ok((Vec::new(), 0)),
            other => other?,
        };
        let (mut lines, mut more) = (Vec::new(), 0_u64);
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.strip_prefix(MORE).and_then(|count| count.parse::<u64>().ok()) {
                Some(count) => more = more.saturating_add(count),
                None => lines.push(line.to_owned()),
            }
        }
        Ok((lines, more))
    }

    /// Keeps where the rules stand. It means nothing but under the checkpoint of its size.
    pub(crate) fn put_state(&self, state: &State) -> Result<(), Error> {
        let State { size, minute, sealed, maps } = state;
        let mut text = format!("{size} {minute} {}\n", u8::from(*sealed));
        for MapRef { epoch, digest } in maps {
            text.push_str(&format!("{epoch} {}\n", hex::encode(digest)));
        }
        self.replace(STATE, text.as_bytes())
    }

    /// Where the rules stand after `size` entries, if that was kept.
    fn state(&self, size: u64) -> Result<Option<State>, Error> {
        match self.text(STATE, STATE_BYTES_MAX) {
            Err(Error::Missing(_)) => Ok(None),
            other => Ok(state(&other?).filter(|kept| kept.size == size)),
        }
    }

    /// The rules of the log after `size` entries, which are all in the folder. Where they stand was
    /// kept, unless the mirror was interrupted or is another program's: then all is read again.
    pub(crate) fn rules(&self, vkey: &str, size: u64) -> Result<Rules, Error> {
        if let Some(kept) = self.state(size)? {
            return Ok(Rules::new(vkey, kept));
        }
        let mut rules = Rules::new(vkey, State::default());
        for entry in self.entries(size, 0, size) {
            // What breaks a rule was found when it was mirrored.
            drop(rules.take(&entry?.1));
        }
        Ok(rules)
    }

    /// Keeps a signed note in one of the two folders. Where there are enough, the evidence is
    /// there already.
    pub(crate) fn keep_note(&self, kind: &str, at: &Checkpoint, note: &str) -> Result<(), Error> {
        let name = note_name(at);
        let names = self.names(kind)?;
        if names.contains(&name) || names.len() >= NOTES_MAX {
            return Ok(());
        }
        self.replace(&format!("{kind}/{name}"), note.as_bytes())
    }

    /// Removes such a note, and the folder if it was the last one.
    pub(crate) fn drop_note(&self, kind: &str, at: &Checkpoint) -> Result<(), Error> {
        self.remove(&format!("{kind}/{}", note_name(at)))?;
        drop(fs::remove_dir(self.path.join(kind)));
        Ok(())
    }

    /// The notes that are pending, those that the key has signed.
    pub(crate) fn pending(&self, key: &Verifier) -> Result<Vec<Kept>, Error> {
        let mut pending = Vec::new();
        for name in self.names(PENDING)? {
            let path = format!("{PENDING}/{name}");
            let note = self.text(&path, NOTE_BYTES_MAX)?;
            if let Ok(at) = Checkpoint::open(&note, key) {
                pending.push(Kept { path, note, at });
            }
        }
        Ok(pending)
    }

    /// What became of the pending notes, now that the mirror is `ours`: one that it begins with is
    /// dropped, and one that it contradicts is the evidence, and given.
    pub(crate) fn settle(&self, key: &Verifier, ours: &Checkpoint) -> Result<Vec<Kept>, Error> {
        let mut conflicts = Vec::new();
        for kept in self.pending(key)?.into_iter().filter(|kept| kept.at.size <= ours.size) {
            let root = tree::root_at(kept.at.size, &mut self.tiles(ours.size));
            let Ok(root) = root else { return Err(Error::Root) };
            if root != kept.at.root {
                // Before the log is accused: is the folder damaged?
                if tree::audit(ours.size, &mut self.tiles(ours.size)).ok() != Some(ours.root) {
                    return Err(Error::Root);
                }
                self.keep_note(CONFLICTS, &kept.at, &kept.note)?;
                conflicts.push(kept.clone());
            }
            self.remove(&kept.path)?;
        }
        drop(fs::remove_dir(self.path.join(PENDING)));
        Ok(conflicts)
    }

    /// The notes below one of the folders, by name. What is being written is none.
    fn names(&self, kind: &str) -> Result<Vec<String>, Error> {
        let unread = |error| Error::Read { path: kind.to_owned(), error };
        let children = match fs::read_dir(self.path.join(kind)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(unread)?,
        };
        let mut names = Vec::new();
        for child in children {
            let name = child.map_err(unread)?.file_name().to_string_lossy().into_owned();
            if name.ends_with(".checkpoint") {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// What the line of an entry whose time went back has, and no other: see `rules::Broken`.
const CLOCK: &str = ", and the one before it of ";

/// What the file of where the rules stand says.
fn state(text: &str) -> Option<State> {
    let (first, maps) = text.split_once('\n')?;
    let mut numbers = first.split(' ').map(|word| word.parse::<u64>().ok());
    let (size, minute, sealed) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let map = |line: &str| {
        let (epoch, digest) = line.split_once(' ')?;
        let mut map = MapRef { epoch: epoch.parse().ok()?, digest: [0; 32] };
        hex::decode_to_slice(digest, &mut map.digest).ok()?;
        Some(map)
    };
    Some(State {
        size,
        minute: u32::try_from(minute).ok()?,
        sealed: sealed == 1,
        maps: maps.lines().map(map).collect::<Option<_>>()?,
    })
}

fn note_name(at: &Checkpoint) -> String {
    let mut root = at.root.to_string();
    root.truncate(16);
    format!("{}-{root}.checkpoint", at.size)
}
