//! Names in certificates: kind, region and name of the holder.

use std::fmt;

use terms::{RegionId, ShardId};

/// Bytes of a trust domain at the most: it stands in a certificate's `O`, which holds no more.
const TRUST_DOMAIN_BYTES_MAX: usize = 64;
/// Bytes of a caller's name at the most: it stands in a certificate's `CN`.
const CALLER_BYTES_MAX: usize = 63;

/// The name under which a deployment's certificates are issued: the host of every `spiffe://` name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDomain(String);

impl TrustDomain {
    /// Reads lower-case letters, digits, `.`, `-` and `_`, as SPIFFE defines it; at most 64 bytes.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
        let length = 1..=TRUST_DOMAIN_BYTES_MAX;
        if length.contains(&text.len()) && text.bytes().all(fits) {
            Ok(Self(text.to_owned()))
        } else {
            Err("is not 1 to 64 of a-z, 0-9, '.', '-' and '_'")
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks the name of a gateway or a shard: one DNS label.
///
/// # Errors
/// When the text is no such name.
pub fn member_name(text: &str) -> Result<String, terms::InvalidId> {
    ShardId::parse(text).map(|name| name.as_str().to_owned())
}

/// Checks the name of a caller: one segment of a SPIFFE path.
///
/// # Errors
/// When the text is no such name.
pub fn caller_name(text: &str) -> Result<String, &'static str> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b".-_".contains(&c);
    let whole = (1..=CALLER_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits);
    if whole && text.bytes().any(|c| c != b'.') {
        Ok(text.to_owned())
    } else {
        Err("is not 1 to 63 of letters, digits, '.', '-' and '_'")
    }
}

/// Who holds a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A gateway of the authority's region.
    Gateway(String),
    /// A shard of the authority's region.
    Shard(String),
    /// A backend service that calls gateways.
    Caller(String),
}

impl Holder {
    /// Its name, without domain and region.
    pub fn name(&self) -> &str {
        let (Self::Gateway(name) | Self::Shard(name) | Self::Caller(name)) = self;
        name
    }

    /// Its full name. None: a gateway or shard without a region.
    pub fn uri(&self, domain: &TrustDomain, region: Option<&RegionId>) -> Option<String> {
        match self {
            Self::Gateway(name) => {
                Some(format!("spiffe://{domain}/region/{}/gateway/{name}", region?))
            }
            Self::Shard(name) => Some(format!("spiffe://{domain}/region/{}/shard/{name}", region?)),
            Self::Caller(name) => Some(format!("spiffe://{domain}/caller/{name}")),
        }
    }

    /// Reads what [`Self::uri`] writes.
    pub fn parse(uri: &str) -> Option<(TrustDomain, Option<RegionId>, Self)> {
        let (domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
        let domain = TrustDomain::parse(domain).ok()?;
        let segments: Vec<&str> = path.split('/').collect();
        let (region, holder) = match segments.as_slice() {
            ["region", region, "gateway", name] => {
                (Some(*region), Self::Gateway(member_name(name).ok()?))
            }
            ["region", region, "shard", name] => {
                (Some(*region), Self::Shard(member_name(name).ok()?))
            }
            ["caller", name] => (None, Self::Caller(caller_name(name).ok()?)),
            _ => return None,
        };
        let region = region.map(RegionId::parse).transpose().ok()?;
        Some((domain, region, holder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_is_read_as_it_was_written() {
        let domain = TrustDomain::parse("records.example").unwrap();
        let region = RegionId::parse("eu-fra").unwrap();
        for holder in [
            Holder::Gateway("gateway-1".to_owned()),
            Holder::Shard("s1".to_owned()),
            Holder::Caller("Billing_2.x".to_owned()),
        ] {
            let uri = holder.uri(&domain, Some(&region)).unwrap();
            let of_region = !matches!(holder, Holder::Caller(_));
            let expected = (domain.clone(), of_region.then(|| region.clone()), holder);
            assert_eq!(Holder::parse(&uri), Some(expected), "{uri}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        for uri in [
            "spiffe://d",
            "spiffe://d/",
            "https://d/caller/a",
            "spiffe://D/caller/a",
            "spiffe://d/caller/",
            "spiffe://d/caller/..",
            "spiffe://d/caller/a/b",
            "spiffe://d/caller/a?b",
            "spiffe://d/region/eu-fra/gateway",
            "spiffe://d/region/eu-fra/gateway/a/b",
            "spiffe://d/region/EU/gateway/a",
            "spiffe://d/region/eu-fra/caller/a",
            "spiffe://u@d/caller/a",
            "spiffe://d:1/caller/a",
        ] {
            assert_eq!(Holder::parse(uri), None, "{uri}");
        }
    }

    #[test]
    fn a_gateway_or_shard_needs_a_region() {
        let domain = TrustDomain::parse("d").unwrap();
        assert_eq!(Holder::Gateway("a".to_owned()).uri(&domain, None), None);
        assert_eq!(Holder::Shard("a".to_owned()).uri(&domain, None), None);
    }
}
