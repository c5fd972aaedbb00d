//! Certificate authorities: one for each region, and optionally one for callers.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::host::clock::SystemEntropy;
use link::host::file_watch::read_secret_text;
use rcgen::{
    DistinguishedName, DnType, Issuer, KeyPair, PublicKeyData as _, SerialNumber, date_time_ymd,
};
use sha2::{Digest as _, Sha256};
use terms::pem;
use terms::{Entropy as _, RegionId};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;

use crate::{Error, TrustDomain, files, read};

/// Bytes of a serial number, all random: it does not show how many there are.
const SERIAL_BYTES: usize = 16;
/// What stands in an authority's `OU`.
const REGION: &str = "region ";
const CALLERS: &str = "callers";

/// The holders for which an authority issues certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// For the gateways and shards of one region, and for callers.
    Region(RegionId),
    /// For callers alone.
    Callers,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Region(region) => write!(f, "{REGION}{region}"),
            Self::Callers => f.write_str(CALLERS),
        }
    }
}

impl Scope {
    fn parse(text: &str) -> Option<Self> {
        match text.strip_prefix(REGION) {
            Some(region) => RegionId::parse(region).ok().map(Self::Region),
            None => (text == CALLERS).then_some(Self::Callers),
        }
    }

    /// Its region. None: callers.
    pub fn region(&self) -> Option<&RegionId> {
        match self {
            Self::Region(region) => Some(region),
            Self::Callers => None,
        }
    }
}

/// An authority with its key.
pub struct Authority {
    pub(crate) folder: PathBuf,
    pub(crate) issuer: Issuer<'static, KeyPair>,
    pub(crate) der: Vec<u8>,
    scope: Scope,
    domain: TrustDomain,
    key_id: Vec<u8>,
    not_after: u64,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Opens what [`crate::init`] made.
    ///
    /// # Errors
    /// A folder without an authority of ours, or a key that others may read, or that is not the
    /// certificate's.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(files::AUTHORITY);
        let der = read::first_certificate(&path)?;
        let certificate = read::certificate(&der, &path)?;
        let foreign = || {
            Error::refused(format!("{}: is not an authority of `bailiwick pki`", path.display()))
        };
        let subject = certificate.subject();
        let unit = read::only(subject.iter_organizational_unit().map(|part| part.as_str().ok()));
        let scope = unit.and_then(Scope::parse).ok_or_else(foreign)?;
        let domain = read::only(subject.iter_organization().map(|part| part.as_str().ok()));
        let domain = domain.and_then(|text| TrustDomain::parse(text).ok()).ok_or_else(foreign)?;
        let key_id = read::key_id(&certificate).ok_or_else(foreign)?.to_vec();
        let not_after = read::seconds(&certificate.validity().not_after);
        let key_path = folder.join(files::AUTHORITY_KEY);
        let unread =
            |error| Error::refused(format!("{}: cannot be read ({error})", key_path.display()));
        let text = read_secret_text(&key_path).map_err(|error: io::Error| unread(error))?;
        let problem =
            |why: &dyn fmt::Display| Error::refused(format!("{}, {why}", key_path.display()));
        pem::private_key(text.as_bytes()).map_err(|error| problem(&error))?;
        let key = KeyPair::from_pem(&text).map_err(|_| problem(&"its key cannot be used"))?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(Error::refused(format!(
                "{}: is not the authority's key",
                key_path.display()
            )));
        }
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key);
        let issuer = issuer.map_err(|_| foreign())?;
        let folder = folder.to_path_buf();
        Ok(Self { folder, issuer, der, scope, domain, key_id, not_after })
    }

    /// The holders for which it issues certificates.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Its trust domain.
    pub fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The identifier of its key.
    pub(crate) fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// Seconds since 1970 at which it ends, and everything that it issued with it.
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// As the map's `authorities` names it: the SHA-256 of its certificate.
    pub fn pin(&self) -> String {
        pin(&self.der)
    }

    /// A phrase that names it.
    pub fn describe(&self) -> String {
        format!("authority of {} in trust domain {}", self.scope, self.domain)
    }

    /// Whether this authority has issued a certificate: by its name, its key's identifier, and its
    /// signature, since anyone can write the other two.
    pub(crate) fn has_issued(&self, certificate: &X509Certificate<'_>) -> Result<bool, Error> {
        let own = read::certificate(&self.der, &self.folder.join(files::AUTHORITY))?;
        Ok(certificate.issuer().as_raw() == own.subject().as_raw()
            && read::issuer_key_id(certificate) == Some(self.key_id())
            && certificate.verify_signature(Some(own.public_key())).is_ok())
    }

    /// Refuses a certificate that another authority issued.
    pub(crate) fn require_own(
        &self,
        certificate: &X509Certificate<'_>,
        path: &Path,
    ) -> Result<(), Error> {
        if self.has_issued(certificate)? {
            return Ok(());
        }
        let text = format!(
            "{}: issued by another authority than that of {}",
            path.display(),
            self.folder.display()
        );
        Err(Error::refused(text))
    }
}

/// How the map pins an authority by its certificate.
pub(crate) fn pin(der: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(der)))
}

/// A certificate's own name.
pub(crate) fn name(domain: &TrustDomain, unit: &Scope, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, domain.as_str());
    name.push(DnType::OrganizationalUnitName, unit.to_string());
    name.push(DnType::CommonName, common);
    name
}

pub(crate) fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0_u8; SERIAL_BYTES];
    SystemEntropy.fill(&mut bytes).map_err(Error::unmade)?;
    // Positive, and of full length.
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A time as certificates write it, from seconds since 1970.
pub(crate) fn at(seconds: u64) -> OffsetDateTime {
    date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
}
