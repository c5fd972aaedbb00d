//! What a shard may do that no honest log does.

use terms::with_causes;

use crate::policy::Uncosigned;

/// Something that a shard has shown, and a log must not show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {what}")]
pub struct Alarm {
    /// The log.
    pub origin: String,
    /// What it is.
    pub what: Breach,
}

/// What a log must not show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    /// The origin is not `<deployment>/<region>/<shard>/<period>`, or its key cannot be read.
    #[error("the shard names a log that cannot be one: {0}")]
    NoLog(&'static str),
    /// It is not a log that the policy names.
    #[error("the policy does not name this log")]
    Unnamed,
    /// The key is another one than the one that is known.
    #[error("its key is another one than {0}")]
    OtherKey(&'static str),
    /// The checkpoint is not signed by the log's key.
    #[error("BAD SIGNATURE: {}", with_causes(.0))]
    BadSignature(ledger::checkpoint::Error),
    /// Its witnesses have not cosigned it.
    #[error("NOT COSIGNED: {0}")]
    Uncosigned(Uncosigned),
    /// It is smaller than it was, and what is left of it is as it was.
    #[error("ROLLED BACK: it had {ours} entries, and now shows {theirs}")]
    RolledBack {
        /// Entries that are mirrored.
        ours: u64,
        /// Entries that the shard shows.
        theirs: u64,
    },
    /// What it shows contradicts what it has shown: both notes are signed by its key.
    #[error(
        "SPLIT VIEW: its key has signed a checkpoint of {theirs} entries that contradicts the one \
         of {ours} entries in the mirror"
    )]
    SplitView {
        /// Entries that are mirrored.
        ours: u64,
        /// Entries that the shard shows.
        theirs: u64,
        /// The signed note in the mirror, and the one that contradicts it.
        notes: Box<[String; 2]>,
    },
    /// What was sent leads to another root than the signed one, and the shard does not prove that
    /// the signed one goes on from the mirror.
    #[error(
        "ANOTHER ROOT: its key has signed a checkpoint of {theirs} entries, and its consistency \
         with the {ours} entries in the mirror was not shown; the checkpoint is kept in pending/"
    )]
    Unshown {
        /// Entries that are mirrored.
        ours: u64,
        /// Entries that the shard shows.
        theirs: u64,
    },
    /// It was mirrored before.
    #[error("NO LONGER SHOWN: a log that was mirrored is no longer shown")]
    NoLongerShown,
    /// The policy names it.
    #[error("NOT SHOWN: the policy names this log of the shard, and the shard does not show it")]
    NeverShown,
    /// The gateway names another shard for this address.
    #[error("ANOTHER SHARD: at its address must be {0}, as the gateway says")]
    OtherShard(String),
    /// The log is right, and what was sent as its entries are others.
    #[error(
        "BAD ENTRIES: the entries {from} to {to} that were sent are not those of the checkpoint"
    )]
    BadEntries {
        /// The first.
        from: u64,
        /// The one after the last.
        to: u64,
    },
    /// What was sent is not what was asked for.
    #[error("BAD ENTRIES: {0}")]
    BadAnswer(&'static str),
}
