//! For the fuzz targets alone (feature `fuzzing`): private code that reads foreign bytes.

use std::sync::Arc;

use atlas::RegionMap;
use evidence::Sources;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use terms::UnixMillis;
use wire::bounded::{Bounded, decode};
use wire::v1;

use crate::api::request::RequestReader;
use crate::auth::caller::{Caller, CallerLocation, Scope};
use crate::auth::jwks::KeySet;
use crate::auth::jwt::{TokenRules, Tokens, bearer};

/// A map and the sources of evidence, under which requests are read.
#[expect(missing_debug_implementations, reason = "it is never shown")]
pub struct Requests {
    map: RegionMap,
    sources: Sources,
    caller: Caller,
}

impl Requests {
    /// Under that map, if it parses, and without an IP database.
    pub fn of_map(text: &str) -> Option<Self> {
        let map = RegionMap::parse(text).ok()?;
        let caller = Caller {
            tenant: map.tenants().next()?.name().clone(),
            name: "fuzz".to_owned(),
            roles: Vec::new(),
            location: CallerLocation::Unknown,
            collections: Scope::All,
            regions: Scope::All,
        };
        Some(Self { map, sources: Sources::new(None).ok()?, caller })
    }

    /// Reads a message as the request that `which` chooses. It need not be one: reading must end
    /// without a panic.
    pub fn read(&self, which: u8, message: &[u8]) {
        let (map, sources, caller) = (&self.map, &self.sources, &self.caller);
        let reader = RequestReader { map, sources, caller };
        match which % 7 {
            0 => with(message, |request: v1::PutRecordRequest| {
                if let Ok(put) = reader.put(request) {
                    let bytes = put.given.encode();
                    let same = atlas::Findings::decode(&bytes);
                    assert!(!put.given.any || same.is_ok_and(|read| read == put.given.findings));
                    let bytes = put.attributes.encode();
                    let same = atlas::RecordAttributes::decode(&bytes);
                    assert!(same.is_ok_and(|read| read == put.attributes));
                }
            }),
            1 => with(message, |request: v1::GetRecordRequest| drop(reader.get(request))),
            2 => with(message, |request: v1::DeleteRecordRequest| drop(reader.delete(request))),
            5 => with(message, |request: v1::TouchRecordRequest| drop(reader.touch(request))),
            6 => with(message, |request: v1::PatchRecordRequest| drop(reader.patch(request))),
            3 => with(message, |request: v1::CreateSubjectRequest| drop(reader.create(request))),
            _ => {
                with(message, |request: v1::ResolvePlacementRequest| {
                    drop(reader.resolve(&request));
                });
                with(message, |request: v1::ListRecordsRequest| drop(reader.list(request)));
                with(message, |request: v1::WatchRecordsRequest| drop(reader.watch(request)));
                with(message, |request: v1::ScanRecordsRequest| drop(reader.scan(request)));
            }
        }
    }
}

/// Decodes a message as the codec of the services does.
fn with<M: Bounded>(message: &[u8], read: impl FnOnce(M)) {
    if let Ok(request) = decode(message) {
        read(request);
    }
}

/// Tokens of an issuer with one key: the public example of RFC 8037, appendix A.
#[expect(missing_debug_implementations, reason = "it is never shown")]
pub struct Bearers(Tokens);

/// A key that signs no token here.
const JWKS: &[u8] = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// A clock that location still.
struct Fixed;

impl terms::Clock for Fixed {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_795_000_000_000)
    }
}

impl Bearers {
    /// Of that issuer, for the audience `bailiwick`.
    #[expect(clippy::new_without_default, reason = "it is made once, by a target")]
    pub fn new() -> Self {
        let (issuer, audience) = ("https://issuer.example".to_owned(), "bailiwick".to_owned());
        let keys_age_max = std::time::Duration::MAX;
        let tokens = Tokens::new(TokenRules { issuer, audience, keys_age_max }, Arc::new(Fixed));
        assert!(matches!(tokens.take(JWKS), Ok(Some(1))), "the example is a key");
        Self(tokens)
    }

    /// Reads a token. None is signed, so none is valid.
    pub fn token(&self, token: &[u8]) {
        assert!(self.0.verify(token).is_err(), "a token without a signature");
        if let Ok(value) = HeaderValue::from_bytes(token) {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            assert!(bearer(&headers).is_err() || token.len() > 7, "a scheme and a token");
        }
    }

    /// Reads claims as if they were signed.
    pub fn claims(&self, claims: &[u8]) {
        let _either_is_well = self.0.would_name(claims);
    }

    /// Reads an issuer's keys.
    pub fn keys(&self, document: &[u8]) {
        if let Ok(keys) = KeySet::parse(document) {
            assert!(keys.len() + keys.left_out() <= 64, "more keys than a document may have");
        }
    }
}
