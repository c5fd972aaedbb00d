//! PostgreSQL with its default settings, measured by `pgbench`: one row an insert, and 256 rows an
//! insert. A call is a row.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{OfPeer, in_folders, program};
use crate::load::Load;
use crate::measured::{Latency, Measured};
use crate::system::{cpu_of, free_port};

/// Rows of a batch.
const BATCH: u32 = 256;
/// Connections of pgbench at most: PostgreSQL takes 100 unless told otherwise.
const CLIENTS_MAX: usize = 64;
/// What an insert of a single row is called.
pub(crate) const ROW: &str = "PostgreSQL: insert of a row";
/// The user whose databases shards have.
const OWNER: &str = "shard";

pub(crate) struct Postgresql {
    programs: PathBuf,
    data: PathBuf,
    port: u16,
    /// The user that it runs as, if we are root, which it refuses.
    user: Option<&'static str>,
}

impl Drop for Postgresql {
    fn drop(&mut self) {
        let data = self.data.display().to_string();
        drop(self.run("pg_ctl", &["-D", &data, "-m", "immediate", "stop"]));
    }
}

impl Postgresql {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let initdb = program(
            || {
                let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
                let folders = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
                folders.map(|bin| bin.join("initdb")).find(|path| path.is_file())
            },
            "postgresql",
        )?;
        let programs = initdb.parent().context("initdb lies nowhere")?.to_owned();
        let root = rustix::process::geteuid().is_root();
        let data = std::path::absolute(folder.join("postgresql"))?;
        fs::create_dir_all(&data)?;
        let own = Self { programs, data, port: free_port()?, user: root.then_some("postgres") };
        if root {
            own.give_to_postgres()?;
        }
        let data = own.data.display().to_string();
        own.run("initdb", &["-D", &data, "-A", "trust", "-U", "postgres"])?;
        let options = format!("-p {} -h 127.0.0.1 -k {data}", own.port);
        let log = format!("{data}/log");
        own.run("pg_ctl", &["-D", &data, "-o", &options, "-l", &log, "-w", "start"])?;
        own.sql("CREATE TABLE bench (id bigserial PRIMARY KEY, body bytea)")?;
        own.sql(&format!("CREATE ROLE {OWNER} LOGIN"))?;
        Ok(own)
    }

    /// A new database for a shard: its URL.
    pub(crate) fn database(&self) -> Result<String> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!("shard{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("CREATE DATABASE {name} OWNER {OWNER}"))?;
        Ok(format!("postgresql://{OWNER}@127.0.0.1:{}/{name}", self.port))
    }

    /// Its folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Lets its user reach and write the folder.
    fn give_to_postgres(&self) -> Result<()> {
        let ids = |flag: &str| -> Result<u32> {
            let id = Command::new("id").args([flag, "postgres"]).output()?;
            Ok(String::from_utf8(id.stdout)?.trim().parse()?)
        };
        chown(&self.data, Some(ids("-u")?), Some(ids("-g")?))?;
        Ok(())
    }

    fn command(&self, name: &str) -> Command {
        let path = in_folders(&[&self.programs.display().to_string()], name)
            .unwrap_or_else(|| Path::new("/usr/bin").join(name));
        match self.user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
            None => Command::new(path),
        }
    }

    fn run(&self, name: &str, args: &[&str]) -> Result<String> {
        let mut command = self.command(name);
        command.args(args).stderr(Stdio::inherit()).stdin(Stdio::null());
        // A server that pg_ctl starts keeps the pipes open: its own output goes to a file.
        let log = self.data.with_extension("out");
        let out = fs::File::create(&log)?;
        let status = command.stdout(out).status().with_context(|| format!("no {name}"))?;
        let text = fs::read_to_string(&log)?;
        ensure!(status.success(), "{name} failed: {text}");
        Ok(text)
    }

    fn sql(&self, text: &str) -> Result<String> {
        let port = self.port.to_string();
        self.run("psql", &["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-At", "-c", text])
    }

    pub(super) async fn measure(&self, load: &Load, in_flight: usize) -> Result<Vec<OfPeer>> {
        let row = format!("(decode(repeat('78', {}), 'hex'))", load.body);
        let rows = vec![row.as_str(); BATCH as usize].join(", ");
        let one = self.pgbench(load, in_flight, &row, 1);
        let many = self.pgbench(load, in_flight, &rows, BATCH);
        let (one, many) = (one.await?, many.await?);
        Ok(vec![
            (ROW.to_owned(), one.0, Some(one.1)),
            (format!("PostgreSQL: insert of {BATCH} rows"), many.0, Some(many.1)),
        ])
    }

    async fn pgbench(
        &self,
        load: &Load,
        in_flight: usize,
        rows: &str,
        count: u32,
    ) -> Result<(Measured, [f64; 3])> {
        let script = self.data.with_extension("sql");
        fs::write(&script, format!("INSERT INTO bench (body) VALUES {rows};\n"))?;
        let (script, clients) = (script.display().to_string(), in_flight.min(CLIENTS_MAX));
        let args = [
            "-h",
            "127.0.0.1",
            "-p",
            &self.port.to_string(),
            "-U",
            "postgres",
            "-n",
            "-M",
            "prepared",
            "-c",
            &clients.to_string(),
            "-j",
            "1",
            "-T",
            &load.seconds.as_secs().to_string(),
            "-f",
            &script,
            "postgres",
        ];
        let before = self.cpu()?;
        let own = own_children();
        let text = tokio::task::block_in_place(|| self.run("pgbench", &args))?;
        let (its, own) = (self.cpu()?.saturating_sub(before), own_children().saturating_sub(own));
        let figure = |before: &str| -> Result<f64> {
            let line = text.lines().find_map(|line| line.strip_prefix(before));
            let number = line.and_then(|line| line.trim().split(' ').next());
            Ok(number.with_context(|| format!("pgbench says no {before}"))?.parse()?)
        };
        let transactions = figure("number of transactions actually processed: ")?;
        let calls = transactions * f64::from(count);
        let us = |spent: Duration| spent.as_secs_f64() * 1e6 / calls.max(1.0);
        let unknown = f64::NAN;
        let latency = Latency {
            p50_ms: figure("latency average = ")?,
            p99_ms: unknown,
            p999_ms: unknown,
            max_ms: unknown,
        };
        let per_second = figure("tps = ")? * f64::from(count);
        let (failed, done, first_failure) = (0, 0, None);
        let measured = Measured { per_second, latency, failed, done, first_failure };
        Ok((measured, [us(own), us(its), 0.0]))
    }

    /// Processor time of the server's processes, those that have ended included.
    pub(crate) fn cpu(&self) -> Result<Duration> {
        let pid = fs::read_to_string(self.data.join("postmaster.pid"))?;
        let server = pid.lines().next().context("the server has no process id")?.to_owned();
        let mut all = with_children(&server);
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let stat = fs::read_to_string(format!("/proc/{name}/stat")).unwrap_or_default();
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            if fields.split_whitespace().nth(1) == Some(&server) {
                all += with_children(&name);
            }
        }
        Ok(all)
    }
}

/// Processor time of a process and of its children that have ended.
fn with_children(process: &str) -> Duration {
    const TICK_MS: u64 = 10;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    // utime, stime, cutime, cstime: the 14th to the 17th.
    let ticks: u64 = fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MS)
}

/// Processor time of our own children that have ended: pgbench is one.
fn own_children() -> Duration {
    let all = with_children("self");
    all.saturating_sub(cpu_of("self"))
}
