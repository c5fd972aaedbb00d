//! What somebody should look at.

use crate::Severity::Warning;
use crate::toml::codes::Example::{Annexes, Map, None, Top};
use crate::toml::codes::{Code, code};

/// What does not keep a map from being used.
pub(super) const WARNINGS: &[Code] = &[
    code(
        "WARNINGS_CUT",
        Warning,
        "There are more warnings than are shown.",
        "Cure those that are shown first.",
        None("a map with more than 1,000 clauses that have expired"),
    ),
    code(
        "HIDDEN_CHARACTER",
        Warning,
        "A line of a map or annex, or a pack, holds an invisible character: a control, a mark that turns the direction of writing, or one without width.",
        "Take it out: it can make a line read otherwise than it is.",
        None("a map with U+202E in a clause's `legal_basis`"),
    ),
    code(
        "MAP_EXPIRED",
        Warning,
        "The map is past its `valid_until`: no clause holds.",
        "Prepare the next map.",
        Top("valid_until = 2026-06-30"),
    ),
    code(
        "MAP_ENDING",
        Warning,
        "The map ends within 30 days, and then no clause holds.",
        "Prepare the next map.",
        Top("valid_until = 2026-12-01"),
    ),
    code(
        "ANNEX_MISSING",
        Warning,
        "Annexes were given, and none for this region.",
        "Give it: without one nobody reaches the region's shards.",
        Annexes("an annex of `eu-fra` alone"),
    ),
    code(
        "ANNEX_SIGNERS_MISSING",
        Warning,
        "A region has authorities, and nobody who signs its annex: whoever writes a gateway's files can keep the region from being reached.",
        "Name the keys of its operators as `annex_signers`.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"
authorities = "sha256:1111111111111111111111111111111111111111111111111111111111111111""#),
    ),
    code(
        "ATTESTATION_EXPIRED",
        Warning,
        "Nothing attests any more that a region is where it says.",
        "Have the site attested.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"

[regions.site]
attestation = "…"
attestation_expires = 2026-01-31"#),
    ),
    code(
        "ATTESTATION_ENDING",
        Warning,
        "An attestation ends within 30 days.",
        "Have the site attested before.",
        Map(r#"[[regions]]
name = "kz-ala"
territory = "KZ"

[regions.site]
attestation = "…"
attestation_expires = 2026-12-01"#),
    ),
    code(
        "CLAUSE_EXPIRED",
        Warning,
        "A clause holds no more.",
        "Renew it, or remove it.",
        Map(r#"[[clauses]]
id = "eea-ru"
from = "EEA"
to = "RU"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2020-01-01
expires = 2026-01-01"#),
    ),
    code(
        "CLAUSE_ENDING",
        Warning,
        "A clause ends within 30 days, and what rests on it is refused then.",
        "Renew it.",
        Map(r#"[[clauses]]
id = "eea-ru"
from = "EEA"
to = "RU"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2020-01-01
expires = 2026-12-01"#),
    ),
    code(
        "CLAUSE_LATER",
        Warning,
        "A clause does not hold yet.",
        "Nothing, if that is meant: until then what rests on it is refused.",
        Map(r#"[[clauses]]
id = "eea-ru"
from = "EEA"
to = "RU"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2028-01-01
expires = 2029-01-01"#),
    ),
    code(
        "CLAUSE_UNUSED",
        Warning,
        "A clause that opens nothing: its destination is inside or denied, no law asks for it, or another clause opens as much.",
        "Remove it.",
        Map(r#"[[clauses]]
id = "eea-fr"
from = "EEA"
to = "FR"
collections = "*"
legal_basis = "…"
importer = "…"
reference = "…"
not_before = 2020-01-01
expires = 2029-01-01"#),
    ),
    code(
        "STATUTE_STARTING",
        Warning,
        "A law comes into force within 60 days.",
        "See what changes then.",
        Map(r#"[[statutes]]
id = "ng-payments"
digest = "sha256:…"
collections = "payments""#),
    ),
    code(
        "STATUTE_ENDING",
        Warning,
        "A law ends within 60 days.",
        "Put its successor in force as well, if it has one.",
        Map(r#"[[statutes]]
id = "ca-ns-piidpa"
digest = "sha256:…""#),
    ),
    code(
        "STATUTE_ENDED",
        Warning,
        "A law of the map is no longer in force.",
        "Remove it, or put its successor in force.",
        Map(r#"[[statutes]]
id = "ru-152fz-2015"
digest = "sha256:…"
citizens_abroad = "attach""#),
    ),
    code(
        "STATUTE_UNUSED",
        Warning,
        "A law for sectors that no tenant declares.",
        "Declare the sectors of your tenants, or leave the law out.",
        Map(r#"[[statutes]]
id = "cn-ciio"
digest = "sha256:…""#),
    ),
    code(
        "STATUTE_UNVERIFIED",
        Warning,
        "A law in force rests on what nobody has seen written, and nobody has `reviewed` it.",
        "Check it against the law itself, then say who did.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…""#),
    ),
    code(
        "REVIEW_STALE",
        Warning,
        "A review is of another text of the pack than the one in force: it no longer counts.",
        "Read the pack again beside the law, then write its digest into `reviewed`.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…"

[statutes.reviewed]
by = "Anna, counsel"
on = 2026-01-01
digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000""#),
    ),
    code(
        "COPIES_NOT_MADE",
        Warning,
        "A law in force asks for a copy in its territory, and Bailiwick does not make copies yet.",
        "Make the copies yourself, or name a home that puts these people there.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…""#),
    ),
    code(
        "DRAFT_IN_FORCE",
        Warning,
        "A draft is in force.",
        "Have it checked by somebody who knows the law.",
        Map(r#"[[statutes]]
id = "cn-export"
digest = "sha256:…"
accept_draft = true"#),
    ),
    code(
        "SECTOR_UNUSED",
        Warning,
        "A tenant declares a sector that no law asks for. A misspelt one keeps a law from attaching.",
        "Correct it, or leave it out.",
        Map(r#"[[tenants]]
name = "bank"
sectors = "paymints""#),
    ),
    code(
        "HOME_MISSING",
        Warning,
        "A law in force asks for a home in its territory, and there is none: its people are refused.",
        "Name a region there, or go on refusing them.",
        Map(r#"[[statutes]]
id = "kz-94v"
digest = "sha256:…""#),
    ),
    code(
        "LAWS_CONFLICT",
        Warning,
        "Two laws in force that no placement satisfies for some person: such people are refused.",
        "Expect that, or apply one of the two to other collections.",
        Map(r#"[[regions]]
name = "in-bom"
territory = "IN"

[[homes]]
for = "IN"
region = "in-bom"

[[statutes]]
id = "in-rbi"
digest = "sha256:…"
collections = "payments"

[[statutes]]
id = "ru-152fz"
digest = "sha256:…"
reading = "primary-first"
citizens_abroad = "attach""#),
    ),
    code(
        "DISPUTED_OPEN",
        Warning,
        "Nobody has decided a disputed area: evidence from there is refused.",
        "Decide it, or go on refusing.",
        Map(r#"[[disputed]]
name = "area"
numbers = "+7978"
claims = ["RU", "UA"]"#),
    ),
];
