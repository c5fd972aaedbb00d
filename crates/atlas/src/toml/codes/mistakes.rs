//! Mistakes in a map.

use crate::Severity::Error;
use crate::toml::codes::Example::{Map, None, Top};
use crate::toml::codes::{Code, code};

/// What no process takes.
pub(super) const MISTAKES: &[Code] = &[
    code(
        "TOML_SYNTAX",
        Error,
        "The file is not TOML.",
        "Write it as TOML 1.0 asks. Of a file over 256 KiB only the first such mistake is told.",
        Map(r#"[[regions]
name = "kz-ala""#),
    ),
    code(
        "MAP_TOO_LARGE",
        Error,
        "A map is over 10 MiB.",
        "Leave out what is not needed.",
        None("any map over 10 MiB"),
    ),
    code(
        "FILE_TOO_LARGE",
        Error,
        "An annex or a pack is over 1 MiB.",
        "Leave out what is not needed.",
        None("any annex over 1 MiB"),
    ),
    code(
        "NESTED_TOO_DEEP",
        Error,
        "More than 80 tables or lists within one another.",
        "No key is nested so deep: look for a bracket too many.",
        None("`x = [[[[…]]]]`, 81 of them"),
    ),
    code(
        "LIMIT_COUNT",
        Error,
        "More of something than there may be.",
        "Leave out what is not needed. The limits stand with each table.",
        None("10,001 clauses"),
    ),
    code(
        "LIMIT_RANGE",
        Error,
        "A number over its limit, or more authorities or predecessors than there may be.",
        "Give a number within the limit.",
        Map(r#"[limits]
body_bytes_max = 100000000"#),
    ),
    code(
        "KEY_UNKNOWN",
        Error,
        "A key that nobody reads: most of the time a misspelt one.",
        "Use the key that is offered, or remove it.",
        Map(r#"[[homes]]
for = "FR"
region = "eu-fra"
leed = false"#),
    ),
    code(
        "KEY_MISSING",
        Error,
        "A key that must be there is not.",
        "Add the key that is named.",
        Map(r#"[[regions]]
name = "kz-ala""#),
    ),
    code(
        "VALUE_TYPE",
        Error,
        "A value of the wrong type.",
        "Give what is asked for.",
        Top("predecessor = 7"),
    ),
    code(
        "VALUE_INVALID",
        Error,
        "A value that is none of those that mean something.",
        "Give one of those that are offered.",
        Map(r#"[[collections]]
name = "notes"
category = "notes"
reads = "never""#),
    ),
    code(
        "DATE_INVALID",
        Error,
        "A day that does not exist, or is written in another way.",
        "Write it as 2026-11-23.",
        Top(r#"valid_until = "23.11.2026""#),
    ),
    code(
        "DATE_ORDER",
        Error,
        "A clause ends before it begins.",
        "Let `expires` be later than `not_before`.",
        Map(r#"[[clauses]]
id = "eea-ru"
from = "EEA"
to = "RU"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2027-01-01
expires = 2026-01-01"#),
    ),
    code(
        "NAME_INVALID",
        Error,
        "A name that cannot be one.",
        "Use a-z, 0-9 and inner `-`, at most 63 bytes.",
        Map(r#"[[tenants]]
name = "Acme Ltd.""#),
    ),
    code(
        "NAME_DUPLICATE",
        Error,
        "Something stands twice.",
        "Remove one of them, or rename it.",
        Map(r#"[[collections]]
name = "profiles"
category = "the same once more"
reads = "logged""#),
    ),
    code(
        "COUNTRY_UNKNOWN",
        Error,
        "Not an ISO 3166-1 alpha-2 code.",
        "Give the code: `GB`, not `UK`.",
        Map(r#"[[regions]]
name = "gb-lon"
territory = "UK""#),
    ),
    code(
        "TERRITORY_UNKNOWN",
        Error,
        "Neither a country nor a group of countries.",
        "Give a country's code, or `EEA`.",
        Map(r#"[[homes]]
for = "EU"
region = "eu-fra""#),
    ),
    code(
        "REGION_UNKNOWN",
        Error,
        "The map has no region of that name.",
        "Use one of those that are offered, or add the region.",
        Map(r#"[[homes]]
for = "KZ"
region = "kz-ala""#),
    ),
    code(
        "COLLECTION_UNKNOWN",
        Error,
        "The map has no collection of that name.",
        "Use one of those that are offered, or add the collection.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…"
collections = ["letters"]"#),
    ),
    code(
        "STATUTE_UNKNOWN",
        Error,
        "There is no pack of that id, neither with this program nor with the map.",
        "Use one of those that are offered, or let the pack travel with the map.",
        Map(r#"[[statutes]]
id = "kz-94x"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000""#),
    ),
    code(
        "STATUTE_DIGEST",
        Error,
        "The pack has another text than the one that was read.",
        "Read the pack again, then write the digest that is offered.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000""#),
    ),
    code(
        "STATUTE_DRAFT",
        Error,
        "A pack that is a draft is put in force unawares.",
        "Leave it out, or check it and write `accept_draft = true`.",
        Map(r#"[[statutes]]
id = "cn-export"
digest = "sha256:…""#),
    ),
    code(
        "SETTING_MISSING",
        Error,
        "A law asks for a decision that the map does not make.",
        "Decide it: there is no default.",
        Map(r#"[[statutes]]
id = "ru-152fz"
digest = "sha256:…"
citizens_abroad = "attach""#),
    ),
    code(
        "SETTING_UNUSED",
        Error,
        "A setting that has no effect on this law.",
        "Leave it out.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…"
citizens_abroad = "attach""#),
    ),
    code(
        "COLLECTIONS_NEEDED",
        Error,
        "A law about one kind of data is applied to all collections.",
        "List the collections that hold it.",
        Map(r#"[[statutes]]
id = "in-rbi"
digest = "sha256:…""#),
    ),
    code(
        "EXEMPTION_UNKNOWN",
        Error,
        "A collection claims a ground that no statute of the map has.",
        "Use one of the grounds that are offered.",
        Map(r#"[[collections]]
name = "court-files"
category = "court files"
reads = "logged"
exempt = ["eu-gdpr/6-1-3"]"#),
    ),
    code(
        "CLAUSE_NOT_NOTIFIED",
        Error,
        "A law asks for a notification before a transfer begins, and the clause names none.",
        "Notify the authority, and write the day as `notified`.",
        Map(r#"[[statutes]]
id = "ru-152fz-12"
digest = "sha256:…"

[[clauses]]
id = "ru-eea"
from = "RU"
to = "EEA"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2026-01-01
expires = 2027-06-01"#),
    ),
    code(
        "CLAUSE_TOO_EARLY",
        Error,
        "A clause begins before it was notified, or before the wait after it has passed.",
        "Let `not_before` be no earlier than the day that is offered; add the public holidays in between.",
        Map(r#"[[statutes]]
id = "ru-152fz-12"
digest = "sha256:…"

[[clauses]]
id = "ru-us"
from = "RU"
to = "US"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
notified = 2026-01-01
not_before = 2026-01-05
expires = 2027-06-01"#),
    ),
    code(
        "HOME_DUPLICATE",
        Error,
        "A territory has two homes.",
        "Keep one of them.",
        Map(r#"[[homes]]
for = "RU"
region = "eu-fra""#),
    ),
    code(
        "HOME_OUTSIDE",
        Error,
        "A law asks for a home inside its territory, and the one that is named lies elsewhere.",
        "Name a region inside.",
        Map(r#"[[homes]]
for = "KZ"
region = "ru-msk"

[[statutes]]
id = "kz-94v"
digest = "sha256:…""#),
    ),
    code(
        "AUTHORITY_DUPLICATE",
        Error,
        "An authority of a region is listed twice.",
        "Remove one of them.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"
authorities = [
    "sha256:1111111111111111111111111111111111111111111111111111111111111111",
    "sha256:1111111111111111111111111111111111111111111111111111111111111111",
]"#),
    ),
    code(
        "ANNEX_SIGNER_DUPLICATE",
        Error,
        "A key that signs a region's annex is listed twice.",
        "Remove one of them.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"
annex_signers = [
    "placement.example/eu-de/2026a+16848219+AYaAq5TinA32oNBHMpQJ22Gp6gK+Ujii20WOAMx7YLCa",
    "placement.example/eu-de/2026a+16848219+AYaAq5TinA32oNBHMpQJ22Gp6gK+Ujii20WOAMx7YLCa",
]"#),
    ),
    code(
        "AUTHORITY_SHARED",
        Error,
        "Two regions have the same authority: whoever steals its key speaks for both.",
        "Let each region have its own.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"
authorities = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

[[regions]]
name = "in-bom"
territory = "IN"
authorities = "sha256:1111111111111111111111111111111111111111111111111111111111111111""#),
    ),
];
