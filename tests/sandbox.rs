//! Real servers behind the kernel's fence: what `strace` sees a gateway open, what the kernel says
//! of both, and that everything works inside.

#[expect(dead_code, reason = "not every way to end a process is taken here")]
mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use client::{Client, Settings};
use support::load::{PATIENT, Writers, get};
use support::process::{get as page, pause, run, wait_until};
use support::{Deployment, Options};
use tokio::runtime::Runtime;

/// Time in which a server is ready, or drained.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long callers write while a gateway is watched.
const LOAD: Duration = Duration::from_secs(3);
/// What is watched: every call that names a file, and every one that writes or makes something.
const CALLS: &str = "trace=%file,ftruncate,fallocate,memfd_create,io_uring_setup,prctl,prlimit64,\
                     landlock_restrict_self,clone,clone3,write,writev,pwrite64,pwritev,pwritev2,\
                     sendfile,splice,copy_file_range";

fn one(engine: &'static str) -> Deployment {
    Deployment::start(&Options { regions: vec!["eu-fra"], engine, ..Options::default() })
}

/// Puts a line at the top of a configuration.
fn configure(deployment: &Deployment, name: &str, line: &str) -> PathBuf {
    let path = deployment.root().join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).expect("a configuration");
    fs::write(&path, format!("{line}\n{text}")).expect("a configuration can be written");
    path
}

/// A line of the page of a process in /proc.
fn of_process(pid: u32, page: &str, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/{page}")).expect("a page of a process");
    let line = text.lines().find(|line| line.starts_with(name));
    line.expect("the page has such a line").to_owned()
}

#[track_caller]
fn is_fenced(pid: u32, admin: u16) {
    assert_eq!(of_process(pid, "status", "NoNewPrivs").split_whitespace().last(), Some("1"));
    // Every thread, not only the first.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).expect("threads") {
        let status = thread.expect("a thread").path().join("status");
        let text = fs::read_to_string(status).expect("a page of a thread");
        assert!(text.contains("NoNewPrivs:\t1\n"), "{text}");
    }
    let limit = of_process(pid, "limits", "Max core file size");
    let limits: Vec<&str> = limit.split_whitespace().skip(4).take(2).collect();
    assert_eq!(limits, ["0", "0"], "{limit}");
    for path in ["/livez", "/readyz"] {
        let (status, text) = page(admin, path).expect("a page");
        let fact = text.lines().find(|line| line.starts_with("sandbox: ")).expect("a fact");
        assert_eq!(status, 200);
        let rest = fact.strip_prefix("sandbox: on (landlock abi ").expect(fact);
        assert!(
            rest.ends_with("), no file attributes, no new privileges, undumpable, no core files"),
            "{fact}"
        );
    }
    let (_, metrics) = page(admin, "/metrics").expect("a page");
    for fence in ["landlock", "no_attributes", "no_new_privileges", "undumpable", "no_core_files"] {
        let line = format!("bailiwick_sandbox{{fence=\"{fence}\"}} 1\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn with_the_sandbox_required_records_are_put_and_read_on_both_engines() {
    for engine in ["sled", "fjall"] {
        let mut deployment = one(engine);
        configure(&deployment, "gateway", "require_sandbox = true");
        configure(&deployment, "shard-eu-fra", "require_sandbox = true");
        let runtime = Runtime::new().expect("a runtime");
        // From nothing: the folders are made before the fence is there.
        let home = deployment.root().join("eu-fra");
        deployment.shard("eu-fra").stop();
        fs::remove_dir_all(&home).expect("the shard's folders");
        deployment.gateway().restart();
        deployment.restart("eu-fra");
        let writers = Writers::start(&runtime, &deployment.gateway_url(), 8);
        pause(Duration::from_secs(1));
        // And from a store that is there, after a power cut.
        deployment.restart("eu-fra");
        pause(Duration::from_secs(1));
        let acked = writers.stop(&runtime);
        assert!(acked.len() > 50, "{engine}: only {} records", acked.len());
        let url = deployment.gateway_url();
        runtime.block_on(async {
            let client = Client::connect(&url, PATIENT).await.expect("a gateway");
            for record in &acked {
                let read = get(&client, &record.subject, "eu-fra", &record.key).await;
                assert_eq!(read.expect("a record").body, record.body, "{engine}");
            }
        });
        for (name, pid, admin) in [
            ("gateway", deployment.gateway().pid(), deployment.gateway().admin()),
            ("eu-fra", deployment.shard("eu-fra").pid(), deployment.shard("eu-fra").admin()),
        ] {
            is_fenced(pid, admin);
            assert!(deployment.stderr(name).contains("the sandbox holds"), "{name}");
        }
        assert_eq!(deployment.gateway().stop(), 0);
        assert_eq!(deployment.shard("eu-fra").stop(), 0);
    }
}

// === a gateway, watched ===

/// A gateway under `strace`, killed when it goes out of scope.
struct Watched {
    gateway: Child,
    log: PathBuf,
}

impl Watched {
    /// Starts it under a strace that makes itself its grandchild: the child here is the gateway.
    fn start(config: &Path, what: &str) -> Self {
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
    fn stop(mut self) -> Vec<String> {
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

#[test]
fn a_gateway_under_load_opens_no_file_for_writing_and_is_refused_when_it_tries() {
    let mut deployment = one("fjall");
    let config = configure(&deployment, "gateway", "require_sandbox = true");
    let admin = deployment.gateway().admin();
    assert_eq!(deployment.gateway().stop(), 0);
    let watched = Watched::start(&config, CALLS);
    wait_until("the gateway is ready", READY_MAX, || {
        page(admin, "/readyz").is_some_and(|(status, _)| status == 200)
    });
    deployment.wait_session("eu-fra", true);
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 8);
    pause(LOAD);
    let acked = writers.stop(&runtime);
    assert!(acked.len() > 50, "only {} records: that is no load", acked.len());
    let url = deployment.gateway_url();
    runtime.block_on(async {
        let once = Settings { attempts_max: 1, ..PATIENT };
        let client = Client::connect(&url, once).await.expect("a gateway");
        for record in acked.iter().take(100) {
            get(&client, &record.subject, "eu-fra", &record.key).await.expect("a record");
        }
    });
    let seen = watched.stop();
    let at = |what: &str| seen.iter().position(|line| line.contains(what));
    let fenced = at("landlock_restrict_self(").expect("it enters the sandbox");
    assert!(seen[fenced].ends_with("= 0"), "{}", seen[fenced]);
    let undumpable = at("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0");
    assert!(undumpable.is_some(), "it is not undumpable");
    let thread = seen.iter().position(|line| line.contains(" clone"));
    assert!(thread.is_some_and(|thread| fenced < thread), "a thread was started before");

    // From inside, on a thread that was started inside: the kernel refuses.
    let tried: Vec<&String> = seen.iter().filter(|line| changes(line)).collect();
    let [probe] = tried.as_slice() else { panic!("it tried to write: {tried:#?}") };
    assert!(probe.contains("\"/dev/null\", O_WRONLY"), "{probe}");
    assert!(probe.ends_with("= -1 EACCES (Permission denied)"), "{probe}");
    let main = seen.first().and_then(|line| line.split_whitespace().next());
    assert_ne!(probe.split_whitespace().next(), main, "the main thread tried it by itself");
    // The watch itself can see: the same binary's files that were opened to read are there.
    assert!(seen.iter().any(|line| line.contains("gateway.toml") && line.contains("O_RDONLY")));
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

// === a shard, and starts that are refused ===

#[test]
fn a_shard_cannot_write_outside_of_its_folders() {
    let mut deployment = one("sled");
    let outside = deployment.root().join("outside");
    fs::create_dir(&outside).expect("a folder");
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    // The anchor leads outside: its folder is granted, what a link in it points at is not.
    let anchor = deployment.anchor_dir("eu-fra");
    let moved = outside.join("anchor");
    let file = fs::read_dir(&anchor).expect("a folder").next().expect("a file").expect("a file");
    fs::rename(file.path(), &moved).expect("a file can be moved");
    std::os::unix::fs::symlink(&moved, file.path()).expect("a link can be made");
    let config = deployment.root().join("shard-eu-fra.toml");
    let refused = run(&["shard", "--config", config.to_str().expect("text")]);
    assert_ne!(refused.code, 0, "{}", refused.stderr);
    let said = refused.stderr.to_lowercase();
    assert!(said.contains("permission denied"), "{}", refused.stderr);
    // With the file in its place, it goes on.
    fs::remove_file(file.path()).expect("a link can be removed");
    fs::rename(&moved, file.path()).expect("a file can be moved");
    deployment.restart("eu-fra");
    is_fenced(deployment.shard("eu-fra").pid(), deployment.shard("eu-fra").admin());
}

/// What a kernel without Landlock answers.
const NO_LANDLOCK: &str = "inject=landlock_create_ruleset:error=ENOSYS";

#[test]
fn without_landlock_a_server_that_requires_it_does_not_start_and_another_says_so() {
    let mut deployment = one("sled");
    assert_eq!(deployment.gateway().stop(), 0);
    assert_eq!(deployment.shard("eu-fra").stop(), 0);
    let own = [("gateway", "gateway"), ("shard", "shard-eu-fra")];
    for (command, name) in own {
        let config = configure(&deployment, name, "require_sandbox = true");
        let refused = Command::new("strace")
            .args(["-f", "-e", NO_LANDLOCK, "-o", "/dev/null", env!("CARGO_BIN_EXE_bailiwick")])
            .args([command, "--config"])
            .arg(&config)
            .output()
            .expect("strace is installed");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(64), "{stderr}");
        assert!(stderr.contains("`require_sandbox` is true"), "{stderr}");
        assert!(stderr.contains("off (the kernel has no Landlock)"), "{stderr}");
    }
    let text = fs::read_to_string(deployment.root().join("gateway.toml")).expect("a text");
    let text = text.replace("require_sandbox = true", "require_sandbox = false");
    let config = deployment.root().join("gateway.toml");
    fs::write(&config, text).expect("a configuration can be written");
    let admin = deployment.gateway().admin();
    let watched = Watched::start(&config, NO_LANDLOCK);
    let mut ready = String::new();
    wait_until("the gateway answers", READY_MAX, || {
        page(admin, "/readyz").is_some_and(|(_, text)| {
            ready = text;
            ready.contains("sandbox: ")
        })
    });
    let fact = "sandbox: off (the kernel has no Landlock), no new privileges, undumpable";
    assert!(ready.contains(fact), "{ready}");
    let (_, metrics) = page(admin, "/metrics").expect("a page");
    assert!(metrics.contains("bailiwick_sandbox{fence=\"landlock\"} 0\n"), "{metrics}");
    assert!(metrics.contains("bailiwick_sandbox{fence=\"undumpable\"} 1\n"), "{metrics}");
    watched.stop();
}

#[test]
fn a_word_that_is_no_yes_or_no_is_a_mistake() {
    let deployment = one("sled");
    for (name, command) in [("gateway", "gateway"), ("shard-eu-fra", "shard")] {
        let config = configure(&deployment, name, "require_sandbox = \"yes\"");
        let refused = run(&[command, "--config", config.to_str().expect("text")]);
        assert_eq!(refused.code, 64, "{}", refused.stderr);
        assert!(refused.stderr.contains("require_sandbox"), "{}", refused.stderr);
    }
}
