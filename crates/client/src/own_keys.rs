//! Caller-held keys: bodies are encrypted under the caller's own keys before anything else is done with them.
//! Neither gateway nor region can read them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use sealed::{CallerKey, CallerRecord, key_id};

use crate::api;
use crate::transit_keys::NotSealed;

/// Where a caller has its keys.
pub trait KeyProvider: Send + Sync + 'static {
    /// The key for new bodies. None: there is none just now, and nothing is sent.
    fn current(&self) -> Option<CallerKey>;
    /// The key of that id, for bodies that were encrypted before. None: it is not known, or gone.
    fn key(&self, id: &str) -> Option<CallerKey>;
}

/// Keys in memory.
#[derive(Debug, Clone)]
pub struct KeySet {
    current: CallerKey,
    older: BTreeMap<String, CallerKey>,
}

impl KeySet {
    /// The key for new bodies, and those for older ones.
    pub fn new(current: CallerKey, older: impl IntoIterator<Item = CallerKey>) -> Self {
        let older = older.into_iter().map(|key| (key.id().to_owned(), key)).collect();
        Self { current, older }
    }
}

impl KeyProvider for KeySet {
    fn current(&self) -> Option<CallerKey> {
        Some(self.current.clone())
    }

    fn key(&self, id: &str) -> Option<CallerKey> {
        let current = (self.current.id() == id).then_some(&self.current);
        current.or_else(|| self.older.get(id)).cloned()
    }
}

/// A provider, without its keys in `Debug`.
#[derive(Clone)]
pub(crate) struct OwnKeys(Arc<dyn KeyProvider>);

impl fmt::Debug for OwnKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnKeys")
    }
}

impl OwnKeys {
    pub(crate) fn new(keys: Arc<dyn KeyProvider>) -> Self {
        Self(keys)
    }

    /// A body under the key of now.
    pub(crate) fn encrypted(
        &self,
        subject: Option<&api::SubjectRef>,
        collection: &str,
        key: &str,
        request_id: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, NotSealed> {
        let own = self.0.current().ok_or(NotSealed::OwnKey)?;
        Ok(own.seal(&names(subject, collection, key), request_id, body))
    }

    /// A record with its body decrypted, by the names that it has.
    pub(crate) fn decrypted(&self, record: api::Record) -> Result<api::Record, NotSealed> {
        let key = key_id(&record.body).and_then(|id| self.0.key(id)).ok_or(NotSealed::OwnKey)?;
        let names = names(record.subject.as_ref(), &record.collection, &record.key);
        let body = key.open(&names, &record.body).map_err(|_| NotSealed::OwnKey)?.into();
        Ok(api::Record { body, ..record })
    }
}

fn names<'a>(
    subject: Option<&'a api::SubjectRef>,
    collection: &'a str,
    key: &'a str,
) -> CallerRecord<'a> {
    CallerRecord { subject: subject.map_or("", |subject| subject.id.as_str()), collection, key }
}
