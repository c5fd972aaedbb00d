//! Keeps the keys of an issuer of tokens up to date, from a file or over HTTPS.
//!
//! Keys that cannot be read or used leave the old ones in use: an issuer that is down for an hour
//! must not turn every caller away. A key that a good document no longer has is gone at once, and
//! so is everything that it had verified.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link::fetch::https_get;
use link::watched::{Watched, read};
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::callers::KeySource;
use crate::keys::DOCUMENT_BYTES_MAX;
use crate::token::Tokens;

/// Time between two looks at an issuer's address.
const FETCH_EVERY: Duration = Duration::from_secs(300);
/// Time between two looks however many tokens name a key that is not known, and after a failure.
const FETCH_AGAIN: Duration = Duration::from_secs(10);
/// Time in which an issuer must answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads keys that lie in a file, before anything is served: a file that cannot be used then is
/// an operator's mistake. An address is asked later, as it may be down.
///
/// # Errors
/// [`Error::KeysUnread`] and [`Error::Keys`].
pub(crate) fn open(tokens: &Tokens, source: &KeySource) -> Result<(), Error> {
    if let KeySource::File(path) = source {
        let document = read(path).map_err(Error::KeysUnread)?;
        tokens.take(&document)?;
    }
    Ok(())
}

/// Keeps the keys up to date until the future is dropped.
pub(crate) async fn keep(tokens: Arc<Tokens>, source: KeySource) {
    match source {
        KeySource::File(path) => from_file(&tokens, &path).await,
        KeySource::Url { url, authorities } => {
            from_url(&tokens, &url, authorities.as_deref()).await
        }
    }
}

async fn from_file(tokens: &Tokens, path: &Path) {
    let mut watched = Watched::new(vec![path.to_path_buf()]);
    loop {
        // Before the first wait, too: what changed since the opening was seen by nobody.
        match read(path) {
            Ok(document) => take(tokens, &document),
            Err(error) => {
                tracing::error!(%error, "the JWKS file cannot be read: the old keys stay");
                false
            }
        };
        watched.wait().await;
    }
}

async fn from_url(tokens: &Tokens, url: &str, authorities: Option<&[u8]>) {
    loop {
        let taken = match https_get(url, authorities, DOCUMENT_BYTES_MAX, FETCH_TIMEOUT).await {
            Ok(document) => take(tokens, &document),
            Err(error) => {
                tracing::error!(%error, "the issuer's keys cannot be fetched: the old ones stay");
                false
            }
        };
        sleep(FETCH_AGAIN).await;
        if taken {
            // Either it is time, or a token names a key that we do not have.
            drop(timeout(FETCH_EVERY, tokens.key_wanted()).await);
        }
    }
}

/// Whether a document was taken. It is said when it could not be, or changed something.
fn take(tokens: &Tokens, document: &[u8]) -> bool {
    match tokens.take(document) {
        Ok(Some(keys)) => {
            tracing::info!(keys, "the issuer's keys were read");
            true
        }
        Ok(None) => true,
        Err(error) => {
            tracing::error!(%error, "the issuer's keys cannot be used: the old ones stay");
            false
        }
    }
}
