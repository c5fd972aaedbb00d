//! Checks the machine: clock, kernel, memory and limits.

use std::fs;
use std::path::Path;

use link::host::clock::modified;
use link::host::rlimit;
use link::host::sandbox;
use link::host::sandbox::Landlock;
use terms::{UnixMillis, with_causes};

use crate::doctor::line::Line;
use crate::doctor::target::Target;

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
pub(super) fn clock(target: &Target, now: UnixMillis) -> Line {
    let mut newest = (UnixMillis(0), target.config.clone());
    let mut look = |path: &Path| {
        if let Some(written) = modified(path)
            && written > newest.0
        {
            newest = (written, path.to_owned());
        }
    };
    look(&target.config);
    for folder in target.folders() {
        look(folder);
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.for_each(|entry| look(&entry.path()));
    }
    if newest.0.0 > now.0.saturating_add(SKEW_MS_MAX) {
        let ahead = (newest.0.0 - now.0) / 1000;
        let what = format!("{} was written {ahead} s from now", newest.1.display());
        return Line::bad("clock", what, "set the clock: this machine's is behind, or was ahead");
    }
    if KEPT_IN_STEP.iter().any(|path| Path::new(path).exists()) {
        return Line::ok("clock", "no file is dated in the future, and a time service runs");
    }
    Line::warn(
        "clock",
        "no file is dated in the future, but no time service was found",
        "run chrony or systemd-timesyncd, unless the host does",
    )
}

/// Whether the kernel holds what the server's fence asks of it: tried on a thread of our own.
pub(super) fn sandbox(target: &Target) -> Line {
    let fence = match target.shard() {
        None => sandbox::gateway(),
        Some(_) => {
            // Those that are missing the first start makes.
            let there = target.folders().into_iter().filter(|folder| folder.is_dir());
            sandbox::shard(there.map(Path::to_owned))
        }
    };
    let cure = "use Linux 6.2 or later with `landlock` among `lsm=`, and let the container's \
                seccomp profile pass landlock_*";
    let line = match fence.tried() {
        Ok(Landlock::On { abi }) => {
            let what = format!("Landlock ABI {abi}: a test write was refused");
            return Line::ok("sandbox", what);
        }
        Ok(landlock) => Line::bad("sandbox", landlock.to_string(), cure),
        Err(error) => Line::bad("sandbox", with_causes(&error), "see to it"),
    };
    let soften = !target.require_sandbox;
    let mut line = line.softened(soften);
    if soften {
        line.what.push_str("; servers start without it, because `require_sandbox` is not true");
    }
    line
}

/// Whether this process could close its own memory, as servers close theirs.
pub(super) fn memory() -> Line {
    let (undumpable, no_core_files) = sandbox::close_memory();
    closed(undumpable, no_core_files)
}

/// What it means whether a process is undumpable, and has no core files.
fn closed(undumpable: bool, no_core_files: bool) -> Line {
    let what = match (undumpable, no_core_files) {
        (true, true) => {
            let what = "a process here can be undumpable, with a core limit of 0";
            return Line::ok("core files", what);
        }
        (false, _) => "a process here cannot make itself undumpable",
        (true, false) => "the limit for core files cannot be set to 0",
    };
    Line::bad("core files", what, "let the seccomp profile pass prctl and prlimit64")
}

/// Whether memory can reach a disk that no fence guards.
pub(super) fn swap() -> Line {
    swapped(fs::read_to_string(SWAPS).ok().as_deref())
}

/// What `/proc/swaps` means.
fn swapped(text: Option<&str>) -> Line {
    let Some(text) = text else {
        return Line::warn("swap", format!("{SWAPS} cannot be read"), "check with `swapon --show`");
    };
    // The first line is the heading.
    let areas: Vec<&str> =
        text.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    if areas.is_empty() {
        return Line::ok("swap", "none: memory cannot reach a disk");
    }
    let what = format!("{}: keys and records in memory can reach it", areas.join(", "));
    Line::warn("swap", what, "`swapoff -a`, or MemorySwapMax=0 as in deploy/systemd")
}

/// Whether enough connections can be open at once.
pub(super) fn file_limit() -> Line {
    // Servers raise the soft limit to the hard one.
    limited(rlimit::file_limit().1)
}

/// What a hard limit of open files means; none is no limit.
fn limited(most: Option<u64>) -> Line {
    match most {
        Some(most) if most < FILES_MIN => {
            let what = format!("at most {most} files and connections");
            Line::warn("file limit", what, format!("raise the hard limit to {FILES_MIN} or more"))
        }
        Some(most) => Line::ok("file limit", format!("{most} files and connections")),
        None => Line::ok("file limit", "none"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    #[test]
    fn swap_that_is_on_is_a_warning() {
        const HEADING: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert_eq!(swapped(Some(HEADING)).state, State::Ok);
        assert_eq!(swapped(Some("")).state, State::Ok);
        assert_eq!(swapped(None).state, State::Warn);
        let on = "/dev/dm-1                               partition\t8388604\t\t0\t\t-2\n\
                  /swap/file                              file\t\t524284\t\t0\t\t-3\n";
        let line = swapped(Some(&format!("{HEADING}{on}")));
        assert_eq!(line.state, State::Warn);
        assert!(line.what.starts_with("/dev/dm-1, /swap/file: "), "{}", line.what);
        assert!(line.cure.contains("swapoff"), "{}", line.cure);
    }

    #[test]
    fn memory_that_can_be_dumped_is_bad() {
        assert_eq!(closed(true, true).state, State::Ok);
        for (undumpable, no_core_files, says) in
            [(false, true, "undumpable"), (false, false, "undumpable"), (true, false, "limit")]
        {
            let line = closed(undumpable, no_core_files);
            assert_eq!(line.state, State::Bad);
            assert!(line.what.contains(says), "{}", line.what);
        }
    }

    #[test]
    fn few_files_are_a_warning() {
        assert_eq!(limited(Some(FILES_MIN - 1)).state, State::Warn);
        assert_eq!(limited(Some(FILES_MIN)).state, State::Ok);
        assert_eq!(limited(None).state, State::Ok);
    }
}
