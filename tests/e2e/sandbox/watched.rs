//! A gateway under `strace`, and what it must not have done.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::READY_MAX;
use crate::support::process::wait_until;

/// What is watched: every call that names a file, and every one that writes or makes something.
pub(crate) const CALLS: &str = "trace=%file,ftruncate,fallocate,memfd_create,io_uring_setup,prctl,prlimit64,\
     landlock_restrict_self,clone,clone3,write,writev,pwrite64,pwritev,pwritev2,\
     sendfile,splice,copy_file_range";

/// A gateway under `strace`, killed when it goes out of scope.
pub(crate) struct Watched {
    gateway: Child,
    log: PathBuf,
}

impl Watched {
    /// Starts it under a strace that makes itself its grandchild: the child here is the gateway.
    pub(crate) fn start(config: &Path, what: &str) -> Self {
        let log = config.with_extension("strace");
        let gateway = Command::new("strace")
            .args(["-D", "-f", "-y", "-s", "128", "-e", what, "-o"])
            .arg(&log)
            .args([env!("CARGO_BIN_EXE_bailiwick"), "gateway", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace is installed");
        Self { gateway, log }
    }

    /// Asks it to drain, and gives what strace saw.
    pub(crate) fn stop(mut self) -> Vec<String> {
        let pid = i32::try_from(self.gateway.id()).ok().and_then(rustix::process::Pid::from_raw);
        let pid = pid.expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let mut code = None;
        wait_until("the gateway drains", READY_MAX, || {
            code = self.gateway.try_wait().expect("a child can be asked");
            code.is_some()
        });
        assert_eq!(code.and_then(|code| code.code()), Some(0));
        // strace ends after it, and writes its last lines then.
        let ended = |text: &str| text.contains("+++ exited with 0 +++");
        let mut text = String::new();
        wait_until("strace has written everything", READY_MAX, || {
            text = fs::read_to_string(&self.log).unwrap_or_default();
            text.lines().last().is_some_and(ended)
        });
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        drop(self.gateway.kill());
        drop(self.gateway.wait());
    }
}

/// Whether a line shows a call that can change a file or make one.
fn changes(line: &str) -> bool {
    let call = line.split_whitespace().nth(1).unwrap_or_default();
    let name = call.split('(').next().unwrap_or_default();
    match name {
        "open" | "openat" | "openat2" => {
            ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND", "O_TMPFILE"]
                .iter()
                .any(|flag| line.contains(flag))
        }
        "creat" | "truncate" | "ftruncate" | "fallocate" | "rename" | "renameat" | "renameat2"
        | "unlink" | "unlinkat" | "mkdir" | "mkdirat" | "rmdir" | "link" | "linkat" | "symlink"
        | "symlinkat" | "mknod" | "mknodat" | "memfd_create" | "io_uring_setup" | "sendfile"
        | "splice" | "copy_file_range" | "chmod" | "fchmodat" | "chown" | "fchownat"
        | "setxattr" | "utimensat" => true,
        // Through a descriptor: pipes, sockets and events are no files.
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            let target = call.split(['<', '>']).nth(1).unwrap_or_default();
            target.starts_with('/') && target != "/dev/null"
        }
        _ => false,
    }
}

/// From the fence on, a gateway that was watched has opened no file for writing, and was refused by
/// the kernel when it tried.
#[track_caller]
pub(crate) fn check_never_wrote(seen: &[String]) {
    let at = |what: &str| seen.iter().position(|line| line.contains(what));
    let fenced = at("landlock_restrict_self(").expect("it enters the sandbox");
    let entered = seen.get(fenced).expect("a line");
    assert!(entered.ends_with("= 0"), "{entered}");
    let undumpable = at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0");
    assert!(undumpable.is_some(), "it is not undumpable");
    let thread = seen.iter().position(|line| line.contains(" clone"));
    assert!(thread.is_some_and(|thread| fenced < thread), "a thread was started before");

    // From inside, on a thread that was started inside: the kernel refuses.
    let tried: Vec<&String> = seen.iter().filter(|line| changes(line)).collect();
    assert_eq!(tried.len(), 1, "it tried to write: {tried:#?}");
    let probe = tried.first().expect("one");
    assert!(probe.contains("\"/dev/null\", O_WRONLY"), "{probe}");
    assert!(probe.ends_with("= -1 EACCES (Permission denied)"), "{probe}");
    let main = seen.first().and_then(|line| line.split_whitespace().next());
    assert_ne!(probe.split_whitespace().next(), main, "the main thread tried it by itself");
}

#[test]
fn the_watch_sees_what_changes_a_file() {
    for line in [
        r#"12 openat(AT_FDCWD</>, "/srv/a", O_WRONLY|O_CREAT|O_CLOEXEC, 0666) = 3</srv/a>"#,
        r#"12 openat(AT_FDCWD</>, "/srv/a", O_RDWR|O_CLOEXEC) = -1 ENOENT (No such file)"#,
        r#"12 write(3</srv/a>, "x", 1) = 1"#,
        r#"12 renameat2(AT_FDCWD, "a", AT_FDCWD, "b", 0) = 0"#,
        r#"12 memfd_create("a", 0) = 3"#,
    ] {
        assert!(changes(line), "{line}");
    }
    for line in [
        r#"12 openat(AT_FDCWD</>, "/srv/a", O_RDONLY|O_CLOEXEC) = 3</srv/a>"#,
        r#"12 write(9<socket:[77]>, "x", 1) = 1"#,
        r#"12 write(4<anon_inode:[eventfd]>, "\1", 8) = 8"#,
        r#"12 write(2</dev/null>, "{}", 2) = 2"#,
    ] {
        assert!(!changes(line), "{line}");
    }
}
