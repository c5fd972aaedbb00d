//! Starts real processes on free ports with configurations of their own, waits until they serve,
//! and ends them. Whoever uses this works on the binary as an operator does.
//!
//! ```text
//! let mut deployment = Deployment::start(&Options::default());
//! deployment.gateway_url();
//! deployment.shard("ru-msk").kill();
//! deployment.restart("ru-msk");
//! ```

pub(crate) mod disk;
pub(crate) mod evidence;
pub(crate) mod load;
pub(crate) mod maps;
pub(crate) mod objects;
#[path = "../../../crates/engine/tests/contract/server.rs"]
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod rogue;
pub(crate) mod search;
pub(crate) mod secure;
pub(crate) mod shards;
#[path = "../../../crates/shard/tests/suite/support/stored.rs"]
pub(crate) mod stored;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use maps::People;
use process::{Server, free_port, get, init_shard, wait_until};
use secure::Secured;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Time in which a session between gateway and shard must come up, or go down.
pub(crate) const SESSION_MAX: Duration = Duration::from_secs(120);

/// A file of this repository.
pub(crate) fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The regions whose shards run. The map has all of its own: the others are down.
    pub(crate) regions: Vec<&'static str>,
    /// `sled`, `fjall` or `postgres`.
    pub(crate) engine: &'static str,
    /// The database of each shard, with `postgres`: its URL, in which `REGION` stands for the region.
    pub(crate) database: Option<String>,
    /// The text of the region map.
    pub(crate) map: String,
    /// Whether the gateway has the IP database of the evidence set.
    pub(crate) geoip: bool,
    /// Megabytes that stay free on the shards' disk.
    pub(crate) disk_reserve_mb: u64,
    /// Where a shard's data, anchor and keys lie, for each region that shall not have them below
    /// the temporary folder.
    pub(crate) homes: BTreeMap<&'static str, PathBuf>,
    /// The territory of the caller on a plaintext listener; none: beside the gateway.
    pub(crate) territory: Option<&'static str>,
    /// Whether every listener has TLS. Callers then have the caller's certificate or a token.
    pub(crate) tls: bool,
    /// The region in the gateway's certificate.
    pub(crate) gateway_region: &'static str,
    /// Whether `anna` and `boris` sign its maps, and `carol` may come to.
    pub(crate) signed: bool,
    /// What the holder of the caller's certificate may do.
    pub(crate) grant: BTreeMap<&'static str, Value>,
    /// What else stands in tables of a shard's configuration.
    pub(crate) shard_tables: String,
    /// The gateway's `[http]`, `[limits]` and what else stands in tables of its own.
    pub(crate) gateway_tables: &'static str,
}

impl Default for Options {
    /// The five regions of the sample map on sled, with the IP database.
    fn default() -> Self {
        let map = fs::read_to_string(file("tests/evidence/map.toml")).expect("there is a map");
        Self {
            regions: vec!["eu-fra", "in-bom", "kz-ala", "ru-msk", "us-iad"],
            engine: "sled",
            database: None,
            map,
            geoip: true,
            disk_reserve_mb: 1,
            homes: BTreeMap::new(),
            territory: None,
            tls: false,
            gateway_region: "eu-fra",
            signed: false,
            grant: BTreeMap::from([
                ("tenant", json!("sample")),
                ("roles", json!(["writer", "reader"])),
                ("territory", json!("DE")),
                ("collections", json!(["*"])),
                ("regions", json!(["*"])),
            ]),
            shard_tables: String::new(),
            gateway_tables: "",
        }
    }
}

/// A gateway and shards, each a process of its own. Dropped, they are killed and their folders
/// removed.
pub(crate) struct Deployment {
    gateway: Server,
    gateway_port: u16,
    shards: BTreeMap<&'static str, Server>,
    homes: BTreeMap<&'static str, PathBuf>,
    ports: BTreeMap<String, u16>,
    audits: BTreeMap<String, u16>,
    secured: Option<Secured>,
    people: Option<People>,
    root: TempDir,
}

impl Deployment {
    /// Starts everything and waits until the gateway has a session with every shard that runs.
    pub(crate) fn start(options: &Options) -> Self {
        let mut deployment = Self::configure(options);
        deployment.serve(&options.regions);
        deployment
    }

    /// Writes everything that the processes need, and starts none.
    pub(crate) fn configure(options: &Options) -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        let regions = regions_of(&options.map);
        let secured =
            options.tls.then(|| Secured::make(root.path(), &regions, options.gateway_region));
        let map = match &secured {
            Some(secured) => secured.pinned(&options.map, &regions),
            None => options.map.clone(),
        };
        let map_path = root.path().join("map.toml");
        fs::write(&map_path, map).expect("a map can be written");
        let people = options.signed.then(|| {
            let people = People::make(root.path(), &["anna", "boris", "carol"]);
            people.sign(&map_path, &["anna", "boris"]);
            people
        });
        let signers = people.as_ref().map_or_else(String::new, |p| p.config(&["anna", "boris"]));
        let mut annexes = Vec::new();
        let mut shards = BTreeMap::new();
        let mut homes = BTreeMap::new();
        let mut ports = BTreeMap::new();
        let mut audits = BTreeMap::new();
        for region in regions {
            let (port, audit) = (free_port(), free_port());
            ports.insert(region.clone(), port);
            audits.insert(region.clone(), audit);
            let scheme = if options.tls { "https" } else { "http" };
            let annex = format!(
                "region = \"{region}\"\n[[shards]]\nname = \"s1\"\n\
                 address = \"{scheme}://127.0.0.1:{port}\"\n\
                 audit = \"{scheme}://127.0.0.1:{audit}\"\nslots = \"0-1023\"\n"
            );
            let annex_path = format!("annex-{region}.toml");
            fs::write(root.path().join(&annex_path), annex).expect("an annex can be written");
            annexes.push(annex_path);
            if let Some(region) = options.regions.iter().find(|own| **own == region) {
                let home = options.homes.get(region).cloned();
                let home = home.unwrap_or_else(|| root.path().join(region));
                let admin = free_port();
                let config = root.path().join(format!("shard-{region}.toml"));
                let text = shard_config(options, region, (port, admin, audit), &home);
                let text = format!("{signers}{text}");
                fs::write(&config, text).expect("a configuration can be written");
                secret(&root.path().join("database-password"), postgres::PASSWORD);
                init_shard(&config);
                shards.insert(*region, Server::new("shard", region, &config, admin));
                homes.insert(*region, home);
            }
        }
        assert_eq!(shards.len(), options.regions.len(), "the map lacks a region");
        let (gateway_port, admin) = (free_port(), free_port());
        let config = root.path().join("gateway.toml");
        let text = gateway_config(options, &annexes, (gateway_port, admin));
        let text = format!("{signers}{text}");
        fs::write(&config, text).expect("a configuration can be written");
        let gateway = Server::new("gateway", "gateway", &config, admin);
        Self { gateway, gateway_port, shards, homes, ports, audits, secured, people, root }
    }

    /// Starts the processes and waits until the gateway has a session with each of `regions`.
    pub(crate) fn serve(&mut self, regions: &[&str]) {
        for shard in self.shards.values_mut() {
            shard.start();
        }
        self.gateway.start();
        self.shards.values().for_each(Server::wait_ready);
        self.gateway.wait_ready();
        for region in regions {
            self.wait_session(region, true);
        }
    }

    /// Where callers reach the gateway.
    pub(crate) fn gateway_url(&self) -> String {
        let scheme = if self.secured.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.gateway_port)
    }

    /// The gateway's process.
    pub(crate) fn gateway(&mut self) -> &mut Server {
        &mut self.gateway
    }

    /// The process of a region's shard.
    pub(crate) fn shard(&mut self, region: &str) -> &mut Server {
        self.shards.get_mut(region).expect("a region that runs")
    }

    /// Starts a region's shard again, after killing it if it still runs, and waits until the
    /// gateway has a session with it.
    pub(crate) fn restart(&mut self, region: &str) {
        self.shard(region).restart();
        self.wait_session(region, true);
    }

    /// Waits until the gateway has, or has lost, its session with a region.
    pub(crate) fn wait_session(&self, region: &str, up: bool) {
        // Its own page says so to whoever is on this machine; its health service asks who calls.
        let (admin, of) = (self.gateway.admin(), format!("region=\"{region}\""));
        wait_until(&format!("a session with {region}: {up}"), SESSION_MAX, || {
            let Some((200, page)) = get(admin, "/metrics") else { return false };
            let sessions = page.lines().filter(|line| line.contains("session_up{"));
            let mut own = sessions.filter(|line| line.contains(&of));
            own.next().is_some_and(|line| line.ends_with(if up { " 1" } else { " 0" }))
        });
    }

    /// Waits until a shard's checkpoint covers every durable entry of its log.
    pub(crate) fn wait_signed(&self, region: &str) {
        let admin = self.shards.get(region).expect("a region that runs").admin();
        wait_until(&format!("{region} has signed its whole log"), SESSION_MAX, || {
            let Some((200, page)) = get(admin, "/metrics") else { return false };
            let value = |name: &str| {
                let line = page.lines().find_map(|line| line.strip_prefix(name))?;
                line.trim().parse::<u64>().ok()
            };
            let size = value("bailiwick_shard_log_size ").expect("a shard has a log");
            value("bailiwick_shard_checkpoint_size ") == Some(size)
        });
    }

    /// The deployment's certificates, if it has TLS.
    pub(crate) fn secured(&self) -> &Secured {
        self.secured.as_ref().expect("a deployment with TLS")
    }

    /// Those who sign its maps.
    pub(crate) fn people(&self) -> &People {
        self.people.as_ref().expect("a deployment with signed maps")
    }

    /// Where auditors reach the shard of a region.
    pub(crate) fn audit_port(&self, region: &str) -> u16 {
        *self.audits.get(region).expect("a region of the map")
    }

    /// The port of a region's shard, whether it runs or not.
    pub(crate) fn port(&self, region: &str) -> u16 {
        self.ports.get(region).copied().expect("a region of the map")
    }

    /// The folder with the configurations and everything that has no other home.
    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    /// The folder of a region's store.
    pub(crate) fn data_dir(&self, region: &str) -> PathBuf {
        self.home(region).join("data")
    }

    /// The folder of a region's last checkpoint.
    pub(crate) fn anchor_dir(&self, region: &str) -> PathBuf {
        self.home(region).join("anchor")
    }

    /// The folder of a region's keys.
    pub(crate) fn keys_dir(&self, region: &str) -> PathBuf {
        self.home(region).join("keys")
    }

    /// What a process has written to standard error so far: `gateway`, or a region's shard.
    pub(crate) fn stderr(&self, name: &str) -> String {
        self.shards.get(name).unwrap_or(&self.gateway).stderr()
    }

    fn home(&self, region: &str) -> &Path {
        self.homes.get(region).expect("a region that runs")
    }
}

/// The regions of a map, in its order.
fn regions_of(map: &str) -> Vec<String> {
    let map: toml::Table = map.parse().expect("a map is TOML");
    let regions = map.get("regions").and_then(toml::Value::as_array).expect("a map has regions");
    let name = |region: &toml::Value| region.get("name")?.as_str().map(str::to_owned);
    regions.iter().filter_map(name).collect()
}

fn shard_config(
    options: &Options,
    region: &str,
    (port, admin, audit): (u16, u16, u16),
    home: &Path,
) -> String {
    let Options { engine, disk_reserve_mb, database, .. } = options;
    let home = home.display();
    let store = match database {
        None => format!("data = \"{home}/data\"\ncache_mb = 32\n"),
        Some(_) => String::new(),
    };
    let mut text = format!(
        "region = \"{region}\"\nshard = \"s1\"\nlisten = \"127.0.0.1:{port}\"\n\
         admin_listen = \"127.0.0.1:{admin}\"\nmap = \"map.toml\"\n\
         annex = \"annex-{region}.toml\"\n{store}anchor = \"{home}/anchor\"\n\
         keys = \"{home}/keys\"\naudit_listen = \"127.0.0.1:{audit}\"\nengine = \"{engine}\"\n\
         disk_reserve_mb = {disk_reserve_mb}\n"
    );
    text.push_str(&if options.tls {
        Secured::tls(region) + &Secured::auditors()
    } else {
        "plaintext = true\n".to_owned()
    });
    text.push_str(&options.shard_tables);
    if let Some(url) = database {
        let url = url.replace("REGION", &region.replace('-', "_"));
        let table = format!(
            "[postgres]\nurl = \"{url}\"\npassword_file = \"database-password\"\nplaintext = true\n"
        );
        text.push_str(&table);
    }
    text
}

/// Writes a file that its owner alone may read.
pub(crate) fn secret(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::write(path, text).expect("a secret can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

fn gateway_config(options: &Options, annexes: &[String], (port, admin): (u16, u16)) -> String {
    let mut text = format!(
        "name = \"gateway-1\"\nlisten = \"127.0.0.1:{port}\"\n\
         admin_listen = \"127.0.0.1:{admin}\"\nmap = \"map.toml\"\nannexes = {annexes:?}\n"
    );
    if options.geoip {
        let database = file("tests/evidence/ip-country.mmdb");
        writeln!(text, "geoip = \"{}\"", database.display()).expect("a string");
    }
    if options.tls {
        writeln!(text, "region = \"{}\"", options.gateway_region).expect("a string");
        text.push_str(&Secured::tls("gateway"));
        text.push_str(&Secured::callers(&options.grant));
        text.push_str(options.gateway_tables);
        return text;
    }
    text.push_str(
        "plaintext = true\n[caller]\ntenant = \"sample\"\nname = \"test\"\n\
         roles = [\"writer\", \"reader\", \"eraser\", \"operator\"]\n",
    );
    if let Some(territory) = options.territory {
        writeln!(text, "territory = \"{territory}\"").expect("a string");
    }
    text.push_str(options.gateway_tables);
    text
}
