//! The keys of a region map.

use crate::geo::country::COUNTRY;
use crate::geo::territory::TERRITORY;
use crate::law::vocabulary::{CitizensAbroad, Constraint, Ingress, Transit, UnknownCitizenship};
use crate::limits;
use crate::map::attributes::ATTRIBUTE;
use crate::map::endpoint::ENDPOINT;
use crate::map::exclusions::EXCLUDE;
use crate::map::lifetime::Lifetime;
use crate::map::parts::Unique;
use crate::map::shapes::{
    ADDRESSES, COLLECTIONS, DIGEST, EXEMPT, HOME_FOR, NUMBERS, TRUST_DOMAIN, VKEY,
};
use crate::toml::schema::{Form, NAME, Table, needed, optional};

/// A region map.
pub static MAP: Table = Table {
    what: "region map",
    means: "The regions, the homes of territories, the laws in force, and the transfers that have a legal basis.",
    count_max: 1,
    keys: &[
        needed("name", Form::Text, "The map's name, for people."),
        needed(
            "deployment",
            NAME,
            "The deployment, with which the origins of its placement logs begin. It never changes.",
        ),
        optional(
            "trust_domain",
            TRUST_DOMAIN,
            "the deployment's name",
            "The SPIFFE trust domain, with which the names in certificates begin.",
        ),
        needed(
            "version",
            Form::Number(0, u64::MAX),
            "The number of this map. The next map has a higher one.",
        ),
        optional(
            "predecessor",
            Form::List(&DIGEST),
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
            "Which territories have their home in which region.",
        ),
        optional("statutes", Form::Tables(&STATUTE), "none", "The laws."),
        optional(
            "clauses",
            Form::Tables(&CLAUSE),
            "none: no transfer out of a territory whose law requires one",
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

const BODY: Form = Form::Number(0, terms::limits::BODY_BYTES_MAX as u64);

static TENANT: Table = Table {
    what: "tenant",
    means: "A platform whose users these are. It is known by the caller's identity.",
    count_max: limits::TENANTS_MAX,
    keys: &[
        needed("name", NAME, "As callers' certificates and tokens name it."),
        optional(
            "establishments",
            Form::List(&COUNTRY),
            "none",
            "The countries in which it is established: laws with the trigger `operator` use them.",
        ),
        optional(
            "sectors",
            Form::List(&NAME),
            "none",
            "The sectors in which it works: laws for certain sectors attach only to tenants that declare one of them.",
        ),
        optional(
            "locate",
            Form::Flag,
            "false",
            "Whether its callers may find a subject by its id alone (`Subjects.Locate`). Every region is asked then, by a keyed hash.",
        ),
        optional(
            "unique",
            Form::Word(Unique::WORDS),
            "`no`",
            "Whether an id may begin a subject in several regions. `no`: then these are several subjects. `reachable`: a creation asks all other regions first, by a keyed hash, and is refused if one of them holds the id, whatever its collection; regions out of reach are named in the answer.",
        ),
    ],
};

static COLLECTION: Table = Table {
    what: "collection",
    means: "A kind of records.",
    count_max: limits::COLLECTIONS_MAX,
    keys: &[
        needed("name", NAME, "As callers name it."),
        needed("category", Form::Text, "What kind of data it holds, in your words."),
        optional("grounds", Form::Text, "none", "On what grounds it is processed, in your words."),
        needed(
            "reads",
            Form::Word(&["logged", "counted"]),
            "`logged`: an entry in the placement log for each read, which must state its purpose. `counted`: one with a count per caller and minute.",
        ),
        optional(
            "body_bytes_max",
            BODY,
            "that of `limits`",
            "The largest body of a record, in bytes.",
        ),
        optional(
            "exempt",
            Form::List(&EXEMPT),
            "none",
            "Laws that do not attach to it, each with the ground: an exemption that the statute's pack has.",
        ),
        optional(
            "life_max",
            Lifetime::FORM,
            "records live until they are deleted",
            "The longest life of a record after its last write or touch: minutes, hours or days (`30m`, `12h`, `90d`). A record without a time of expiry gets that one, and a later one is refused. It counts for what is written after the map that says so; a patch keeps the time of expiry of its record, within that life.",
        ),
        optional(
            "feed",
            Lifetime::FORM,
            "none: its changes cannot be watched",
            "How long the shards keep the feed of its changes, which `Records.Watch` reads: minutes, hours or days. The feed names records by keyed hashes, in one row a commit.",
        ),
        optional(
            "list",
            Form::Flag,
            "false",
            "Whether each record has a row in a list of its collection. A list or count of the whole collection then reads these alone, instead of all records of the shard. Records that are stored already get their rows after the map that says so, and the list is used once all have them.",
        ),
        optional(
            "transit",
            Form::Word(Transit::WORDS),
            "`any`",
            "How its bodies pass gateways. `sealed`: sealed to their region by the caller, and answered sealed by Get and BatchGet; an upload, a download, an export, a scan or a list of bodies is refused.",
        ),
        optional(
            "attributes",
            Form::Tables(&ATTRIBUTE),
            "none",
            "Small typed values beside the body, by which records are found. A record has those that its writer gives it.",
        ),
        optional(
            "exclude",
            Form::Table(&EXCLUDE),
            "none",
            "The sites with which its records must not lie: a home there is passed over where no law fixes the place, and refused where one does.",
        ),
    ],
};

static REGION: Table = Table {
    what: "region",
    means: "A site in one country.",
    count_max: limits::REGIONS_MAX,
    keys: &[
        needed("name", NAME, "As homes, annexes and domiciles name it."),
        needed("territory", COUNTRY, "The country in which it stands."),
        optional(
            "authorities",
            Form::List(&DIGEST),
            "none: its processes are met on loopback only",
            "The SHA-256 digests of the certificates (DER) of the authorities that may issue for its processes; at most four, while they change.",
        ),
        optional(
            "annex_signers",
            Form::List(&VKEY),
            "none: its annex is taken unsigned",
            "The keys of its operators, as `bailiwick map key` prints them; at most sixteen. Its annex needs the signature of one of them.",
        ),
        optional(
            "backup_endpoints",
            Form::List(&ENDPOINT),
            "none: backups go to folders alone",
            "The S3-compatible servers at its site to which its shards may send backups: `https://host[:port]`, at most sixteen. A shard sends a backup to no other address. That the server stands at the site cannot be proven from afar.",
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
        optional(
            "controlled_from",
            Form::Filled(&COUNTRY),
            "not stated: excluded wherever an exclusion asks for it",
            "The countries from which the operator is controlled: its own, and those of the companies that own it.",
        ),
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
    means: "A region is the home of a territory, or of all that have no other.",
    count_max: limits::HOMES_MAX,
    keys: &[
        needed(
            "for",
            HOME_FOR,
            "The territory. A law that requires a copy in its territory uses the home of exactly that territory, never `*`.",
        ),
        needed("region", NAME, "In which region."),
        optional(
            "lead",
            Form::Flag,
            "true",
            "Whether people may be placed there without a law that requires it.",
        ),
    ],
};

static STATUTE: Table = Table {
    what: "statute",
    means: "A law: a pack, and this map's settings for it. It attaches while it is in force by its own dates.",
    count_max: limits::STATUTES_MAX,
    keys: &[
        needed("id", NAME, "The id of the pack."),
        needed(
            "digest",
            DIGEST,
            "The digest of the pack's file: what you have read is what is in force.",
        ),
        optional(
            "reading",
            Form::Word(Constraint::WORDS),
            "none; required where the pack has `readings`",
            "How a law is read that is in dispute: one of the pack's readings.",
        ),
        optional(
            "accept_draft",
            Form::Flag,
            "false; required where the pack is a draft",
            "You put a draft in force and have read why it is one.",
        ),
        optional(
            "reviewed",
            Form::Table(&REVIEWED),
            "none: `map check` warns about what is not verified",
            "Who has compared the law itself with the pack.",
        ),
        optional(
            "unknown",
            Form::Word(UnknownCitizenship::WORDS),
            "the pack's",
            "When a law of citizens attaches to people of unknown citizenship.",
        ),
        optional(
            "citizens_abroad",
            Form::Word(CitizensAbroad::WORDS),
            "none; required where the pack's trigger is `citizen`",
            "What happens to citizens who live elsewhere.",
        ),
        optional(
            "ingress",
            Form::Word(Ingress::WORDS),
            "`anywhere`",
            "Through which gateways its records may come in.",
        ),
        optional(
            "transit",
            Form::Word(Transit::WORDS),
            "`any`",
            "How bodies pass gateways, in each collection that the law covers, of whichever person. `sealed`: sealed to their region by the caller, and answered sealed; a call that cannot do that is refused.",
        ),
        optional(
            "collections",
            COLLECTIONS,
            "all; required where the pack has `data`",
            "The collections to which it applies.",
        ),
    ],
};

static REVIEWED: Table = Table {
    what: "review",
    means: "A person has compared the law itself with the pack and confirms what the pack says. This changes no ruling.",
    count_max: 1,
    keys: &[
        needed("by", Form::Text, "The person."),
        needed("on", Form::Date, "The day of the review. Before it the review does not count."),
        needed(
            "digest",
            DIGEST,
            "The digest of the pack that was compared. Once another text of the pack is in force, the review no longer counts.",
        ),
    ],
};

static CLAUSE: Table = Table {
    what: "clause",
    means: "Records of a jurisdiction may be stored and read in a territory, on a legal basis.",
    count_max: limits::CLAUSES_MAX,
    keys: &[
        needed("id", NAME, "As receipts and the placement log name it."),
        needed("from", TERRITORY, "The jurisdiction whose law it satisfies: exactly that one."),
        needed("to", TERRITORY, "Where records may go."),
        needed("collections", COLLECTIONS, "The collections that it is for."),
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
            "none; required where a law of `from` has `transfers`",
            "The day on which the authority was notified.",
        ),
        needed(
            "not_before",
            Form::Date,
            "The first day on which it holds: after the wait that a law requires.",
        ),
        needed("expires", Form::Date, "The first day on which it no longer holds."),
        optional(
            "exclude",
            Form::Table(&EXCLUDE),
            "none",
            "The sites with which the records must not lie: the clause leads to none of them.",
        ),
    ],
};

static DISPUTED: Table = Table {
    what: "disputed area",
    means: "An area that several countries claim. You decide to which countries evidence from there points, or leave it open: then such evidence is refused.",
    count_max: limits::DISPUTED_MAX,
    keys: &[
        needed("name", NAME, "Its name. It is in no answer and no log."),
        optional(
            "addresses",
            Form::List(&ADDRESSES),
            "none; one of the two is required",
            "The prefixes of its IP addresses. Of several areas the longest prefix wins.",
        ),
        optional(
            "numbers",
            Form::List(&NUMBERS),
            "none; one of the two is required",
            "The prefixes of its telephone numbers.",
        ),
        needed("claims", Form::List(&COUNTRY), "Every country that claims it, at least two."),
        optional(
            "decided",
            Form::Filled(&COUNTRY),
            "no decision",
            "The countries to which evidence from there points: some of `claims`.",
        ),
    ],
};
