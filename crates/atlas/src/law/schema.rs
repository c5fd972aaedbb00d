//! The keys of a statute pack.

use crate::geo::territory::TERRITORY;
use crate::law::vocabulary::{
    Constraint, ErasureGround, TermUnit, Trigger, UnknownCitizenship, Verified,
};
use crate::limits;
use crate::toml::schema::{Form, NAME, Table, needed, optional};

/// What is said of each source.
const LOOKED_AT: &str = "The day on which `source` was last looked at.";
const OFFICIAL: &str = "Whether an authority of the law's country publishes `source`.";

/// A statute pack.
pub static PACK: Table = Table {
    what: "statute pack",
    means: "One law as data: to whom it applies, what it demands, its citation, its dates.",
    count_max: 1,
    keys: &[
        needed(
            "id",
            NAME,
            "Its name. Another text of the same law keeps it, and has another digest.",
        ),
        needed("jurisdiction", TERRITORY, "Whose law it is."),
        needed("title", Form::Text, "What it says, in one line."),
        needed("citation", Form::Text, "Where it is written."),
        needed("source", Form::Text, "Where we read it."),
        optional("looked_at", Form::Date, "it was not noted", LOOKED_AT),
        optional("official", Form::Flag, "false: summaries of others", OFFICIAL),
        needed(
            "trigger",
            Form::Word(Trigger::WORDS),
            "What makes it attach: the person's citizenship, where the person lives or is, or where the tenant is established.",
        ),
        needed("constraint", Form::Word(Constraint::WORDS), "What it demands."),
        optional(
            "scopes",
            Form::Tables(&SCOPE),
            "none",
            "Further people to whom it applies, with what it demands for them.",
        ),
        optional(
            "readings",
            Form::List(&Form::Word(Constraint::WORDS)),
            "none: it is not in dispute",
            "The readings that are in dispute, `constraint` among them. A map must choose.",
        ),
        optional(
            "in_territory_under",
            Form::List(&Form::Word(Constraint::WORDS)),
            "none",
            "The readings under which its records come in through gateways in its territory only: a map cannot say `anywhere`.",
        ),
        optional(
            "unknown",
            Form::Word(UnknownCitizenship::WORDS),
            "`any-hint`",
            "When a law of citizens attaches to people of unknown citizenship.",
        ),
        needed("from", Form::Date, "The first day on which it is in force."),
        optional("until", Form::Date, "it goes on", "The last day on which it is in force."),
        optional(
            "status",
            Form::Word(&["draft"]),
            "not a draft",
            "The pack is a draft: a map puts it in force only with `accept_draft`.",
        ),
        optional(
            "draft_because",
            Form::Text,
            "none; required where `status` is there",
            "Why it is a draft.",
        ),
        optional(
            "sectors",
            Form::List(&NAME),
            "all",
            "The sectors that it is for: it attaches only for tenants that declare one of them.",
        ),
        optional(
            "data",
            Form::Text,
            "all data",
            "The kind of data that it is about, in words. A map must then list the collections that hold it.",
        ),
        optional("deny", Form::List(&TERRITORY), "none", "Destinations that no clause opens."),
        optional(
            "transfers",
            Form::Table(&TRANSFERS),
            "they begin with a clause",
            "How transfers under it begin. Clauses of its jurisdiction then need `notified`.",
        ),
        optional(
            "exemptions",
            Form::Tables(&EXEMPTION),
            "none",
            "Grounds on which a collection may be outside of it.",
        ),
        optional(
            "erasures",
            Form::Tables(&ERASURE),
            "none that we know",
            "By when it wants data erased, by the ground on which they must go.",
        ),
        needed("rules", Form::Tables(&RULE), "What the law says, at least one."),
    ],
};

static SCOPE: Table = Table {
    what: "scope",
    means: "Further people to whom a law applies: those that another trigger finds, or for whom it demands something else. Each scope that is met attaches.",
    count_max: limits::SCOPES_MAX,
    keys: &[
        needed("trigger", Form::Word(Trigger::WORDS), "What makes it attach to them."),
        needed("constraint", Form::Word(Constraint::WORDS), "What it demands for them."),
        optional("sectors", Form::List(&NAME), "all", "The sectors of tenants that it is for."),
        optional("from", Form::Date, "with the law", "The first day on which it applies to them."),
        optional("until", Form::Date, "with the law", "The last day on which it applies to them."),
    ],
};

static TRANSFERS: Table = Table {
    what: "table of transfers",
    means: "How transfers under a law begin: with a notification, and a wait after it.",
    count_max: 1,
    keys: &[
        needed(
            "working_days",
            Form::Number(0, limits::WORKING_DAYS_MAX),
            "Days from Monday to Friday between the notification and the first transfer. Public holidays are not known: add them to `not_before` yourself.",
        ),
        optional(
            "listed",
            Form::List(&TERRITORY),
            "none",
            "Destinations that need no wait, only the notification.",
        ),
    ],
};

static EXEMPTION: Table = Table {
    what: "exemption",
    means: "A ground on which a collection may be outside of the law.",
    count_max: limits::FACTS_MAX,
    keys: &[
        needed("id", NAME, "Its name, which a map declares."),
        needed("says", Form::Text, "What it says, in our words."),
        needed("citation", Form::Text, "The citation."),
        needed("verified", Form::Word(Verified::WORDS), "How well this was verified."),
        optional(
            "source",
            Form::Text,
            "none; required where it is `seen` or `weak`",
            "The address of the page.",
        ),
        optional("looked_at", Form::Date, "it was not noted", LOOKED_AT),
        optional("official", Form::Flag, "`false`", OFFICIAL),
    ],
};

static ERASURE: Table = Table {
    what: "term of erasure",
    means: "By when a law wants data erased that must go on one ground.",
    count_max: ErasureGround::ALL.len(),
    keys: &[
        needed(
            "ground",
            Form::Word(ErasureGround::WORDS),
            "Why the data must go. Each ground once.",
        ),
        needed(
            "within",
            Form::Number(1, limits::ERASURE_TERM_MAX),
            "How long it runs, from the day after the ground arose.",
        ),
        needed(
            "unit",
            Form::Word(TermUnit::WORDS),
            "What is counted. Working days are Monday to Friday: public holidays are not known, and make a term longer than it is told.",
        ),
        needed("says", Form::Text, "What it says, in our words."),
        needed("citation", Form::Text, "The citation."),
        needed("verified", Form::Word(Verified::WORDS), "How well this was verified."),
        optional(
            "source",
            Form::Text,
            "none; required where it is `seen` or `weak`",
            "The address of the page.",
        ),
        optional("looked_at", Form::Date, "it was not noted", LOOKED_AT),
        optional("official", Form::Flag, "`false`", OFFICIAL),
    ],
};

static RULE: Table = Table {
    what: "rule",
    means: "One thing that the law says.",
    count_max: limits::FACTS_MAX,
    keys: &[
        needed("says", Form::Text, "What it says, in our words."),
        needed("citation", Form::Text, "The citation."),
        needed("verified", Form::Word(Verified::WORDS), "How well this was verified."),
        optional(
            "source",
            Form::Text,
            "none; required where it is `seen` or `weak`",
            "The address of the page.",
        ),
        optional("looked_at", Form::Date, "it was not noted", LOOKED_AT),
        optional("official", Form::Flag, "`false`", OFFICIAL),
        optional("from", Form::Date, "with the law", "The first day on which it holds."),
        optional("until", Form::Date, "with the law", "The last day on which it held."),
    ],
};
