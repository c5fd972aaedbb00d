//! Lists of what authorities have revoked, and which of them is whose.
//!
//! During a change two authorities of a region may bear one name, and a list's issuer is only a
//! name: which key has signed it says the key identifier. Without that, the list of the old
//! authority would be taken for the new one's, and would refuse all of its certificates.

use rustls::pki_types::CertificateRevocationListDer;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::trust::{Authority, Cause};

/// One list, and what tells it from others.
#[derive(Debug)]
struct List {
    list: CertRevocationList<'static>,
    key_id: Option<Vec<u8>>,
    /// When it was issued, in seconds since 1970.
    issued: i64,
}

/// All that were read.
#[derive(Debug, Default)]
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
        let issued = parsed.last_update().timestamp();
        let list = OwnedCertRevocationList::from_der(der).map_err(|_| Cause::Unreadable)?.into();
        let new = List { list, key_id, issued };
        match self.0.iter_mut().find(|old| old.is_like(&new)) {
            Some(old) if old.issued > new.issued => {}
            Some(old) => *old = new,
            None => self.0.push(new),
        }
        Ok(())
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
        self.0.iter().filter(|list| !others(list)).map(|list| &list.list).collect()
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
