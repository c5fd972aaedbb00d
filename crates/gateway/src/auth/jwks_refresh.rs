//! Keeps the keys of an issuer of tokens up to date, from a file or over HTTPS.
//!
//! A document that can be read replaces the keys, be there none left in it: that is how an issuer
//! takes a stolen key back. One that cannot be read leaves the old keys in use: an issuer that is
//! down for an hour must not turn every caller away. But not for ever: past a certain age there
//! are no keys, and callers with tokens are asked to try again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use link::host::file_watch::{LOOK_EVERY, read};
use link::net::https_client::{Address, https_get};
use link::ops::health::Health;
use link::ops::metrics::{Gauge, Registry};
use tokio::time::{sleep, timeout};

use crate::Error;
use crate::auth::authenticate::{Callers, Identity, KeySource};
use crate::auth::jwks::{DOCUMENT_BYTES_MAX, JwksRefused};
use crate::auth::jwt::Tokens;

/// The name under which operators find the keys: a fact of the health page, and of two gauges.
const KEYS: &str = "token_keys";

/// When an issuer's address is asked.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// Time between two looks.
    every: Duration,
    /// The same after a failure, and however many tokens name a key that is not known.
    again: Duration,
    /// Time in which the issuer must answer.
    within: Duration,
}

const PACE: Pace = Pace {
    every: Duration::from_secs(300),
    again: Duration::from_secs(10),
    within: Duration::from_secs(10),
};

/// Who keeps the keys up to date, and says how they are. Clones are the same.
#[derive(Clone)]
pub(crate) struct Keeper {
    tokens: Arc<Tokens>,
    source: KeySource,
    /// Whether there are callers who need no key.
    others: bool,
    health: Health,
    usable: Gauge,
    read_at: Gauge,
}

/// What the last look at a file has found.
#[derive(Default)]
struct Seen {
    document: Option<Vec<u8>>,
    good: bool,
    unread: bool,
}

impl Keeper {
    /// Reads keys that lie in a file, before anything is served: a file that cannot be read then
    /// is an operator's mistake. An address is asked later, as it may be down; until it has been,
    /// the gateway is not ready. None where no tokens are taken.
    ///
    /// # Errors
    /// [`Error::KeysUnread`] and [`Error::Keys`].
    pub(crate) fn open(
        identity: &Identity,
        callers: &Callers,
        registry: &mut Registry,
        health: &Health,
    ) -> Result<Option<Self>, Error> {
        let (Some(tokens), Some(source)) = (identity.tokens(), callers.keys()) else {
            return Ok(None);
        };
        let keeper = Self {
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
            keeper.usable.clone(),
        );
        registry.register(
            "token_keys_read_seconds",
            "When the issuer's keys were last read, in seconds since 1970; 0 for never",
            keeper.read_at.clone(),
        );
        if let KeySource::File(path) = source {
            keeper.take(&read(path).map_err(Error::KeysUnread)?)?;
        }
        keeper.tell(false);
        Ok(Some(keeper))
    }

    /// Keeps the keys up to date until the future is dropped.
    pub(crate) async fn keep(self) {
        match &self.source {
            KeySource::File(path) => self.watch(path).await,
            KeySource::Url { address, authorities } => {
                self.ask(address, authorities.as_deref(), PACE).await;
            }
        }
    }

    async fn watch(&self, path: &Path) {
        let mut seen = Seen::default();
        loop {
            self.look(path, &mut seen);
            sleep(LOOK_EVERY).await;
        }
    }

    /// One look at a file. What is wrong with it is said once, and not every second.
    fn look(&self, path: &Path, seen: &mut Seen) {
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
                    tracing::error!(%error, "the JWKS file cannot be read: the old keys stay");
                }
                seen.unread = true;
            }
        }
        self.tell(true);
    }

    async fn ask(&self, address: &Address, authorities: Option<&[u8]>, pace: Pace) {
        // Often enough that keys never grow too old while the issuer can be reached.
        let every = pace.every.min(self.tokens.keys_age_max() / 4);
        loop {
            let fetched = https_get(address, authorities, DOCUMENT_BYTES_MAX, pace.within).await;
            let good = match fetched {
                Ok(document) => self.take(&document).is_ok(),
                Err(error) => {
                    tracing::error!(%error, "the issuer's keys cannot be fetched: the old ones stay");
                    false
                }
            };
            self.tell(true);
            sleep(pace.again).await;
            if good {
                // Either it is time, or a token names a key that we do not have.
                drop(timeout(every, self.tokens.key_wanted()).await);
            }
        }
    }

    /// Takes a document, and says so if that changes something or cannot be.
    fn take(&self, document: &[u8]) -> Result<(), JwksRefused> {
        let taken = self.tokens.take(document);
        let left_out = self.tokens.keys().map_or(0, |(_, left_out)| left_out);
        match taken {
            Ok(None) => Ok(()),
            Ok(Some(0)) => {
                tracing::error!(
                    left_out,
                    "the issuer has no key that can be used: no token is good"
                );
                Ok(())
            }
            Ok(Some(keys)) => {
                tracing::info!(keys, left_out, "the issuer's keys were read");
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "the issuer's keys cannot be used: the old ones stay");
                Err(error)
            }
        }
    }

    /// Tells operators and whoever balances load how the keys are. Without any, the gateway is
    /// not ready until they were `asked` for; after that it is, if it has callers who need none.
    fn tell(&self, asked: bool) {
        let keys = self.tokens.keys().map(|(keys, _)| keys);
        let read_at = self.tokens.read_at().map_or(0, |at| at.0 / 1_000);
        let had = self.usable.set(keys.and_then(|keys| i64::try_from(keys).ok()).unwrap_or(0));
        self.read_at.set(i64::try_from(read_at).unwrap_or(i64::MAX));
        if keys.is_none() && had > 0 {
            tracing::error!(
                "the issuer's keys are too old: tokens are not judged by them any more"
            );
        }
        let fact = keys.map_or_else(|| "none could be read".to_owned(), |keys| keys.to_string());
        self.health.set_fact(KEYS, fact);
        self.health.hold(KEYS, keys.is_none() && !(asked && self.others));
    }
}

#[cfg(test)]
mod tests;
