//! Credentials for a measurement with TLS and tokens: an authority, certificates for a gateway and a
//! shard, a key that signs tokens, and the callers that present them.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use client::{Access, Tls, Token};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use link::host::clock::SystemClock;
use pki::{CERTIFICATE_DAYS, Holder, Scope, TrustDomain, Wanted};
use rcgen::KeyPair;
use serde_json::json;
use terms::{Clock as _, RegionId};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic::{IntoRequest, Request};
use wire::v1::records_client::RecordsClient;

/// The region of gateway and shard.
const REGION: &str = "eu-fra";
/// The sample map's deployment, which is its trust domain.
const DOMAIN: &str = "sample";
const ISSUER: &str = "https://bench.invalid";
const AUDIENCE: &str = "bailiwick-bench";
const KEY_ID: &str = "bench";
/// Seconds for which a token is good: longer than any measurement.
const TOKEN_S: u64 = 86_400;

/// A client without the SDK's checks, as for the bare pair.
pub(crate) type Client = RecordsClient<tonic::transport::Channel>;

/// Who calls, and where.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) url: String,
    pub(crate) tls: Option<ClientTlsConfig>,
    pub(crate) bearer: Option<MetadataValue<Ascii>>,
}

impl Caller {
    /// A caller of a plaintext listener, without credentials.
    pub(crate) fn plain(url: &str) -> Self {
        Self { url: url.to_owned(), tls: None, bearer: None }
    }

    /// A connection.
    pub(crate) async fn connect(&self) -> Result<Client> {
        let endpoint = Endpoint::from_shared(self.url.clone())?.tcp_nodelay(true);
        let endpoint = match &self.tls {
            Some(tls) => endpoint.tls_config(tls.clone())?,
            None => endpoint,
        };
        let channel = endpoint.connect().await;
        Ok(Client::new(channel.with_context(|| format!("nothing answers at {}", self.url))?))
    }

    /// A request with what the caller shows.
    pub(crate) fn request<M>(&self, message: impl IntoRequest<M>) -> Request<M> {
        let mut request = message.into_request();
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }
}

/// The certificates in one folder, and who signs tokens.
pub(crate) struct Credentials {
    authority: String,
    pub(crate) pin: String,
    signer: EncodingKey,
}

impl Credentials {
    /// Makes everything in `folder`.
    pub(crate) fn make(folder: &Path) -> Result<Self> {
        let domain = TrustDomain::parse(DOMAIN).map_err(|why| anyhow!("the domain {why}"))?;
        let region = RegionId::parse(REGION).map_err(|_| anyhow!("the region has no name"))?;
        let home = folder.join("pki");
        let own = pki::init(&home, &Scope::Region(region), &domain)?;
        let holders = [
            ("gateway", Holder::Gateway("bench".to_owned())),
            ("shard", Holder::Shard("s1".to_owned())),
        ];
        for (name, holder) in holders {
            let ips = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
            let wanted = Wanted { holder, dns: Vec::new(), ips, days: CERTIFICATE_DAYS };
            own.issue(&wanted, &folder.join("tls").join(name))?;
        }
        let key = KeyPair::generate()?;
        // An uncompressed point: its two halves, after a byte that says so.
        let point = key.public_key_raw().get(1..).context("the key is no point")?;
        let (x, y) = point.split_at_checked(32).context("the key is no point of P-256")?;
        let jwks = json!({ "keys": [{
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY_ID,
            "x": BASE64URL.encode(x), "y": BASE64URL.encode(y),
        }]});
        fs::write(folder.join("jwks.json"), jwks.to_string())?;
        let signer = EncodingKey::from_ec_pem(key.serialize_pem().as_bytes())?;
        let authority = fs::read_to_string(home.join("authority.pem"))?;
        Ok(Self { authority, pin: own.pin(), signer })
    }

    /// The `[tls]` of a process: `gateway` or `shard`.
    pub(crate) fn tls(process: &str) -> String {
        format!(
            "[tls]\ncertificate = \"tls/{process}/certificate.pem\"\n\
             key = \"tls/{process}/key.pem\"\nauthorities = \"pki/authority.pem\"\n\
             revoked = \"pki/revoked.pem\"\n"
        )
    }

    /// What a gateway knows of callers.
    pub(crate) fn callers() -> String {
        format!(
            "[callers.tokens]\nissuer = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
             jwks = \"jwks.json\"\n"
        )
    }

    fn token(&self, tenant: &str) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.to_owned());
        let now = SystemClock.now().0 / 1000;
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": "bench", "exp": now + TOKEN_S, "nbf": now,
            "tenant": tenant, "roles": ["writer", "reader"], "territory": "DE",
            "collections": ["*"], "regions": ["*"],
        });
        Ok(encode(&header, &claims, &self.signer)?)
    }

    /// A caller of that tenant, as the bare pair's is: on a client without our checks.
    pub(crate) fn caller(&self, url: &str, tenant: &str) -> Result<Caller> {
        let authority = Certificate::from_pem(&self.authority);
        let mut bearer: MetadataValue<Ascii> = format!("Bearer {}", self.token(tenant)?).parse()?;
        // As the SDK marks it.
        bearer.set_sensitive(true);
        let tls = Some(ClientTlsConfig::new().ca_certificate(authority));
        Ok(Caller { url: url.to_owned(), tls, bearer: Some(bearer) })
    }

    /// The same for the SDK.
    pub(crate) fn access(&self, tenant: &str) -> Result<Access> {
        let tls = Tls::trusting(self.authority.as_str())?;
        Ok(Access { tls, token: Token::fixed(&self.token(tenant)?)?, ..Access::default() })
    }
}
