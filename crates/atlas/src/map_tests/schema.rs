//! The keys of a file of people with the answers that a map must give.

use crate::geo::territory::TERRITORY;
use crate::limits::PEOPLE_MAX;
use crate::toml::schema::{Form, Json, NAME, Shape, Table, needed, optional};

const REASON: Form = Form::Shape(&Shape {
    name: "reason of a refusal",
    code: "VALUE_INVALID",
    wanted: "a reason of a refusal, such as UNSATISFIABLE",
    json: Json::Pattern("^[A-Z_]+$"),
});

const EVIDENCE: Form = Form::Shape(&Shape {
    name: "evidence",
    code: "VALUE_INVALID",
    wanted: "a kind of evidence and its value, such as \"residence DE\"",
    json: Json::Pattern("^[a-z_]+ .+$"),
});

/// A file of people.
pub static PEOPLE: Table = Table {
    what: "file of people",
    means: "People, none of them real, with the answers that a map must give.",
    count_max: 1,
    keys: &[needed("people", Form::Tables(&PERSON), "At least one.")],
};

static PERSON: Table = Table {
    what: "person",
    means: "One question, and what must be answered.",
    count_max: PEOPLE_MAX,
    keys: &[
        needed("name", Form::Text, "What the person is called in reports."),
        optional("tenant", NAME, "the only one of the map", "The platform."),
        needed("collection", NAME, "The collection."),
        optional("date", Form::Date, "the day of the run", "The day."),
        needed(
            "evidence",
            Form::List(&EVIDENCE),
            "A kind and a value each, such as `residence DE` or `ip 203.0.113.7`; may be empty.",
        ),
        needed("expect", Form::Table(&EXPECT), "What must be answered."),
    ],
};

static EXPECT: Table = Table {
    what: "expectation",
    means: "Either `region` or `refused`; what else is left out may be anything.",
    count_max: 1,
    keys: &[
        optional("region", NAME, "it is refused", "The region of the first copy."),
        optional("refused", REASON, "it is placed", "The reason of the refusal."),
        optional("mirrors", Form::List(&NAME), "any", "Exactly the regions of copies."),
        optional("clauses", Form::List(&NAME), "any", "Exactly the clauses it rests on."),
        optional(
            "jurisdictions",
            Form::List(&TERRITORY),
            "any",
            "Exactly the jurisdictions that attach.",
        ),
    ],
};
