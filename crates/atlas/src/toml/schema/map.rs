//! The keys of a region map.

use crate::law::vocabulary::{CitizensAbroad, Constraint, Ingress, UnknownCitizenship};
use crate::limits;
use crate::toml::schema::{Form, Table, needed, optional};

/// A region map.
pub(crate) static MAP: Table = Table {
    what: "region map",
    means: "Which regions there are, whose home each is, which laws are in force, and which transfers have a legal basis.",
    count_max: 1,
    keys: &[
        needed("name", Form::Text, "What people call this map."),
        needed(
            "deployment",
            Form::Name,
            "The deployment, with which the origins of its placement logs begin. It never changes.",
        ),
        optional(
            "trust_domain",
            Form::TrustDomain,
            "the deployment's name",
            "The SPIFFE trust domain, with which the names in certificates begin.",
        ),
        needed(
            "version",
            Form::Number(u64::MAX),
            "The number of this map. The next map has a higher one.",
        ),
        optional(
            "predecessor",
            Form::List(&Form::Digest),
            "none: the first map of its deployment",
            "The digest of the map that this one replaces; of each head, where it heals a fork.",
        ),
        optional(
            "valid_until",
            Form::Date,
            "for ever",
            "The last day on which its clauses may be relied on. After it, records stay and go inside their own territory only.",
        ),
        needed("tenants", Form::Tables(&TENANT), "At least one."),
        needed("collections", Form::Tables(&COLLECTION), "At least one."),
        needed("regions", Form::Tables(&REGION), "At least one."),
        optional(
            "homes",
            Form::Tables(&HOME),
            "none: every record is refused",
            "Whose home each region is.",
        ),
        optional("statutes", Form::Tables(&STATUTE), "none", "The laws."),
        optional(
            "clauses",
            Form::Tables(&CLAUSE),
            "none: nothing leaves a territory whose law asks for one",
            "The transfers that have a legal basis.",
        ),
        optional(
            "disputed",
            Form::Tables(&DISPUTED),
            "none: databases and numbering plans are followed",
            "Areas that several countries claim.",
        ),
        optional("limits", Form::Table(&LIMITS), "see there", "Limits for all collections."),
    ],
};

static LIMITS: Table = Table {
    what: "table of limits",
    means: "Limits for all collections that name none of their own.",
    count_max: 1,
    keys: &[optional("body_bytes_max", BODY, "1048576", "The largest body of a record, in bytes.")],
};

const BODY: Form = Form::Number(terms::limits::BODY_BYTES_MAX as u64);

static TENANT: Table = Table {
    what: "tenant",
    means: "A platform whose users these are. It is known by the caller's identity.",
    count_max: limits::TENANTS_MAX,
    keys: &[
        needed("name", Form::Name, "As callers' certificates and tokens name it."),
        optional(
            "establishments",
            Form::List(&Form::Country),
            "none",
            "The countries in which it is established: laws with the trigger `operator` ask for them.",
        ),
        optional(
            "sectors",
            Form::List(&Form::Name),
            "none",
            "The sectors in which it works: laws for certain sectors attach only to tenants that declare one of them.",
        ),
    ],
};

static COLLECTION: Table = Table {
    what: "collection",
    means: "A kind of records.",
    count_max: limits::COLLECTIONS_MAX,
    keys: &[
        needed("name", Form::Name, "As callers name it."),
        needed("category", Form::Text, "What kind of data it holds, in your words."),
        optional("grounds", Form::Text, "none", "On what grounds it is processed, in your words."),
        needed(
            "reads",
            Form::Word(&["logged", "counted"]),
            "`logged`: an entry in the placement log for each read. `counted`: one with a count per caller and minute.",
        ),
        optional(
            "body_bytes_max",
            BODY,
            "that of `limits`",
            "The largest body of a record, in bytes.",
        ),
        optional(
            "exempt",
            Form::List(&Form::Exempt),
            "none",
            "Laws that do not attach to it, each with the ground: an exemption that the statute's pack has.",
        ),
    ],
};

static REGION: Table = Table {
    what: "region",
    means: "A site in one country.",
    count_max: limits::REGIONS_MAX,
    keys: &[
        needed("name", Form::Name, "As homes, annexes and domiciles name it."),
        needed("territory", Form::Country, "The country in which it stands."),
        optional(
            "authorities",
            Form::List(&Form::Digest),
            "none: its processes are met on loopback only",
            "The SHA-256 digests of the certificates (DER) of the authorities that may issue for its processes; at most four, while they change.",
        ),
        optional(
            "annex_signers",
            Form::List(&Form::Vkey),
            "none: its annex is taken unsigned",
            "The keys of its operators, as `bailiwick map key` prints them; at most sixteen. Its annex needs the signature of one of them.",
        ),
        optional(
            "site",
            Form::Table(&SITE),
            "nothing is known",
            "Where it stands, as its operators attest.",
        ),
    ],
};

static SITE: Table = Table {
    what: "site",
    means: "Where a region stands, as its operators attest. It cannot be proven from afar.",
    count_max: 1,
    keys: &[
        optional("address", Form::Text, "none", "The postal address of the machines."),
        optional("operator", Form::Text, "none", "Who runs the data centre."),
        optional("contract", Form::Text, "none", "The contract that shows it."),
        optional("register", Form::Text, "none", "The entry in a public register that shows it."),
        optional("attestation", Form::Text, "none", "What attests the location."),
        optional(
            "attestation_expires",
            Form::Date,
            "never",
            "The last day on which that attestation holds.",
        ),
    ],
};

static HOME: Table = Table {
    what: "home",
    means: "That a region is the home of a territory, or of all that have no other.",
    count_max: limits::HOMES_MAX,
    keys: &[
        needed(
            "for",
            Form::HomeFor,
            "Whose home. A law that wants a copy in its territory asks for the home of exactly that territory, never for `*`.",
        ),
        needed("region", Form::Name, "In which region."),
        optional("lead", Form::Flag, "true", "Whether it takes people whom no law puts there."),
    ],
};

static STATUTE: Table = Table {
    what: "statute",
    means: "A law: a pack, and this map's settings for it. It attaches while it is in force by its own dates.",
    count_max: limits::STATUTES_MAX,
    keys: &[
        needed("id", Form::Name, "The id of the pack."),
        needed(
            "digest",
            Form::Digest,
            "The digest of the pack's file: what you have read is what is in force.",
        ),
        optional(
            "reading",
            Form::Word(Constraint::WORDS),
            "none; needed where the pack has `readings`",
            "How a law is read that is in dispute: one of the pack's readings.",
        ),
        optional(
            "accept_draft",
            Form::Flag,
            "false; needed where the pack is a draft",
            "That you put a draft in force, knowing what it says of itself.",
        ),
        optional(
            "reviewed",
            Form::Table(&REVIEWED),
            "nobody: `map check` warns of what is not verified",
            "Who has read the law itself beside the pack.",
        ),
        optional(
            "unknown",
            Form::Word(UnknownCitizenship::WORDS),
            "the pack's",
            "When a law of citizens attaches to those of whose citizenship nothing is known.",
        ),
        optional(
            "citizens_abroad",
            Form::Word(CitizensAbroad::WORDS),
            "none; needed where the pack's trigger is `citizen`",
            "What happens to citizens who live elsewhere.",
        ),
        optional(
            "ingress",
            Form::Word(Ingress::WORDS),
            "`anywhere`",
            "Through which gateways its records may come in.",
        ),
        optional(
            "collections",
            Form::Collections,
            "all; needed where the pack has `data`",
            "The collections to which it applies.",
        ),
    ],
};

static REVIEWED: Table = Table {
    what: "review",
    means: "That somebody has read the law itself beside the pack, and answers for what the pack says of it. It changes no ruling.",
    count_max: 1,
    keys: &[
        needed("by", Form::Text, "Who."),
        needed("on", Form::Date, "The day from which on they answer for it."),
        needed(
            "digest",
            Form::Digest,
            "The digest of the pack that they read. Once another text of the pack is in force, the review no longer counts.",
        ),
    ],
};

static CLAUSE: Table = Table {
    what: "clause",
    means: "That records of a jurisdiction may go to a territory, and be read there, and on what basis.",
    count_max: limits::CLAUSES_MAX,
    keys: &[
        needed("id", Form::Name, "As receipts and the placement log name it."),
        needed(
            "from",
            Form::Territory,
            "The jurisdiction whose law it satisfies: exactly that one.",
        ),
        needed("to", Form::Territory, "Where records may go."),
        needed("collections", Form::Collections, "The collections that it is for."),
        needed("legal_basis", Form::Text, "The legal basis, in your words."),
        needed("importer", Form::Text, "Who receives the records."),
        needed(
            "reference",
            Form::Text,
            "The number of the contract, notification or decision, with its date.",
        ),
        optional(
            "notified",
            Form::Date,
            "none; needed where a law of `from` has `transfers`",
            "The day on which the authority was notified.",
        ),
        needed(
            "not_before",
            Form::Date,
            "The first day on which it holds: after the wait that a law asks for.",
        ),
        needed("expires", Form::Date, "The first day on which it no longer holds."),
    ],
};

static DISPUTED: Table = Table {
    what: "disputed area",
    means: "An area that several countries claim. You decide to whom evidence from there points, or leave it open: then such evidence is refused.",
    count_max: limits::DISPUTED_MAX,
    keys: &[
        needed("name", Form::Name, "As you call it. No answer and no log tells it."),
        optional(
            "addresses",
            Form::List(&Form::Addresses),
            "none; one of the two is needed",
            "The prefixes of its IP addresses. Of several areas the longest prefix wins.",
        ),
        optional(
            "numbers",
            Form::List(&Form::Numbers),
            "none; one of the two is needed",
            "The prefixes of its telephone numbers.",
        ),
        needed("claims", Form::List(&Form::Country), "Every country that claims it, at least two."),
        optional(
            "decided",
            Form::List(&Form::Country),
            "nobody has decided",
            "The countries to which evidence from there points: some of `claims`.",
        ),
    ],
};
