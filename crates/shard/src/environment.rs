//! What a shard takes from outside.

use std::fmt;
use std::sync::Arc;

use engine::Backend;
use terms::{Clock, Entropy};

use crate::store::aead::BodyCipher;

/// The outside world.
#[derive(Clone)]
pub struct Environment {
    /// Where the store lies, and how it is opened. It stays in the region, with all its copies.
    pub store: Arc<dyn Backend>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where random bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// How the bodies of records are encrypted.
    pub cipher: &'static dyn BodyCipher,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("store", &self.store).finish_non_exhaustive()
    }
}
