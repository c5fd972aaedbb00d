//! The keys of `gateway.toml` and `shard.toml`. The reader refuses every other key; the JSON Schemas
//! and docs/configuration.md are made from this file.

mod shard;

use atlas::COUNTRY;
use atlas::toml::{Form, Json, Key, NAME, Shape, Table, needed, optional};
use terms::limits::GATEWAY_IN_FLIGHT_MAX;

pub(crate) use shard::SHARD;

/// The roles that a caller can have.
pub(super) const ROLES: &[&str] =
    &["writer", "reader", "eraser", "operator", "auditor", "adjudicator", "approver"];
/// Seconds for which an issuer's keys are valid after they were last read.
pub(super) const KEYS_AGE_S: u64 = 24 * 3_600;
const IN_FLIGHT_MAX: u64 = GATEWAY_IN_FLIGHT_MAX as u64;

/// Worker threads of one process at most.
pub(super) const THREADS_MAX: u64 = 256;

/// The shape of a text: what it is called, what messages ask for, and what the JSON Schema says.
const fn shape(name: &'static str, wanted: &'static str, json: Json) -> Shape {
    Shape { name, code: "VALUE_INVALID", wanted, json }
}

const PATH: Form = Form::Shape(&shape("path", "a path", Json::Any));

const LISTEN: Form = Form::Shape(&shape(
    "address and port",
    "an address and port such as 127.0.0.1:7400",
    Json::Pattern("^[0-9a-fA-F.:\\[\\]%]+:[0-9]{1,5}$"),
));

const CALLER: Form =
    Form::Shape(&shape("name of a caller", "a name of at most 256 bytes", Json::Any));

const URI: Form =
    Form::Shape(&shape("URI", "a URI of at most 256 bytes", Json::Pattern("^[^:]+://.+$")));

const KEY_SET: Form = Form::Shape(&shape(
    "path or https address",
    "a path, or an address of the form https://host/path, without a user or password",
    Json::Any,
));

/// Names that the map declares.
const OF_THE_MAP: Form = Form::Shape(&shape(
    "name in the map, or `*`",
    "a name that the map declares, or \"*\"",
    Json::Pattern("^(\\*|[a-z0-9-]{1,63})$"),
));

const SWITCH: &str = "`false`";
const NO_TLS: &str = "none: loopback and plaintext";

// === keys of both configurations ===

const PLAINTEXT_METRICS: Key = optional(
    "plaintext_metrics",
    Form::Flag,
    SWITCH,
    "`admin_listen` may be any address, in plaintext.",
);
const METRICS_KEY: Key = optional(
    "metrics",
    Form::Table(&METRICS),
    "none: loopback only",
    "Access to health and metrics from other machines.",
);
const REQUIRE_SANDBOX: Key = optional(
    "require_sandbox",
    Form::Flag,
    SWITCH,
    "Refuse to start, with exit code 64, where the kernel does not enforce the whole sandbox.",
);
const MAP_PACKS: Key = optional(
    "map_packs",
    Form::Filled(&PATH),
    "none",
    "Statute packs, in addition to the built-in ones.",
);
const MAP_NOTE: Key = optional(
    "map_note",
    PATH,
    "none; required with `map_signers`",
    "The signatures of the map, as `bailiwick map sign` writes them.",
);
const MAP_SIGNERS: Key = optional(
    "map_signers",
    Form::Filled(&Form::Text),
    "none: the map comes from this file only",
    "The public keys whose signatures on maps count, as `bailiwick map key` prints them. At least two.",
);

/// A gateway's configuration.
pub(crate) static GATEWAY: Table = Table {
    what: "gateway configuration",
    means: "A gateway: its listeners, its callers, and the map that it starts with.",
    count_max: 1,
    keys: &[
        needed(
            "name",
            Form::Text,
            "The gateway's name, which shards log. With `[tls]` it is the name in the gateway's certificate; shards refuse another.",
        ),
        optional(
            "region",
            NAME,
            "none; required with `[tls]`",
            "The region in which the gateway runs, as its certificate says. The map must pin an authority for it.",
        ),
        needed(
            "listen",
            LISTEN,
            "Where callers connect. On loopback, unless there is `[tls]` and no `plaintext`.",
        ),
        needed(
            "admin_listen",
            LISTEN,
            "Where `/livez`, `/readyz` and `/metrics` are served. On loopback, unless `[metrics]` or `plaintext_metrics` is there.",
        ),
        optional(
            "plaintext",
            Form::Flag,
            SWITCH,
            "Callers connect without TLS. With `[tls]` the gateway still uses TLS to shards.",
        ),
        PLAINTEXT_METRICS,
        METRICS_KEY,
        REQUIRE_SANDBOX,
        optional(
            "threads",
            Form::Number(1, THREADS_MAX),
            "1 on one or two processors, otherwise one for each",
            "Threads that serve connections.",
        ),
        needed(
            "map",
            PATH,
            "The region map. With `map_signers` it is the first one: the gateway accepts newer maps that its shards hold.",
        ),
        MAP_PACKS,
        MAP_NOTE,
        MAP_SIGNERS,
        needed(
            "annexes",
            Form::Filled(&PATH),
            "Files and folders: one annex for each region of the map. A folder stands for its `.toml` files and may hold annexes of regions that a later map adds. Where the map names `annex_signers`, the signatures are next to each annex, in a file that ends in `.note`. Read again every second.",
        ),
        optional(
            "geoip",
            PATH,
            "none: `ip` evidence gives no finding",
            "A database of countries in MaxMind's format, with `country.iso_code` in its records. Read again when it changes; if the new file cannot be used, the old one stays in use and `/readyz` says so.",
        ),
        optional(
            "in_flight_max",
            Form::Number(1, IN_FLIGHT_MAX),
            "16384",
            "Calls in flight, of all callers, before `GATEWAY_BUSY`.",
        ),
        optional(
            "tls",
            Form::Table(&TLS),
            NO_TLS,
            "The gateway's certificate, and the authorities that it trusts.",
        ),
        optional(
            "caller",
            Form::Table(&EVERY_CALLER),
            "none; required without `[callers]`",
            "The one caller, on a plaintext listener. Not together with `[callers]`.",
        ),
        optional(
            "callers",
            Form::Table(&CALLERS),
            "none; required without `[caller]`",
            "The callers, by certificate or token.",
        ),
        optional("limits", Form::Table(&LIMITS), "see there", "The limits of each tenant."),
        optional(
            "http",
            Form::Table(&HTTP),
            "none: gRPC only",
            "What `listen` speaks beside gRPC.",
        ),
    ],
};

/// An origin, as browsers state it: scheme, host and port without a path.
const ORIGIN: Form = Form::Shape(&shape(
    "origin",
    "an origin such as https://app.example, in lower case, without a path",
    Json::Pattern("^https?://[a-z0-9.:\\[\\]-]+$"),
));

static HTTP: Table = Table {
    what: "table [http]",
    means: "What `listen` speaks beside gRPC. Callers, limits, deadlines and reasons are the same for all. With `json` or `grpc_web` it also takes HTTP/1.1.",
    count_max: 1,
    keys: &[
        optional(
            "json",
            Form::Flag,
            SWITCH,
            "Unary calls as JSON, in the form of the Connect protocol: `POST /bailiwick.v1.Records/Put`.",
        ),
        optional("grpc_web", Form::Flag, SWITCH, "gRPC-Web, for clients in browsers."),
        optional(
            "cors_origins",
            Form::Filled(&ORIGIN),
            "none: no page in a browser may call",
            "The origins whose pages may call, each in full. A request of another origin is answered 403.",
        ),
    ],
};

static TLS: Table = Table {
    what: "table [tls]",
    means: "The certificate that a process shows to Bailiwick's other processes, and the authorities that it trusts. All files are PEM of at most 4 MiB and are read again when they change; if the new content cannot be used, the old stays in use. A start ends with exit code 64 if a file must be corrected, and with 69 if time or the next file may fix it: an expired certificate or revocation list, or a key that is not the certificate's.",
    count_max: 1,
    keys: &[
        needed("certificate", PATH, "The process's certificate, then its intermediates."),
        needed("key", PATH, "Its private key."),
        needed(
            "authorities",
            PATH,
            "The authorities of all regions. Those that the map does not pin are not used.",
        ),
        optional(
            "revoked",
            PATH,
            "none",
            "The revocation lists of those authorities, in one file.",
        ),
    ],
};

static METRICS: Table = Table {
    what: "table [metrics]",
    means: "Who may read `/metrics` and the details of `/livez` and `/readyz` on `admin_listen`. Without a token or certificate a client sees only their first line, which is what a probe needs. The listener uses TLS, so that no token travels in plaintext, unless `plaintext_metrics = true`. Required are `token_file`, or `uris` and `authorities`, or all three.",
    count_max: 1,
    keys: &[
        optional(
            "token_file",
            PATH,
            "none",
            "The file of a token of at least 16 characters, read for each request: `authorization: Bearer TOKEN`.",
        ),
        optional(
            "uris",
            Form::Filled(&Form::Text),
            "none",
            "The URIs of the certificates that have access.",
        ),
        optional(
            "authorities",
            PATH,
            "none",
            "The authorities of these certificates, a PEM bundle.",
        ),
        optional("revoked", PATH, "none", "Their revocation lists, PEM."),
        optional("certificate", PATH, "that of `[tls]`", "The listener's certificate."),
        optional("key", PATH, "that of `[tls]`", "The listener's private key."),
    ],
};

static EVERY_CALLER: Table = Table {
    what: "table [caller]",
    means: "Only with `plaintext = true`: every client of the listener is this caller.",
    count_max: 1,
    keys: &[
        needed("tenant", NAME, "A tenant of the map."),
        needed("name", CALLER, "The caller's name, for the placement log."),
        needed("roles", Form::Filled(&Form::Word(ROLES)), "What the caller may do."),
        optional(
            "territory",
            COUNTRY,
            "that of the gateway",
            "The country by which reads are judged.",
        ),
        optional(
            "collections",
            Form::Filled(&OF_THE_MAP),
            "`[\"*\"]`",
            "The collections that it may use.",
        ),
        optional("regions", Form::Filled(&OF_THE_MAP), "`[\"*\"]`", "The regions that it may use."),
    ],
};

static CALLERS: Table = Table {
    what: "table [callers]",
    means: "The callers, by certificates, tokens, or both. Required is one of `certificates` and `tokens`. [identity.md](identity.md) says what certificates and tokens hold.",
    count_max: 1,
    keys: &[
        optional(
            "authorities",
            PATH,
            "none: no certificate is requested; required with `certificates` and `revoked`",
            "The authorities that issue callers' certificates, PEM.",
        ),
        optional("revoked", PATH, "none", "Their revocation lists, PEM."),
        optional(
            "certificate",
            PATH,
            "that of `[tls]`",
            "The listener's certificate. Only together with `key`.",
        ),
        optional(
            "key",
            PATH,
            "that of `[tls]`",
            "The listener's private key. Only together with `certificate`.",
        ),
        optional(
            "certificates",
            Form::Tables(&CERTIFICATE),
            "none",
            "The callers with certificates.",
        ),
        optional("tokens", Form::Table(&TOKENS), "none", "The issuer of tokens."),
    ],
};

static CERTIFICATE: Table = Table {
    what: "table [[callers.certificates]]",
    means: "One URI that a certificate may name, and what it grants. What is not granted is refused.",
    count_max: 10_000,
    keys: &[
        needed(
            "uri",
            URI,
            "The URI in the certificate. It is the caller's name in the placement log.",
        ),
        needed("tenant", NAME, "A tenant of the map."),
        needed("roles", Form::Filled(&Form::Word(ROLES)), "What the caller may do."),
        optional(
            "territory",
            COUNTRY,
            "outside of every territory",
            "The country by which reads are judged.",
        ),
        optional(
            "collections",
            Form::Filled(&OF_THE_MAP),
            "none",
            "The collections that it may use.",
        ),
        optional("regions", Form::Filled(&OF_THE_MAP), "none", "The regions that it may use."),
    ],
};

static TOKENS: Table = Table {
    what: "table [callers.tokens]",
    means: "Tokens of one issuer for one audience. A token has at most 8 KiB.",
    count_max: 1,
    keys: &[
        needed("issuer", Form::Text, "The value of `iss`, byte for byte."),
        needed("audience", Form::Text, "A value of `aud`."),
        needed(
            "jwks",
            KEY_SET,
            "The issuer's public keys: a JWKS document of at most 256 KiB and 64 keys. A file is read again when it changes. An address is requested at the start, every 300 seconds, and when a token names an unknown key, but at most once in 10 seconds.",
        ),
        optional(
            "jwks_ca",
            PATH,
            "the authorities of the operating system",
            "The authorities of that address, a PEM file that is read at the start.",
        ),
        optional(
            "jwks_max_age_s",
            Form::Number(60, 30 * KEYS_AGE_S),
            "86400, a day",
            "How long keys are valid after they were last read. After that, calls with tokens are answered `KEYS_UNAVAILABLE` until the keys are read again.",
        ),
    ],
};

/// Two in flight at least: a stream is one, and each of its requests another.
const IN_FLIGHT: Form = Form::Number(2, IN_FLIGHT_MAX);
const RATE: Form = Form::Number(1, u32::MAX as u64);

static LIMITS: Table = Table {
    what: "table [limits]",
    means: "What one tenant may use of this gateway. Each gateway counts on its own. Above these limits a call is answered `TENANT_BUSY`. The bytes of bodies in flight have a fixed limit: a quarter of 128 MiB for each tenant, or all of it when the map has one tenant.",
    count_max: 1,
    keys: &[
        optional(
            "calls_in_flight_per_tenant",
            IN_FLIGHT,
            "a quarter of `in_flight_max`, or all of it when the map has one tenant",
            "Calls, streams and requests of streams in flight.",
        ),
        optional(
            "calls_per_second_per_tenant",
            RATE,
            "**no rate limit**",
            "Calls and requests of streams in a second, and as many at once after a pause.",
        ),
        optional("tenants", Form::Tables(&TENANT), "none", "Limits of single tenants."),
    ],
};

static TENANT: Table = Table {
    what: "table [[limits.tenants]]",
    means: "The limits of one tenant.",
    count_max: 10_000,
    keys: &[
        needed("name", NAME, "A tenant of the map."),
        optional(
            "calls_in_flight",
            IN_FLIGHT,
            "as for other tenants",
            "Calls, streams and requests of streams in flight.",
        ),
        optional(
            "calls_per_second",
            RATE,
            "as for other tenants",
            "Calls and requests of streams in a second.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use atlas::toml::reference;

    use super::*;

    /// The top of the page.
    const HEAD: &str = "# Configuration of gateways and shards\n\n\
        <!-- Made from src/config/schema.rs. To update it, run \
        `UPDATE_EXPECT=1 cargo test --workspace --bin bailiwick the_page`. -->\n\n\
        A configuration is one TOML file, which is read whole before anything starts.\n\
        Relative paths are relative to the file.\n\
        An unknown key, an empty text and an empty list are errors. Every error is reported at once, \
        with line, column, an excerpt and help.\n\
        `bailiwick map schema gateway` and `bailiwick map schema shard` print JSON Schemas for \
        editors.\n\
        [`deploy/sample`](../deploy/sample) has working examples in plaintext, \
        [`deploy/sample-tls`](../deploy/sample-tls) with TLS.\n";
    /// The end of the page.
    const ENVIRONMENT: &str = "\n## Environment\n\n\
        | variable | effect |\n|---|---|\n\
        | `BAILIWICK_LOG` | log level: `error`, `warn`, `info` (default of servers) or `debug`. It \
        applies to Bailiwick's own code; libraries never log below `warn` |\n\
        | `NO_COLOR` | turns off colours in terminal output |\n";

    #[test]
    fn the_page_is_as_the_schema_says() {
        let mut done = Vec::new();
        let mut page = HEAD.to_owned();
        for (name, file) in [("gateway.toml", &GATEWAY), ("shard.toml", &SHARD)] {
            let keys = reference(file, &mut done);
            page.push_str(&format!("\n## `{name}`\n\n{}\n\n{}", file.means, keys.trim_end()));
            page.push('\n');
        }
        page.push_str(ENVIRONMENT);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        #[expect(clippy::disallowed_methods, reason = "the switch of a test, read nowhere else")]
        if std::env::var("UPDATE_EXPECT").is_ok() {
            std::fs::write(&path, &page).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(written == page, "docs/configuration.md differs: run with UPDATE_EXPECT=1");
    }

    #[test]
    fn the_words_are_those_of_the_code() {
        let roles: Vec<&str> = ledger::entry::Role::ALL
            .iter()
            .filter(|role| **role != ledger::entry::Role::Shard)
            .map(|role| role.as_str())
            .collect();
        assert_eq!(roles, ROLES);
        let mut engines: Vec<&str> = engine::Kind::ALL.iter().map(|kind| kind.as_str()).collect();
        engines.push("postgres");
        assert_eq!(engines, shard::ENGINES);
    }
}
