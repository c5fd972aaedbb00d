//! The wrapper that keeps personal data out of everything a person may read by accident.

use zeroize::Zeroize;

/// Personal data, or anything that could identify a person.
///
/// It has no `Debug`, no `Display` and no `Serialize`, so that it cannot be written to a log, an
/// error, a metric or a panic message without somebody spelling out [`Pii::expose`]. Its memory
/// is overwritten when it is dropped.
///
/// A struct that holds one writes its own `Debug`, which says that the field is there and nothing
/// of what it holds.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_debug_implementations, reason = "content must never be formatted")]
pub struct Pii<T: Zeroize>(T);

impl<T: Zeroize> Pii<T> {
    /// Marks `value` as personal data.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The content. Every call is a place to look at in review: where does it go from here?
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> Drop for Pii<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}
