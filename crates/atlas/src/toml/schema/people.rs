//! The keys of a file of people with the answers that a map must give.

use crate::limits::PEOPLE_MAX;
use crate::toml::schema::{Form, Table, needed, optional};

/// A file of people.
pub(crate) static PEOPLE: Table = Table {
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
        optional("tenant", Form::Name, "the only one of the map", "The platform."),
        needed("collection", Form::Name, "The collection."),
        optional("date", Form::Date, "the day of the run", "The day."),
        needed(
            "evidence",
            Form::List(&Form::Text),
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
        optional("region", Form::Name, "it is refused", "The region of the first copy."),
        optional("refused", Form::Text, "it is placed", "The reason of the refusal."),
        optional("mirrors", Form::List(&Form::Name), "any", "Exactly the regions of copies."),
        optional("clauses", Form::List(&Form::Name), "any", "Exactly the clauses it rests on."),
        optional(
            "jurisdictions",
            Form::List(&Form::Territory),
            "any",
            "Exactly the jurisdictions that attach.",
        ),
    ],
};
