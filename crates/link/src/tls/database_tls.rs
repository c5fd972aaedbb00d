//! TLS towards a region's own database: its certificate is verified against the authorities of the
//! configuration and no others, by the host that the URL names.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use terms::Clock;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::tls::config::{Time, provider};
use crate::tls::error::Error;
use crate::tls::files;

/// What puts TLS on a connection to a database.
#[derive(Clone)]
pub struct DatabaseTls {
    config: Arc<ClientConfig>,
}

impl fmt::Debug for DatabaseTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseTls")
    }
}

impl DatabaseTls {
    /// Reads the authorities of the database's certificate, and the certificate and key that are
    /// shown to it, if there are any. They are read once: a new one needs a restart.
    ///
    /// # Errors
    /// [`Error`]: a file that cannot be used.
    pub fn open(
        authorities: &Path,
        own: Option<(PathBuf, PathBuf)>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in files::certificates(authorities)? {
            let added = roots.add(certificate);
            added.map_err(|_| files::wrong(authorities, "an authority in it is damaged"))?;
        }
        let builder = ClientConfig::builder_with_details(provider(), Time::of(clock))
            .with_safe_default_protocol_versions()
            .map_err(Error::Setup)?
            .with_root_certificates(roots);
        let config = match own {
            Some((certificate, key)) => {
                let own = files::own(&certificate, &key)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own.key)))
            }
            None => builder.with_no_client_auth(),
        };
        Ok(Self { config: Arc::new(config) })
    }

    /// Shakes hands with a server, which must have a certificate for `host`.
    ///
    /// # Errors
    /// What the connection says, and a certificate that is refused.
    pub async fn secure(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.config)).connect(name, stream).await
    }
}
