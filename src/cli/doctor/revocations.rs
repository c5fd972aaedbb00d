//! Lists of revoked certificates: past a list's end nobody is trusted by its authority, so it must
//! be renewed before.

use std::path::Path;

use link::watched;
use terms::UnixMillis;
use x509_parser::extensions::ParsedExtension;
use x509_parser::pem::Pem;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};
use x509_parser::time::ASN1Time;

use super::patient::Patient;
use super::{Line, days};

const CHECK: &str = "revocations";
/// Days before a list's end from which on it should have been renewed: `pki` makes lists for 90,
/// to be renewed every month.
const DAYS_MIN: u64 = 14;
const CURE: &str = "`bailiwick pki revoke --authority DIR` renews it; put the lists of all \
                    authorities into that file";

/// What tells keys of one name apart: an authority's name, and its key's identifier.
#[derive(Debug, PartialEq, Eq)]
struct Signer {
    name: Vec<u8>,
    key_id: Option<Vec<u8>>,
}

impl Signer {
    /// Whether a list of `self` is one by which certificates of `authority` are checked.
    fn speaks_for(&self, authority: &Self) -> bool {
        let other_key = match (&self.key_id, &authority.key_id) {
            (Some(own), Some(other)) => own != other,
            (None, _) | (_, None) => false,
        };
        self.name == authority.name && !other_key
    }
}

/// A list, as far as it matters when it ends.
#[derive(Debug)]
struct List {
    signer: Signer,
    /// The authority's name for people.
    shown: String,
    issued: i64,
    end: UnixMillis,
}

/// What is said of the lists that the server reads. What cannot be read is said by whoever opens
/// TLS with it.
pub(super) fn all(patient: &Patient, now: UnixMillis) -> Vec<Line> {
    let own = patient.tls.iter().map(|(files, _)| (&files.authorities, &files.revoked));
    let callers = patient.callers.iter();
    let callers = callers.filter_map(|files| Some((files.authorities.as_ref()?, &files.revoked)));
    let mut lines = Vec::new();
    for (authorities, revoked) in own.chain(callers) {
        match revoked {
            Some(path) => lines.extend(file(path, authorities, now)),
            None => {
                let what = format!("none for {}: nobody is revoked", authorities.display());
                lines.push(Line::ok(CHECK, what));
            }
        }
    }
    lines
}

fn file(path: &Path, authorities: &Path, now: UnixMillis) -> Vec<Line> {
    let (Ok(text), Ok(authorities)) = (watched::read(path), watched::read(authorities)) else {
        return Vec::new();
    };
    let signers = signers(&authorities);
    let mut lists = newest(&text);
    // The list of an authority that is out of use does no harm.
    lists.retain(|list| signers.iter().any(|signer| list.signer.speaks_for(signer)));
    let mut lines: Vec<Line> = lists.iter().filter_map(|list| late(list, path, now)).collect();
    if lines.is_empty() {
        let least = lists.iter().map(|list| days(now, list.end)).min();
        let least = least.map_or_else(String::new, |least| format!(", {least} days left or more"));
        let what = format!("{} lists of authorities in {}{least}", lists.len(), path.display());
        lines.push(Line::ok(CHECK, what));
    }
    lines
}

/// What is to be said of a list's end, if anything is.
fn late(list: &List, path: &Path, now: UnixMillis) -> Option<Line> {
    let (shown, path) = (&list.shown, path.display());
    if list.end <= now {
        let what = format!("the list of {shown} in {path} ended: that authority is not trusted");
        return Some(Line::bad(CHECK, what, CURE));
    }
    let left = days(now, list.end);
    let what = format!("the list of {shown} in {path} ends in {left} days");
    (left < DAYS_MIN).then(|| Line::warn(CHECK, what, CURE))
}

/// The authorities of a bundle.
fn signers(bundle: &[u8]) -> Vec<Signer> {
    let mut found = Vec::new();
    for pem in Pem::iter_from_buffer(bundle).flatten().filter(|pem| pem.label == "CERTIFICATE") {
        let Ok(certificate) = pem.parse_x509() else { continue };
        let key_id = certificate.extensions().iter().find_map(|extension| {
            let parsed = extension.parsed_extension();
            if let ParsedExtension::SubjectKeyIdentifier(id) = parsed {
                Some(id.0.to_vec())
            } else {
                None
            }
        });
        found.push(Signer { name: certificate.subject().as_raw().to_vec(), key_id });
    }
    found
}

/// The lists of a file: of two of one authority the later one holds, as servers take them.
fn newest(text: &[u8]) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    for pem in Pem::iter_from_buffer(text).flatten().filter(|pem| pem.label == "X509 CRL") {
        let Ok((_, parsed)) = CertificateRevocationList::from_der(&pem.contents) else { continue };
        // One without an end is refused where TLS is opened.
        let Some(end) = parsed.next_update() else { continue };
        let key_id = parsed.extensions().iter().find_map(|extension| {
            let parsed = extension.parsed_extension();
            let ParsedExtension::AuthorityKeyIdentifier(id) = parsed else { return None };
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        });
        let signer = Signer { name: parsed.issuer().as_raw().to_vec(), key_id };
        let (issued, shown) = (parsed.last_update().timestamp(), parsed.issuer().to_string());
        let new = List { signer, shown, issued, end: millis(&end) };
        match lists.iter_mut().find(|old| old.signer == new.signer) {
            Some(old) if old.issued > new.issued => {}
            Some(old) => *old = new,
            None => lists.push(new),
        }
    }
    lists
}

fn millis(time: &ASN1Time) -> UnixMillis {
    UnixMillis(u64::try_from(time.timestamp()).unwrap_or(0).saturating_mul(1000))
}
