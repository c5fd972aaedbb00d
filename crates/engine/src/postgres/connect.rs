//! A connection to the one host that takes writes, and what must hold on it.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, tls};

use crate::Error;
use crate::postgres::access::{Access, Duplex};
use crate::postgres::settings::{KIND, Owner};
use crate::postgres::{fault, sql, standbys};

/// Time for one host to accept, shake hands and log in.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);
/// Time after which a host that has answered is asked again, while another one has not.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Time until a connection whose other end is gone is given up.
const GONE_AFTER_MS: u32 = 8_000;
const IDLE_BEFORE_PROBE: Duration = Duration::from_secs(3);
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBES: u32 = 5;
/// What a client sends to ask for TLS: its length and the code of the protocol.
const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A connection that passed every check of a server.
pub(super) struct Session {
    pub(super) client: Client,
    /// Warnings of the server so far.
    warnings: Arc<AtomicU64>,
    /// The system identifier of its cluster; empty where the server has none.
    cluster: String,
}

impl Session {
    /// Connects to the host that takes writes. All are tried at once: one that is cut off answers
    /// nothing, and the others need not wait for it. As long as it may still answer, a standby is asked
    /// again: in a failover it becomes the one that takes writes.
    pub(super) async fn open(access: &Access) -> Result<Self, Error> {
        let began = Instant::now();
        let mut tried = JoinSet::new();
        let try_host = |place: usize, (host, port): (String, u16), after: Duration| {
            let access = access.clone();
            async move {
                sleep(after).await;
                let opened = timeout(CONNECT_WITHIN, Self::open_to(&access, &host, port)).await;
                (place, opened.unwrap_or_else(|_| Err(fault::unreachable("connect"))))
            }
        };
        let mut silent = BTreeSet::new();
        for (place, host) in access.hosts.iter().enumerate() {
            silent.insert(place);
            tried.spawn(try_host(place, host.clone(), Duration::ZERO));
        }
        let mut first = None;
        while let Some(done) = tried.join_next().await {
            let Ok((place, opened)) = done else { continue };
            let error = match opened {
                Ok(session) => return Ok(session),
                Err(error) => error,
            };
            silent.remove(&place);
            let changes = fault::is_connection(&error) || matches!(error, Error::Cluster { .. });
            if changes
                && !silent.is_empty()
                && began.elapsed() < CONNECT_WITHIN
                && let Some(host) = access.hosts.get(place)
            {
                tried.spawn(try_host(place, host.clone(), AGAIN_AFTER));
            }
            // What a host says is more than that another one is not there.
            if first.is_none() || !fault::is_connection(&error) {
                first = Some(error);
            }
        }
        Err(first.unwrap_or_else(|| fault::unreachable("connect")))
    }

    async fn open_to(access: &Access, host: &str, port: u16) -> Result<Self, Error> {
        let dialled = dial(access, host, port).await;
        let stream = dialled.map_err(|_| fault::unreachable("connect"))?;
        let connected = access.config.connect_raw(stream, NoTls).await;
        let (client, connection) = connected.map_err(|error| fault::of("log in", &error))?;
        let warnings = Arc::new(AtomicU64::new(0));
        tokio::spawn(drive(connection, Arc::clone(&warnings)));
        let begun = client.batch_execute(sql::BEGIN_SESSION).await;
        begun.map_err(|error| fault::of("begin a session", &error))?;
        check_settings(&client).await?;
        let cluster = match client.query_one(sql::CLUSTER, &[]).await {
            Ok(row) => row.get(0),
            // A server without the function, or that does not let us call it.
            Err(error) if error.as_db_error().is_some() => String::new(),
            Err(error) => return Err(fault::of("read its identity", &error)),
        };
        let session = Self { client, warnings, cluster };
        session.check_standbys(access).await?;
        Ok(session)
    }

    /// Refuses a server that streams to an address where none of its standbys may be.
    pub(super) async fn check_standbys(&self, access: &Access) -> Result<(), Error> {
        match &access.standbys {
            Some(networks) => standbys::check(&self.client, networks).await,
            None => Ok(()),
        }
    }

    /// How many warnings the server has sent. One that comes with an answer is counted before it.
    pub(super) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Acquire)
    }

    /// Whether a store is there.
    pub(super) async fn has_store(&self) -> Result<bool, Error> {
        let row = self.client.query_one(sql::HAS_STORE, &[]).await;
        row.map(|row| row.get(0)).map_err(|error| fault::of("look for the store", &error))
    }

    /// Creates the tables, and the rows with which a store begins.
    pub(super) async fn create(&self, owner: &Owner) -> Result<(), Error> {
        let failed = |error: tokio_postgres::Error| fault::of("create the store", &error);
        self.client.batch_execute("begin").await.map_err(failed)?;
        self.client.batch_execute(sql::CREATE).await.map_err(failed)?;
        let [store, writer] = sql::FIRST_ROWS;
        let first: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
            [&sql::FORMAT, &owner.region, &owner.shard, &self.cluster];
        self.client.execute(store, &first).await.map_err(failed)?;
        self.client.execute(writer, &[]).await.map_err(failed)?;
        self.client.batch_execute("commit").await.map_err(failed)
    }

    /// Whether the store is that of `owner`, and stands in the cluster in which it was created.
    pub(super) async fn expect_owner(&self, access: &Access, owner: &Owner) -> Result<(), Error> {
        let row = self.client.query_opt(sql::OWNER, &[]).await;
        let row = row.map_err(|error| fault::of("read the owner of the store", &error))?;
        let foreign =
            |why| Err(Error::Foreign { folder: access.place().into(), expected: KIND, why });
        let Some(row) = row else { return foreign("it has no row of its owner") };
        let (format, cluster): (i32, String) = (row.get(0), row.get(3));
        if format != sql::FORMAT {
            return foreign("it has another version");
        }
        if row.get::<_, String>(1) != owner.region {
            return foreign("it is the store of another region");
        }
        if row.get::<_, String>(2) != owner.shard {
            return foreign("it is the store of another shard of this region");
        }
        if cluster != self.cluster {
            return foreign("it was created in another cluster: this is a copy of it");
        }
        Ok(())
    }

    /// What an operator should change in the server's settings, or in ours: whether its standbys are
    /// `looked_at`.
    pub(super) async fn advice(&self, looked_at: bool) -> Result<Vec<&'static str>, Error> {
        let row = self.client.query_one(sql::LOG_SETTINGS, &[]).await;
        let row = row.map_err(|error| fault::of("read its settings", &error))?;
        let setting = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
        let logs =
            !["", "none", "ddl"].contains(&&*setting(0)) || !["", "-1"].contains(&&*setting(1));
        let mut advice = Vec::new();
        if logs && setting(2) != "0" {
            advice.push("set log_parameter_max_length = 0: its log has values of rows");
        }
        if !["", "0"].contains(&&*setting(3)) {
            advice.push("set log_parameter_max_length_on_error = 0: its log has values of rows");
        }
        if setting(4).is_empty() {
            advice.push(
                "set synchronous_standby_names: a loss of its machine loses what was written",
            );
        }
        let streams = self.client.query(sql::STREAMED_TO, &[]).await;
        if !looked_at && streams.is_ok_and(|streams| !streams.is_empty()) {
            advice.push("set standby_networks: where its journal is copied to is not checked");
        }
        Ok(advice)
    }
}

/// Reads the connection until it ends, and counts warnings. What they say is dropped.
async fn drive(
    mut connection: Connection<Box<dyn Duplex>, tls::NoTlsStream>,
    warnings: Arc<AtomicU64>,
) {
    while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
        if let AsyncMessage::Notice(notice) = message
            && notice.parsed_severity() == Some(Severity::Warning)
        {
            warnings.fetch_add(1, Ordering::Release);
        }
    }
}

async fn dial(access: &Access, host: &str, port: u16) -> io::Result<Box<dyn Duplex>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, IDLE_BEFORE_PROBE)?;
    sockopt::set_tcp_keepintvl(&stream, PROBE_EVERY)?;
    sockopt::set_tcp_keepcnt(&stream, PROBES)?;
    sockopt::set_tcp_user_timeout(&stream, GONE_AFTER_MS)?;
    let Some(secure) = &access.secure else { return Ok(Box::new(stream)) };
    stream.write_all(&TLS_REQUEST).await?;
    if stream.read_u8().await? != b'S' {
        return Err(io::Error::other("the server has no TLS"));
    }
    secure.secure(host, stream).await
}

/// Refuses a server that takes no writes, or does not keep what it has confirmed.
async fn check_settings(client: &Client) -> Result<(), Error> {
    let row = client.query_one(sql::SETTINGS, &[]).await;
    let row = row.map_err(|error| fault::of("read its settings", &error))?;
    let setting = |at: usize| row.get::<_, Option<String>>(at).unwrap_or_default();
    let refused = |why| Err(Error::Cluster { why });
    if row.get(0) || setting(1) == "on" {
        return refused("it takes no writes: it is a standby, or read-only");
    }
    match setting(2).as_str() {
        "off" => return refused("synchronous_commit is off: set it to on"),
        "local" if !setting(5).is_empty() => {
            return refused(
                "synchronous_commit is local, and there are synchronous standbys: set it to on",
            );
        }
        _ => {}
    }
    if setting(3) == "off" {
        return refused("fsync is off: set it to on");
    }
    if setting(4) == "off" {
        return refused("full_page_writes is off: set it to on");
    }
    Ok(())
}
