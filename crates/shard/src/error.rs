//! What keeps a shard from starting, and what ends one.

use std::io;
use std::path::PathBuf;

use atlas::Endpoint;
use link::net::object_store;
use terms::{Reason, RegionId, Rejection};

/// A shard that cannot start, or must stop. Each names what an operator at 3 a.m. needs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder cannot be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store cannot be opened or used.
    #[error(transparent)]
    Engine(#[from] engine::Error),
    /// Two folders that must lie apart do not.
    #[error("{} lies in the data folder: {what} must survive the loss of that folder", path.display())]
    Folders {
        /// The inner one.
        path: PathBuf,
        /// What it holds.
        what: &'static str,
    },
    /// A key file cannot be used.
    #[error("key file {}: {why}", path.display())]
    Keys {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The token that guards the keyring cannot be used.
    #[error("the token `{label}`: {why}")]
    Token {
        /// Its label.
        label: String,
        /// Why.
        why: String,
    },
    /// A generation of the keyring is not the one under which the store's rows are sealed.
    #[error(
        "key file {}: generation {generation} {why}; put the right keyring back. Nothing was written", path.display()
    )]
    Generation {
        /// Which.
        path: PathBuf,
        /// Its number.
        generation: u32,
        /// How it differs.
        why: &'static str,
    },
    /// There is no store, no checkpoint and no key of a log.
    #[error(
        "{place} holds no store, and neither a checkpoint nor a log key is there: restore the shard, or \
         see whether its disks are mounted. For a new shard, run `bailiwick shard init` with its \
         configuration first"
    )]
    NotInitialised {
        /// Where the store should be.
        place: String,
    },
    /// A shard that is there is not made again.
    #[error("{place} holds a store already: start it with `bailiwick shard`")]
    Exists {
        /// Where it is.
        place: String,
    },
    /// A copy of the store is not the same as the store.
    #[error("{place} differs from the store that it was copied from: remove it, and convert again")]
    CopyDiffers {
        /// Where the copy lies.
        place: String,
    },
    /// There is not enough free space to end a period of the log.
    #[error("{what} has {free} bytes free, and {needed} are needed to begin a period of the log")]
    NoRoom {
        /// What is short of it.
        what: &'static str,
        /// Bytes free.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// The disk is no larger than what is to stay free on it.
    #[error(
        "the store's disk has {total} bytes and {reserve} are to stay free, so nothing could ever be \
         written: give it a larger disk, or lower `disk_reserve_mb`"
    )]
    Reserve {
        /// Bytes of the disk.
        total: u64,
        /// Bytes that are to stay free.
        reserve: u64,
    },
    /// The store is of a storage format that this release does not read.
    #[error(
        "the store is of another storage format: {by} made it, and this release reads format 1 alone. \
         Start it with the release that made it; or set data, anchor and keys of this shard aside and \
         make it again with `bailiwick shard init`: there is no migration"
    )]
    StoreFormat {
        /// Which release made it.
        by: &'static str,
    },
    /// A panic while the store was opened.
    #[error(
        "a bug: the shard panicked while it opened its store, at the place that the log names. \
         Nothing says that data is lost; report it"
    )]
    Bug,
    /// No random bytes.
    #[error("no randomness from the operating system")]
    NoEntropy,
    /// The map does not name this shard's region, or the annex not this shard.
    #[error("the {document} does not name {what}")]
    NotNamed {
        /// `region map` or `annex`.
        document: &'static str,
        /// What is missing.
        what: String,
    },
    /// The map names operators who sign the region's annex, and none of them has.
    #[error("the annex is not signed by one of the region's operators whom the map names")]
    AnnexUnsigned,
    /// The period of the log was not ended. Nothing was changed.
    #[error("the period of the log was not ended: {0}")]
    PeriodNotEnded(Box<Rejection>),
    /// The region's keys were not changed.
    #[error("the region's keys were not changed: {0}")]
    KeysNotChanged(Box<Rejection>),
    /// A running shard has refused what was asked about the region's keys.
    #[error("the shard says: {0}")]
    KeysRefused(String),
    /// A running shard has refused what was asked about moves of its slots.
    #[error("the shard says: {0}")]
    SlotsRefused(String),
    /// A generation cannot be destroyed yet.
    #[error(
        "{subjects} subjects are still wrapped under generation {generation}: wait until they are wrapped under the current one"
    )]
    GenerationInUse {
        /// Its number.
        generation: u32,
        /// Subjects whose keys it wraps.
        subjects: u64,
    },
    /// The store belongs to another shard.
    #[error(
        "the data folder is the store of {found}, not of {expected}: check `data` in the shard's config"
    )]
    ForeignStore {
        /// Whose it is.
        found: String,
        /// Whose it should be.
        expected: String,
    },
    /// The map says that this region is in another country than the store stands in.
    #[error(
        "the store stands in {stands_in}, and the map says that the region is in {map_says}: data does not move by changing a map"
    )]
    Territory {
        /// Where the store was made.
        stands_in: String,
        /// What the map says.
        map_says: String,
    },
    /// The region map is older than one that this shard has accepted.
    #[error(
        "the map has version {offered} and this shard has accepted version {accepted}: roll out the newer map"
    )]
    MapStale {
        /// The file's.
        offered: u64,
        /// The store's.
        accepted: u64,
    },
    /// Another map of the same version, or one that follows another than the one in force.
    #[error(
        "MAP_FORK: the map of version {version} is not the one that this shard has accepted, or does not follow it"
    )]
    MapFork {
        /// The version of both.
        version: u64,
    },
    /// The map, or its signatures, are not what this shard can start with.
    #[error("region map: {0}")]
    MapRefused(Box<Rejection>),
    /// The store has lost what was signed, or holds something else.
    #[error(
        "the store has lost acknowledged data: {what}. Restore it, or accept the loss with `bailiwick shard recover --accept-loss`"
    )]
    DataLost {
        /// What was found.
        what: String,
    },
    /// The file of checkpoints is missing or cannot be read.
    #[error("checkpoint file {}: {why}. Restore it, or open a new log period with `bailiwick shard recover --accept-loss`", path.display())]
    CheckpointFile {
        /// Which.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// The file that names who was erased cannot be used.
    #[error("file of erasures {}: {why}", path.display())]
    Erasures {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A backup cannot be used.
    #[error("backup {}: {why}", path.display())]
    Backup {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A person who was erased before could not be erased again in a store that was restored.
    #[error("a person who was erased before is not erased again: {0}. The store does not start")]
    NotErasedAgain(String),
    /// What is restored is erased again and logged by the clock, and the clock is not believed.
    #[error(
        "the clock is far ahead of the backup, or of the last commit: see that it is right, and confirm it with `bailiwick shard confirm-clock`"
    )]
    ClockUnconfirmed,
    /// A backup, or an old store, rests on a generation of the region's key that is not the keyring's.
    #[error("key file {}: generation {generation} {why}", path.display())]
    OldGeneration {
        /// Which.
        path: PathBuf,
        /// Its number.
        generation: u32,
        /// How it differs.
        why: &'static str,
    },
    /// No backup was made.
    #[error("no backup was made: {0}")]
    NotBackedUp(String),
    /// The region map does not list the server to which backups should go. Nothing was sent.
    #[error(
        "{endpoint} is not among the `backup_endpoints` of region {region} in version {version} of the \
         region map: no backup is sent there, and none is read. Let a map list it, which two signers sign: the one in \
         force, and the one that the configuration names as `map`"
    )]
    EndpointNotListed {
        /// The server.
        endpoint: Endpoint,
        /// The shard's region.
        region: RegionId,
        /// The map's version.
        version: u64,
    },
    /// A backup was not stored in its bucket, or could not be read from it.
    #[error("backup {name}: {source}")]
    Bucket {
        /// Which.
        name: String,
        /// Why.
        source: object_store::Error,
    },
    /// A store is restored into an empty place only.
    #[error("{place} holds a store, or a part of one: a backup is restored into an empty place")]
    NotEmpty {
        /// Where it is.
        place: String,
    },
    /// A stored row is not of its form or does not open.
    #[error("a stored row of the {0} is damaged: restore the shard from a backup")]
    Damaged(&'static str),
    /// A flush failed: the shard answered nothing more and must be restarted.
    #[error("a flush failed; the shard has stopped answering and recovers by restarting")]
    Poisoned,
    /// Without TLS, on an address that other machines can reach.
    #[error("without TLS, sessions are taken on a loopback address only")]
    Listener,
    /// The certificate is another's.
    #[error("the certificate is that of {found}, not this shard's")]
    Certificate {
        /// Whose it is.
        found: String,
    },
    /// The session server failed.
    #[error("the session listener failed: {0}")]
    Server(#[source] tonic::transport::Error),
}

/// What a caller is told of it, which names no file.
impl From<Error> for Rejection {
    fn from(error: Error) -> Self {
        if let Error::Engine(error) = error {
            return error.into_rejection();
        }
        let Error::Damaged(rows) = error else { return Self::new(Reason::Internal) };
        Self::new(Reason::StoredDataDamaged)
            .problem(format!("a stored row of the {rows} is damaged"))
    }
}

/// What a failed call of the engine means for the caller.
pub(crate) trait IntoRejection {
    /// The answer, which names no file.
    fn into_rejection(self) -> Rejection;
}

impl IntoRejection for engine::Error {
    fn into_rejection(self) -> Rejection {
        Rejection::new(match self {
            Self::Damaged { .. } => Reason::StoredDataDamaged,
            Self::Full { .. } => Reason::DiskReserve,
            // The disk, or a limit of the process, may say yes the next time; and a store that is
            // closed is opened again.
            Self::Io { .. }
            | Self::ViewExpired
            | Self::Database { .. }
            | Self::Cluster { .. }
            | Self::Poisoned
            | Self::HeadMoved { .. }
            | Self::Unknown { .. } => Reason::RegionUnavailable,
            Self::TooLarge { .. }
            | Self::EmptyKey
            | Self::Shrinks { .. }
            | Self::Locked { .. }
            | Self::Foreign { .. } => Reason::Internal,
        })
    }
}
