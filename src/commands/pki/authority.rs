//! Certificate authorities: one for each region, and optionally one for callers.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use link::host::clock::SystemEntropy;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SerialNumber, date_time_ymd,
};
use terms::pem;
use terms::{Entropy as _, RegionId};
use x509_parser::certificate::X509Certificate;

use crate::commands::pki::{TrustDomain, files, now, read, revoke, wrong};
use crate::commands::{Exit, Failure};

/// How long an authority lasts.
const AUTHORITY_DAYS: u64 = 5 * 365;
/// How far certificates begin before they are made: clocks of other machines may be behind.
pub(super) const BACKDATED_S: u64 = 300;
pub(super) const DAY_S: u64 = 86_400;
/// Bytes of a serial number, all random: nobody can tell how many there are.
const SERIAL_BYTES: usize = 16;
/// What stands in an authority's `OU`.
const REGION: &str = "region ";
const CALLERS: &str = "callers";

/// For whom an authority speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
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

    pub(crate) fn region(&self) -> Option<&RegionId> {
        match self {
            Self::Region(region) => Some(region),
            Self::Callers => None,
        }
    }
}

/// An authority with its key.
pub(crate) struct Authority {
    pub(super) folder: PathBuf,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) der: Vec<u8>,
    scope: Scope,
    domain: TrustDomain,
    key_id: Vec<u8>,
    not_after: u64,
}

/// Makes an authority with an empty revocation list in `folder`.
///
/// # Errors
/// A folder that has one already, or cannot be written.
pub(crate) fn make(
    folder: &Path,
    scope: &Scope,
    domain: &TrustDomain,
) -> Result<Authority, Failure> {
    let key = KeyPair::generate().map_err(|_| unmade())?;
    let mut params = CertificateParams::default();
    let key_id = params.key_identifier(&key);
    // Two authorities of one region differ in name, too: revocation lists are told apart by it.
    let short = read::hex(key_id.get(..4).unwrap_or_default());
    params.distinguished_name = name(domain, scope, &format!("bailiwick authority {short}"));
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let now = now();
    params.not_before = at(now.saturating_sub(BACKDATED_S));
    params.not_after = at(now.saturating_add(AUTHORITY_DAYS * DAY_S));
    params.serial_number = Some(serial()?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.self_signed(&key).map_err(|_| unmade())?;
    files::write_pair(
        folder,
        (files::AUTHORITY_KEY, &key.serialize_pem()),
        (files::AUTHORITY, &certificate.pem()),
    )?;
    let authority = Authority::open(folder)?;
    revoke::first_list(&authority)?;
    Ok(authority)
}

impl Authority {
    /// Opens what [`make`] made.
    ///
    /// # Errors
    /// A folder without an authority of ours, or a key that others may read, or that is not the
    /// certificate's.
    pub(crate) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join(files::AUTHORITY);
        let der = read::first_certificate(&path)?;
        let certificate = read::certificate(&der, &path)?;
        let foreign =
            || wrong(format!("{}: is not an authority of `bailiwick pki`", path.display()));
        let subject = certificate.subject();
        let unit = read::only(subject.iter_organizational_unit().map(|part| part.as_str().ok()));
        let scope = unit.and_then(Scope::parse).ok_or_else(foreign)?;
        let domain = read::only(subject.iter_organization().map(|part| part.as_str().ok()));
        let domain = domain.and_then(|text| TrustDomain::parse(text).ok()).ok_or_else(foreign)?;
        let key_id = read::key_id(&certificate).ok_or_else(foreign)?.to_vec();
        let not_after = read::seconds(&certificate.validity().not_after);
        let key_path = folder.join(files::AUTHORITY_KEY);
        let text = files::secret(&key_path)?;
        let problem = |why: &dyn fmt::Display| wrong(format!("{}, {why}", key_path.display()));
        pem::private_key(text.as_bytes()).map_err(|error| problem(&error))?;
        let key = KeyPair::from_pem(&text).map_err(|_| problem(&"its key cannot be used"))?;
        if key.subject_public_key_info() != certificate.public_key().raw {
            return Err(wrong(format!("{}: is not the authority's key", key_path.display())));
        }
        let issuer = Issuer::from_ca_cert_der(&der.as_slice().into(), key);
        let issuer = issuer.map_err(|_| foreign())?;
        let folder = folder.to_path_buf();
        Ok(Self { folder, issuer, der, scope, domain, key_id, not_after })
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(crate) fn domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// The identifier of its key.
    pub(super) fn key_id(&self) -> &[u8] {
        &self.key_id
    }

    /// Seconds since 1970 at which it ends, and everything that it issued with it.
    pub(crate) fn not_after(&self) -> u64 {
        self.not_after
    }

    /// As the map's `authorities` names it: the SHA-256 of its certificate.
    pub(crate) fn pin(&self) -> String {
        pin(&self.der)
    }

    pub(super) fn describe(&self) -> String {
        format!("authority of {} in trust domain {}", self.scope, self.domain)
    }

    /// Whether this authority has issued a certificate: by its name, its key's identifier, and its
    /// signature, since anybody can write the other two.
    pub(super) fn has_issued(&self, certificate: &X509Certificate<'_>) -> Result<bool, Failure> {
        let own = read::certificate(&self.der, &self.folder.join(files::AUTHORITY))?;
        Ok(certificate.issuer().as_raw() == own.subject().as_raw()
            && read::issuer_key_id(certificate) == Some(self.key_id())
            && certificate.verify_signature(Some(own.public_key())).is_ok())
    }

    /// Refuses a certificate that another authority issued.
    pub(super) fn require_own(
        &self,
        certificate: &X509Certificate<'_>,
        path: &Path,
    ) -> Result<(), Failure> {
        if self.has_issued(certificate)? {
            return Ok(());
        }
        let text = format!(
            "{}: issued by another authority than that of {}",
            path.display(),
            self.folder.display()
        );
        Err(wrong(text))
    }
}

/// How the map pins an authority by its certificate.
pub(super) fn pin(der: &[u8]) -> String {
    use sha2::Digest as _;
    format!("sha256:{}", read::hex(&sha2::Sha256::digest(der)))
}

/// A certificate's own name.
pub(super) fn name(domain: &TrustDomain, unit: &Scope, common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, domain.as_str());
    name.push(DnType::OrganizationalUnitName, unit.to_string());
    name.push(DnType::CommonName, common);
    name
}

pub(super) fn serial() -> Result<SerialNumber, Failure> {
    let mut bytes = [0_u8; SERIAL_BYTES];
    SystemEntropy.fill(&mut bytes).map_err(|error| Failure::new(Exit::Unavailable, error))?;
    // Positive, and of full length.
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// A key or a signature could not be made: the library says no more than that.
pub(super) fn unmade() -> Failure {
    Failure::said(Exit::Unavailable, "a key or a signature could not be created")
}
