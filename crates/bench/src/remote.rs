//! A deployment that runs already: its address, who calls it, and whose records are written there.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use client::{Access, Tls, Token};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::load::Records;
use crate::secure::Caller;

/// The address of the deployment, and the caller's credentials.
#[derive(Debug, clap::Args)]
#[group(id = "deployment")]
pub(crate) struct Options {
    /// Measure the deployment behind this gateway, without starting anything. Records of new persons
    /// stay there.
    #[arg(long, value_name = "URL", conflicts_with_all = ["secure", "neighbours", "tuned", "peers"])]
    gateway: Option<String>,
    /// PEM bundle of the authorities of the gateway's certificate.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    ca: Option<PathBuf>,
    /// Certificate to present, a PEM chain.
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate: Option<PathBuf>,
    /// Key of the certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key_file: Option<PathBuf>,
    /// File with the bearer token to send.
    #[arg(long, value_name = "FILE", requires = "gateway")]
    token_file: Option<PathBuf>,
    /// Collection of the records.
    #[arg(long, default_value = "messages")]
    collection: String,
    /// Country of residence of the persons.
    #[arg(long, value_name = "COUNTRY", default_value = "DE")]
    residence: String,
    /// The region that the map gives them.
    #[arg(long, value_name = "REGION", default_value = "eu-fra")]
    region: String,
}

impl Options {
    /// The caller of the deployment. None: it is to be started.
    pub(crate) fn caller(&self) -> Result<Option<Caller>> {
        let Some(url) = &self.gateway else { return Ok(None) };
        let read = |path: &PathBuf| {
            fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let mut tls = None;
        if url.starts_with("https:") {
            let mut config = ClientTlsConfig::new();
            if let Some(path) = &self.ca {
                config = config.ca_certificate(Certificate::from_pem(read(path)?));
            } else {
                config = config.with_native_roots();
            }
            if let (Some(certificate), Some(key)) = (&self.certificate, &self.key_file) {
                config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
            }
            tls = Some(config);
        }
        let bearer = self.token_file.as_ref().map(|path| {
            let token = String::from_utf8(read(path)?).context("the token is not text")?;
            let mut bearer: tonic::metadata::MetadataValue<_> =
                format!("Bearer {}", token.trim()).parse().context("the token is not one")?;
            bearer.set_sensitive(true);
            anyhow::Ok(bearer)
        });
        Ok(Some(Caller { url: url.clone(), tls, bearer: bearer.transpose()? }))
    }

    /// The same caller for the SDK.
    pub(crate) async fn access(&self) -> Result<Access> {
        let read = |path: &PathBuf| {
            fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
        };
        let mut tls = match &self.ca {
            Some(path) => Tls::trusting(read(path)?)?,
            None => Tls::default(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key_file) {
            tls = tls.presenting(read(certificate)?, read(key)?)?;
        }
        let token = match &self.token_file {
            Some(path) => Token::file(path).await?,
            None => Token::none(),
        };
        Ok(Access { tls, token, ..Access::default() })
    }

    /// Whose records are written.
    pub(crate) fn records(&self) -> Records {
        let started = std::process::id();
        let prefix =
            if self.gateway.is_some() { format!("bench-{started}-") } else { "bench-".to_owned() };
        Records {
            collection: self.collection.as_str().into(),
            residence: self.residence.as_str().into(),
            region: self.region.as_str().into(),
            prefix: prefix.into(),
        }
    }
}
