//! The processes that are measured: `bailiwick` as a gateway and a shard, and this program as the
//! bare pair.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use client::Access;
use tokio::time::Instant;

use crate::peers::postgresql::Postgresql;
use crate::secure::{Caller, Credentials};
use crate::system::{cpu_of, free_port};

/// How long a process may take to listen.
const START_MAX: Duration = Duration::from_secs(20);
/// The engine whose store lies in a database.
pub(crate) const POSTGRES: &str = "postgres";
/// The map, so that a bench needs no file beside the binary.
const MAP: &str = include_str!("../../../deploy/sample/map.toml");
/// A collection with a list and three attributes that have indexes, and one with neither.
pub(crate) const INDEXED: &str = "indexed";
pub(crate) const UNINDEXED: &str = "unindexed";
const REGIONS: [&str; 5] = ["ru-msk", "eu-fra", "kz-ala", "in-bom", "us-iad"];

/// The programs that are started.
#[derive(Debug)]
pub(crate) struct Programs {
    bailiwick: PathBuf,
    own: PathBuf,
    /// Cores for gateway and shard, as `taskset` takes them. None: all.
    cores: Option<String>,
}

impl Programs {
    /// This program, and the `bailiwick` that is given or lies beside it.
    pub(crate) fn find(bailiwick: Option<&Path>) -> Result<Self> {
        let own = std::env::current_exe().context("this program has no path")?;
        let bailiwick = bailiwick.map_or_else(|| own.with_file_name("bailiwick"), Path::to_owned);
        if !bailiwick.is_file() {
            bail!("{} is missing: build it, or name it by --bailiwick", bailiwick.display());
        }
        Ok(Self { bailiwick, own, cores: None })
    }

    /// The same, with gateway and shard on these cores alone.
    pub(crate) fn on_cores(self, cores: Option<String>) -> Self {
        Self { cores, ..self }
    }

    /// Starts a gateway or a shard with the configuration in that folder.
    fn serve(&self, folder: &Path, kind: &str) -> Result<Running> {
        let path = folder.join(format!("{kind}.toml"));
        let log = fs::File::create(folder.join(format!("{kind}.log")))?;
        let path = path.to_str().context("the folder's name is not UTF-8")?;
        match &self.cores {
            Some(cores) => {
                let bailiwick = self.bailiwick.to_str().context("its name is not UTF-8")?;
                let args = ["-c", cores, bailiwick, kind, "--config", path];
                Running::start(Path::new("taskset"), &args, log.into())
            }
            None => Running::start(&self.bailiwick, &[kind, "--config", path], log.into()),
        }
    }
}

/// A process that ends with its handle.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Running {
    pub(crate) fn start(program: &Path, args: &[&str], log: Stdio) -> Result<Self> {
        let mut command = Command::new(program);
        let child = command.args(args).stdout(Stdio::null()).stderr(log).spawn();
        Ok(Self(child.with_context(|| format!("{} cannot be started", program.display()))?))
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        self.0.kill().ok();
        self.0.wait().ok();
    }

    /// Time that it has spent on a processor so far.
    pub(crate) fn cpu(&self) -> Duration {
        cpu_of(&self.0.id().to_string())
    }

    fn resident_mib(&self) -> u64 {
        self.status_mib("VmRSS:")
    }

    /// A figure of `/proc` in kilobytes, as megabytes.
    fn status_mib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.0.id());
        let status = fs::read_to_string(path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib =
            line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.unwrap_or(0) / 1024
    }
}

/// Processor time of the load generator, of the process that it calls, and of the one behind that.
pub(crate) type Cpu = [Duration; 3];

/// Microseconds of it for each of so many calls, of what was spent between two readings.
pub(crate) fn cpu_us(calls: u64, [before, after]: [Cpu; 2]) -> [f64; 3] {
    let calls = f64::from(u32::try_from(calls).unwrap_or(u32::MAX).max(1));
    let mut spent = before.into_iter().zip(after);
    std::array::from_fn(|_| {
        let (before, after) = spent.next().unwrap_or_default();
        after.saturating_sub(before).as_secs_f64() * 1e6 / calls
    })
}

/// The bare pair.
pub(crate) struct Pair {
    pub(crate) url: String,
    back: Running,
    front: Running,
}

impl Pair {
    /// Starts it: plain, or tuned as Bailiwick's processes are.
    pub(crate) fn start(programs: &Programs, tuned: bool) -> Result<Self> {
        let tuning: &[&str] = if tuned { &["--tuned"] } else { &[] };
        let (back, front) = (free_port()?, free_port()?);
        let (listen, url) = (format!("127.0.0.1:{back}"), format!("http://127.0.0.1:{back}"));
        let args = [&["peer", "--listen", &listen], tuning].concat();
        let back_process = Running::start(&programs.own, &args, Stdio::inherit())?;
        wait_for(back)?;
        let listen = format!("127.0.0.1:{front}");
        let args = [&["peer", "--listen", &listen, "--to", &url], tuning].concat();
        let front_process = Running::start(&programs.own, &args, Stdio::inherit())?;
        wait_for(front)?;
        let url = format!("http://127.0.0.1:{front}");
        Ok(Self { url, back: back_process, front: front_process })
    }

    pub(crate) fn cpu(&self) -> Cpu {
        [cpu_of("self"), self.front.cpu(), self.back.cpu()]
    }
}

/// How a gateway and a shard are set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) engine: &'a str,
    /// The server in which the shard gets a database, with the engine `postgres`.
    pub(crate) server: Option<&'a Arc<Postgresql>>,
    /// TLS between all, and tokens for callers.
    pub(crate) secure: bool,
    /// What stands under `[limits]`.
    pub(crate) limits: &'a str,
}

/// A second tenant, beside the map's own.
pub(crate) const NEIGHBOUR: &str = "neighbour";

/// A gateway and one shard, of the region eu-fra; the other regions have no process.
pub(crate) struct Served {
    pub(crate) url: String,
    pub(crate) credentials: Option<Credentials>,
    gateway: Running,
    shard: Running,
    shard_port: u16,
    folder: PathBuf,
    database: Option<Arc<Postgresql>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        // The next measurement begins with an empty store. What cannot be removed now is removed
        // with the folder above it.
        fs::remove_dir_all(&self.folder).ok();
    }
}

impl Served {
    pub(crate) fn start(programs: &Programs, folder: &Path, setup: Setup<'_>) -> Result<Self> {
        let Setup { engine, secure, .. } = setup;
        let folder = folder.join(if secure { format!("{engine}-secure") } else { engine.into() });
        fs::create_dir_all(&folder)?;
        let credentials = if secure { Some(Credentials::make(&folder)?) } else { None };
        let ports = [free_port()?, free_port()?, free_port()?, free_port()?, free_port()?];
        let [shard, _, gateway, ..] = ports;
        write_files(&folder, setup, ports, credentials.as_ref())?;
        let started = |kind: &str| programs.serve(&folder, kind);
        let config = folder.join("shard.toml");
        let config = config.to_str().context("the folder's name is not UTF-8")?;
        let init = Command::new(&programs.bailiwick)
            .args(["shard", "init", "--config", config])
            .stdout(Stdio::null())
            .status()?;
        if !init.success() {
            bail!("the shard's store cannot be made");
        }
        let shard_process = started("shard")?;
        wait_for(shard)?;
        let gateway_process = started("gateway")?;
        wait_for(gateway)?;
        // The session to the shard comes up within its first backoff.
        std::thread::park_timeout(Duration::from_millis(500));
        let scheme = if secure { "https" } else { "http" };
        Ok(Self {
            url: format!("{scheme}://127.0.0.1:{gateway}"),
            credentials,
            gateway: gateway_process,
            shard: shard_process,
            shard_port: shard,
            folder,
            database: setup.server.filter(|_| engine == POSTGRES).cloned(),
        })
    }

    /// The map's tenant, as a caller of the gateway.
    pub(crate) fn caller(&self) -> Result<Caller> {
        match &self.credentials {
            Some(credentials) => credentials.caller(&self.url, "sample"),
            None => Ok(Caller::plain(&self.url)),
        }
    }

    /// The same for the SDK.
    pub(crate) fn access(&self) -> Result<Access> {
        match &self.credentials {
            Some(credentials) => credentials.access("sample"),
            None => Ok(Access::default()),
        }
    }

    /// The processes of the shard's database count as the shard.
    pub(crate) fn cpu(&self) -> Cpu {
        let database = self.database.as_ref().and_then(|server| server.cpu().ok());
        let database = database.unwrap_or_default();
        [cpu_of("self"), self.gateway.cpu(), self.shard.cpu() + database]
    }

    /// Kills the shard and starts it again; how long it took until it listened.
    pub(crate) fn kill_shard(&mut self, programs: &Programs) -> Result<Duration> {
        self.shard.kill();
        let started = Instant::now();
        self.shard = programs.serve(&self.folder, "shard")?;
        wait_for(self.shard_port)?;
        let took = started.elapsed();
        // The gateway's next session comes up within its backoff.
        std::thread::park_timeout(Duration::from_secs(2));
        Ok(took)
    }

    /// What the shard's folders take up, and its database.
    pub(crate) fn disk_mib(&self) -> Result<u64> {
        let database = self.database.as_ref().map_or(Ok(0), |server| disk_bytes(server.data()))?;
        Ok((disk_bytes(&self.folder)? + database) >> 20)
    }

    pub(crate) fn resident_mib(&self) -> (u64, u64) {
        (self.gateway.resident_mib(), self.shard.resident_mib())
    }

    /// The most that was ever resident.
    pub(crate) fn peak_mib(&self) -> (u64, u64) {
        (self.gateway.status_mib("VmHWM:"), self.shard.status_mib("VmHWM:"))
    }
}

/// Writes map, annexes and configurations.
fn write_files(
    folder: &Path,
    setup: Setup<'_>,
    [shard, shard_admin, gateway, gateway_admin, nobody]: [u16; 5],
    credentials: Option<&Credentials>,
) -> Result<()> {
    let limits = setup.limits;
    let mut map = format!("{MAP}\n[[tenants]]\nname = \"{NEIGHBOUR}\"\n{}", collections()?);
    if let Some(credentials) = credentials {
        let own = "[[regions]]\nname = \"eu-fra\"\n";
        map = map.replace(own, &format!("{own}authorities = [\"{}\"]\n", credentials.pin));
    }
    fs::write(folder.join("map.toml"), map)?;
    let scheme = if credentials.is_some() { "https" } else { "http" };
    let mut annexes = String::new();
    for region in REGIONS {
        let port = if region == "eu-fra" { shard } else { nobody };
        let annex = format!(
            "region = \"{region}\"\n[[shards]]\nname = \"s1\"\n\
             address = \"{scheme}://127.0.0.1:{port}\"\nslots = \"0-1023\"\n"
        );
        fs::write(folder.join(format!("{region}.toml")), annex)?;
        write!(annexes, "\"{region}.toml\", ")?;
    }
    let plain = "plaintext = true\n".to_owned();
    let tls = |process| credentials.map_or_else(|| plain.clone(), |_| Credentials::tls(process));
    let [store, database] = store(folder, setup)?;
    let config = format!(
        "region = \"eu-fra\"\nshard = \"s1\"\nlisten = \"127.0.0.1:{shard}\"\n\
         admin_listen = \"127.0.0.1:{shard_admin}\"\nmap = \"map.toml\"\n\
         annex = \"eu-fra.toml\"\nanchor = \"anchor\"\nkeys = \"keys\"\n\
         disk_reserve_mb = 256\n{store}{}{database}",
        tls("shard")
    );
    fs::write(folder.join("shard.toml"), config)?;
    let callers = match credentials {
        Some(_) => Credentials::callers(),
        None => "[caller]\ntenant = \"sample\"\nname = \"bench\"\n\
                 roles = [\"writer\", \"reader\"]\nterritory = \"DE\"\n"
            .to_owned(),
    };
    let config = format!(
        "name = \"bench\"\nlisten = \"127.0.0.1:{gateway}\"\n\
         admin_listen = \"127.0.0.1:{gateway_admin}\"\nmap = \"map.toml\"\n\
         annexes = [{annexes}]\n{}{}{callers}{limits}",
        credentials.map_or("", |_| "region = \"eu-fra\"\n"),
        tls("gateway")
    );
    fs::write(folder.join("gateway.toml"), config)?;
    Ok(())
}

/// Where the shard's store lies: the keys of its configuration, and a table.
fn store(folder: &Path, Setup { engine, server, .. }: Setup<'_>) -> Result<[String; 2]> {
    let Some(server) = server.filter(|_| engine == POSTGRES) else {
        let keys = format!("engine = \"{engine}\"\ndata = \"data\"\ncache_mb = 256\n");
        return Ok([keys, String::new()]);
    };
    // The server trusts all of this machine.
    let password = folder.join("password");
    fs::write(&password, "none")?;
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600))?;
    let url = server.database()?;
    let table =
        format!("[postgres]\nurl = \"{url}\"\npassword_file = \"password\"\nplaintext = true\n");
    Ok([format!("engine = \"{engine}\"\n"), table])
}

/// The collections of [`INDEXED`] and [`UNINDEXED`], as a map has them.
fn collections() -> Result<String> {
    let mut text = String::new();
    for name in [UNINDEXED, INDEXED] {
        let list = name == INDEXED;
        write!(
            text,
            "\n[[collections]]\nname = \"{name}\"\ncategory = \"bench\"\nreads = \"counted\"\nlist = {list}\n"
        )?;
    }
    for (name, kind, index) in
        [("city", "string", "exact"), ("kind", "string", "exact"), ("age", "integer", "range")]
    {
        write!(
            text,
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        )?;
    }
    Ok(text)
}

/// What a folder takes up, with all below it.
pub(crate) fn disk_bytes(folder: &Path) -> Result<u64> {
    // The unit of `st_blocks`.
    const BLOCK_BYTES: u64 = 512;
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        // What an engine has removed in between takes up nothing.
        let Ok(about) = entry.metadata() else { continue };
        bytes +=
            if about.is_dir() { disk_bytes(&entry.path())? } else { about.blocks() * BLOCK_BYTES };
    }
    Ok(bytes)
}

pub(crate) fn wait_for(port: u16) -> Result<()> {
    let until = Instant::now() + START_MAX;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > until {
            bail!("the process does not listen; its log lies in the bench folder");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
    Ok(())
}
