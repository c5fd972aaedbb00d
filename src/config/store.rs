//! Where a shard's store lies: in a folder, or in a database.

use std::path::Path;
use std::sync::Arc;

use atlas::toml::At;
use engine::{
    Access, Backend, Duplex, Embedded, Kind, Network, NetworkInvalid, Occupied, Options, Owner,
    Postgres,
};
use link::host::clock::SystemClock;
use link::host::file_watch::read_secret_text;
use link::tls::DatabaseTls;
use terms::Clock;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::reading::Section;
use super::{CACHE_MB, MB};

/// The name of the engine that is no embedded one.
const POSTGRES: &str = "postgres";

/// An engine by its name.
#[derive(Clone, Copy)]
enum Engine {
    Embedded(Kind),
    Postgres,
}

impl Engine {
    fn parse(text: &str) -> Option<Self> {
        if text == POSTGRES { Some(Self::Postgres) } else { Kind::parse(text).map(Self::Embedded) }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Embedded(kind) => kind.as_str(),
            Self::Postgres => POSTGRES,
        }
    }
}

/// A shard's store.
#[derive(Debug, Clone)]
pub(crate) enum Store {
    /// In a folder of this machine.
    Embedded(Embedded),
    /// In a database.
    Postgres(Box<Postgres>),
}

impl Store {
    /// What opens it.
    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        match self {
            Self::Embedded(embedded) => Arc::new(embedded.clone()),
            Self::Postgres(postgres) => Arc::new((**postgres).clone()),
        }
    }

    /// The folder of its files, if they lie on this machine.
    pub(crate) fn folder(&self) -> Option<&Path> {
        match self {
            Self::Embedded(embedded) => Some(&embedded.folder),
            Self::Postgres(_) => None,
        }
    }

    /// Who writes to it while an opening waits, now and whenever it changes. None: it never waits.
    pub(crate) fn waits_for(&self) -> Option<watch::Receiver<Option<String>>> {
        match self {
            Self::Embedded(_) => None,
            Self::Postgres(postgres) => Some(postgres.waits_for()),
        }
    }

    /// The same for a command that has no need to take over: a writer that is silent may come back.
    pub(crate) fn if_ended(self) -> Self {
        self.when_occupied(Occupied::RefuseUnlessEnded)
    }

    /// The same for a server: while another process writes to it, an opening waits.
    pub(crate) fn waiting(self) -> Self {
        self.when_occupied(Occupied::Wait)
    }

    fn when_occupied(self, occupied: Occupied) -> Self {
        match self {
            Self::Postgres(postgres) => Self::Postgres(Box::new(postgres.when_occupied(occupied))),
            embedded @ Self::Embedded(_) => embedded,
        }
    }
}

/// TLS towards the database, as the engine asks for it.
#[derive(Debug)]
struct Secured(DatabaseTls);

impl engine::Secure for Secured {
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> engine::Securing<'a> {
        Box::pin(async move {
            let secured: Box<dyn Duplex> = Box::new(self.0.secure(host, stream).await?);
            Ok(secured)
        })
    }
}

/// `engine`, with `data` and `cache_mb`, or with `[postgres]`.
pub(super) fn store(root: &Section<'_>, region: &str, shard: &str) -> Option<Store> {
    let engine = root.parse("engine", Engine::parse);
    let cache_bytes = root.number_or("cache_mb", CACHE_MB) * MB;
    let (data, database) = (root.text("data"), root.section(POSTGRES));
    let engine = engine?;
    let name = engine.it.as_str();
    let missing = |key: &str, help: &str| {
        root.wrong(engine.at, "KEY_MISSING", format!("the engine `{name}` needs {key}"), help);
        None
    };
    let unused = |at, key: &str| {
        let problem = format!("{key} is not used by the engine `{name}`");
        root.wrong(at, "KEY_UNUSED", problem, format!("remove {key}"));
    };
    let Engine::Embedded(kind) = engine.it else {
        if let Some(data) = data {
            unused(data.at, "`data`");
        }
        if let Some(at) = root.place("cache_mb") {
            unused(at, "`cache_mb`");
        }
        let Some(database) = database else {
            return missing("a table [postgres]", "add [postgres] with `url`");
        };
        let owner = Owner::here(region, shard);
        return postgres(&database, owner).map(|postgres| Store::Postgres(Box::new(postgres)));
    };
    if let Some(database) = database {
        unused(database.at(), "[postgres]");
    }
    let Some(data) = data else { return missing("`data`", "add `data`, the folder of the store") };
    let folder = root.reading.relative(data.it);
    Some(Store::Embedded(Embedded { kind, folder, options: Options { cache_bytes } }))
}

/// `[postgres]`.
fn postgres(section: &Section<'_>, owner: Owner) -> Option<Postgres> {
    let url = section.text("url")?;
    let mut access = match Access::parse(url.it) {
        Ok(access) => access,
        Err(invalid) => {
            let help = "give postgresql://user@host:port,host:port/database; the password in \
                        `password_file`";
            section.wrong(url.at, "VALUE_INVALID", format!("`url`: {invalid}"), help);
            return None;
        }
    };
    if let Some(file) = section.path("password_file") {
        let text = read_secret_text(&file.it);
        let text = text.map_err(|error| section.unreadable(file.at, &file.it, &error)).ok()?;
        access = access.with_password(text.trim_end_matches(['\r', '\n']));
    }
    let plaintext = section.switch("plaintext");
    match (section.path("authorities"), plaintext) {
        (Some(authorities), false) => {
            let tls = database_tls(section, &authorities)?;
            access = access.with_tls(Arc::new(Secured(tls)));
        }
        (Some(authorities), true) => {
            let problem = "the database is reached with TLS or without";
            let help = "leave out `plaintext` or `authorities`";
            section.wrong(authorities.at, "PLAINTEXT_BESIDE_TLS", problem, help);
            return None;
        }
        (None, true) if access.is_loopback() => {}
        (None, true) => {
            let problem = "without TLS, a database is used on a loopback address only";
            let help = "add `authorities`, and remove `plaintext`";
            section.wrong(url.at, "PLAINTEXT_REFUSED", problem, help);
            return None;
        }
        (None, false) => {
            let problem = "the database's certificate cannot be verified without `authorities`";
            let help = "add `authorities`; or `plaintext = true` for a database on this machine";
            section.wrong(section.at(), "KEY_MISSING", problem, help);
            return None;
        }
    }
    if let Some(named) = section.texts("standby_networks") {
        access = access.with_standbys_in(networks(section, &named)?);
    }
    Some(Postgres::new(access, owner))
}

/// Where the server's standbys may be.
fn networks(section: &Section<'_>, named: &[At<&str>]) -> Option<Vec<Network>> {
    let read = named.iter().map(|named| {
        let wrong = |invalid: NetworkInvalid| {
            let help = "give a network such as 10.2.0.0/16, or an address";
            section.wrong(
                named.at,
                "VALUE_INVALID",
                format!("`standby_networks`: {invalid}"),
                help,
            );
        };
        named.it.parse().map_err(wrong).ok()
    });
    // All that is wrong is told, before anything is given up.
    read.collect::<Vec<_>>().into_iter().collect()
}

fn database_tls(
    section: &Section<'_>,
    authorities: &At<std::path::PathBuf>,
) -> Option<DatabaseTls> {
    let [certificate, key] = ["certificate", "key"].map(|key| section.path(key));
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate.it, key.it)),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            let problem = "a client certificate needs `certificate` and `key`";
            section.wrong(one.at, "KEY_MISSING", problem, "add the other of the two");
            return None;
        }
    };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let opened = DatabaseTls::open(&authorities.it, own, &clock);
    let refused = |error: link::tls::Error| {
        let help = "name readable PEM files: a bundle of authorities, a certificate and its key";
        section.wrong(authorities.at, "FILE_INVALID", error.to_string(), help);
    };
    opened.map_err(refused).ok()
}
