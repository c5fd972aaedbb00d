//! Mistakes in disputed areas, packs and annexes.

use crate::Severity::Error;
use crate::toml::codes::Example::{Annex, Annexes, Map, None, Pack};
use crate::toml::codes::{Code, code};

/// What no process takes, either.
pub(super) const APART: &[Code] = &[
    code(
        "PREFIX_INVALID",
        Error,
        "Not a prefix: bits behind it are set, it is written in another way, or its addresses are compared in another form.",
        "Write 203.0.113.0/24, 2001:db8::/32 or +7978; an IPv4 range as IPv4.",
        Map(r#"[[disputed]]
name = "area"
addresses = "203.0.113.7/24"
claims = ["RU", "UA"]"#),
    ),
    code(
        "DISPUTED_CLAIMS",
        Error,
        "An area that not at least two countries claim, or that is decided for one that does not claim it.",
        "List every country that claims it, and decide for one of them.",
        Map(r#"[[disputed]]
name = "area"
numbers = "+7978"
claims = ["RU", "UA"]
decided = "TR""#),
    ),
    code(
        "DISPUTED_TWICE",
        Error,
        "A prefix belongs to two disputed areas.",
        "Keep it in one of them.",
        Map(r#"[[disputed]]
name = "one"
numbers = "+7978"
claims = ["RU", "UA"]

[[disputed]]
name = "two"
numbers = "+7978"
claims = ["RU", "UA"]"#),
    ),
    code(
        "SOURCE_MISSING",
        Error,
        "A pack says that a fact was seen, and not where.",
        "Add the address of the page.",
        Pack(
            r#"id = "xx-law"
jurisdiction = "AE"
title = "…"
citation = "…"
source = "…"
trigger = "located"
constraint = "none"
from = 2020-01-01

[[rules]]
says = "…"
citation = "art. 1"
verified = "seen""#,
        ),
    ),
    code(
        "ADDRESS_INVALID",
        Error,
        "Not an address at which a process can be reached.",
        "Give scheme, host and port, such as https://host:443; http:// for callers on loopback only.",
        Annex(
            r#"region = "eu-fra"

[[shards]]
name = "s1"
address = "10.0.0.1:7411"
slots = "0-1023""#,
        ),
    ),
    code(
        "SLOTS_INVALID",
        Error,
        "Not a range of slots.",
        "Give ranges within 0-1023.",
        Annex(
            r#"region = "eu-fra"

[[shards]]
name = "s1"
address = "https://10.0.0.1:7411"
slots = "0-1024""#,
        ),
    ),
    code(
        "SLOTS_NONE",
        Error,
        "A shard without slots.",
        "Give it some, or remove it.",
        Annex(
            r#"region = "eu-fra"

[[shards]]
name = "s1"
address = "https://10.0.0.1:7411"
slots = []"#,
        ),
    ),
    code(
        "SLOTS_OVERLAP",
        Error,
        "Slots that have two owners.",
        "Let each slot belong to one shard.",
        Annex(
            r#"region = "eu-fra"

[[shards]]
name = "s1"
address = "https://10.0.0.1:7411"
slots = "0-1023"

[[shards]]
name = "s2"
address = "https://10.0.0.2:7411"
slots = "512-1023""#,
        ),
    ),
    code(
        "SLOTS_UNCOVERED",
        Error,
        "Slots that have no owner.",
        "Let each of 0-1023 belong to one shard.",
        Annex(
            r#"region = "eu-fra"

[[shards]]
name = "s1"
address = "https://10.0.0.1:7411"
slots = "0-511""#,
        ),
    ),
    code(
        "ANNEX_UNSIGNED",
        Error,
        "The map names who signs the region's annex, and none of them has signed this one.",
        "Have it signed by one of them: `bailiwick map sign-annex`.",
        None("an annex that was changed after it was signed"),
    ),
    code(
        "ANNEX_TWICE",
        Error,
        "Two annexes of the same region.",
        "Keep one of them.",
        Annexes(r#"two files with `region = "eu-fra"`"#),
    ),
    code(
        "ERRORS_CUT",
        Error,
        "There are more mistakes than are shown.",
        "Cure those that are shown first.",
        None("a file with more than 1,000 mistakes"),
    ),
];
