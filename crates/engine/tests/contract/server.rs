//! A PostgreSQL server of a test: Debian's programs, a folder and a port of its own, and a user
//! without rights, since PostgreSQL refuses to run as root.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The password of every user.
pub(crate) const PASSWORD: &str = "of-this-test-alone";
/// Who owns the databases: no superuser.
pub(crate) const OWNER: &str = "bailiwick";
/// Looks at a server that starts, and the time between them.
const LOOKS: u32 = 3_600;
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Ports that no outgoing connection is given, on a Linux machine of today, and no other test takes.
const PORTS: Range<u16> = 9_000..12_000;
/// Those of one test.
const PORTS_OF_ONE: u16 = 100;

/// A server. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub(crate) struct Server {
    folder: TempDir,
    programs: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Creates a cluster, and starts it.
    pub(crate) fn start() -> Self {
        let server = Self::new();
        fs::write(server.folder.path().join("password"), PASSWORD).expect("write");
        server.own(&server.folder.path().join("password"));
        let (data, password) = (server.data(), server.folder.path().join("password"));
        let mut initdb = server.program("initdb");
        initdb.arg("-D").arg(data).arg("--pwfile").arg(password);
        done(initdb.args(["-A", "scram-sha-256", "-U", "postgres", "--no-sync", "--locale=C"]));
        let mut server = server;
        server.run();
        server.sql("postgres", &format!("create role {OWNER} login password '{PASSWORD}'"));
        server
    }

    /// A folder and a port, and no cluster yet.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let versions = fs::read_dir("/usr/lib/postgresql").expect("apt-get install postgresql");
        let newest = versions.flatten().map(|version| version.path()).max();
        let programs = newest.expect("apt-get install postgresql").join("bin");
        let server = Self { folder, programs, port: free_port(), child: None };
        server.own(server.folder.path());
        server
    }

    /// A standby of this server, which streams from it.
    pub(crate) fn standby(&self) -> Self {
        let mut standby = Self::new();
        let mut copy = standby.program("pg_basebackup");
        copy.arg("-D").arg(standby.data()).args(["-R", "-X", "stream", "-c", "fast", "--no-sync"]);
        copy.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres"]);
        done(&mut copy);
        standby.run();
        standby
    }

    /// Waits until something streams from it, or nothing does.
    pub(crate) fn wait_streams(&self, streams: bool) {
        let count = "select count(*) > 0 from pg_stat_replication";
        while self.sql("postgres", count) != if streams { "t" } else { "f" } {
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Starts it, with what it had before.
    pub(crate) fn run(&mut self) {
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "shared_buffers=32MB",
            "max_connections=120",
            "max_wal_size=256MB",
            "logging_collector=off",
        ] {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::options().create(true).append(true).open(self.log()).expect("a log");
        let child = postgres.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        self.child = Some(child.expect("it can be started"));
        let mut ready = self.program("pg_isready");
        ready.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let mut looks = 0;
        while !ready.status().is_ok_and(|status| status.success()) {
            let log = || fs::read_to_string(self.log()).unwrap_or_default();
            assert!(looks < LOOKS, "PostgreSQL does not start: {}", log());
            looks += 1;
            thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Kills it as a machine's end does: nothing is flushed, no one is told.
    pub(crate) fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        // An immediate stop ends all of its processes, and recovers at the next start.
        kill_process(pid, Signal::QUIT).ok();
        child.wait().ok();
    }

    /// A new database, owned by a user without further rights: its URL.
    pub(crate) fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("create database {name} owner {OWNER}"));
        self.url(name)
    }

    /// The URL of a database.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("postgresql://{OWNER}@{}/{name}", self.address())
    }

    /// Its host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs a statement as the superuser: what it answers.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let mut psql = self.program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1"]);
        psql.args(["-U", "postgres", "-p", &self.port.to_string(), "-d", database, "-c", text]);
        let output = done(&mut psql);
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// Has the server read its configuration again, and waits until new sessions have it.
    pub(crate) fn reload(&self) {
        // To the microsecond, of the server's main process, which sessions are made from.
        let loaded = || self.sql("postgres", "select pg_conf_load_time()");
        let before = loaded();
        self.sql("postgres", "select pg_reload_conf()");
        while loaded() == before {
            thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// The folder of the cluster.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// A program of PostgreSQL, as the user that the server runs as. It ends with this thread.
    pub(crate) fn program(&self, name: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.env("PGPASSWORD", PASSWORD).current_dir(self.folder.path());
        if let Some((user, group)) = unprivileged() {
            command.args(["--reuid", &user.to_string(), "--regid", &group.to_string()]);
            command.arg("--clear-groups");
        }
        command.args(["--pdeathsig", "QUIT"]).arg(self.programs.join(name));
        command
    }

    /// Gives a file or folder to that user, and to that user alone.
    pub(crate) fn own(&self, path: &Path) {
        if let Some((user, group)) = unprivileged() {
            chown(path, Some(user), Some(group)).expect("chown");
        }
        let mode = if path.is_dir() { 0o700 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port on which nothing listens. A server has it again after a restart: so it cannot be one that
/// the system gives, which an outgoing connection may have by then. No two tests that run at once
/// share a range: nextest numbers the slots in which they run.
fn free_port() -> u16 {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    #[expect(clippy::disallowed_methods, reason = "nextest gives the slot by the environment")]
    let slot = std::env::var("NEXTEST_TEST_GLOBAL_SLOT").ok();
    let slot = slot.and_then(|slot| slot.parse::<u16>().ok()).unwrap_or(0);
    let range = PORTS.start + slot % ((PORTS.end - PORTS.start) / PORTS_OF_ONE) * PORTS_OF_ONE;
    // The test before in this slot may have left connections behind: begin elsewhere.
    let start = u16::try_from(std::process::id() % 25).expect("below 25") * 4;
    loop {
        let step = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = range + start.wrapping_add(step) % PORTS_OF_ONE;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// The user and group of Debian's package, if this process is root.
fn unprivileged() -> Option<(u32, u32)> {
    let own = fs::metadata("/proc/self").expect("proc").uid();
    if own != 0 {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let line = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut fields = line.split(':').skip(2).map(|id| id.parse().expect("a number"));
    Some((fields.next().expect("a user"), fields.next().expect("a group")))
}

/// Runs a program to its end, which must be a good one.
#[track_caller]
pub(crate) fn done(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("it can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}
