//! The keys of `shard.toml`.

use atlas::ENDPOINT;
use atlas::toml::{Form, Json, NAME, Table, needed, optional};

use super::{
    LISTEN, MAP_NOTE, MAP_PACKS, MAP_SIGNERS, METRICS_KEY, PATH, PLAINTEXT_METRICS,
    REQUIRE_SANDBOX, SWITCH, THREADS_MAX, TLS, shape,
};

/// The engines.
pub(super) const ENGINES: &[&str] = &["sled", "fjall", "postgres"];
/// Megabytes at most: a value above a pebibyte is a typing error.
const MB_MAX: u64 = 1 << 30;

const WITNESS_KEY: Form = Form::Shape(&shape(
    "key",
    "the witness's key: <name>+<id>+<key>",
    Json::Pattern("^[^+\\s]+\\+[0-9a-f]{8}\\+[A-Za-z0-9+/=]+$"),
));

const WITNESS_URL: Form = Form::Shape(&shape(
    "submission prefix",
    "its submission prefix, https://host/path, or http:// on this machine",
    Json::Pattern("^https?://.+$"),
));

const BUCKET: Form = Form::Shape(&shape(
    "name of a bucket",
    "3 to 63 of a-z, 0-9, '-' and single inner '.'",
    Json::Pattern("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$"),
));

const FOLDERS: Form = Form::Shape(&shape(
    "folders in a bucket",
    "names of letters, digits, '-', '_' and inner '.', with '/' between them",
    Json::Pattern("^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"),
));

const SIGNING_REGION: Form = Form::Shape(&shape(
    "region of signatures",
    "the name of a region, as the server's operator gives it",
    Json::Pattern("^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$"),
));

/// A shard's configuration.
pub(crate) static SHARD: Table = Table {
    what: "shard configuration",
    means: "A shard: which one it is, its folders, its listeners, and the map that it starts with.",
    count_max: 1,
    keys: &[
        needed("region", NAME, "Its region, as the map, the annex and its certificate name it."),
        needed("shard", NAME, "Its name, as the annex and its certificate give it."),
        needed("listen", LISTEN, "Where gateways connect. On loopback, unless there is `[tls]`."),
        needed(
            "admin_listen",
            LISTEN,
            "Where `/livez`, `/readyz` and `/metrics` are served. On loopback, unless `[metrics]` or `plaintext_metrics` is there.",
        ),
        optional(
            "audit_listen",
            LISTEN,
            "none: no listener for auditors",
            "Where auditors connect. Without `[auditors]` on loopback only, for every client on this machine.",
        ),
        optional("auditors", Form::Table(&AUDITORS), "none", "The auditors, with `audit_listen`."),
        optional(
            "plaintext",
            Form::Flag,
            SWITCH,
            "Gateways connect without TLS, from this machine. Not together with `[tls]`.",
        ),
        PLAINTEXT_METRICS,
        METRICS_KEY,
        REQUIRE_SANDBOX,
        needed(
            "map",
            PATH,
            "The region map. With `map_signers`, a newer map that the shard has accepted takes precedence. Without, the shard refuses to start with an older map than it has accepted.",
        ),
        MAP_PACKS,
        MAP_NOTE,
        MAP_SIGNERS,
        needed(
            "annex",
            PATH,
            "This region's annex. Where the map names `annex_signers`, its signatures are next to it, in a file that ends in `.note`.",
        ),
        optional(
            "peer_annexes",
            Form::Filled(&PATH),
            "none: no subject moves to another region, and no copies are made there",
            "The annexes of other regions, or folders of them, for moves of subjects (`Subjects.Relocate`) and for copies that a law wants there. They are read again when they change.",
        ),
        optional(
            "tls",
            Form::Table(&TLS),
            "none; required without `plaintext = true`",
            "The shard's certificate, and the authorities that it trusts.",
        ),
        optional(
            "data",
            PATH,
            "none; required with sled and fjall",
            "The folder of the store. Not with postgres.",
        ),
        needed("anchor", PATH, "The folder of the last signed checkpoint. Outside of `data`."),
        needed("keys", PATH, "The folder of the region's keys. Outside of `data`."),
        optional(
            "keyring",
            Form::Table(&KEYRING),
            "none: the keyring is a plain file in `keys`",
            "The hardware token that guards the keyring.",
        ),
        needed(
            "engine",
            Form::Word(ENGINES),
            "The storage engine. A store keeps the engine that created it.",
        ),
        optional(
            "postgres",
            Form::Table(&POSTGRES),
            "none; required with `engine = \"postgres\"`",
            "The database of the store.",
        ),
        optional(
            "threads",
            Form::Number(1, THREADS_MAX),
            "1 on one or two processors, otherwise one for each",
            "Threads that serve connections. A committer, an engine and large bodies have threads of their own.",
        ),
        optional(
            "cache_mb",
            Form::Number(1, MB_MAX),
            "128",
            "MiB of memory for the engine's cache. Not with postgres.",
        ),
        optional(
            "disk_reserve_mb",
            Form::Number(0, MB_MAX),
            "256",
            "MiB of free space below which writes are refused, so that deletions can go on. At least twice what the engine needs for one commit (sled 16 MiB, fjall 160 MiB). On fjall the space that a compaction may need counts too: the size of the store's tables, up to 1 GiB. A disk that is not larger than the reserve is refused with exit code 64. A database says nothing of its disks: on postgres, writes are refused when it has no room.",
        ),
        optional(
            "backup_bucket",
            Form::Table(&BACKUP_BUCKET),
            "none: backups go to folders alone",
            "The bucket for `s3:` in `shard backup` and `shard restore`.",
        ),
        optional(
            "log",
            Form::Table(&LOG),
            "see there",
            "The placement log: the length of a period, and witnesses.",
        ),
    ],
};

static POSTGRES: Table = Table {
    what: "table [postgres]",
    means: "The database of one shard, with `engine = \"postgres\"`. It belongs to this shard alone; its user owns it, and needs no other rights.",
    count_max: 1,
    keys: &[
        needed(
            "url",
            Form::Text,
            "Where it is: `postgresql://user@host:port,host:port/database`. Of several hosts, the one that takes writes is used. No password, and no parameters.",
        ),
        optional(
            "password_file",
            PATH,
            "none",
            "A file with the user's password. Only the user that the shard runs as may read it.",
        ),
        optional(
            "authorities",
            PATH,
            "none; required without `plaintext = true`",
            "The authorities of the database's certificate, a PEM bundle. The certificate must name the host of the URL.",
        ),
        optional("certificate", PATH, "none", "A client certificate for the database, with `key`."),
        optional("key", PATH, "none", "The private key of `certificate`."),
        optional(
            "plaintext",
            Form::Flag,
            SWITCH,
            "No TLS, to a database on this machine. Not together with `authorities`.",
        ),
        optional(
            "standby_networks",
            Form::List(&Form::Text),
            "not checked",
            "The networks of the site, such as `10.2.0.0/16`, in which standbys and all others that read the server's journal must be. A server that streams elsewhere is refused, and left within a second while the shard runs. A list without networks allows none. Without the role `pg_read_all_stats` of the user, a server that streams anywhere is refused.",
        ),
    ],
};

static BACKUP_BUCKET: Table = Table {
    what: "table [backup_bucket]",
    means: "A bucket of an S3-compatible server for backups. The region map must list the server's address among the region's `backup_endpoints`. Servers do not use this table: the commands `shard backup` and `shard restore` do.",
    count_max: 1,
    keys: &[
        needed(
            "endpoint",
            ENDPOINT,
            "The server: `https://host[:port]`. The bucket's name is part of the path.",
        ),
        needed("bucket", BUCKET, "The bucket. It must be there."),
        optional(
            "prefix",
            FOLDERS,
            "none",
            "What stands before the names of backups, as a folder.",
        ),
        optional(
            "signing_region",
            SIGNING_REGION,
            "`us-east-1`",
            "The region that signatures name (AWS Signature Version 4).",
        ),
        needed(
            "credentials_file",
            PATH,
            "A file of two lines: the id of an access key, and its secret. Only the user that the shard runs as may read it.",
        ),
        optional(
            "authorities",
            PATH,
            "the system's",
            "The authorities of the server's certificate, a PEM bundle.",
        ),
        needed(
            "scratch",
            PATH,
            "A folder of this machine in which backups are made before they are sent, and kept while they are read. Outside of `data`, with room for a whole backup, and for two with `--since`.",
        ),
    ],
};

static KEYRING: Table = Table {
    what: "table [keyring]",
    means: "A token (PKCS #11) that guards the file of the region's keyring: without it, the file opens nothing. For a new shard: `shard init` makes the keyring with it.",
    count_max: 1,
    keys: &[
        needed(
            "module",
            PATH,
            "The token's PKCS #11 module, a shared library. It becomes part of the shard's process.",
        ),
        needed("token", Form::Text, "The token's label."),
        needed(
            "pin_file",
            PATH,
            "A file with the user's PIN. Only the user that the shard runs as may read it.",
        ),
        optional(
            "writes",
            Form::List(&Form::Text),
            "none",
            "Folders in which the module writes, which the sandbox then allows: those of a token in software, as SoftHSM's.",
        ),
    ],
};

static AUDITORS: Table = Table {
    what: "table [auditors]",
    means: "Who may read the placement log on `audit_listen`, over TLS.",
    count_max: 1,
    keys: &[
        needed("uris", Form::Filled(&Form::Text), "The URI in the certificate of each auditor."),
        needed("authorities", PATH, "The authorities of their certificates, a PEM bundle."),
        optional("revoked", PATH, "none", "Their revocation lists, PEM."),
        optional("certificate", PATH, "that of `[tls]`", "The listener's certificate."),
        optional("key", PATH, "that of `[tls]`", "The listener's private key."),
    ],
};

static LOG: Table = Table {
    what: "table [log]",
    means: "The placement log.",
    count_max: 1,
    keys: &[
        optional(
            "period_entries_max",
            Form::Number(100_000, u64::MAX >> 1),
            "no limit",
            "Entries after which a period ends. The shard then begins the next period, and serves on.",
        ),
        optional(
            "period_days_max",
            Form::Number(1, 36_500),
            "no limit",
            "Days after which a period ends, in the same way.",
        ),
        optional(
            "witness_every_s",
            Form::Number(1, 3_600),
            "5",
            "Seconds between two submissions to witnesses.",
        ),
        optional("witnesses", Form::Tables(&WITNESS), "none", "Who cosigns checkpoints."),
    ],
};

static WITNESS: Table = Table {
    what: "table [[log.witnesses]]",
    means: "A witness, which cosigns checkpoints (C2SP tlog-witness).",
    count_max: 16,
    keys: &[
        needed("key", WITNESS_KEY, "Its public key. No key and no name may be there twice."),
        needed("url", WITNESS_URL, "Its submission prefix."),
        optional(
            "ca",
            PATH,
            "the authorities of the operating system",
            "The authorities of its certificate, a PEM bundle.",
        ),
    ],
};
