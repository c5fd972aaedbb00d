//! The keys of an annex.

use crate::limits;
use crate::map::shapes::{ADDRESS, SLOTS};
use crate::toml::schema::{Form, NAME, Table, needed, optional};

/// An annex.
pub static ANNEX: Table = Table {
    what: "annex",
    means: "Where a region's shards are, and which slots each owns.",
    count_max: 1,
    keys: &[
        needed("region", NAME, "The region of the map that it is for."),
        optional(
            "version",
            Form::Number(0, u64::MAX),
            "0; required where the map names `annex_signers`",
            "Its number. The next one has a higher one, and a running gateway takes no lower one.",
        ),
        optional(
            "ingress",
            ADDRESS,
            "none: refused callers see no address",
            "Where a gateway inside the territory takes calls: `https://`, or `http://` on loopback.",
        ),
        needed(
            "shards",
            Form::Tables(&SHARD),
            "At least one. Each of the slots 0 to 1023 belongs to exactly one of them.",
        ),
    ],
};

static SHARD: Table = Table {
    what: "shard",
    means: "One shard of the region.",
    count_max: limits::SHARDS_MAX,
    keys: &[
        needed("name", NAME, "Its name within the region."),
        needed("address", ADDRESS, "Where gateways connect."),
        optional(
            "standbys",
            Form::List(&ADDRESS),
            "none",
            "The addresses of other processes of this shard, over the same database. Gateways connect to the one that answers.",
        ),
        optional("audit", ADDRESS, "none", "Where auditors connect to read its placement log."),
        needed("slots", Form::List(&SLOTS), "The slots that it owns, such as `0-1023`."),
    ],
};
