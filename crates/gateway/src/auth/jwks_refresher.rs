//! Keeps the keys of an issuer of tokens up to date, from a file or over HTTPS.
//!
//! A document that can be read replaces the keys, even if it has none: that is how an issuer revokes
//! a stolen key. If it cannot be read, the old keys stay in use: an issuer that is down for an hour
//! must not turn every caller away. But not for ever: past a certain age there are no keys, and
//! callers with tokens are asked to try again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link::host::file_watch::{LOOK_EVERY, read};
use link::net::https_client::{Address, https_get};
use link::ops::health::Health;
use link::ops::metrics::{Gauge, Registry};
use tokio::time::{sleep, timeout};

use crate::auth::authenticate::{Callers, Identity, KeySource};
use crate::auth::jwks::{DOCUMENT_BYTES_MAX, JwksRefused};
use crate::auth::jwt::Tokens;

/// The name of the keys on the health page and in two gauges.
const KEYS: &str = "token_keys";

/// When an issuer's keys are fetched.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Time between two fetches.
    every: Duration,
    /// The same after a failure, and the shortest, however many tokens name an unknown key.
    again: Duration,
    /// Time in which the issuer must answer.
    within: Duration,
}

const PACE: Pace = Pace {
    every: Duration::from_secs(300),
    again: Duration::from_secs(10),
    within: Duration::from_secs(10),
};

/// Why the keys cannot be used at a start.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file with the issuer's keys cannot be read.
    #[error("the issuer's JWKS file cannot be read")]
    Unread(#[source] std::io::Error),
    /// The file with the issuer's keys cannot be used.
    #[error("the issuer's JWKS file cannot be used")]
    Refused(#[from] JwksRefused),
}

/// Keeps the keys up to date, and reports their state. Clones share everything.
#[derive(Clone)]
pub(crate) struct JwksRefresher {
    tokens: Arc<Tokens>,
    source: KeySource,
    /// Whether there are callers who need no key.
    others: bool,
    health: Health,
    usable: Gauge,
    read_at: Gauge,
}

/// What the last reading of the file has found.
#[derive(Default)]
struct Seen {
    document: Option<Vec<u8>>,
    good: bool,
    unread: bool,
}

impl JwksRefresher {
    /// Reads the keys from a file before anything is served: a file that cannot be read then is an
    /// operator's mistake. Keys at an address are fetched later, as it may be down; until then the
    /// gateway is not ready. None where no tokens are taken.
    pub(crate) fn open(
        identity: &Identity,
        callers: &Callers,
        registry: &mut Registry,
        health: &Health,
    ) -> Result<Option<Self>, KeysError> {
        let (Some(tokens), Some(source)) = (identity.tokens(), callers.keys()) else {
            return Ok(None);
        };
        let refresher = Self {
            tokens: Arc::clone(tokens),
            source: source.clone(),
            others: callers.without_tokens(),
            health: health.clone(),
            usable: Gauge::default(),
            read_at: Gauge::default(),
        };
        registry.register(
            "token_keys",
            "Keys of the issuer's that verify tokens at present",
            refresher.usable.clone(),
        );
        registry.register(
            "token_keys_read_seconds",
            "When the issuer's keys were last read, in seconds since 1970; 0 for never",
            refresher.read_at.clone(),
        );
        if let KeySource::File(path) = source {
            refresher.take(&read(path).map_err(KeysError::Unread)?)?;
        }
        refresher.report(false);
        Ok(Some(refresher))
    }

    /// Keeps the keys up to date until the future is dropped.
    pub(crate) async fn run(self) {
        match &self.source {
            KeySource::File(path) => self.watch(path).await,
            KeySource::Url { address, authorities } => {
                self.fetch(address, authorities.as_deref(), PACE).await;
            }
        }
    }

    async fn watch(&self, path: &Path) {
        let mut seen = Seen::default();
        loop {
            self.read_file(path, &mut seen);
            sleep(LOOK_EVERY).await;
        }
    }

    /// Reads the file once. A problem is logged once, and not every second.
    fn read_file(&self, path: &Path, seen: &mut Seen) {
        match read(path) {
            Ok(document) if seen.document.as_ref() == Some(&document) => {
                seen.unread = false;
                if seen.good {
                    self.tokens.confirm();
                }
            }
            Ok(document) => {
                seen.good = self.take(&document).is_ok();
                (seen.document, seen.unread) = (Some(document), false);
            }
            Err(error) => {
                if !seen.unread {
                    tracing::error!(%error, "the JWKS file cannot be read: keeping the old keys");
                }
                seen.unread = true;
            }
        }
        self.report(true);
    }

    async fn fetch(&self, address: &Address, authorities: Option<&[u8]>, pace: Pace) {
        // Often enough that keys never grow too old while the issuer can be reached.
        let every = pace.every.min(self.tokens.keys_age_max() / 4);
        loop {
            let fetched = https_get(address, authorities, DOCUMENT_BYTES_MAX, pace.within).await;
            let good = match fetched {
                Ok(document) => self.take(&document).is_ok(),
                Err(error) => {
                    tracing::error!(%error, "the issuer's keys cannot be fetched: keeping the old ones");
                    false
                }
            };
            self.report(true);
            sleep(pace.again).await;
            if good {
                // Until it is time, or a token names an unknown key.
                drop(timeout(every, self.tokens.key_wanted()).await);
            }
        }
    }

    /// Takes a document; logs a change or a failure.
    fn take(&self, document: &[u8]) -> Result<(), JwksRefused> {
        let taken = self.tokens.take(document);
        let left_out = self.tokens.keys().map_or(0, |(_, left_out)| left_out);
        match taken {
            Ok(None) => Ok(()),
            Ok(Some(0)) => {
                tracing::error!(
                    left_out,
                    "the issuer has no key that can be used: every token is refused"
                );
                Ok(())
            }
            Ok(Some(keys)) => {
                tracing::info!(keys, left_out, "the issuer's keys were read");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the issuer's keys cannot be used: keeping the old ones");
                Err(error)
            }
        }
    }

    /// Reports the state of the keys to operators and load balancers. Without any, the gateway is not
    /// ready until they were `asked` for; after that it is ready if it has callers who need none.
    fn report(&self, asked: bool) {
        let keys = self.tokens.keys().map(|(keys, _)| keys);
        let read_at = self.tokens.read_at().map_or(0, |at| at.0 / 1_000);
        let had = self.usable.set(keys.and_then(|keys| i64::try_from(keys).ok()).unwrap_or(0));
        self.read_at.set(i64::try_from(read_at).unwrap_or(i64::MAX));
        if keys.is_none() && had > 0 {
            tracing::error!("the issuer's keys are too old: tokens are no longer verified by them");
        }
        let fact = keys.map_or_else(|| "none could be read".to_owned(), |keys| keys.to_string());
        self.health.set_fact(KEYS, fact);
        self.health.hold(KEYS, keys.is_none() && !(asked && self.others));
    }
}

#[cfg(test)]
mod tests;
