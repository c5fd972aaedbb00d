//! Issuing certificates again, to holders of a valid one.

use std::path::Path;

use x509_parser::certificate::X509Certificate;

use crate::{
    Authority, CERTIFICATE_DAYS_MAX, DAY_S, Error, Holder, Issued, Wanted, now, read, revoke,
};

impl Authority {
    /// Issues a certificate again into `out`: the same names, a new key. The old one is of this
    /// authority, or of `previous`, the one before it for the same region or for callers.
    ///
    /// # Errors
    /// As [`Self::issue`]; and a certificate that neither has signed, that has ended, or that is
    /// on the list of the one that signed it.
    pub fn renew(
        &self,
        old: &Path,
        previous: Option<&Self>,
        days: Option<u32>,
        out: &Path,
    ) -> Result<Issued, Error> {
        let der = read::first_certificate(old)?;
        let certificate = read::certificate(&der, old)?;
        let issuer = self.issuer_of(&certificate, previous, old)?;
        let names = read::Names::of(&certificate);
        let known = match names.uris.as_slice() {
            [uri] => Holder::parse(uri),
            _ => None,
        };
        let (domain, region, holder) = known.ok_or_else(|| {
            Error::refused(format!(
                "{}: `bailiwick pki` did not issue this certificate",
                old.display()
            ))
        })?;
        let elsewhere = region.is_some() && region.as_ref() != self.scope().region();
        if domain != *self.domain() || elsewhere {
            let text = format!("{}: is not for the {}", old.display(), self.describe());
            return Err(Error::refused(text));
        }
        let validity = certificate.validity();
        let (begin, end) =
            (read::seconds(&validity.not_before), read::seconds(&validity.not_after));
        if end <= now() {
            // After its end the holder must be identified again, as by any other authority.
            let ended = format!("{}: ended at {}", old.display(), read::moment(end));
            return Err(Error::refused(format!("{ended}; issue a new one by name (`pki issue`)")));
        }
        if revoke::is_revoked(issuer, &certificate)? {
            let text = format!("{}: is revoked; issue a new one by name", old.display());
            return Err(Error::refused(text));
        }
        let lasted = u32::try_from(end.saturating_sub(begin) / DAY_S).unwrap_or(u32::MAX);
        let days = days.unwrap_or_else(|| lasted.clamp(1, CERTIFICATE_DAYS_MAX));
        self.issue(&Wanted { holder, dns: names.dns, ips: names.ips, days }, out)
    }

    /// Which of the two has signed a certificate.
    fn issuer_of<'a>(
        &'a self,
        certificate: &X509Certificate<'_>,
        previous: Option<&'a Self>,
        path: &Path,
    ) -> Result<&'a Self, Error> {
        if let Some(previous) = previous
            && (previous.scope() != self.scope() || previous.domain() != self.domain())
        {
            let (other, own) = (previous.describe(), self.describe());
            return Err(Error::refused(format!(
                "--previous is the {other}, which does not precede the {own}"
            )));
        }
        for authority in std::iter::once(self).chain(previous) {
            if authority.has_issued(certificate)? {
                return Ok(authority);
            }
        }
        let who = match previous {
            Some(_) => "neither of the two authorities has signed",
            None => "this authority has not signed",
        };
        Err(Error::refused(format!(
            "{}: {who} this certificate; pass the one that did with --previous, or issue a new one \
             by name",
            path.display()
        )))
    }
}
