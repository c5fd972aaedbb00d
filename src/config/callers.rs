//! The callers of a gateway, and the limits of each tenant: `[caller]`, `[callers]` and `[limits]`.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use atlas::toml::At;
use atlas::{Country, RegionMap};
use gateway::{
    Caller, CallerLocation, Callers, KeySource, Known, Scope, TenantLimit, TenantLimits, TokenRules,
};
use ledger::entry::Role;
use link::net::https_client::Address;
use terms::limits::CALLER_NAME_BYTES_MAX;
use terms::{Collection, RegionId, TenantId};

use super::reading::Section;
use super::schema;

/// The files of `[callers]`: of the listener's TLS, where they differ from those of `[tls]`.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenerFiles {
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) revoked: Option<PathBuf>,
}

/// The territory of a caller whose grant names none.
#[derive(Debug, Clone, Copy)]
enum Otherwise {
    AsGateway,
    Unknown,
}

/// The callers: one of `[caller]` and `[callers]`.
pub(super) fn callers(
    root: &Section<'_>,
    map: Option<&RegionMap>,
) -> Option<(Callers, ListenerFiles)> {
    if let Some(section) = root.section("callers") {
        if let Some(at) = root.place("caller") {
            let problem = "there are [caller] and [callers]";
            root.wrong(at, "CALLER_BESIDE_CALLERS", problem, "remove one of them");
        }
        let (known, files) = known(&section, map)?;
        return Some((Callers::Known(known), files));
    }
    let Some(section) = root.section("caller") else {
        if root.place("caller").is_none() {
            root.missing("caller");
        }
        return None;
    };
    if !root.switch("plaintext") {
        let problem = "every client that reaches the listener would be this caller";
        let help = "use [callers], or set `plaintext = true` and listen on loopback";
        root.wrong(section.at(), "CALLER_NEEDS_LOOPBACK", problem, help);
    }
    let name = section.parse("name", name);
    let caller = granted(&section, name.map(|name| name.it), map, Otherwise::AsGateway)?;
    Some((Callers::Fixed(caller), ListenerFiles::default()))
}

/// The callers that a gateway knows, by certificate or by token.
fn known(section: &Section<'_>, map: Option<&RegionMap>) -> Option<(Known, ListenerFiles)> {
    let path = |key| section.path(key).map(|path| path.it);
    let files = ListenerFiles {
        certificate: path("certificate"),
        key: path("key"),
        authorities: path("authorities"),
        revoked: path("revoked"),
    };
    let pair = |one: &str, other: &str, missing: bool| {
        if missing && let Some(at) = section.place(one) {
            let problem = format!("`{one}` has no effect without `{other}`");
            section.wrong(at, "KEY_MISSING", problem, format!("add `{other}`"));
        }
    };
    pair("certificate", "key", files.key.is_none());
    pair("key", "certificate", files.certificate.is_none());
    pair("certificates", "authorities", files.authorities.is_none());
    pair("revoked", "authorities", files.authorities.is_none());
    let mut certificates = HashMap::new();
    for one in section.sections("certificates") {
        let uri = one.parse("uri", |text| name(text).filter(|uri| uri.contains("://")));
        let caller = granted(&one, uri.as_ref().map(|uri| uri.it.clone()), map, Otherwise::Unknown);
        let (Some(uri), Some(caller)) = (uri, caller) else { continue };
        if certificates.insert(uri.it, caller).is_some() {
            let problem = "this `uri` has a grant already";
            section.wrong(uri.at, "CALLER_TWICE", problem, "remove one of them");
        }
    }
    let tokens = match section.section("tokens") {
        Some(tokens) => Some(self::tokens(&tokens)?),
        None => None,
    };
    if certificates.is_empty() && tokens.is_none() {
        let help = "add [[callers.certificates]] or [callers.tokens]";
        section.wrong(
            section.at(),
            "KEY_MISSING",
            "[callers] has neither certificates nor tokens",
            help,
        );
    }
    Some((Known { certificates, tokens }, files))
}

/// The issuer of tokens, and where its keys are.
fn tokens(section: &Section<'_>) -> Option<(TokenRules, KeySource)> {
    let text = |key| section.text(key).map(|text| text.it.to_owned());
    let (issuer, audience) = (text("issuer"), text("audience"));
    let authorities = section.path("jwks_ca").map(|named| section.authorities(&named));
    let source = section.parse("jwks", |text| {
        if !text.contains("://") {
            return Some(KeySource::File(section.reading.named_path(text)));
        }
        let address = Address::parse(text).ok()?;
        Some(KeySource::Url { address, authorities: authorities.clone().flatten() })
    });
    if let (Some(At { it: KeySource::File(_), .. }), Some(at)) = (&source, section.place("jwks_ca"))
    {
        let help = "leave `jwks_ca` out, or name an https address in `jwks`";
        section.wrong(at, "VALUE_INVALID", "`jwks_ca` has no effect with a file", help);
    }
    let age = section.number_or("jwks_max_age_s", schema::KEYS_AGE_S);
    let (issuer, audience) = (issuer?, audience?);
    let rules = TokenRules { issuer, audience, keys_age_max: Duration::from_secs(age) };
    Some((rules, source?.it))
}

/// A name as a shard accepts it.
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
    let territory = section.place("territory").map(|_| section.parse("territory", Country::parse));
    let location = match (territory, otherwise) {
        (Some(country), _) => country.map(|country| CallerLocation::In(country.it)),
        (None, Otherwise::AsGateway) => Some(CallerLocation::WithGateway),
        (None, Otherwise::Unknown) => Some(CallerLocation::Unknown),
    };
    // On loopback everything is granted that is not restricted, elsewhere nothing is.
    let all = matches!(otherwise, Otherwise::AsGateway);
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
    let tenant = section.parse("tenant", |text| TenantId::parse(text).ok())?;
    if let Some(map) = map
        && map.tenant(&tenant.it).is_none()
    {
        let all: Vec<&str> = map.tenants().map(|tenant| tenant.name().as_str()).collect();
        let problem = format!("the map has no tenant `{}`", tenant.it);
        let help = format!("use one of: {}", all.join(", "));
        section.wrong(tenant.at, "TENANT_UNKNOWN", problem, help);
    }
    Some(tenant.it)
}

/// The roles that a caller can have.
fn roles(section: &Section<'_>) -> Vec<Role> {
    let known = |text: &str| Role::ALL.iter().copied().find(|role| role.as_str() == text);
    let roles = section.list("roles", |text| known(text).filter(|_| schema::ROLES.contains(&text)));
    roles.into_iter().map(|role| role.it).collect()
}

/// Names of the map, or `*`.
fn scope<T>(
    section: &Section<'_>,
    key: &str,
    all: bool,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Scope<T>> {
    let Some(texts) = section.texts(key) else {
        return Some(if all { Scope::All } else { Scope::Only(Vec::new()) });
    };
    if texts.iter().any(|text| text.it == "*") {
        return Some(Scope::All);
    }
    let only = section.list(key, parse).into_iter().map(|name| name.it).collect();
    Some(Scope::Only(only))
}

// === limits ===

/// The limits of each tenant.
pub(super) fn limits(root: &Section<'_>, map: Option<&RegionMap>) -> TenantLimits {
    let Some(section) = root.section("limits") else { return TenantLimits::default() };
    let usual = limit(&section, "calls_in_flight_per_tenant", "calls_per_second_per_tenant");
    let mut own = HashMap::new();
    for one in section.sections("tenants") {
        let own_limit = limit(&one, "calls_in_flight", "calls_per_second");
        // A limit that this tenant does not set is the common one.
        let limit = TenantLimit {
            calls_in_flight: own_limit.calls_in_flight.or(usual.calls_in_flight),
            calls_per_second: own_limit.calls_per_second.or(usual.calls_per_second),
        };
        let Some(name) = one.parse("name", |text| TenantId::parse(text).ok()) else {
            continue;
        };
        if map.is_some_and(|map| map.tenant(&name.it).is_none()) {
            let problem = format!("the map has no tenant `{}`", name.it);
            one.wrong(name.at, "TENANT_UNKNOWN", problem, "name a tenant of the map");
        }
        if own.insert(name.it, limit).is_some() {
            let problem = "this tenant has its limits already";
            one.wrong(name.at, "TENANT_TWICE", problem, "remove one of them");
        }
    }
    TenantLimits { usual, own }
}

fn limit(section: &Section<'_>, in_flight: &str, per_second: &str) -> TenantLimit {
    let number = |key| section.number(key).map(|number| number.it);
    TenantLimit {
        calls_in_flight: number(in_flight).and_then(|calls| usize::try_from(calls).ok()),
        calls_per_second: number(per_second)
            .and_then(|rate| u32::try_from(rate).ok())
            .and_then(NonZeroU32::new),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::reading::read_file;
    use super::*;

    #[test]
    fn a_tenant_without_limits_of_its_own_has_the_common_ones() {
        let text = "[limits]\ncalls_in_flight_per_tenant = 7\ncalls_per_second_per_tenant = 70\n\
                    [[limits.tenants]]\nname = \"a\"\ncalls_in_flight = 3\n\
                    [[limits.tenants]]\nname = \"b\"\ncalls_per_second = 30\n";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        fs::write(&path, text).unwrap();
        let limits = read_file(&path, &schema::GATEWAY, |root| Some(limits(root, None))).unwrap();
        let of = |name: &str| {
            let own = limits.own.get(&TenantId::parse(name).unwrap()).unwrap_or(&limits.usual);
            (own.calls_in_flight, own.calls_per_second.map(NonZeroU32::get))
        };
        assert_eq!(of("a"), (Some(3), Some(70)));
        assert_eq!(of("b"), (Some(7), Some(30)));
        assert_eq!(of("c"), (Some(7), Some(70)));
    }
}
