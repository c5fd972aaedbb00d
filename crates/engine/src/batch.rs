//! What one commit writes.

use std::collections::BTreeMap;
use std::fmt;

use crate::{BATCH_BYTES_MAX, Error, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// A key: 1 to [`KEY_BYTES_MAX`] bytes, ordered byte by byte.
pub type Key = Vec<u8>;

/// A value: 0 to [`VALUE_BYTES_MAX`] bytes.
pub type Value = Vec<u8>;

/// Writes that take effect together or not at all. A later write of a key replaces an earlier one.
/// Its `Debug` shows sizes only.
#[derive(Clone, Default)]
pub struct Batch {
    rows: BTreeMap<Key, Option<Value>>,
    bytes: usize,
}

impl Batch {
    /// An empty batch. Committing it moves the head and nothing else.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores `value` under `key`.
    pub fn put(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.set(key.into(), Some(value.into()));
    }

    /// Removes `key`, if it is there.
    pub fn delete(&mut self, key: impl Into<Key>) {
        self.set(key.into(), None);
    }

    fn set(&mut self, key: Key, value: Option<Value>) {
        let key_bytes = key.len();
        self.bytes += key_bytes + value.as_ref().map_or(0, Vec::len);
        if let Some(old) = self.rows.insert(key, value) {
            self.bytes -= key_bytes + old.map_or(0, |old| old.len());
        }
    }

    /// Adds the writes of another batch, after its own.
    pub fn append(&mut self, other: Self) {
        if self.rows.is_empty() {
            *self = other;
        } else {
            other.rows.into_iter().for_each(|(key, value)| self.set(key, value));
        }
    }

    /// How many keys it writes.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of its keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its writes by key; `None` removes.
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        self.rows.iter().map(|(key, value)| (key, value.as_ref()))
    }

    /// The same, given away.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (Key, Option<Value>)> {
        self.rows.into_iter()
    }

    /// Whether every size is within the limits.
    ///
    /// # Errors
    /// [`Error::TooLarge`] and [`Error::EmptyKey`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let within = |what, bytes: usize, max: usize| {
            if bytes > max { Err(Error::TooLarge { what, bytes, max }) } else { Ok(()) }
        };
        within("batch", self.bytes, BATCH_BYTES_MAX)?;
        for (key, value) in &self.rows {
            if key.is_empty() {
                return Err(Error::EmptyKey);
            }
            within("key", key.len(), KEY_BYTES_MAX)?;
            within("value", value.as_ref().map_or(0, Vec::len), VALUE_BYTES_MAX)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("rows", &self.len()).field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_write_wins_and_is_counted_once() {
        let mut batch = Batch::new();
        batch.put("a", vec![1; 10]);
        batch.put("a", vec![2; 3]);
        batch.put("b", "x");
        batch.delete("b");
        assert_eq!((batch.len(), batch.bytes()), (2, 1 + 3 + 1));
        let rows: Vec<_> = batch.rows().map(|(k, v)| (k.clone(), v.cloned())).collect();
        assert_eq!(rows, [(b"a".to_vec(), Some(vec![2; 3])), (b"b".to_vec(), None)]);
        assert_eq!(format!("{batch:?}"), "Batch { rows: 2, bytes: 5 }");
    }

    #[test]
    fn sizes_past_the_limits_are_refused_without_naming_the_key() {
        let one = |key: Vec<u8>, value: Vec<u8>| {
            let mut batch = Batch::new();
            batch.put(key, value);
            batch.check()
        };
        assert_eq!(one(vec![], vec![]), Err(Error::EmptyKey));
        assert_eq!(one(vec![7; KEY_BYTES_MAX], vec![0; VALUE_BYTES_MAX]), Ok(()));
        let long = one(vec![7; KEY_BYTES_MAX + 1], vec![]).unwrap_err();
        assert_eq!(long.to_string(), "the key of 385 bytes is over the limit of 384");
        assert!(matches!(
            one(vec![7], vec![0; VALUE_BYTES_MAX + 1]),
            Err(Error::TooLarge { what: "value", .. })
        ));
    }
}
