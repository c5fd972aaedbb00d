//! How a caller reaches gateways: the authorities it trusts, what it presents, and where bodies may go.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use terms::limits::STREAM_IN_FLIGHT_MAX;
use terms::pem;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::address::Address;
use crate::{Error, NotFollowed, Token};

/// Time in which a connection must be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of one answer that are taken before they are read.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
/// Bytes of all answers on one connection that are taken before they are read. Half of that is what
/// h2 lets small frames take up unread, each at most 256 bytes of it, before it closes the
/// connection: with [`STREAM_IN_FLIGHT_MAX`] answers a stream, 32 streams may stand still.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
const _: () = assert!(32 * STREAM_IN_FLIGHT_MAX * 256 <= CONNECTION_WINDOW_BYTES as usize / 2);

/// How a caller reaches gateways, and where its bodies may go. The default is what a plaintext
/// listener on loopback takes: no certificate, no token, no other gateway.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// For `https://` addresses.
    pub tls: Tls,
    /// What goes with every call.
    pub token: Token,
    /// The gateways to which a body may go when a law wants it taken inside a territory.
    pub ingresses: Vec<Ingress>,
    /// Follow a gateway to any `https://` address for a region that is not listed, if its
    /// certificate is signed by an authority of [`Tls::trusting`], which this needs: the
    /// platform's authorities sign for anyone, and token and body go there.
    pub follow_any: bool,
    /// The regions to which calls about one record go on, once, when an answer says that the subject has
    /// moved there (`SUBJECT_MOVED`): by the gateway that [`Access::ingresses`] lists for the region, or
    /// else by the caller's own. A region of that list counts as named here.
    pub homes: Vec<String>,
    /// The tenant whose writes these are: a receipt that names another one is refused. None: a
    /// receipt's tenant is not looked at.
    pub tenant: Option<String>,
}

/// The gateway inside one region's territory, as the caller knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ingress {
    /// The region, as the map names it.
    pub region: String,
    /// `https://host:port`.
    pub url: String,
    /// The authorities of its certificate as PEM; those of [`Access::tls`] without it.
    pub authorities: Option<Vec<u8>>,
}

/// The authorities that a caller trusts, and what it presents. The default trusts the platform's authorities and
/// presents no certificate. A certificate that changes needs a new [`crate::Client`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tls {
    authorities: Option<Vec<u8>>,
    identity: Option<Arc<(Vec<u8>, Vec<u8>)>>,
    name: Option<String>,
}

impl Tls {
    /// Trusts the authorities of a PEM bundle, and no others.
    ///
    /// # Errors
    /// [`Error::Pem`], when it holds anything but certificates.
    pub fn trusting(authorities: impl AsRef<[u8]>) -> Result<Self, Error> {
        let authorities = Some(bundle("the authorities", authorities.as_ref())?);
        Ok(Self { authorities, ..Self::default() })
    }

    /// Presents a certificate: its chain and its key as PEM.
    ///
    /// # Errors
    /// [`Error::Pem`], when the chain holds anything but certificates, or the key is none, or is
    /// encrypted.
    pub fn presenting(self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        let chain = bundle("the certificate", chain.as_ref())?;
        let what = "the certificate's key";
        pem::private_key(key.as_ref()).map_err(|problem| Error::Pem { what, problem })?;
        let blocks = pem::blocks(key.as_ref()).map_err(|problem| Error::Pem { what, problem })?;
        let key = blocks.iter().map(|block| pem::encode(&block.label, &block.der));
        let key = key.fold(Vec::new(), |all, block| [all.as_slice(), block.as_bytes()].concat());
        Ok(Self { identity: Some(Arc::new((chain, key))), ..self })
    }

    /// Expects this name in the certificate of the gateway rather than the address's host. It
    /// does not concern ingresses.
    #[must_use]
    pub fn expecting(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    fn config(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
        config = match &self.authorities {
            Some(pem) => config.ca_certificate(Certificate::from_pem(pem)),
            None => config.with_native_roots(),
        };
        if let Some(identity) = &self.identity {
            config = config.identity(Identity::from_pem(&identity.0, &identity.1));
        }
        if let Some(name) = &self.name {
            config = config.domain_name(name);
        }
        config
    }

    /// How to connect to an address.
    pub(crate) fn endpoint(&self, address: &Address) -> Result<Endpoint, Error> {
        let endpoint = Endpoint::from_shared(address.to_string())
            .map_err(|_| Error::Address("is not of the form https://host:port"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .tcp_nodelay(true);
        if !address.is_secure() {
            return Ok(endpoint);
        }
        endpoint.tls_config(self.config()).map_err(|_| {
            Error::Tls("authorities, certificate or key are not PEM, or do not belong together")
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("own_authorities", &self.authorities.is_some())
            .field("certificate", &self.identity.is_some())
            .field("name", &self.name)
            .finish()
    }
}

/// The certificates of a file, written again: TLS itself passes over what it cannot read, and finds
/// no fewer blocks in this than are in it.
fn bundle(what: &'static str, text: &[u8]) -> Result<Vec<u8>, Error> {
    let all = pem::certificates(text).map_err(|problem| Error::Pem { what, problem })?;
    let written = all.iter().map(|der| pem::encode(pem::CERTIFICATE, der));
    Ok(written.fold(Vec::new(), |all, block| [all.as_slice(), block.as_bytes()].concat()))
}

/// A gateway, and how it is known. Two that are equal may share a connection: an address alone
/// does not say who was believed to be there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) tls: Tls,
}

impl Target {
    /// A connection, made when it is used.
    pub(crate) fn lazy(&self) -> Result<Channel, Error> {
        Ok(self.tls.endpoint(&self.address)?.connect_lazy())
    }
}

/// The checked form of what [`Access`] says of other gateways.
#[derive(Debug)]
pub(crate) struct Ingresses {
    listed: Vec<(String, Target)>,
    any: Option<Tls>,
}

impl Ingresses {
    pub(crate) fn new(access: &Access) -> Result<Self, Error> {
        if access.follow_any && access.tls.authorities.is_none() {
            return Err(Error::Tls(
                "following to any gateway needs authorities of its own: the platform's sign for \
                 anybody",
            ));
        }
        let listed = access.ingresses.iter().map(|ingress| {
            let address = Address::parse(&ingress.url)?;
            if !address.is_secure() {
                return Err(Error::Address("of an ingress is not of the form https://host:port"));
            }
            let mut tls = Tls { name: None, ..access.tls.clone() };
            if let Some(authorities) = &ingress.authorities {
                tls.authorities = Some(bundle("an ingress's authorities", authorities)?);
            }
            Ok((ingress.region.clone(), Target { address, tls }))
        });
        let any = access.follow_any.then(|| Tls { name: None, ..access.tls.clone() });
        Ok(Self { listed: listed.collect::<Result<_, _>>()?, any })
    }

    /// The gateway that the caller itself lists for a region.
    pub(crate) fn of_region(&self, region: &str) -> Option<&Target> {
        self.listed.iter().find(|(own, _)| own == region).map(|(_, target)| target)
    }

    /// Where a body for `region` may go, when a gateway names `named` for it. What the caller
    /// lists for a region wins over [`Access::follow_any`].
    pub(crate) fn target(&self, region: &str, named: &str) -> Result<Target, NotFollowed> {
        let listed = self.of_region(region);
        if named.is_empty() {
            return listed.cloned().ok_or(NotFollowed::Nowhere);
        }
        let address = Address::parse(named).ok().filter(Address::is_secure);
        let address = address.ok_or(NotFollowed::Insecure)?;
        match (listed, &self.any) {
            (Some(listed), _) if listed.address == address => Ok(listed.clone()),
            (None, Some(tls)) => Ok(Target { address, tls: tls.clone() }),
            _ => Err(NotFollowed::Unlisted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// TLS reads it only when it is used.
    const BUNDLE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const RU: &str = "https://ru.example.org:7400";

    fn ingresses(follow_any: bool) -> Ingresses {
        let ru = Ingress { region: "ru-msk".to_owned(), url: RU.to_owned(), authorities: None };
        let tls = Tls::trusting(BUNDLE).unwrap();
        let access = Access { tls, ingresses: vec![ru], follow_any, ..Default::default() };
        Ingresses::new(&access).unwrap()
    }

    #[test]
    fn a_body_goes_where_the_caller_lets_it() {
        let other = "https://other.example.org:7400";
        let cases = [
            (false, "ru-msk", RU, Ok(RU)),
            (false, "ru-msk", "https://RU.example.org:7400/", Ok(RU)),
            (false, "ru-msk", "", Ok(RU)),
            (false, "ru-msk", other, Err(NotFollowed::Unlisted)),
            // Another region's gateway is not this one's.
            (false, "kz-ala", RU, Err(NotFollowed::Unlisted)),
            (false, "kz-ala", "", Err(NotFollowed::Nowhere)),
            (false, "ru-msk", "http://ru.example.org:7400", Err(NotFollowed::Insecure)),
            (true, "kz-ala", "http://127.0.0.1:7400", Err(NotFollowed::Insecure)),
            (true, "kz-ala", "nonsense", Err(NotFollowed::Insecure)),
            (true, "kz-ala", other, Ok(other)),
            (true, "kz-ala", "", Err(NotFollowed::Nowhere)),
            // What is listed wins.
            (true, "ru-msk", other, Err(NotFollowed::Unlisted)),
        ];
        for (any, region, named, expect) in cases {
            let found = ingresses(any).target(region, named).map(|t| t.address.to_string());
            assert_eq!(found.as_deref().map_err(|why| *why), expect, "{any} {region} {named}");
        }
    }

    #[test]
    fn a_list_that_cannot_be_used_is_refused_at_once() {
        let of = |url: &str, authorities: Option<&[u8]>| {
            let authorities = authorities.map(<[u8]>::to_vec);
            let ingress = Ingress { region: "r".to_owned(), url: url.to_owned(), authorities };
            Ingresses::new(&Access { ingresses: vec![ingress], ..Default::default() })
        };
        assert!(matches!(of("http://127.0.0.1:7400", None), Err(Error::Address(_))));
        assert!(matches!(of("ru", None), Err(Error::Address(_))));
        assert!(matches!(of(RU, Some(b"no certificate")), Err(Error::Pem { .. })));
        assert!(matches!(Tls::trusting(""), Err(Error::Pem { .. })));
    }

    #[test]
    fn no_authority_is_passed_over() {
        let joined = format!("{}{BUNDLE}", BUNDLE.trim_end());
        for bundle in [joined, format!(" {BUNDLE}"), format!("{BUNDLE}\u{feff}{BUNDLE}")] {
            let Err(Error::Pem { problem, .. }) = Tls::trusting(&bundle) else {
                panic!("{bundle}");
            };
            assert!(problem.line > 0);
        }
        let tls = Tls::trusting(format!("\u{feff}{BUNDLE}{BUNDLE}").replace('\n', "\r\n"));
        let expected = format!("{BUNDLE}{BUNDLE}");
        assert_eq!(tls.unwrap().authorities.as_deref(), Some(expected.as_bytes()));
        let key =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let refused = Tls::default().presenting(BUNDLE, key).err().map(|error| error.to_string());
        assert!(refused.is_some_and(|why| why.contains("encrypted")));
    }

    #[test]
    fn nobody_follows_to_whomever_the_platform_trusts() {
        let access = Access { follow_any: true, ..Default::default() };
        assert!(matches!(Ingresses::new(&access), Err(Error::Tls(why)) if why.contains("anybody")));
        let own = Tls::trusting(BUNDLE).unwrap();
        assert!(Ingresses::new(&Access { tls: own, ..access }).is_ok());
    }
}
