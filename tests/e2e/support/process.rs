//! Processes of the binary: commands that end by themselves, and servers.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_bailiwick");
/// Time in which a server must be ready, or drained.
const READY_MAX: Duration = Duration::from_secs(180);
/// Time in which an operators' page must answer.
const PAGE_MAX: Duration = Duration::from_secs(60);
/// Ports that no outgoing connection is given, on a Linux machine of today.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Those of one test.
const PORTS_OF_ONE: u16 = 1_000;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Finished {
    let output = Command::new(BINARY).args(arguments).stdin(Stdio::null()).output();
    let output = output.expect("the binary can be started");
    Finished {
        code: output.status.code().expect("no signal ended it"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What a command that succeeded has printed as JSON.
#[track_caller]
pub(crate) fn json(done: &Finished) -> Value {
    assert_eq!(done.code, 0, "{done:?}");
    serde_json::from_str(&done.stdout).expect("JSON")
}

/// Makes the store and keys of the shard of a configuration, as an operator does before its first
/// start.
#[track_caller]
pub(crate) fn init_shard(config: &Path) {
    let config = config.to_str().expect("a path that is text");
    let done = run(&["shard", "init", "--config", config]);
    assert_eq!(done.code, 0, "{}", done.stderr);
}

/// A loopback port on which nothing listens. Each is given once in a process, and no two tests that
/// run at once share a range: nextest numbers the slots in which they run. (A shard's address
/// stands in the annex before the shard starts, and must be the same after a restart: so it cannot
/// be the one that the system gives for port 0.)
pub(crate) fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    #[expect(clippy::disallowed_methods, reason = "nextest gives the slot by the environment")]
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok();
    let slot = slot.and_then(|slot| slot.parse::<u16>().ok()).unwrap_or(0);
    let range = PORTS.start + slot % ((PORTS.end - PORTS.start) / PORTS_OF_ONE) * PORTS_OF_ONE;
    // The test before in this slot may have left connections behind: begin elsewhere.
    let start = u16::try_from(std::process::id() % 61).expect("below 61") * 16;
    loop {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = range + start.wrapping_add(step) % PORTS_OF_ONE;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `yes` says yes, and panics when it does not in time.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process in real time")]
#[track_caller]
pub(crate) fn wait_until(what: &str, within: Duration, mut yes: impl FnMut() -> bool) {
    let start = Instant::now();
    while !yes() {
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits in real time.
#[expect(clippy::disallowed_methods, reason = "a test waits for another process in real time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// GETs a page by hand: the status, and the body. None when nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    stream.set_read_timeout(Some(PAGE_MAX)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// A server process with a configuration, or `bailiwick dev`.
pub(crate) struct Server {
    name: String,
    arguments: Vec<String>,
    admin: Option<u16>,
    output: PathBuf,
    variables: Vec<(&'static str, &'static str)>,
    child: Option<Child>,
}

impl Server {
    /// `bailiwick COMMAND --config FILE`, not started yet. What it prints goes beside its
    /// configuration.
    pub(crate) fn new(command: &str, name: &str, config: &Path, admin: u16) -> Self {
        let config_text = config.to_str().expect("a path that is text").to_owned();
        let arguments = vec![command.to_owned(), "--config".to_owned(), config_text];
        let output = config.with_extension("");
        let (name, variables) = (name.to_owned(), Vec::new());
        Self { name, arguments, admin: Some(admin), output, variables, child: None }
    }

    /// `bailiwick ARGUMENTS`, not started yet. What it prints goes into two files at `output`.
    pub(crate) fn of(arguments: &[&str], output: &Path) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
        let name = arguments.first().cloned().unwrap_or_default();
        let (output, variables) = (output.to_path_buf(), Vec::new());
        Self { name, arguments, admin: None, output, variables, child: None }
    }

    /// Sets a variable of its environment, from the next start on.
    pub(crate) fn set_variable(&mut self, name: &'static str, value: &'static str) {
        self.variables.push((name, value));
    }

    /// Starts it. What it prints is added to what it has printed before.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let append = |path: &Path| -> File {
            let opened = OpenOptions::new().create(true).append(true).open(path);
            opened.expect("a file can be written")
        };
        let child = Command::new(BINARY)
            .args(&self.arguments)
            .envs(self.variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(append(&self.output.with_extension("stdout")))
            .stderr(append(&self.output.with_extension("stderr")))
            .spawn();
        self.child = Some(child.expect("the binary can be started"));
    }

    /// Waits until `/readyz` says yes.
    #[track_caller]
    pub(crate) fn wait_ready(&self) {
        let admin = self.admin();
        let what = format!("{} is ready", self.name);
        wait_until(&what, READY_MAX, || get(admin, "/readyz").is_some_and(|(s, _)| s == 200));
    }

    /// The port of its operators' pages.
    pub(crate) fn admin(&self) -> u16 {
        self.admin.expect("a server with operators' pages")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        let Some(child) = &mut self.child else { return false };
        child.try_wait().expect("a child can be asked").is_none()
    }

    /// Kills it as a power cut does, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child can be waited for");
        }
    }

    /// Asks it to drain (SIGTERM), and gives the code with which it ended.
    #[track_caller]
    pub(crate) fn stop(&mut self) -> i32 {
        self.signal(Signal::TERM);
        self.wait_end()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits until it ends by itself, and gives its exit code.
    #[track_caller]
    pub(crate) fn wait_end(&mut self) -> i32 {
        let mut status: Option<ExitStatus> = None;
        let child = self.child.as_mut().expect("it runs");
        wait_until(&format!("{} ends", self.name), READY_MAX, || {
            status = child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        self.child = None;
        status.and_then(|status| status.code()).expect("no signal ended it")
    }

    /// Starts it again, after killing it if it still runs, and waits until it is ready.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.kill();
        self.start();
        self.wait_ready();
    }

    /// What it has written to standard output, in all its lives.
    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.output.with_extension("stdout")).unwrap_or_default()
    }

    /// What it has written to standard error, in all its lives.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.output.with_extension("stderr")).unwrap_or_default()
    }
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "a test that fails shows what its processes said")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let (name, stderr) = (&self.name, self.stderr());
            let last: Vec<&str> = stderr.lines().rev().take(20).collect();
            eprintln!("--- the last lines of {name}");
            last.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}
