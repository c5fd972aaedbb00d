//! Lists of what authorities have revoked, and which of them is whose.
//!
//! During a change two authorities of a region may bear one name, and a list's issuer is only a
//! name: which key has signed it says the key identifier. Without that, the list of the old
//! authority would be taken for the new one's, and would refuse all of its certificates.
//!
//! A list that was read once stays in use until one that is at least as new takes its place. A
//! file that lacks it, or holds an older copy, revokes nothing less: neither a damaged copy nor a
//! process that can write that file brings a revoked certificate back.
//!
//! Which of two lists is newer the CRL number decides. Two of one number are one list that was
//! issued twice: the one that revokes more holds, whatever the times say.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use rustls::pki_types::CertificateRevocationListDer;
use terms::UnixMillis;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::tls::certificate::{Authority, millis};

/// One list, and what tells it from others.
#[derive(Debug, Clone)]
struct List {
    list: Arc<CertRevocationList<'static>>,
    key_id: Option<Vec<u8>>,
    /// The issuer's name for people.
    shown: Arc<str>,
    /// Its CRL number (RFC 5280, section 5.2.3): the count of its bytes, then the bytes, since
    /// numbers compare so. A list without a number is older than all with one.
    number: Option<(usize, Vec<u8>)>,
    /// When it was issued, in seconds since 1970.
    issued: i64,
    /// The serial numbers of what it revokes.
    revoked: Arc<BTreeSet<Vec<u8>>>,
    /// When it must have been renewed.
    ends: Option<UnixMillis>,
    /// Whether it is in use although its file holds it no more.
    kept: bool,
}

/// All that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Lists(Vec<List>);

impl Lists {
    /// Adds one. Of two of the same issuer, key and scope the newer one holds, wherever it stands.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn add(
        &mut self,
        der: &CertificateRevocationListDer<'_>,
    ) -> Result<(), &'static str> {
        const DAMAGED: &str = "a revocation list in it cannot be read";
        let Ok(([], parsed)) = CertificateRevocationList::from_der(der) else {
            return Err(DAMAGED);
        };
        let mut key_id = None;
        for extension in parsed.extensions() {
            if let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() {
                key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
        }
        let number = parsed.crl_number().map(|number| number.to_bytes_be());
        let number = number.map(|bytes| (bytes.len(), bytes));
        let revoked = parsed.iter_revoked_certificates().map(|one| one.raw_serial().to_vec());
        let ends = parsed.next_update().map(|end| millis(end.timestamp()));
        let list = OwnedCertRevocationList::from_der(der).map_err(|error| {
            use webpki::Error as E;
            if matches!(error, E::UnsupportedDeltaCrl | E::UnsupportedIndirectCrl) {
                "a revocation list in it is a delta or an indirect one: name the authority's own, \
                 whole list"
            } else {
                DAMAGED
            }
        })?;
        self.put(List {
            list: Arc::new(list.into()),
            key_id,
            shown: parsed.issuer().to_string().into(),
            number,
            issued: parsed.last_update().timestamp(),
            revoked: Arc::new(revoked.collect()),
            ends,
            kept: false,
        })
    }

    fn put(&mut self, new: List) -> Result<(), &'static str> {
        let Some(old) = self.0.iter_mut().find(|old| old.is_like(&new)) else {
            self.0.push(new);
            return Ok(());
        };
        match new.age(old) {
            Some(Ordering::Less) => {}
            Some(Ordering::Equal | Ordering::Greater) => *old = new,
            None => {
                return Err(
                    "two revocation lists of one authority have the same number, and each \
                            revokes what the other does not: issue one with a higher number",
                );
            }
        }
        Ok(())
    }

    /// Keeps what was in use before and is newer than what is here, or is not here at all, as long
    /// as its issuer is still among those that are trusted.
    pub(super) fn keep(&mut self, before: &Self, trusted: &[&Authority]) {
        for old in &before.0 {
            let wanted = trusted.iter().any(|authority| authority.name() == old.list.issuer());
            let kept = List { kept: true, ..old.clone() };
            match self.0.iter_mut().find(|list| list.is_like(old)) {
                _ if !wanted => {}
                Some(list) if list.age(old).is_some_and(Ordering::is_ge) => {}
                Some(list) => *list = kept,
                None => self.0.push(kept),
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

    /// Those of these authorities, by their issuers' names, with their ends.
    pub(super) fn ends(&self, authorities: &[Authority]) -> Vec<(Arc<str>, UnixMillis)> {
        let own = |list: &&List| authorities.iter().any(|authority| list.speaks_for(authority));
        let all = self.0.iter().filter(own);
        all.filter_map(|list| Some((Arc::clone(&list.shown), list.ends?))).collect()
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
    /// How it compares with another of the same issuer. None: each revokes what the other does
    /// not, under one number.
    fn age(&self, other: &Self) -> Option<Ordering> {
        let mut by = self.number.cmp(&other.number);
        if self.number.is_none() && other.number.is_none() {
            by = self.issued.cmp(&other.issued);
        }
        if by.is_ne() {
            return Some(by);
        }
        match (self.revoked.is_superset(&other.revoked), other.revoked.is_superset(&self.revoked)) {
            (true, true) => Some(self.issued.cmp(&other.issued)),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }

    /// Whether the certificates of an authority are checked by it.
    fn speaks_for(&self, authority: &Authority) -> bool {
        let ours = match (&self.key_id, &authority.key_id) {
            (Some(signed), Some(id)) => signed == id,
            (None, _) | (_, None) => true,
        };
        ours && self.list.issuer() == authority.name()
    }

    fn is_like(&self, other: &Self) -> bool {
        let scope = |list: &Self| list.list.issuing_distribution_point().map(<[u8]>::to_vec);
        self.list.issuer() == other.list.issuer()
            && self.key_id == other.key_id
            && scope(self) == scope(other)
    }
}
