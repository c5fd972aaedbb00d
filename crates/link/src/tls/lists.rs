//! Lists of what authorities have revoked, and which of them is whose.
//!
//! During a change two authorities of a region may bear one name, and a list's issuer is only a
//! name: which key has signed it says the key identifier. Without that, the list of the old
//! authority would be taken for the new one's, and would refuse all of its certificates.
//!
//! A list that was read once stays in use until one that is at least as new takes its place. A
//! file that lacks it, or holds an older copy, revokes nothing less: a copy gone wrong, or somebody
//! who can write that file, brings nobody back.

use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;
use terms::UnixMillis;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::trust::{Authority, Cause};

/// One list, and what tells it from others.
#[derive(Debug, Clone)]
struct List {
    list: Arc<CertRevocationList<'static>>,
    key_id: Option<Vec<u8>>,
    age: Age,
    /// When it must have been renewed.
    ends: Option<UnixMillis>,
    /// Whether it is in use although its file holds it no more.
    kept: bool,
}

/// Which of two lists of one issuer is the later one: its number (RFC 5280, section 5.2.3), then
/// when it was issued, in seconds since 1970. Lists without numbers are older than all with one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Age {
    /// Its bytes' count, then the bytes: numbers compare so.
    number: Option<(usize, Vec<u8>)>,
    issued: i64,
}

/// All that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists(Vec<List>);

impl Lists {
    /// Adds one. Of two of the same issuer, key and scope the later one holds: files grow at
    /// either end.
    pub(super) fn add(&mut self, der: &CertificateRevocationListDer<'_>) -> Result<(), Cause> {
        let (rest, parsed) =
            CertificateRevocationList::from_der(der).map_err(|_| Cause::Unreadable)?;
        if !rest.is_empty() {
            return Err(Cause::Unreadable);
        }
        let mut key_id = None;
        for extension in parsed.extensions() {
            if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
                key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
        }
        let number = parsed.crl_number().map(|number| number.to_bytes_be());
        let number = number.map(|bytes| (bytes.len(), bytes));
        let age = Age { number, issued: parsed.last_update().timestamp() };
        let ends = parsed.next_update().map(|end| millis(end.timestamp()));
        let list = OwnedCertRevocationList::from_der(der).map_err(|_| Cause::Unreadable)?.into();
        self.put(List { list: Arc::new(list), key_id, age, ends, kept: false });
        Ok(())
    }

    fn put(&mut self, new: List) {
        match self.0.iter_mut().find(|old| old.is_like(&new)) {
            Some(old) if old.age > new.age => {}
            Some(old) => *old = new,
            None => self.0.push(new),
        }
    }

    /// Keeps what was in use before and is newer than what is here, or is not here at all, as long
    /// as its issuer is still among those that are trusted.
    pub(super) fn keep(&mut self, before: &Self, trusted: &[&Authority]) {
        for old in &before.0 {
            let newer = self.0.iter().any(|list| list.is_like(old) && list.age >= old.age);
            let wanted = trusted.iter().any(|authority| authority.name() == old.list.issuer());
            if wanted && !newer {
                self.put(List { kept: true, ..old.clone() });
            }
        }
    }

    /// How many are in use although the file does not hold them any more.
    pub(super) fn kept(&self) -> usize {
        self.0.iter().filter(|list| list.kept).count()
    }

    /// When the first of them ends.
    pub(super) fn first_end(&self) -> Option<UnixMillis> {
        self.0.iter().filter_map(|list| list.ends).min()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those by which a chain to this authority is checked: all but those of its name that
    /// another key has signed.
    pub(super) fn of<'a>(&'a self, authority: &Authority) -> Vec<&'a CertRevocationList<'static>> {
        let (name, id) = (authority.name(), authority.key_id.as_ref());
        let others = |list: &List| match (&list.key_id, id) {
            (Some(signed), Some(id)) => list.list.issuer() == name && signed != id,
            (None, _) | (_, None) => false,
        };
        self.0.iter().filter(|list| !others(list)).map(|list| &*list.list).collect()
    }
}

impl List {
    fn is_like(&self, other: &Self) -> bool {
        let scope = |list: &Self| list.list.issuing_distribution_point().map(<[u8]>::to_vec);
        self.list.issuer() == other.list.issuer()
            && self.key_id == other.key_id
            && scope(self) == scope(other)
    }
}

/// Seconds since 1970, as a certificate says them.
pub(super) fn millis(seconds: i64) -> UnixMillis {
    UnixMillis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1000))
}
