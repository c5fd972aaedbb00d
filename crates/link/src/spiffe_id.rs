//! Who a process of ours is: the name in its certificate.

use std::fmt;

use terms::RegionId;

/// What a process of ours may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PeerKind {
    /// Takes calls and places records.
    Gateway,
    /// Stores records.
    Shard,
}

impl PeerKind {
    /// The word in the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Shard => "shard",
        }
    }
}

/// The name of one of our processes, as its certificate's only URI says it:
/// `spiffe://<trust domain>/region/<region>/<gateway|shard>/<name>` (SPIFFE ID, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerId {
    trust_domain: Box<str>,
    region: RegionId,
    kind: PeerKind,
    name: Box<str>,
}

/// Bytes of a trust domain, and of a name.
const PART_BYTES_MAX: usize = 255;

impl PeerId {
    /// The name that this URI is. None: it is not of that form.
    pub fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("spiffe://")?.split('/');
        let trust_domain = part(parts.next()?)?;
        if parts.next()? != "region" {
            return None;
        }
        let region = RegionId::parse(parts.next()?).ok()?;
        let kind = match parts.next()? {
            "gateway" => PeerKind::Gateway,
            "shard" => PeerKind::Shard,
            _ => return None,
        };
        let name = part(parts.next()?)?;
        parts.next().is_none().then_some(Self { trust_domain, region, kind, name })
    }

    /// Whose deployment it belongs to.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// The region whose authority must have issued the certificate.
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// What it is.
    pub fn kind(&self) -> PeerKind {
        self.kind
    }

    /// Its own name: a gateway's, or a shard's in its annex.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trust_domain, region, kind, name } = self;
        write!(f, "spiffe://{trust_domain}/region/{region}/{}/{name}", kind.as_str())
    }
}

/// Lower-case letters, digits, `.`, `-` and `_`: what a trust domain may hold, and more than
/// names of ours need. No percent-encoding, so that two texts are never one name.
fn part(text: &str) -> Option<Box<str>> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_".contains(&c);
    let fits = (1..=PART_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
    (fits && text != "." && text != "..").then(|| text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_of_one_form() {
        let text = "spiffe://sample/region/ru-msk/gateway/gateway-1";
        let id = PeerId::parse(text).unwrap();
        assert_eq!((id.trust_domain(), id.region().as_str()), ("sample", "ru-msk"));
        assert_eq!((id.kind(), id.name()), (PeerKind::Gateway, "gateway-1"));
        assert_eq!(id.to_string(), text);
        for other in [
            "",
            "spiffe://",
            "https://sample/region/ru-msk/gateway/g",
            "spiffe://sample/region/ru-msk/gateway",
            "spiffe://sample/region/ru-msk/gateway/",
            "spiffe://sample/region/ru-msk/gateway/g/",
            "spiffe://sample/region/ru-msk/gateway/g/x",
            "spiffe://sample/region/ru-msk/caller/g",
            "spiffe://sample/region//gateway/g",
            "spiffe:///region/ru-msk/gateway/g",
            "spiffe://Sample/region/ru-msk/gateway/g",
            "spiffe://sample/Region/ru-msk/gateway/g",
            "spiffe://sample/region/ru-msk/gateway/%67",
            "spiffe://sample/region/ru-msk/gateway/..",
            "spiffe://sample/region/ru-msk/gateway/g?x",
            "spiffe://u@sample/region/ru-msk/gateway/g",
            "spiffe://sample:1/region/ru-msk/gateway/g",
        ] {
            assert_eq!(PeerId::parse(other), None, "{other}");
        }
    }
}
