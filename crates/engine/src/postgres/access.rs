//! Where a database is, and how a shard logs in.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::str::FromStr as _;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::postgres::standbys::Network;

/// The usual port.
const PORT: u16 = 5432;
/// The one parameter that a URL may have. It holds without it, too.
const PARAMETER: &str = "target_session_attrs=read-write";
/// Hosts at most.
const HOSTS_MAX: usize = 16;

/// A connection, with TLS or without.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A TLS handshake on its way.
pub type Securing<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Duplex>>> + Send + 'a>>;

/// What puts TLS on a connection. This crate knows no TLS: it is set up where all other TLS is.
pub trait Secure: Send + Sync + fmt::Debug {
    /// Shakes hands with the server, which must have a certificate for `host`.
    fn secure<'a>(&'a self, host: &'a str, stream: TcpStream) -> Securing<'a>;
}

/// Where a database is, and how to log in. Its `Debug` has no password.
#[derive(Debug, Clone)]
pub struct Access {
    pub(super) config: Config,
    pub(super) hosts: Vec<(String, u16)>,
    pub(super) secure: Option<Arc<dyn Secure>>,
    /// Where the server may stream to. None: it is not looked at.
    pub(super) standbys: Option<Vec<Network>>,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct AccessInvalid(&'static str);

impl Access {
    /// Reads `postgresql://user@host:port,host:port/database`.
    ///
    /// # Errors
    /// [`AccessInvalid`].
    pub fn parse(url: &str) -> Result<Self, AccessInvalid> {
        const FORM: AccessInvalid =
            AccessInvalid("it is not of the form postgresql://user@host:port,host:port/database");
        let wrong = |why| Err(AccessInvalid(why));
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err(FORM);
        }
        let (before, parameters) = url.split_once('?').unwrap_or((url, PARAMETER));
        if parameters != PARAMETER {
            return wrong("it has parameters other than target_session_attrs=read-write");
        }
        let mut config = Config::from_str(before).map_err(|_| FORM)?;
        if config.get_password().is_some() {
            return wrong("it has a password, which belongs in a file of its own");
        }
        if config.get_user().is_none_or(str::is_empty) {
            return wrong("it names no user");
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return wrong("it names no database");
        }
        let (names, ports) = (config.get_hosts(), config.get_ports());
        if names.is_empty() || names.len() > HOSTS_MAX {
            return wrong("it names no host, or more than 16");
        }
        let mut hosts = Vec::new();
        for (at, host) in names.iter().enumerate() {
            let Host::Tcp(name) = host else {
                return wrong("it names a socket file: only TCP is supported");
            };
            let port = if ports.len() == 1 { ports.first() } else { ports.get(at) };
            hosts.push((name.clone(), port.copied().unwrap_or(PORT)));
        }
        // TLS is ours, and begins before the library sees the connection.
        config.ssl_mode(SslMode::Disable);
        config.application_name("bailiwick");
        Ok(Self { config, hosts, secure: None, standbys: None })
    }

    /// The same, with this password.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// The same, with TLS on every connection.
    #[must_use]
    pub fn with_tls(mut self, secure: Arc<dyn Secure>) -> Self {
        self.secure = Some(secure);
        self
    }

    /// The same, refused on a server that streams what it writes to an address elsewhere.
    #[must_use]
    pub fn with_standbys_in(mut self, networks: Vec<Network>) -> Self {
        self.standbys = Some(networks);
        self
    }

    /// Whether every host is this machine.
    pub fn is_loopback(&self) -> bool {
        let local = |host: &str| {
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        self.hosts.iter().all(|(host, _)| local(host))
    }

    /// The hosts and the database, without the user.
    pub fn place(&self) -> String {
        let hosts: Vec<_> =
            self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect();
        let name = self.config.get_dbname().unwrap_or_default();
        format!("postgresql://{}/{name}", hosts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_hosts_a_user_and_a_database_and_no_secret() {
        let parsed = Access::parse(
            "postgresql://bw@10.0.0.1:5433,db.example,[::1]:7/people?target_session_attrs=read-write",
        );
        let access = parsed.expect("valid");
        assert_eq!(access.place(), "postgresql://10.0.0.1:5433,db.example:5432,::1:7/people");
        assert!(!access.is_loopback());
        let local = Access::parse("postgres://bw@127.0.0.1,localhost/people").expect("valid");
        assert!(local.is_loopback());
        let shown = format!("{:?}", local.with_password("hidden-words"));
        assert!(!shown.contains("hidden-words"), "{shown}");
        for wrong in [
            "host=127.0.0.1 user=bw dbname=people",
            "postgresql://bw:secret@127.0.0.1/people",
            "postgresql://127.0.0.1/people",
            "postgresql://bw@127.0.0.1",
            "postgresql://bw@/people",
            "postgresql://bw@%2Frun%2Fpostgresql/people",
            "postgresql://bw@127.0.0.1/people?sslmode=disable",
            "postgresql://bw@127.0.0.1:port/people",
        ] {
            assert!(Access::parse(wrong).is_err(), "{wrong}");
        }
    }
}
