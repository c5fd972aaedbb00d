//! How a caller reaches a gateway: authorities, certificate and token.

use std::path::{Path, PathBuf};

use client::{Access, Error, Ingress, Tls, Token};

use crate::error::{Exit, Failure};

/// The authorities to trust, and what to present.
#[derive(Debug, clap::Args)]
#[group(id = "access")]
pub(crate) struct Options {
    /// PEM bundle of the authorities of the gateway's certificate [default: the platform's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate to present, a PEM chain
    #[arg(long, value_name = "FILE", requires = "key_file")]
    certificate: Option<PathBuf>,
    /// Key of the certificate, PEM
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key_file: Option<PathBuf>,
    /// File with the bearer token to send; re-read when it changes
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Options {
    /// Reads the files.
    pub(crate) async fn read(&self) -> Result<Access, Failure> {
        let mut tls = match &self.ca {
            Some(path) => Tls::trusting(read(path)?).map_err(|error| wrong(path, error))?,
            None => Tls::default(),
        };
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key_file) {
            let secret =
                link::host::file_watch::read_secret(key).map_err(|error| unread(key, &error))?;
            let both = tls.presenting(read(certificate)?, secret.as_slice());
            tls = both.map_err(|error| wrong(certificate, error))?;
        }
        let token = match &self.token_file {
            Some(path) => Token::file(path).await.map_err(|error| wrong(path, error.into()))?,
            None => Token::none(),
        };
        Ok(Access { tls, token, ..Access::default() })
    }
}

/// `REGION=URL`: the gateway inside a region's territory.
pub(crate) fn ingress(text: &str) -> Result<Ingress, &'static str> {
    let (region, url) = text.split_once('=').ok_or("is not of the form REGION=URL")?;
    Ok(Ingress { region: region.to_owned(), url: url.to_owned(), authorities: None })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| unread(path, &error))
}

fn unread(path: &Path, error: &std::io::Error) -> Failure {
    Failure::said(Exit::Config, format!("{} cannot be read ({error})", path.display()))
}

fn wrong(path: &Path, error: Error) -> Failure {
    Failure::said(Exit::from(&error), format!("{}: {error}", path.display()))
}
