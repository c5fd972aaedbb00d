//! What a commit survives: kill -9, and a disk whose sync fails; and that it syncs what it writes.
//! The test binary runs itself as the child that commits, under `strace` where calls are watched
//! or made to fail.

#![expect(clippy::print_stdout, reason = "what a test measured, for who reads its output")]
#![expect(
    clippy::disallowed_methods,
    reason = "a child gets its part by its environment, and answers by its output"
)]

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use engine::Kind;

/// `<kind>:<commits>:<folder>`: set for the child only.
const CHILD: &str = "ENGINE_TEST_CHILD";

/// A number below `below` that follows from `seed`.
fn below(seed: u64, below: u64) -> u64 {
    crate::numbered::bytes(seed, 8)
        .into_iter()
        .fold(0, |sum, byte| (sum * 256 + u64::from(byte)) % below)
}

fn say(line: &str) {
    // One write call, past the test harness's capture.
    let mut out = std::io::stdout();
    out.write_all(format!("{line}\n").as_bytes()).and_then(|()| out.flush()).expect("stdout");
}

/// The child's part: commits, saying what was begun and what was acknowledged.
#[test]
fn child() {
    let Some(role) = std::env::var_os(CHILD) else { return };
    let role = role.into_string().expect("a text");
    let mut parts = role.splitn(3, ':');
    let kind = Kind::parse(parts.next().expect("kind")).expect("kind");
    let commits: u64 = parts.next().expect("commits").parse().expect("number");
    let folder = Path::new(parts.next().expect("folder"));
    let engine = match crate::numbered::open(kind, folder) {
        Ok(engine) => engine,
        Err(e) => return say(&format!("closed {e}")),
    };
    say("opened");
    for _ in 0..commits {
        let head = engine.head().expect("head");
        say(&format!("begin {}", head.size));
        match engine.commit(crate::numbered::batch(head.size), head, head.size + 1) {
            Ok(()) => say(&format!("ack {}", head.size)),
            Err(e) => {
                say(&format!("failed {e}"));
                let again = engine.commit(crate::numbered::batch(head.size), head, head.size + 1);
                let read = engine.get_many(&[b"latest"]);
                say(&format!("then {:?} {:?}", again.err(), read.err()));
                return;
            }
        }
    }
}

/// This binary as the child, behind `before` (nothing, or strace and its options).
fn command(before: &[&OsStr], kind: Kind, commits: u64, folder: &Path) -> Command {
    let me = std::env::current_exe().expect("this binary");
    let mut words: Vec<&OsStr> = before.to_vec();
    words.push(me.as_os_str());
    let mut command = Command::new(words.remove(0));
    command
        .args(words)
        .args(["faults::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, format!("{}:{commits}:{}", kind.as_str(), folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// What the child says. One that hangs is killed, and fails the test.
fn lines(command: &mut Command) -> Vec<String> {
    let mut child = command.spawn().expect("strace: install it (apt-get install strace)");
    let out = child.stdout.take().expect("stdout");
    let (said, hears) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        BufReader::new(out).lines().map_while(Result::ok).for_each(|line| {
            said.send(line).expect("the test listens");
        });
    });
    let mut lines = Vec::new();
    let hangs = loop {
        match hears.recv_timeout(Duration::from_secs(150)) {
            Ok(line) => lines.push(line),
            Err(RecvTimeoutError::Disconnected) => break false,
            Err(RecvTimeoutError::Timeout) => break true,
        }
    };
    if hangs {
        child.kill().expect("kill");
    }
    assert!(!hangs, "the child hangs after {lines:?}");
    reader.join().expect("reader");
    child.wait().expect("wait");
    lines
}

fn acknowledged(lines: &[String]) -> Option<u64> {
    lines.iter().filter_map(|line| line.strip_prefix("ack ")?.parse().ok()).max()
}

/// Opens the store and wants exactly the acknowledged commits, and at most the one in flight.
fn check(kind: Kind, folder: &Path, acknowledged: u64, what: &str) -> u64 {
    let engine = crate::numbered::open(kind, folder).expect(what);
    let size = crate::numbered::check(&*engine).expect(what);
    assert!(size == acknowledged || size == acknowledged + 1, "{what}: {size}, {acknowledged}");
    size
}

#[expect(clippy::disallowed_methods, reason = "the moment of a kill is real time")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

fn survives_kills(kind: Kind) {
    const KILLS: u64 = 20;
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let folder = place.path().join("data");
    let mut size = 0;
    let mut cut = 0;
    for kill in 0..KILLS {
        let acks = below(kill, 30);
        let mut child = command(&[], kind, 100_000, &folder).spawn().expect("child");
        let mut out = BufReader::new(child.stdout.take().expect("stdout")).lines();
        let mut seen = Vec::new();
        while acknowledged(&seen).map_or(0, |last| last + 1 - size) < acks {
            seen.push(out.next().expect("the child goes on").expect("line"));
        }
        pause(Duration::from_micros(below(kill + 100, 30_000)));
        child.kill().expect("kill");
        child.wait().expect("wait");
        seen.extend(out.map_while(Result::ok));
        cut += u64::from(seen.last().is_some_and(|line| line.starts_with("begin")));
        let durable = acknowledged(&seen).map_or(size, |last| last + 1);
        size = check(kind, &folder, durable, &format!("{} after kill {kill}", kind.as_str()));
    }
    println!("{}: {size} commits, {cut} of {KILLS} kills within a commit", kind.as_str());
    assert!(size > KILLS && cut > 0);
}

#[test]
fn sled_survives_kills() {
    survives_kills(Kind::Sled);
}

#[test]
fn fjall_survives_kills() {
    survives_kills(Kind::Fjall);
}

// === what a commit syncs

/// What one trace shows of the commits between the child's own marks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trace {
    commits: u64,
    syncs: u64,
    /// Files (or folders with new names) that were not synced when the commit returned.
    unsynced: BTreeSet<String>,
}

/// Reads the output of `strace -f -y`: a write or a new name makes its file or folder dirty, a
/// successful sync makes it clean.
fn read_trace(text: &str, store: &str) -> Trace {
    let mut trace = Trace::default();
    let mut inside = false;
    let mut dirty = BTreeSet::new();
    let mut unfinished = HashMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if call.starts_with("write(1<") {
            if call.contains("\"begin ") {
                (inside, dirty) = (true, BTreeSet::new());
            } else if call.contains("\"ack ") {
                assert!(inside, "an acknowledgement without a beginning");
                inside = false;
                trace.commits += 1;
                trace.unsynced.append(&mut dirty);
            }
            continue;
        }
        let path = call.split_once('<').and_then(|(_, rest)| Some(rest.split_once('>')?.0));
        let name = call.split_once('(').map_or("", |(name, _)| name);
        let mut synced = |path: &str| {
            trace.syncs += u64::from(inside && dirty.contains(path));
            dirty.remove(path);
        };
        match (name, path) {
            ("write" | "writev" | "pwrite64" | "pwritev" | "pwritev2", Some(path))
                if path.starts_with(store) =>
            {
                dirty.insert(path.to_owned());
            }
            ("fsync" | "fdatasync", Some(path)) if call.ends_with("= 0") => synced(path),
            ("fsync" | "fdatasync", Some(path)) if call.ends_with("<unfinished ...>") => {
                unfinished.insert(thread.to_owned(), path.to_owned());
            }
            ("openat", _) if !call.contains("O_CREAT") => {}
            ("openat" | "rename" | "renameat2", _) => {
                // A new name is durable when its folder is synced.
                let name = call.split('"').rfind(|part| part.starts_with(store));
                let folder = name.and_then(|name| Path::new(name).parent());
                dirty.extend(folder.map(|folder| folder.display().to_string()));
            }
            _ if call.starts_with("<... f") && call.contains("sync resumed") => {
                if let Some(path) = unfinished.remove(thread)
                    && call.ends_with("= 0")
                {
                    synced(&path);
                }
            }
            _ => {}
        }
    }
    trace
}

#[test]
fn the_trace_is_read_right() {
    let check = |calls: &[&str], unsynced: &[&str]| {
        let calls = calls.join("\n");
        let text = format!(
            "7 write(1<pipe>, \"begin 0\\n\", 8) = 8\n{calls}\n7 write(1<pipe>, \"ack 0\\n\", 6) = 6"
        );
        let expected = unsynced.iter().map(|path| (*path).to_owned()).collect();
        let trace = read_trace(&text, "/s/");
        assert_eq!((trace.commits, trace.unsynced), (1, expected), "{text}");
    };
    let write = "7 pwrite64(3</s/db>, \"x\"..., 9, 0) = 9";
    check(&[write, "7 fdatasync(4</s/db>) = 0"], &[]);
    check(&[write], &["/s/db"]);
    check(&["7 fdatasync(4</s/db>) = 0", write], &["/s/db"]);
    check(&[write, "7 sync_file_range(3</s/db>, 0, 9, 7) = 0"], &["/s/db"]);
    check(&[write, "7 fdatasync(4</s/db>) = -1 EIO (Input/output error) (INJECTED)"], &["/s/db"]);
    check(&[write, "7 fdatasync(4</s/other>) = 0"], &["/s/db"]);
    check(&[write, "7 fsync(4</s/db> <unfinished ...>", "7 <... fsync resumed>) = 0"], &[]);
    check(&[write, "7 fsync(4</s/db> <unfinished ...>"], &["/s/db"]);
    check(&["8 write(3</elsewhere>, \"x\", 1) = 1"], &[]);
    let create = "7 openat(AT_FDCWD</>, \"/s/blobs/1\", O_WRONLY|O_CREAT, 0666) = 5</s/blobs/1>";
    check(&[create], &["/s/blobs"]);
    check(&[create, "7 fsync(6</s/blobs>) = 0"], &[]);
}

fn strace(options: &[&str], kind: Kind, commits: u64, folder: &Path) -> Vec<String> {
    let before: Vec<&OsStr> =
        ["strace", "-f"].iter().chain(options).map(|word| OsStr::new(*word)).collect();
    lines(&mut command(&before, kind, commits, folder))
}

fn syncs_what_it_writes(kind: Kind) {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let folder = place.path().join("data");
    let log = place.path().join("trace");
    let calls = "trace=write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,\
                 openat,rename,renameat2";
    let said = strace(
        &["-y", "-s", "32", "-e", calls, "-o", &log.display().to_string()],
        kind,
        30,
        &folder,
    );
    assert_eq!(acknowledged(&said), Some(29), "strace must be able to trace: {said:?}");
    let text = std::fs::read(&log).expect("trace");
    let store = format!("{}/", folder.join("store").display());
    let trace = read_trace(&String::from_utf8_lossy(&text), &store);
    println!("{}: {} syncs in {} commits", kind.as_str(), trace.syncs, trace.commits);
    assert_eq!((trace.commits, &trace.unsynced), (30, &BTreeSet::new()));
    assert!(trace.syncs >= 30, "each commit wrote and synced something: {trace:?}");
}

#[test]
fn sled_syncs_what_it_writes() {
    syncs_what_it_writes(Kind::Sled);
}

#[test]
fn fjall_syncs_what_it_writes() {
    syncs_what_it_writes(Kind::Fjall);
}

// === a sync that fails

/// Fails the sync (or write) number `nth` of each thread, for several `nth`: a commit that fails
/// shuts the engine, and what was acknowledged before is there.
fn survives_failing(kind: Kind, calls: &str) {
    let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
    let mut failed = 0;
    for nth in 1..=10 {
        let folder: PathBuf = place.path().join(format!("{nth}"));
        drop(crate::numbered::open(kind, &folder).expect("open"));
        let inject = format!("inject={calls}:error=EIO:when={nth}");
        let trace = format!("trace={calls}");
        let said = strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], kind, 12, &folder);
        let what = format!("{}, {calls} {nth} failing: {said:?}", kind.as_str());
        if said.iter().any(|line| line.starts_with("failed")) {
            failed += 1;
            assert!(said.iter().any(|l| l == "then Some(Poisoned) Some(Poisoned)"), "{what}");
        }
        check(kind, &folder, acknowledged(&said).map_or(0, |last| last + 1), &what);
    }
    assert!(failed > 0, "no {calls} of a commit was made to fail");
}

#[test]
fn sled_survives_a_failing_sync() {
    survives_failing(Kind::Sled, "fdatasync");
    survives_failing(Kind::Sled, "sync_file_range");
}

#[test]
fn fjall_survives_a_failing_sync() {
    survives_failing(Kind::Fjall, "fdatasync");
}

#[test]
fn an_opening_survives_a_failing_sync() {
    for kind in Kind::ALL {
        let place = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("folder");
        for nth in 1..=12 {
            let folder = place.path().join(format!("{nth}"));
            let inject = format!("inject=fsync:error=EIO:when={nth}");
            let said =
                strace(&["-o", "/dev/null", "-e", "trace=fsync", "-e", &inject], kind, 3, &folder);
            let what = format!("{}, fsync {nth} failing: {said:?}", kind.as_str());
            check(kind, &folder, acknowledged(&said).map_or(0, |last| last + 1), &what);
        }
    }
}
