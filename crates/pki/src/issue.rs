//! Issuing certificates.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType};

use crate::authority::{at, name, serial};
use crate::files::{self, Named};
use crate::{Authority, BACKDATED_S, DAY_S, Error, Holder, now};

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The holder that it names.
    pub holder: Holder,
    /// DNS names by which others reach the holder.
    pub dns: Vec<String>,
    /// Addresses by which others reach the holder.
    pub ips: Vec<IpAddr>,
    /// How long it is valid; never longer than its authority.
    pub days: u32,
}

/// A certificate that was issued, and where it lies with its key.
#[derive(Debug)]
pub struct Issued {
    /// The holder's name in full.
    pub uri: String,
    /// Where the certificate is.
    pub certificate: PathBuf,
    /// Where its key is.
    pub key: PathBuf,
    /// Seconds since 1970 at which it ends.
    pub not_after: u64,
    /// Whether it ends earlier than was wanted, since its authority does.
    pub cut_short: bool,
}

impl Authority {
    /// Issues a certificate with a new key into `out`.
    ///
    /// # Errors
    /// A gateway or shard from an authority of callers, a name that cannot stand in a certificate,
    /// a folder that has a certificate already or cannot be written.
    pub fn issue(&self, wanted: &Wanted, out: &Path) -> Result<Issued, Error> {
        let uri = wanted.holder.uri(self.domain(), self.scope().region());
        let uri = uri.ok_or_else(|| {
            Error::refused(format!("the {} cannot issue for a gateway or a shard", self.describe()))
        })?;
        let now = now();
        let end = now.saturating_add(u64::from(wanted.days) * DAY_S);
        let not_after = end.min(self.not_after());
        if not_after <= now {
            return Err(Error::refused(format!(
                "the {} has expired: create a new one",
                self.describe()
            )));
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = name(self.domain(), self.scope(), wanted.holder.name());
        params.subject_alt_names = alternative_names(&uri, wanted)?;
        params.not_before = at(now.saturating_sub(BACKDATED_S));
        params.not_after = at(not_after);
        params.serial_number = Some(serial()?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // A gateway calls shards and is called; a shard may come to call others. A caller only
        // calls: its certificate is no server's.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !matches!(wanted.holder, Holder::Caller(_)) {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(Error::unmade)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(Error::unmade)?;
        let (key, certificate) = files::write_pair(
            out,
            &Named { name: files::KEY, text: &key.serialize_pem() },
            &Named { name: files::CERTIFICATE, text: &certificate.pem() },
        )?;
        Ok(Issued { uri, certificate, key, not_after, cut_short: not_after < end })
    }
}

fn alternative_names(uri: &str, wanted: &Wanted) -> Result<Vec<SanType>, Error> {
    let text = |name: &str| {
        name.try_into()
            .map_err(|_| Error::refused(format!("`{}` is not such a name", name.escape_debug())))
    };
    let mut names = vec![SanType::URI(text(uri)?)];
    for dns in &wanted.dns {
        if !is_host(dns) {
            return Err(Error::refused(format!("`{}` is not a DNS name", dns.escape_debug())));
        }
        names.push(SanType::DnsName(text(dns)?));
    }
    names.extend(wanted.ips.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// Whether a text is a host's name. Wildcards are refused: a certificate names its holder.
fn is_host(text: &str) -> bool {
    const HOST_BYTES_MAX: usize = 253;
    const LABEL_BYTES_MAX: usize = 63;
    let label = |label: &str| {
        let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= HOST_BYTES_MAX && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_without_wildcards() {
        for good in ["localhost", "gw.eu-fra.records.example", "a", "xn--bcher-kva.example"] {
            assert!(is_host(good), "{good}");
        }
        let long = ["a".repeat(64), "a.".repeat(127) + "a"];
        let bad = ["", ".", "a.", "*.example", "a b", "-a", "a-", "a_b", "ä.example"];
        for bad in bad.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
