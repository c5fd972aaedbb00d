//! The machine under the server: its clock, its kernel, its memory and its limits.

use std::fs;
use std::path::Path;

use link::sandbox::{self, Landlock};
use link::system::{self, modified};
use terms::UnixMillis;

use super::Line;
use super::patient::Patient;

/// How far in the future a file may have been written before the clock is wrong: as much as may
/// lie between a shard and its peers.
const SKEW_MS_MAX: u64 = 5_000;
/// What systemd-timesyncd leaves when it has set the clock, and where chrony has its socket.
const KEPT_IN_STEP: &[&str] =
    &["/run/systemd/timesync/synchronized", "/run/chrony/chronyd.sock", "/run/ntpd.pid"];
/// Files and sockets that a server should be able to have open.
const FILES_MIN: u64 = 16_384;
const SWAPS: &str = "/proc/swaps";

/// Whether time goes on from where it was: nothing can have been written later than now.
pub(super) fn clock(patient: &Patient, now: UnixMillis) -> Line {
    let mut newest = (UnixMillis(0), patient.config.clone());
    let mut look = |path: &Path| {
        if let Some(written) = modified(path)
            && written > newest.0
        {
            newest = (written, path.to_owned());
        }
    };
    look(&patient.config);
    if let Some(shard) = &patient.shard {
        for folder in [&shard.data, &shard.anchor, &shard.keys] {
            look(folder);
            let entries = fs::read_dir(folder).into_iter().flatten().flatten();
            entries.for_each(|entry| look(&entry.path()));
        }
    }
    if newest.0.0 > now.0.saturating_add(SKEW_MS_MAX) {
        let ahead = (newest.0.0 - now.0) / 1000;
        let what = format!("{} was written {ahead} s from now", newest.1.display());
        return Line::bad("clock", what, "set the clock: this machine's is behind, or was ahead");
    }
    if KEPT_IN_STEP.iter().any(|path| Path::new(path).exists()) {
        return Line::ok("clock", "nothing was written later than now, and a service keeps it");
    }
    Line::warn(
        "clock",
        "nothing was written later than now, but nothing seen here keeps it in step",
        "run chrony or systemd-timesyncd, unless the host does",
    )
}

/// Whether the kernel holds what the server's fence asks of it: tried on a thread of our own.
pub(super) fn sandbox(patient: &Patient) -> Line {
    let fence = match &patient.shard {
        None => sandbox::gateway(),
        Some(shard) => {
            let folders = [&shard.data, &shard.anchor, &shard.keys];
            // Those that are missing the first start makes.
            sandbox::shard(folders.into_iter().filter(|folder| folder.is_dir()).cloned())
        }
    };
    let cure = "use Linux 6.2 or later with `landlock` among `lsm=`, and let the container's \
                seccomp profile pass landlock_*";
    let line = match fence.tried() {
        Ok(Landlock::On { abi }) => {
            let what = format!("Landlock abi {abi}: a write outside was tried and refused");
            return Line::ok("sandbox", what);
        }
        Ok(landlock) => Line::bad("sandbox", landlock.to_string(), cure),
        Err(error) => Line::bad("sandbox", super::peers::whole(&error), "see to it"),
    };
    let soften = !patient.require_sandbox;
    let mut line = line.softened(soften);
    if soften {
        line.what.push_str("; servers start without it, as `require_sandbox` is not true");
    }
    line
}

/// Whether this process could close its own memory, as servers close theirs.
pub(super) fn memory() -> Line {
    let (undumpable, no_core_files) = sandbox::close_memory();
    if undumpable && no_core_files {
        return Line::ok("core files", "a process here can be undumpable, with a core limit of 0");
    }
    let what = match (undumpable, no_core_files) {
        (false, _) => "a process here cannot make itself undumpable",
        (true, _) => "the limit for core files cannot be set to 0",
    };
    Line::bad("core files", what, "let the seccomp profile pass prctl and prlimit64")
}

/// Whether memory can reach a disk that no fence guards.
pub(super) fn swap() -> Line {
    let Ok(text) = fs::read_to_string(SWAPS) else {
        return Line::warn("swap", format!("{SWAPS} cannot be read"), "look by `swapon --show`");
    };
    // The first line is the heading.
    let areas: Vec<&str> =
        text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        return Line::ok("swap", "none: memory reaches no disk");
    }
    let what = format!("{}: keys and records in memory can reach it", areas.join(", "));
    Line::warn("swap", what, "`swapoff -a`, or MemorySwapMax=0 as in deploy/systemd")
}

/// Whether enough connections can be open at once.
pub(super) fn file_limit() -> Line {
    // Servers raise the soft limit to the hard one.
    match system::file_limit().1 {
        Some(most) if most < FILES_MIN => {
            let what = format!("{most} files and connections at the most");
            Line::warn("file limit", what, format!("raise the hard limit to {FILES_MIN} or more"))
        }
        Some(most) => Line::ok("file limit", format!("{most} files and connections")),
        None => Line::ok("file limit", "none"),
    }
}
