//! Reading and writing the few bytes of our rows: big-endian numbers, texts with their length.
//!
//! What is read comes from a disk: nothing here panics, whatever it finds.

use crate::Error;

/// A row that does not have the form it should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a stored row is not of its form")]
pub(crate) struct Malformed;

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Damaged("store")
    }
}

/// Appends to a row.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    pub(crate) fn u8(&mut self, n: u8) -> &mut Self {
        self.0.push(n);
        self
    }

    pub(crate) fn u32(&mut self, n: u32) -> &mut Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    pub(crate) fn u64(&mut self, n: u64) -> &mut Self {
        self.0.extend_from_slice(&n.to_be_bytes());
        self
    }

    /// Bytes of a length that the reader knows.
    pub(crate) fn fixed(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes with their length in front. Ours are far below 4 GiB; a longer one is our mistake.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).expect("a field of a row is below 4 GiB"));
        self.fixed(bytes)
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }
}

/// Takes a row apart from its front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (front, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*front)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        self.array::<1>().map(|[n]| n)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed)?;
        let (front, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(front)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    /// The format version that every persisted value starts with.
    pub(crate) fn format(&mut self, known: u8) -> Result<(), Malformed> {
        if self.u8()? == known { Ok(()) } else { Err(Malformed) }
    }

    pub(crate) const fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Whether nothing is left.
    pub(crate) const fn is_at_end(self) -> bool {
        self.0.is_empty()
    }

    /// Nothing may be left.
    pub(crate) const fn end(self) -> Result<(), Malformed> {
        if self.is_at_end() { Ok(()) } else { Err(Malformed) }
    }
}
