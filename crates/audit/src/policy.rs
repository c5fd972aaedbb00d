//! The keys that an auditor trusts, as a file (C2SP `tlog-policy`), received by another way than logs:
//! ```text
//! # a comment
//! log <vkey> [<url>]
//! witness <name> <vkey> [<url>]
//! group <name> all|any|<number> <name>…
//! quorum <name>|none
//! ```
//! Names stand before they are used, and there is one line `quorum`.

use ledger::cosignature::Cosigner;
use ledger::note::{self, Verifier};

/// Bytes of a policy at the most.
pub const POLICY_BYTES_MAX: usize = 1 << 20;
/// Lines of a policy at the most.
pub const POLICY_LINES_MAX: usize = 4096;

/// Why a text is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is longer than a policy may be.
    #[error("has more than {POLICY_BYTES_MAX} bytes or {POLICY_LINES_MAX} lines")]
    TooLong,
    /// A line is not accepted.
    #[error("line {line}: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        what: Wrong,
    },
    /// There is no line `quorum`.
    #[error("has no line quorum; write \"quorum none\" if no witness is asked for")]
    NoQuorum,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The first word is none of the four.
    #[error("is none of log, witness, group and quorum")]
    Word,
    /// There are too few or too many words.
    #[error("has too few or too many words")]
    Words,
    /// The key cannot be read.
    #[error("the key is not accepted: {0}")]
    Key(note::Error),
    /// The log, the name or the key is there already: a witness that counts twice is none.
    #[error("is there already")]
    Twice,
    /// No line before it gives that name.
    #[error("names {0}, which no line above gives")]
    Unknown(String),
    /// The number of members that are needed is not all, any or one that the group has.
    #[error("needs all, any, or a number from 1 to that of its members")]
    Threshold,
}

/// A checkpoint that the policy's witnesses have not cosigned as it asks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Uncosigned {
    /// A cosignature is not its witness's.
    #[error("the cosignature of {witness} is not accepted: {error}")]
    Bad {
        /// The witness's name in the policy.
        witness: String,
        /// What is wrong.
        error: note::Error,
    },
    /// Too few have cosigned it.
    #[error(
        "too few witnesses have cosigned it for the quorum {quorum}: {}",
        if .by.is_empty() { "none".to_owned() } else { .by.join(", ") }
    )]
    Quorum {
        /// What the policy asks for.
        quorum: String,
        /// Who has.
        by: Vec<String>,
    },
}

/// The keys that an auditor trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    logs: Vec<Verifier>,
    members: Vec<Member>,
    /// The place of the quorum among `members`. None: no witness is asked for.
    quorum: Option<usize>,
}

/// A witness or a group, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    name: String,
    is: Is,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Is {
    Witness(Cosigner),
    /// Of these members, so many.
    Group(Vec<usize>, usize),
}

// === impl Policy ===

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// [`Error`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > POLICY_BYTES_MAX || text.lines().count() > POLICY_LINES_MAX {
            return Err(Error::TooLong);
        }
        let mut policy = Self { logs: Vec::new(), members: Vec::new(), quorum: None };
        let mut quorum = None;
        for (number, line) in (1..).zip(text.lines()) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let read = match words.as_slice() {
                [] => continue,
                [first, ..] if first.starts_with('#') => continue,
                ["log", vkey] | ["log", vkey, _] => policy.read_log(vkey),
                ["witness", name, vkey] | ["witness", name, vkey, _] => {
                    policy.read_witness(name, vkey)
                }
                ["group", name, threshold, members @ ..] if !members.is_empty() => {
                    policy.read_group(name, threshold, members)
                }
                ["quorum", _] if quorum.is_some() => Err(Wrong::Twice),
                ["quorum", "none"] => {
                    quorum = Some(None);
                    Ok(())
                }
                ["quorum", name] => policy.find(name).map(|found| quorum = Some(Some(found))),
                ["log" | "witness" | "group" | "quorum", ..] => Err(Wrong::Words),
                _ => Err(Wrong::Word),
            };
            read.map_err(|what| Error::Line { line: number, what })?;
        }
        policy.quorum = quorum.ok_or(Error::NoQuorum)?;
        Ok(policy)
    }

    fn read_log(&mut self, vkey: &str) -> Result<(), Wrong> {
        let key = Verifier::from_vkey(vkey).map_err(Wrong::Key)?;
        if self.log(key.name()).is_some() {
            return Err(Wrong::Twice);
        }
        self.logs.push(key);
        Ok(())
    }

    fn read_witness(&mut self, name: &str, vkey: &str) -> Result<(), Wrong> {
        let key = Cosigner::from_vkey(vkey).map_err(Wrong::Key)?;
        let same = |other: &Member| matches!(&other.is, Is::Witness(own) if own.same_key(&key));
        if self.members.iter().any(same) {
            return Err(Wrong::Twice);
        }
        self.push(name, Is::Witness(key))
    }

    fn read_group(&mut self, name: &str, threshold: &str, members: &[&str]) -> Result<(), Wrong> {
        let mut places = Vec::new();
        for member in members {
            let place = self.find(member)?;
            if places.contains(&place) {
                return Err(Wrong::Twice);
            }
            places.push(place);
        }
        let needed = match threshold {
            "all" => places.len(),
            "any" => 1,
            number => number.parse().map_err(|_| Wrong::Threshold)?,
        };
        if needed == 0 || needed > places.len() {
            return Err(Wrong::Threshold);
        }
        self.push(name, Is::Group(places, needed))
    }

    fn push(&mut self, name: &str, is: Is) -> Result<(), Wrong> {
        if name == "none" || self.find(name).is_ok() {
            return Err(Wrong::Twice);
        }
        self.members.push(Member { name: name.to_owned(), is });
        Ok(())
    }

    fn find(&self, name: &str) -> Result<usize, Wrong> {
        let found = self.members.iter().position(|member| member.name == name);
        found.ok_or_else(|| Wrong::Unknown(name.to_owned()))
    }

    /// The key of the log `origin`, if the policy names it.
    pub fn log(&self, origin: &str) -> Option<&Verifier> {
        self.logs.iter().find(|key| key.name() == origin)
    }

    /// The keys of all logs that it names.
    pub fn logs(&self) -> &[Verifier] {
        &self.logs
    }

    /// Whether one of its witnesses has cosigned a note that has one signature.
    pub(crate) fn knows_cosigner(&self, note: &str) -> bool {
        self.members.iter().any(|member| match &member.is {
            Is::Witness(key) => matches!(key.cosigned(note), Ok(Some(_))),
            Is::Group(..) => false,
        })
    }

    /// The names of the witnesses that have cosigned a checkpoint's note, if they are as many as
    /// the policy asks for. The log's own signature is not looked at.
    ///
    /// # Errors
    /// [`Uncosigned`].
    pub fn cosigned(&self, note: &str) -> Result<Vec<String>, Uncosigned> {
        let times = self.times(note)?;
        let by = self.members.iter().zip(&times).filter(|(_, time)| time.is_some());
        let by: Vec<String> = by.map(|(member, _)| member.name.clone()).collect();
        match self.quorum {
            Some(place) if !self.holds(place, &times, 0) => {
                let quorum = self.members.get(place).map(|m| m.name.clone()).unwrap_or_default();
                Err(Uncosigned::Quorum { quorum, by })
            }
            _ => Ok(by),
        }
    }

    /// When a checkpoint's note was last cosigned by a whole quorum, in seconds since 1970: the
    /// oldest cosignature of the newest ones that suffice. None: no witness is asked for, or too
    /// few have cosigned.
    ///
    /// # Errors
    /// [`Uncosigned::Bad`].
    pub fn cosigned_at(&self, note: &str) -> Result<Option<u64>, Uncosigned> {
        let Some(place) = self.quorum else { return Ok(None) };
        let times = self.times(note)?;
        let mut all: Vec<u64> = times.iter().flatten().copied().collect();
        all.sort_unstable();
        Ok(all.into_iter().rev().find(|since| self.holds(place, &times, *since)))
    }

    /// When each witness has cosigned, by its place; nothing for groups.
    fn times(&self, note: &str) -> Result<Vec<Option<u64>>, Uncosigned> {
        let time = |Member { name, is }: &Member| match is {
            Is::Witness(key) => {
                key.cosigned(note).map_err(|error| Uncosigned::Bad { witness: name.clone(), error })
            }
            Is::Group(..) => Ok(None),
        };
        self.members.iter().map(time).collect()
    }

    /// Whether a member has cosigned at `since` or later, as a group by those of which it is made.
    fn holds(&self, wanted: usize, times: &[Option<u64>], since: u64) -> bool {
        // Members stand after those of which they are made.
        let mut holds: Vec<bool> = Vec::with_capacity(self.members.len());
        for (place, Member { is, .. }) in self.members.iter().enumerate() {
            let held = match is {
                Is::Witness(_) => {
                    times.get(place).copied().flatten().is_some_and(|time| time >= since)
                }
                Is::Group(members, needed) => {
                    let held = members.iter().filter(|m| holds.get(**m).copied().unwrap_or(false));
                    held.count() >= *needed
                }
            };
            holds.push(held);
        }
        holds.get(wanted).copied().unwrap_or(false)
    }
}
