//! Bearer tokens: JSON web tokens (RFC 7519) of one issuer for one audience.
//!
//! The key decides the algorithm, never the token. A token that was verified is not verified again
//! while the keys stay the same and it has not expired; with new keys every token is verified again.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use atlas::Country;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use ledger::entry::Role;
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use terms::limits::CALLER_NAME_BYTES_MAX;
use terms::{Clock, Collection, Reason, RegionId, Rejection, TenantId, UnixMillis};
use tokio::sync::Notify;

use crate::auth::caller::{Caller, CallerLocation, Scope};
use crate::auth::jwks::{JwksRefused, KeySet};

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Verified tokens that are remembered.
const REMEMBERED_MAX: usize = 16_384;
/// Milliseconds by which the issuer's clock may be ahead of ours, for `nbf`. There is no leeway for
/// `exp`.
const LEEWAY_MS: u64 = 60_000;
const SCHEME: &[u8] = b"bearer ";

/// Which tokens are taken. A token of another issuer or for another audience is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// What `iss` must be, byte for byte.
    pub issuer: String,
    /// What `aud` must be, or must list.
    pub audience: String,
    /// How long keys are used after they were last read. An issuer that cannot be reached cannot
    /// revoke a key either.
    pub keys_age_max: Duration,
}

/// Tokens, and the keys that verify them.
pub(crate) struct Tokens {
    rules: TokenRules,
    clock: Arc<dyn Clock>,
    trust: ArcSwap<Trust>,
    /// When the keys were last read, in milliseconds since 1970; 0 while they never were.
    read_at: AtomicU64,
    /// Notified when a token names an unknown key: there may be a new one.
    wanted: Notify,
}

/// Some keys, and the tokens that they have verified. Replaced together, so that no token outlives
/// its key.
struct Trust {
    keys: KeySet,
    good: Cache<[u8; 32], Arc<Verified>>,
}

/// A verified token.
pub(crate) struct Verified {
    pub(crate) caller: Arc<Caller>,
    /// When it expires.
    until: UnixMillis,
    /// The key that verified it.
    kid: String,
    algorithm: Algorithm,
    mark: [u8; 32],
}

/// The claims that are read; all others are skipped. A token with a claim twice is refused.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    exp: NumericDate,
    nbf: Option<NumericDate>,
    tenant: String,
    #[serde(default)]
    roles: Vec<String>,
    territory: Option<String>,
    #[serde(default)]
    collections: Vec<String>,
    #[serde(default)]
    regions: Vec<String>,
}

/// Seconds since 1970, which may have a fraction (RFC 7519, section 2).
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "f64")]
struct NumericDate(f64);

impl TryFrom<f64> for NumericDate {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        let fits = seconds.is_finite() && seconds >= 0.0;
        if fits { Ok(Self(seconds)) } else { Err("is no time after 1970") }
    }
}

impl NumericDate {
    /// The last whole millisecond that is not after it.
    fn floor(self) -> UnixMillis {
        UnixMillis(whole((self.0 * 1_000.0).floor()))
    }

    /// The first whole millisecond that is not before it.
    fn ceil(self) -> UnixMillis {
        UnixMillis(whole((self.0 * 1_000.0).ceil()))
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and the cast stops at the largest"
)]
const fn whole(milliseconds: f64) -> u64 {
    milliseconds as u64
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Some(Vec<String>),
}

impl Audience {
    fn holds(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Some(some) => some.iter().any(|one| one == wanted),
        }
    }
}

/// The token of a request, if it carries one.
///
/// # Errors
/// `IDENTITY_INVALID` when there is more than one `authorization`, or one that is no bearer token
/// of at most 8 KiB.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&[u8]>, Rejection> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let Some(header) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(invalid("there is more than one authorization header"));
    }
    let no_token = || invalid("the authorization header is no bearer token");
    let (scheme, token) = header.as_bytes().split_at_checked(SCHEME.len()).ok_or_else(no_token)?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || token.is_empty() {
        return Err(no_token());
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(invalid("the token is over 8 KiB"));
    }
    Ok(Some(token))
}

/// A rejection that names the kind of problem, and has nothing of the token in it.
pub(crate) fn invalid(problem: &'static str) -> Rejection {
    Rejection::new(Reason::IdentityInvalid).problem(problem)
}

impl Tokens {
    /// Tokens by these rules. Until keys were read, none can be verified.
    pub(crate) fn new(rules: TokenRules, clock: Arc<dyn Clock>) -> Self {
        let trust = ArcSwap::from_pointee(Trust::of(KeySet::empty()));
        Self { rules, clock, trust, read_at: AtomicU64::new(0), wanted: Notify::new() }
    }

    /// Takes the keys of a new JWKS document; gives how many there are, or None when they are the same
    /// as before. With other keys every token is verified again.
    ///
    /// # Errors
    /// [`JwksRefused`]; then the keys stay as they were, until they are too old.
    pub(crate) fn take(&self, document: &[u8]) -> Result<Option<usize>, JwksRefused> {
        let keys = KeySet::parse(document)?;
        let known = self.read_at().is_some() && self.trust.load().keys.same(&keys);
        let count = keys.len();
        if !known {
            self.trust.store(Arc::new(Trust::of(keys)));
        }
        self.confirm();
        Ok((!known).then_some(count))
    }

    /// The document was read again, and is the same.
    pub(crate) fn confirm(&self) {
        self.read_at.store(self.clock.now().0.max(1), Ordering::Release);
    }

    /// When the keys were last read. None while they never were.
    pub(crate) fn read_at(&self) -> Option<UnixMillis> {
        let at = self.read_at.load(Ordering::Acquire);
        (at != 0).then_some(UnixMillis(at))
    }

    /// How long keys are used after they were last read.
    pub(crate) const fn keys_age_max(&self) -> Duration {
        self.rules.keys_age_max
    }

    /// How many keys verify tokens at present, and how many more the document has. None while there is
    /// no key set, or only one that is too old.
    pub(crate) fn keys(&self) -> Option<(usize, usize)> {
        let trust = self.trust(self.clock.now()).ok()?;
        Some((trust.keys.len(), trust.keys.left_out()))
    }

    fn trust(&self, now: UnixMillis) -> Result<Guard<Arc<Trust>>, Rejection> {
        let age = |at: UnixMillis| Duration::from_millis(now.0.saturating_sub(at.0));
        match self.read_at() {
            Some(at) if age(at) < self.rules.keys_age_max => Ok(self.trust.load()),
            Some(_) | None => Err(Rejection::new(Reason::KeysUnavailable)
                .problem("there are no keys of the issuer's to verify a token with")),
        }
    }

    /// Waits until a token names an unknown key.
    pub(crate) async fn key_wanted(&self) {
        self.wanted.notified().await;
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// `IDENTITY_INVALID`, with the kind of problem; `KEYS_UNAVAILABLE` while there are no keys.
    pub(crate) fn verify(&self, token: &[u8]) -> Result<Arc<Verified>, Rejection> {
        let now = self.clock.now();
        let trust = self.trust(now)?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(good) = trust.good.get(&digest) {
            return if now < good.until { Ok(good) } else { Err(expired()) };
        }
        let verified = Arc::new(self.examine(&trust.keys, token, now)?);
        trust.good.insert(digest, Arc::clone(&verified));
        Ok(verified)
    }

    /// Checks that a verified token is still valid: for streams, which outlive the start of a call.
    ///
    /// # Errors
    /// `IDENTITY_INVALID` when it has expired or its key is gone, `KEYS_UNAVAILABLE` when there are no
    /// keys any more.
    pub(crate) fn still(&self, verified: &Verified) -> Result<(), Rejection> {
        let now = self.clock.now();
        if now >= verified.until {
            return Err(expired());
        }
        match self.trust(now)?.keys.get(&verified.kid, verified.algorithm) {
            Ok(key) if key.mark == verified.mark => Ok(()),
            Ok(_) | Err(_) => Err(invalid("the token's key is no longer the issuer's")),
        }
    }

    fn examine(&self, keys: &KeySet, token: &[u8], now: UnixMillis) -> Result<Verified, Rejection> {
        let unreadable = || invalid("the token cannot be read");
        let header = decode_header(token).map_err(|_| unreadable())?;
        // An extension in `crit` must be understood (RFC 7515, 4.1.11); none is supported.
        if header.crit.is_some() {
            return Err(invalid("the token asks for an extension"));
        }
        let kid = header.kid.ok_or_else(|| invalid("the token names no key"))?;
        let key = keys.get(&kid, header.alg).map_err(|known| {
            // There may be a new key, perhaps under the same id.
            self.wanted.notify_one();
            invalid(if known {
                "the token's algorithm is not its key's"
            } else {
                "the token's key is not one of the issuer's"
            })
        })?;
        // The library checks the signature; issuer, audience and times are checked below, by our
        // clock and without the library's tolerance for lists.
        let mut signature = Validation::new(key.algorithm);
        signature.validate_exp = false;
        signature.validate_aud = false;
        signature.required_spec_claims.clear();
        let read = decode::<Claims>(token, &key.verifying, &signature);
        let claims = read.map_err(|_| invalid("signature or claims are not good"))?.claims;
        self.judge(&claims, now)?;
        let caller = Arc::new(caller(&claims)?);
        let until = claims.exp.floor();
        Ok(Verified { caller, until, kid, algorithm: key.algorithm, mark: key.mark })
    }

    fn judge(&self, claims: &Claims, now: UnixMillis) -> Result<(), Rejection> {
        if claims.iss != self.rules.issuer {
            return Err(invalid("the token is another issuer's"));
        }
        if !claims.aud.holds(&self.rules.audience) {
            return Err(invalid("the token is for another audience"));
        }
        if now >= claims.exp.floor() {
            return Err(expired());
        }
        let from = claims.nbf.map_or(0, |from| from.ceil().0.saturating_sub(LEEWAY_MS));
        if now.0 < from {
            return Err(invalid("the token is not valid yet"));
        }
        Ok(())
    }
}

impl Trust {
    fn of(keys: KeySet) -> Self {
        Self { keys, good: Cache::new(REMEMBERED_MAX) }
    }
}

fn expired() -> Rejection {
    invalid("the token has expired")
}

/// The caller that claims describe. Unknown roles grant nothing.
fn caller(claims: &Claims) -> Result<Caller, Rejection> {
    let sub_fits = !claims.sub.is_empty()
        && claims.sub.len() <= CALLER_NAME_BYTES_MAX
        && !claims.sub.chars().any(char::is_control);
    if !sub_fits {
        return Err(invalid("the claim sub is empty, over 256 bytes, or no plain text"));
    }
    let tenant = TenantId::parse(&claims.tenant);
    let tenant = tenant.map_err(|_| invalid("the claim tenant is no tenant's name"))?;
    let location = match &claims.territory {
        None => CallerLocation::Unknown,
        Some(code) => {
            let country = Country::parse(code);
            CallerLocation::In(
                country.ok_or_else(|| invalid("the claim territory is no country's code"))?,
            )
        }
    };
    let texts = |list| -> Vec<&str> { <[String]>::iter(list).map(String::as_str).collect() };
    Ok(Caller {
        tenant,
        name: claims.sub.clone(),
        roles: roles(claims.roles.iter().map(String::as_str)),
        location,
        collections: Scope::of(texts(&claims.collections), |name| Collection::parse(name).ok()),
        regions: Scope::of(texts(&claims.regions), |name| RegionId::parse(name).ok()),
    })
}

/// The roles of those names that a caller can have: `shard` is for shards themselves.
fn roles<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Role> {
    let mut roles: Vec<Role> =
        names.filter_map(Role::parse).filter(|role| *role != Role::Shard).collect();
    roles.dedup();
    roles
}

#[cfg(feature = "fuzzing")]
impl Tokens {
    /// For the fuzz targets alone: reads claims as if their signature were valid. Gives whether they
    /// would identify a caller; admits none.
    pub(crate) fn would_name(&self, claims: &[u8]) -> bool {
        let claims = serde_json::from_slice::<Claims>(claims);
        claims.is_ok_and(|it| caller(&it).is_ok() && self.judge(&it, self.clock.now()).is_ok())
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod signer;
#[cfg(test)]
mod tests;
