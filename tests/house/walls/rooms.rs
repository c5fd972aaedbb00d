//! The walls of the house as data: who may depend on whom.

/// One crate: what it may name.
#[derive(Debug)]
pub(crate) struct Room {
    /// The package's name; the root package is `bailiwick`.
    pub(crate) name: &'static str,
    /// The workspace crates that it may depend on, in its tests, too.
    pub(crate) may_import: &'static [&'static str],
    /// The external crates that may not be anywhere below it, however deep.
    pub(crate) never_below: &'static [&'static str],
}

/// Stores: whoever cannot reach one cannot write a record to its own disk.
const STORES: &[&str] = &["sled", "fjall", "tokio-postgres", "postgres", "rusqlite", "redb"];
/// What would make a pure crate wait, call or listen.
const OUTSIDE: &[&str] =
    &["tokio", "tonic", "hyper", "mio", "socket2", "axum", "sled", "fjall", "tokio-postgres"];

/// The table "who may import whom". A crate that is not in it may not exist.
pub(crate) const ROOMS: &[Room] = &[
    Room { name: "terms", may_import: &[], never_below: OUTSIDE },
    Room { name: "atlas", may_import: &["terms"], never_below: OUTSIDE },
    Room { name: "evidence", may_import: &["terms", "atlas"], never_below: OUTSIDE },
    Room { name: "ledger", may_import: &[], never_below: OUTSIDE },
    Room { name: "engine", may_import: &[], never_below: &["tonic", "prost", "hyper"] },
    Room { name: "wire", may_import: &[], never_below: STORES },
    Room { name: "link", may_import: &["terms", "wire"], never_below: STORES },
    Room {
        name: "shard",
        may_import: &["terms", "atlas", "ledger", "engine", "wire", "link"],
        never_below: &["rlibphonenumber", "maxminddb"],
    },
    Room {
        name: "gateway",
        may_import: &["terms", "atlas", "evidence", "ledger", "wire", "link"],
        never_below: STORES,
    },
    Room { name: "client", may_import: &["terms", "wire", "ledger"], never_below: STORES },
    Room {
        name: "audit",
        may_import: &["terms", "atlas", "wire", "ledger", "client"],
        never_below: STORES,
    },
    Room { name: "console", may_import: &["client", "audit"], never_below: STORES },
    Room {
        name: "bailiwick",
        may_import: &[
            "terms", "atlas", "evidence", "ledger", "engine", "wire", "link", "shard", "gateway",
            "client", "audit", "console",
        ],
        never_below: &["openssl-sys", "native-tls"],
    },
];

/// External crates that have one home, or few: nobody else may depend on them directly.
pub(crate) const SOLE_HOMES: &[(&str, &[&str])] = &[
    ("sled", &["engine"]),
    ("fjall", &["engine"]),
    ("tokio-postgres", &["engine"]),
    ("rlibphonenumber", &["evidence"]),
    ("maxminddb", &["evidence"]),
    ("rustls", &["link"]),
    ("tokio-rustls", &["link"]),
    ("rustls-webpki", &["link"]),
    ("webpki", &["link"]),
    ("rustls-native-certs", &["link"]),
    // Making certificates: `bailiwick pki`, and the tests of those who read them.
    ("rcgen", &["bailiwick", "link", "client", "shard", "gateway"]),
    ("x509-parser", &["bailiwick", "link"]),
    // Tokens are read in one place; the tests of the whole sign some.
    ("jsonwebtoken", &["gateway", "bailiwick"]),
    ("governor", &["gateway"]),
    ("landlock", &["link"]),
    ("seccompiler", &["link"]),
    ("tracing-subscriber", &["link"]),
    // Its families take labels of any text; link's metrics take those that declare their values.
    ("prometheus-client", &["link"]),
    // The client makes request ids; everybody else takes an `Entropy`.
    ("getrandom", &["link", "client"]),
    ("clap", &["bailiwick"]),
    ("clap_complete", &["bailiwick"]),
    ("clap_mangen", &["bailiwick"]),
    ("anyhow", &["bailiwick"]),
    ("comfy-table", &["bailiwick"]),
    ("indicatif", &["bailiwick"]),
];
