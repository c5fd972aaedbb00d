//! A gateway's callers and the limits of each tenant: `[caller]`, `[callers]` and `[limits]`.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use atlas::{Country, RegionMap};
use gateway::{
    Caller, CallerLocation, Callers, KeySource, Known, Scope, TenantLimit, TenantLimits, TokenRules,
};
use ledger::entry::Role;
use link::net::https_client::Address;
use terms::limits::{CALLER_NAME_BYTES_MAX, GATEWAY_IN_FLIGHT_MAX};
use terms::{Collection, RegionId, TenantId};

use super::read::{At, Section};

/// The files of `[callers]`: of the listener's TLS, where they differ from those of `[tls]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerFiles {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) revoked: Option<PathBuf>,
}

/// How long an issuer's keys are good after they were last read, and the least and the most that
/// may be configured.
const KEYS_AGE_S: u64 = 24 * 3_600;
const KEYS_AGE_S_RANGE: (u64, u64) = (60, 30 * KEYS_AGE_S);

/// Where callers stand whose grant names no territory.
#[derive(Debug, Clone, Copy)]
enum Otherwise {
    Beside,
    Unknown,
}

/// Whom calls are taken from: one of `[caller]` and `[callers]`.
pub(super) fn callers(
    root: &Section<'_>,
    map: Option<&RegionMap>,
) -> Option<(Callers, ListenerFiles)> {
    if let Some(section) = root.table("callers", "[callers]") {
        if let Some(at) = root.place("caller") {
            let problem = "there are [caller] and [callers]";
            root.file.wrong(at, "CALLER_BESIDE_CALLERS", problem, "leave one of them out");
        }
        let (known, files) = known(&section, map)?;
        return Some((Callers::Known(known), files));
    }
    let section = root.section("caller", "[caller]")?;
    if !root.switch("plaintext") {
        let problem = "every connection would be this caller, wherever it comes from";
        let cure = "use [callers], or set `plaintext = true` and listen on loopback";
        root.file.wrong(section.at(), "CALLER_NEEDS_LOOPBACK", problem, cure);
    }
    section.only(&["tenant", "name", "roles", "territory", "collections", "regions"]);
    let name = section.parsed("name", "a name of at most 256 bytes", name);
    let caller = granted(&section, name.map(|name| name.it), map, Otherwise::Beside)?;
    Some((Callers::Fixed(caller), ListenerFiles::default()))
}

/// The callers that a gateway knows, by certificate or by token.
fn known(section: &Section<'_>, map: Option<&RegionMap>) -> Option<(Known, ListenerFiles)> {
    section.only(&["authorities", "revoked", "certificate", "key", "certificates", "tokens"]);
    let path = |key| section.text(key).map(|text| section.file.beside(text.it));
    let files = ListenerFiles {
        certificate: path("certificate"),
        key: path("key"),
        authorities: path("authorities"),
        revoked: path("revoked"),
    };
    let pair = |one: &str, other: &str, missing: bool| {
        if missing && let Some(at) = section.place(one) {
            let problem = format!("`{one}` has no effect without `{other}`");
            section.file.wrong(at, "KEY_MISSING", problem, format!("add `{other}`"));
        }
    };
    pair("certificate", "key", files.key.is_none());
    pair("key", "certificate", files.certificate.is_none());
    pair("certificates", "authorities", files.authorities.is_none());
    pair("revoked", "authorities", files.authorities.is_none());
    let mut certificates = HashMap::new();
    for one in section.tables("certificates", "[[callers.certificates]]") {
        one.only(&["uri", "tenant", "roles", "territory", "collections", "regions"]);
        let uri = one.parsed("uri", "a URI of at most 256 bytes", |text| {
            name(text).filter(|uri| uri.contains("://"))
        });
        let caller = granted(&one, uri.as_ref().map(|uri| uri.it.clone()), map, Otherwise::Unknown);
        let (Some(uri), Some(caller)) = (uri, caller) else { continue };
        if certificates.insert(uri.it, caller).is_some() {
            let problem = "this `uri` has a grant already";
            section.file.wrong(uri.at, "CALLER_TWICE", problem, "remove one of them");
        }
    }
    let tokens = match section.table("tokens", "[callers.tokens]") {
        Some(tokens) => Some(self::tokens(&tokens)?),
        None => None,
    };
    if certificates.is_empty() && tokens.is_none() {
        let cure = "add [[callers.certificates]] or [callers.tokens]";
        section.file.wrong(section.at(), "KEY_MISSING", "[callers] names no caller", cure);
    }
    Some((Known { certificates, tokens }, files))
}

/// Whose tokens are taken, and where the keys are.
fn tokens(section: &Section<'_>) -> Option<(TokenRules, KeySource)> {
    section.only(&["issuer", "audience", "jwks", "jwks_ca", "jwks_max_age_s"]);
    let text = |key| section.parsed(key, "a text", |text| Some(text.to_owned()));
    let (issuer, audience) = (text("issuer"), text("audience"));
    let authorities = section.text("jwks_ca").map(|named| {
        let path = section.file.beside(named.it);
        super::authorities(section, named.at, &path)
    });
    let wanted = "a path, or an address of the form https://host/path, without a user or password";
    let source = section.parsed("jwks", wanted, |text| {
        if !text.contains("://") {
            return Some(KeySource::File(section.file.beside(text)));
        }
        let address = Address::parse(text).ok()?;
        Some(KeySource::Url { address, authorities: authorities.clone().flatten() })
    });
    if let (Some(At { it: KeySource::File(_), .. }), Some(at)) = (&source, section.place("jwks_ca"))
    {
        let cure = "leave `jwks_ca` out, or name an https address in `jwks`";
        section.file.wrong(at, "VALUE_INVALID", "`jwks_ca` has no effect for a file", cure);
    }
    let age = section.number("jwks_max_age_s", KEYS_AGE_S_RANGE, KEYS_AGE_S);
    let (issuer, audience) = (issuer?.it, audience?.it);
    let rules = TokenRules { issuer, audience, keys_age_max: Duration::from_secs(age) };
    Some((rules, source?.it))
}

/// A name as a shard takes it.
fn name(text: &str) -> Option<String> {
    let fits = text.len() <= CALLER_NAME_BYTES_MAX && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// What a section grants to the caller of that name.
fn granted(
    section: &Section<'_>,
    name: Option<String>,
    map: Option<&RegionMap>,
    otherwise: Otherwise,
) -> Option<Caller> {
    let tenant = tenant(section, map);
    let roles = roles(section);
    let territory = section
        .place("territory")
        .map(|_| section.parsed("territory", "a country's code such as DE", Country::parse));
    let location = match (territory, otherwise) {
        (Some(country), _) => country.map(|country| CallerLocation::In(country.it)),
        (None, Otherwise::Beside) => Some(CallerLocation::WithGateway),
        (None, Otherwise::Unknown) => Some(CallerLocation::Unknown),
    };
    // On loopback everything is granted that is not restricted, elsewhere nothing is.
    let all = matches!(otherwise, Otherwise::Beside);
    let collections = scope(section, "collections", all, |name| {
        Collection::parse(name).ok().filter(|it| map.is_none_or(|map| map.collection(it).is_some()))
    });
    let regions = scope(section, "regions", all, |name| {
        RegionId::parse(name).ok().filter(|it| map.is_none_or(|map| map.region(it).is_some()))
    });
    Some(Caller {
        tenant: tenant?,
        name: name?,
        roles,
        location: location?,
        collections: collections?,
        regions: regions?,
    })
}

fn tenant(section: &Section<'_>, map: Option<&RegionMap>) -> Option<TenantId> {
    let tenant = section.parsed("tenant", "a tenant's name", |t| TenantId::parse(t).ok())?;
    if let Some(map) = map
        && map.tenant(&tenant.it).is_none()
    {
        let all: Vec<&str> = map.tenants().map(|tenant| tenant.name().as_str()).collect();
        let problem = format!("the map has no tenant `{}`", tenant.it);
        let cure = format!("use one of: {}", all.join(", "));
        section.file.wrong(tenant.at, "TENANT_UNKNOWN", problem, cure);
    }
    Some(tenant.it)
}

/// The roles that a caller can have: a shard speaks for itself alone.
fn roles(section: &Section<'_>) -> Vec<Role> {
    let all = || Role::ALL.iter().copied().filter(|role| *role != Role::Shard);
    let mut roles = Vec::new();
    for text in section.texts("roles") {
        match all().find(|role| role.as_str() == text.it) {
            Some(role) => roles.push(role),
            None => {
                let names: Vec<&str> = all().map(Role::as_str).collect();
                section.mistyped(text.at, "roles", &format!("a list of {}", names.join(", ")));
            }
        }
    }
    roles
}

/// Names of the map, or `*`.
fn scope<T>(
    section: &Section<'_>,
    key: &str,
    all: bool,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Scope<T>> {
    if section.place(key).is_none() {
        return Some(if all { Scope::All } else { Scope::Only(Vec::new()) });
    }
    let mut only = Vec::new();
    for text in section.texts(key) {
        match parse(text.it) {
            _ if text.it == "*" => return Some(Scope::All),
            Some(one) => only.push(one),
            None => section.mistyped(text.at, key, "a list of names of the map, or [\"*\"]"),
        }
    }
    Some(Scope::Only(only))
}

// === limits ===

/// What each tenant may take of the gateway.
pub(super) fn limits(root: &Section<'_>, map: Option<&RegionMap>) -> TenantLimits {
    let Some(section) = root.table("limits", "[limits]") else { return TenantLimits::default() };
    section.only(&["calls_in_flight_per_tenant", "calls_per_second_per_tenant", "tenants"]);
    let usual = limit(&section, "calls_in_flight_per_tenant", "calls_per_second_per_tenant");
    let mut own = HashMap::new();
    for one in section.tables("tenants", "[[limits.tenants]]") {
        one.only(&["name", "calls_in_flight", "calls_per_second"]);
        let own_limit = limit(&one, "calls_in_flight", "calls_per_second");
        // What is not said for this tenant is what is usual.
        let limit = TenantLimit {
            calls_in_flight: own_limit.calls_in_flight.or(usual.calls_in_flight),
            calls_per_second: own_limit.calls_per_second.or(usual.calls_per_second),
        };
        let Some(name) = one.parsed("name", "a tenant's name", |t| TenantId::parse(t).ok()) else {
            continue;
        };
        if map.is_some_and(|map| map.tenant(&name.it).is_none()) {
            let problem = format!("the map has no tenant `{}`", name.it);
            one.file.wrong(name.at, "TENANT_UNKNOWN", problem, "name a tenant of the map");
        }
        if own.insert(name.it, limit).is_some() {
            let problem = "this tenant has its limits already";
            one.file.wrong(name.at, "TENANT_TWICE", problem, "remove one of them");
        }
    }
    TenantLimits { usual, own }
}

/// Two in flight at least: a stream is one, and each of its requests another.
fn limit(section: &Section<'_>, in_flight: &str, per_second: &str) -> TenantLimit {
    let most = u64::try_from(GATEWAY_IN_FLIGHT_MAX).unwrap_or(u64::MAX);
    let calls = section.place(in_flight).map(|_| section.number(in_flight, (2, most), most));
    let rate = section.number(per_second, (1, u64::from(u32::MAX)), 0);
    TenantLimit {
        calls_in_flight: calls.and_then(|calls| usize::try_from(calls).ok()),
        calls_per_second: u32::try_from(rate).ok().and_then(NonZeroU32::new),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::read::File;
    use super::*;

    #[test]
    fn what_a_tenant_has_not_of_its_own_is_what_is_usual() {
        let text = "[limits]\ncalls_in_flight_per_tenant = 7\ncalls_per_second_per_tenant = 70\n\
                    [[limits.tenants]]\nname = \"a\"\ncalls_in_flight = 3\n\
                    [[limits.tenants]]\nname = \"b\"\ncalls_per_second = 30\n";
        let file = File::new(Path::new("gateway.toml"), text);
        let document = file.document().unwrap();
        let limits = limits(&Section::root(&file, &document, "the configuration"), None);
        let of = |name: &str| {
            let own = limits.own.get(&TenantId::parse(name).unwrap()).unwrap_or(&limits.usual);
            (own.calls_in_flight, own.calls_per_second.map(NonZeroU32::get))
        };
        assert_eq!(of("a"), (Some(3), Some(70)));
        assert_eq!(of("b"), (Some(7), Some(30)));
        assert_eq!(of("c"), (Some(7), Some(70)));
        drop(document);
        assert!(file.into_wrong().is_empty());
    }
}
