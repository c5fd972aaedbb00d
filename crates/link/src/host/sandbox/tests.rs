//! Tries to get out of the fence, each time on a thread of its own: the fence binds that thread
//! alone. A kernel without Landlock fails these tests; that is meant.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use tempfile::TempDir;

use super::*;

/// A folder to write in, one that is not to be written in, and a file in each.
struct Ground {
    root: TempDir,
}

impl Ground {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["in", "out"] {
            fs::create_dir(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("old"), "old").unwrap();
        }
        Self { root }
    }

    fn at(&self, place: &str) -> PathBuf {
        self.root.path().join(place)
    }
}

/// What `work` gives on a thread behind the fence.
fn behind<T: Send>(sandbox: &Sandbox, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let landlock = sandbox.restrict_thread().unwrap();
            assert!(matches!(landlock, Landlock::On { .. }), "{landlock}");
            work()
        });
        thread.join().unwrap()
    })
}

/// Every way to change a folder that Landlock knows, tried in `folder`: what each was answered.
fn attempts(ground: &Ground, folder: &str) -> Vec<(&'static str, io::Result<()>)> {
    let at = |name: &str| ground.at(folder).join(name);
    let append = |path: &Path| OpenOptions::new().append(true).open(path).map(drop);
    let cut = |path: &Path| OpenOptions::new().write(true).truncate(true).open(path).map(drop);
    vec![
        ("create", File::create_new(at("new")).map(drop)),
        ("append", append(&at("old"))),
        ("cut off", cut(&at("old"))),
        ("write", OpenOptions::new().write(true).open(at("old")).map(drop)),
        ("folder", fs::create_dir(at("folder"))),
        ("remove a folder", fs::remove_dir(at("folder"))),
        ("symbolic link", symlink("old", at("link"))),
        ("hard link", fs::hard_link(at("old"), at("hard"))),
        ("socket", UnixListener::bind(at("socket")).map(drop)),
        ("rename", fs::rename(at("old"), at("renamed"))),
        ("remove", fs::remove_file(at("renamed"))),
    ]
}

#[test]
fn a_gateway_can_write_nowhere() {
    let ground = Ground::new();
    let before = fs::read(ground.at("out/old")).unwrap();
    let answers = behind(&gateway(), || attempts(&ground, "out"));
    for (what, answer) in answers {
        match what {
            // It could never be made, or renamed.
            "remove a folder" | "remove" => assert!(answer.is_err(), "{what}"),
            _ => assert_eq!(answer.unwrap_err().kind(), ErrorKind::PermissionDenied, "{what}"),
        }
    }
    assert_eq!(fs::read(ground.at("out/old")).unwrap(), before);
    assert_eq!(fs::read_dir(ground.at("out")).unwrap().count(), 1);
    // What would be removed is there, and stays.
    let (folder, file) = (ground.at("out"), ground.at("out/old"));
    let (folder, file) = behind(&gateway(), || (fs::remove_dir_all(folder), fs::remove_file(file)));
    assert_eq!(folder.unwrap_err().kind(), ErrorKind::PermissionDenied);
    assert_eq!(file.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_gateway_reads_as_before_and_runs_nothing() {
    let ground = Ground::new();
    let (text, names, run) = behind(&gateway(), || {
        let names = fs::read_dir(ground.at("in")).unwrap().count();
        let run = std::process::Command::new("/bin/true").status();
        (fs::read_to_string(ground.at("in/old")).unwrap(), names, run)
    });
    assert_eq!((text.as_str(), names), ("old", 1));
    assert_eq!(run.unwrap_err().kind(), ErrorKind::PermissionDenied);
}

#[test]
fn a_shard_writes_in_its_folders_only() {
    let ground = Ground::new();
    let sandbox = shard([ground.at("in")]);
    for (what, answer) in behind(&sandbox, || attempts(&ground, "in")) {
        answer.unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    for (what, answer) in behind(&sandbox, || attempts(&ground, "out")) {
        assert!(answer.is_err(), "{what}");
    }
    assert_eq!(fs::read_dir(ground.at("out")).unwrap().count(), 1);
    // Nor through what lies inside: a link out of it, or a file moved or linked out of it.
    symlink(ground.at("out/old"), ground.at("in/way")).unwrap();
    fs::write(ground.at("in/mine"), "mine").unwrap();
    let answers = behind(&sandbox, || {
        [
            fs::write(ground.at("in/way"), "changed"),
            fs::rename(ground.at("in/mine"), ground.at("out/mine")),
            fs::hard_link(ground.at("in/mine"), ground.at("out/mine")),
            fs::write(ground.at("in/../out/old"), "changed"),
        ]
    });
    for (number, answer) in answers.into_iter().enumerate() {
        assert!(answer.is_err(), "way {number}");
    }
    assert_eq!(fs::read_to_string(ground.at("out/old")).unwrap(), "old");
    assert_eq!(fs::read_dir(ground.at("out")).unwrap().count(), 1);
}

/// Ways to leave something at a file without opening it for writing.
fn marks(file: &Path) -> Vec<(&'static str, rustix::io::Result<()>)> {
    use rustix::fs::{self as sys, AtFlags, CWD, Mode, Timespec, Timestamps, XattrFlags};
    let open = File::open(file).unwrap();
    let time = Timespec { tv_sec: 1, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    let (none, own) = (XattrFlags::empty(), Some(rustix::process::getuid()));
    vec![
        ("setxattr", sys::setxattr(file, "user.a", &[7; 300], none)),
        ("lsetxattr", sys::lsetxattr(file, "user.b", &[7; 300], none)),
        ("fsetxattr", sys::fsetxattr(&open, "user.c", &[7; 300], none)),
        ("fchownat", sys::chownat(CWD, file, own, None, AtFlags::empty())),
        ("fchown", sys::fchown(&open, own, None)),
        ("chmod", sys::chmod(file, Mode::RUSR | Mode::WUSR)),
        ("fchmod", sys::fchmod(&open, Mode::RUSR | Mode::WUSR)),
        ("utimensat", sys::utimensat(CWD, file, &times, AtFlags::empty())),
        ("futimens", sys::futimens(&open, &times)),
    ]
}

#[test]
fn nothing_is_left_at_a_file_either() {
    let ground = Ground::new();
    let file = ground.at("in/old");
    for (what, answer) in behind(&gateway(), || marks(&file)) {
        assert_eq!(answer, Err(rustix::io::Errno::PERM), "{what}");
    }
    for (what, answer) in behind(&shard([ground.at("in")]), || marks(&file)) {
        let free = matches!(what, "chmod" | "fchmod" | "utimensat" | "futimens");
        let expected = if free { Ok(()) } else { Err(rustix::io::Errno::PERM) };
        assert_eq!(answer, expected, "{what}");
    }
    // Outside it may be done, where the file system has such attributes at all.
    for (what, answer) in marks(&file) {
        let no_attributes = what.ends_with("xattr") && answer == Err(rustix::io::Errno::OPNOTSUPP);
        assert!(answer.is_ok() || no_attributes, "{what}: {answer:?}");
    }
    assert!(!crate::host::seccomp::is_refused(), "this thread is not behind it");
}

#[test]
fn threads_of_a_thread_stand_behind_the_same_fence() {
    let ground = Ground::new();
    let refused = behind(&gateway(), || {
        let inner = std::thread::scope(|scope| {
            scope.spawn(|| (is_probe_refused(), File::create(ground.at("new")))).join().unwrap()
        });
        (inner.0, inner.1.map(drop).map_err(|error| error.kind()))
    });
    assert_eq!(refused, (true, Err(ErrorKind::PermissionDenied)));
    assert!(!is_probe_refused(), "this thread is not behind it");
}

#[test]
fn a_fence_that_is_tried_binds_nobody_else() {
    let ground = Ground::new();
    assert!(matches!(gateway().tried().unwrap(), Landlock::On { .. }));
    assert!(matches!(shard([ground.at("in")]).tried().unwrap(), Landlock::On { .. }));
    fs::write(ground.at("out/new"), "new").unwrap();
    // A ruleset that grants what is tried is none.
    let open = shard([PathBuf::from("/dev")]).tried().unwrap();
    assert_eq!(open, Landlock::Off("a write was tried inside it and not refused"));
    assert_eq!(close_memory(), (true, true));
}

#[test]
fn a_folder_that_is_not_there_is_named() {
    let ground = Ground::new();
    for (place, name) in [("gone", "gone"), ("in/old", "old")] {
        let sandbox = shard([ground.at("in"), ground.at(place)]);
        let text = sandbox.restrict_thread().unwrap_err().to_string();
        assert!(text.contains(name), "{text}");
    }
}

#[test]
fn a_process_that_has_threads_is_refused() {
    // The thread of this test, and the one that waits for it.
    assert!(matches!(gateway().enter(), Err(Error::TooLate(threads)) if threads > 1));
    assert!(!is_probe_refused());
}

#[test]
fn what_does_not_hold_is_said() {
    let whole = Facts {
        landlock: Landlock::On { abi: 7 },
        no_attributes: true,
        no_new_privileges: true,
        undumpable: true,
        no_core_files: true,
    };
    assert_eq!(whole.require(), Ok(()));
    let text = "on (landlock abi 7), no file attributes, no new privileges, undumpable, \
                no core files";
    assert_eq!(whole.to_string(), text);
    let (mut registry, health) = (Registry::new(), Health::new());
    whole.announce(&health, &mut registry);
    let page = registry.encode();
    for fence in ["landlock", "no_attributes", "no_new_privileges", "undumpable", "no_core_files"] {
        let line = format!("bailiwick_sandbox{{fence=\"{fence}\"}} 1\n");
        assert!(page.contains(&line), "{page}");
    }
    for (facts, word) in [
        (Facts { landlock: Landlock::Off("the kernel has no Landlock"), ..whole }, "off (the ker"),
        (Facts { landlock: Landlock::Partly { abi: 2 }, ..whole }, "partly (landlock abi 2"),
        (Facts { no_attributes: false, ..whole }, "FILE ATTRIBUTES POSSIBLE"),
        (Facts { no_new_privileges: false, ..whole }, "NEW PRIVILEGES POSSIBLE"),
        (Facts { undumpable: false, ..whole }, ", DUMPABLE"),
        (Facts { no_core_files: false, ..whole }, "CORE FILES POSSIBLE"),
    ] {
        let text = facts.require().unwrap_err().to_string();
        assert!(text.contains(word) && text.contains("require_sandbox"), "{text}");
        let mut registry = Registry::new();
        facts.announce(&health, &mut registry);
        let off = registry.encode().lines().filter(|line| line.ends_with("} 0")).count();
        assert_eq!(off, 1, "{word}");
    }
}
