//! Peers from Debian's packages, measured in the same rounds: etcd's put over gRPC, and PostgreSQL's
//! inserts by `pgbench`, row by row and 256 rows at once. Both are durable as they come: etcd syncs
//! its log before it answers, PostgreSQL its own with `synchronous_commit = on`.

mod etcd;
pub(crate) mod postgresql;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use crate::load::Load;
use crate::measured::Measured;

/// What a measurement of a peer comes to: its name, the figures, and the processor time of a call:
/// of the load generator, and of the peer.
pub(crate) type OfPeer = (String, Measured, Option<[f64; 3]>);

/// A peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// etcd: one durable put a call.
    Etcd,
    /// PostgreSQL: one durable row a call, and 256 rows a call.
    Postgresql,
}

/// A peer that runs.
pub(crate) enum Peer {
    Etcd(etcd::Etcd),
    Postgresql(Arc<postgresql::Postgresql>),
}

impl Peer {
    /// Installs it by `apt-get` if it is missing, and starts it with its files in `folder`.
    pub(crate) fn start(name: Name, folder: &Path) -> Result<Self> {
        Ok(match name {
            Name::Etcd => Self::Etcd(etcd::Etcd::start(folder)?),
            Name::Postgresql => Self::Postgresql(Arc::new(postgresql::Postgresql::start(folder)?)),
        })
    }

    /// The server, if it is PostgreSQL.
    pub(crate) const fn postgresql(&self) -> Option<&Arc<postgresql::Postgresql>> {
        match self {
            Self::Postgresql(postgresql) => Some(postgresql),
            Self::Etcd(_) => None,
        }
    }

    pub(crate) async fn measure(&self, load: &Load, in_flight: usize) -> Result<Vec<OfPeer>> {
        match self {
            Self::Etcd(etcd) => Ok(vec![etcd.measure(load, in_flight).await?]),
            Self::Postgresql(postgresql) => postgresql.measure(load, in_flight).await,
        }
    }
}

/// The first of these programs that exists, after an installation of `package` if need be.
fn program(found: impl Fn() -> Option<PathBuf>, package: &str) -> Result<PathBuf> {
    if let Some(program) = found() {
        return Ok(program);
    }
    let installed = Command::new("apt-get")
        .args(["install", "-y", "-qq", "--no-install-recommends", package])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdout(Stdio::null())
        .status();
    let installed = installed.is_ok_and(|status| status.success());
    ensure!(installed, "{package} is missing and apt-get does not install it: run this as root");
    found().with_context(|| format!("{package} is installed and its program is not found"))
}

/// A program in a folder where Debian puts them.
fn in_folders(folders: &[&str], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}
