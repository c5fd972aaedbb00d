//! What holds of every ruling, whatever the map and whatever is known of the person.
//!
//! The maps are random: regions, homes, statutes of every trigger and constraint, and clauses.
//! What a placement must satisfy is written here a second time, from what the constraints mean
//! and not from the steps that find a place.

mod support;

use atlas::{
    Attachment, Constraint, Country, Date, EvidenceKind, Finding, Findings, HomeFor, Outcome,
    Placement, Question, RegionMap, Ruling, StatutePack, Territory, decide,
};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use support::{PACKS, with_digests};
use terms::{Collection, Reason, TenantId};

/// Countries that occur: those with laws, some of one group, some of none.
const COUNTRIES: &[&str] = &["AE", "BY", "DE", "FR", "GB", "IN", "KZ", "RU", "TR", "US", "UA"];
const TERRITORIES: &[&str] = &["AE", "BY", "DE", "EEA", "GB", "IN", "KZ", "RU", "TR", "US"];

fn findings() -> impl Strategy<Value = Vec<Finding>> {
    let kind = select(EvidenceKind::ALL);
    let one = (kind, select(COUNTRIES), 0..12_u8).prop_map(|(kind, code, stateless)| {
        let stateless = (stateless == 0).then(|| Finding::stateless(kind)).flatten();
        stateless.unwrap_or_else(|| Finding::parse(kind, code).expect("a finding"))
    });
    prop::collection::vec(one, 0..7)
}

fn homes() -> impl Strategy<Value = String> {
    let lead = prop::collection::vec(any::<bool>(), TERRITORIES.len() + 1);
    let any_region = select(COUNTRIES);
    (subsequence(TERRITORIES, 0..=TERRITORIES.len()), any::<bool>(), lead, any_region).prop_map(
        |(territories, any, lead, any_region)| {
            let home = |territory: &str, region: &str, lead: bool| {
                let region = region.to_lowercase();
                format!(
                    "[[homes]]\nfor = \"{territory}\"\nregion = \"r-{region}\"\nlead = {lead}\n"
                )
            };
            let own = territories.iter().zip(&lead).map(|(territory, lead)| {
                home(territory, if *territory == "EEA" { "DE" } else { territory }, *lead)
            });
            let rest = any.then(|| home("*", any_region, lead.last().copied().unwrap_or_default()));
            own.chain(rest).collect()
        },
    )
}

fn statutes() -> impl Strategy<Value = String> {
    let all: Vec<&StatutePack> = PACKS.iter().collect();
    let settings =
        (select(&["any-hint", "territory", "never"]), select(&["attach", "ignore", "refuse"]));
    let packs = subsequence(all, 0..=PACKS.len());
    (packs, settings, any::<bool>()).prop_map(|(packs, (unknown, abroad), strict)| {
        let statute = |pack: &StatutePack| {
            let id = pack.id();
            let citizen = pack.trigger() == atlas::Trigger::Citizen;
            let settings = if citizen {
                format!("unknown = \"{unknown}\"\ncitizens_abroad = \"{abroad}\"\n")
            } else {
                String::new()
            };
            let reading = pack
                .readings()
                .get(usize::from(strict))
                .map_or_else(String::new, |is| format!("reading = \"{is}\"\n"));
            let data = pack.data().map_or("", |_| "collections = [\"profiles\"]\n");
            let draft = pack.draft().map_or("", |_| "accept_draft = true\n");
            let settings = format!("{settings}{reading}{data}{draft}");
            format!("[[statutes]]\nid = \"{id}\"\ndigest = \"@{id}\"\n{settings}")
        };
        packs.into_iter().map(statute).collect()
    })
}

fn clauses() -> impl Strategy<Value = String> {
    let one = (select(TERRITORIES), select(TERRITORIES), select(&["2026-01-01", "2027-06-01"]));
    prop::collection::vec(one, 0..24).prop_map(|clauses| {
        let clause = |(n, (from, to, expires)): (usize, (&str, &str, &str))| {
            format!(
                "[[clauses]]\nid = \"c{n}\"\nfrom = \"{from}\"\nto = \"{to}\"\ncollections = \"*\"\n\
                 legal_basis = \"x\"\nimporter = \"x\"\nreference = \"x\"\n\
                 notified = 2019-01-01\nnot_before = 2020-01-01\nexpires = {expires}\n"
            )
        };
        clauses.into_iter().enumerate().map(clause).collect()
    })
}

fn map() -> impl Strategy<Value = RegionMap> {
    (homes(), statutes(), clauses(), any::<bool>()).prop_map(|(homes, statutes, clauses, ends)| {
        let regions = COUNTRIES.iter().map(|code| {
            let name = code.to_lowercase();
            format!("[[regions]]\nname = \"r-{name}\"\nterritory = \"{code}\"\n")
        });
        let regions: String = regions.collect();
        let ends = if ends { "valid_until = 2026-06-30\n" } else { "" };
        let text = format!(
            "name = \"x\"\ndeployment = \"x\"\nversion = 1\n{ends}\
             [[tenants]]\nname = \"acme\"\nestablishments = [\"US\", \"TR\"]\n\
             sectors = [\"health\", \"payments\"]\n\
             [[collections]]\nname = \"profiles\"\ncategory = \"x\"\nreads = \"logged\"\n\
             {regions}{homes}{statutes}{clauses}"
        );
        RegionMap::parse_with(&with_digests(&text), &PACKS).expect("a sound map")
    })
}

fn rule(map: &RegionMap, items: &[Finding], date: Date) -> Ruling {
    let mut findings = Findings::new();
    for finding in items {
        findings.insert(*finding).expect("room");
    }
    let tenant = TenantId::parse("acme").expect("a name");
    let collection = Collection::parse("profiles").expect("a name");
    let question = Question { tenant: &tenant, collection: &collection, findings: &findings, date };
    decide(map, &question).expect("a known collection")
}

fn date() -> impl Strategy<Value = Date> {
    select(&["2014-01-01", "2025-12-31", "2026-11-23", "2027-06-01", "2031-01-01"])
        .prop_map(|text| Date::parse(text).expect("a day"))
}

/// Whether the placement rests on a clause, in force on that day, from there to there.
fn rests(map: &RegionMap, placement: &Placement, from: Territory, to: Country, date: Date) -> bool {
    let valid = map.valid_until().is_none_or(|until| date <= until);
    valid
        && placement.clauses().iter().filter_map(|id| map.clause(id)).any(|clause| {
            clause.from() == from && clause.to().contains(to) && clause.in_force(date)
        })
}

/// Whether a law names that country as one to which nothing goes.
fn denied(law: &Attachment, to: Country) -> bool {
    let listed = law.pack().deny().iter().any(|territory| territory.contains(to));
    listed && !law.jurisdiction().contains(to)
}

/// Whether a placement satisfies a law, by what the law's constraint means.
fn satisfies(map: &RegionMap, placement: &Placement, law: &Attachment, date: Date) -> bool {
    let (territory, constraint) = (law.jurisdiction(), law.constraint());
    let country = |region| map.region(region).expect("a region of the map").territory();
    let copies: Vec<_> = placement.mirrors().iter().map(country).collect();
    let primary = placement.territory();
    let covered = |to| territory.contains(to) || rests(map, placement, territory, to, date);
    if copies.iter().chain([&primary]).any(|to| denied(law, *to)) {
        return false;
    }
    match constraint {
        Constraint::Exclusive => {
            territory.contains(primary) && copies.iter().all(|copy| territory.contains(*copy))
        }
        Constraint::PrimaryFirst => {
            territory.contains(primary) && copies.iter().all(|copy| covered(*copy))
        }
        Constraint::Mirror => {
            territory.contains(primary) || copies.iter().any(|copy| territory.contains(*copy))
        }
        Constraint::ConditionalTransfer => {
            covered(primary) && copies.iter().all(|copy| covered(*copy))
        }
        Constraint::None => true,
    }
}

/// Whether a law lets a reader have a record, by what its constraint means.
fn lets(map: &RegionMap, law: &Attachment, reader: Option<Country>, date: Date) -> bool {
    let (territory, constraint) = (law.jurisdiction(), law.constraint());
    let Some(reader) = reader else {
        return matches!(constraint, Constraint::Mirror | Constraint::None);
    };
    if denied(law, reader) {
        return false;
    }
    let valid = map.valid_until().is_none_or(|until| date <= until);
    let clause = map.clauses().iter().any(|clause| {
        clause.from() == territory && clause.to().contains(reader) && clause.in_force(date)
    });
    match constraint {
        Constraint::Exclusive => territory.contains(reader),
        Constraint::PrimaryFirst | Constraint::ConditionalTransfer => {
            territory.contains(reader) || (valid && clause)
        }
        Constraint::Mirror | Constraint::None => true,
    }
}

/// A country, or one that is not known.
fn reader() -> impl Strategy<Value = Option<Country>> {
    prop::option::weighted(0.9, select(COUNTRIES))
        .prop_map(|code| code.map(|code| Country::parse(code).expect("a country")))
}

/// Whether a refusal's reason can be true.
fn plausible(map: &RegionMap, ruling: &Ruling, reason: Reason) -> bool {
    let demands = |constraint| {
        let laws = ruling.attachments().iter().filter(move |law| law.constraint() == constraint);
        laws.map(|law| law.jurisdiction()).collect::<std::collections::BTreeSet<_>>()
    };
    let (exclusive, mirror) = (demands(Constraint::Exclusive), demands(Constraint::Mirror));
    let pins = exclusive.union(&demands(Constraint::PrimaryFirst)).count();
    let strict = ruling.attachments().iter().any(|law| law.constraint() != Constraint::None);
    let denies = ruling.attachments().iter().any(|law| !law.pack().deny().is_empty());
    let found = pins + mirror.len() > 0 || map.home(HomeFor::Any).is_none();
    let known = [
        (
            Reason::Unsatisfiable,
            pins > 1 || denies || (!exclusive.is_empty() && !mirror.is_empty()),
        ),
        (Reason::TransferNotCovered, strict),
        (Reason::NoRegion, found),
        (Reason::CitizenAbroad, !ruling.attachments().is_empty()),
        (Reason::JurisdictionUndetermined, true),
    ];
    known.contains(&(reason, true))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_placement_satisfies_every_law_that_attaches(
        map in map(), items in findings(), date in date()
    ) {
        let ruling = rule(&map, &items, date);
        match ruling.outcome() {
            Outcome::Placed(placement) => {
                for law in ruling.attachments() {
                    prop_assert!(satisfies(&map, placement, law, date), "{ruling:?}");
                }
                let region = map.region(placement.region()).expect("a region of the map");
                prop_assert_eq!(region.territory(), placement.territory());
                prop_assert!(!placement.mirrors().contains(placement.region()));
                prop_assert!(placement.mirrors().is_sorted_by(|a, b| a < b));
            }
            Outcome::Refused(refusal) => {
                prop_assert!(plausible(&map, &ruling, refusal.reason()), "{ruling:?}");
                prop_assert!(!refusal.cure().is_empty());
            }
        }
        prop_assert!(ruling.jurisdictions().is_sorted_by(|a, b| a < b));
        let attached: std::collections::BTreeSet<_> =
            ruling.attachments().iter().map(|law| law.jurisdiction()).collect();
        prop_assert!(attached.iter().eq(ruling.jurisdictions()));
    }

    #[test]
    fn nobody_reads_across_a_border_whom_a_law_does_not_let(
        map in map(), items in findings(), date in date(),
        readers in prop::collection::vec(reader(), 1..4)
    ) {
        let ruling = rule(&map, &items, date);
        let collection = Collection::parse("profiles").expect("a name");
        let laws = ruling.attachments();
        let judged = |readers: &[_]| atlas::egress(&map, ruling.attachments(), &collection, date, readers);
        // What is asked for above all: exclusive is exclusive.
        for law in laws.iter().filter(|law| law.constraint() == Constraint::Exclusive) {
            let territory = law.jurisdiction();
            if readers.iter().any(|reader| reader.is_none_or(|country| !territory.contains(country))) {
                prop_assert!(judged(&readers).is_err(), "{ruling:?}");
            }
        }
        let barring: std::collections::BTreeSet<Territory> = laws.iter()
            .filter(|law| readers.iter().any(|reader| !lets(&map, law, *reader, date)))
            .map(Attachment::jurisdiction)
            .collect();
        match judged(&readers) {
            Ok(()) => prop_assert!(barring.is_empty(), "{ruling:?}"),
            Err(barred) => prop_assert!(barring.iter().eq(barred.conflicting()), "{ruling:?}"),
        }
        // One more who sees it opens nothing.
        for reader in &readers {
            prop_assert!(judged(&readers).is_err() || judged(&[*reader]).is_ok());
        }
    }

    #[test]
    fn what_is_barred_is_barred_as_well_when_it_is_not_there(
        map in map(), items in findings(), date in date(),
        readers in prop::collection::vec(reader(), 1..4)
    ) {
        let ruling = rule(&map, &items, date);
        let collection = Collection::parse("profiles").expect("a name");
        if let Some(placement) = ruling.placement() {
            let judged = atlas::egress(&map, ruling.attachments(), &collection, date, &readers);
            let absent = atlas::egress_of_absent(&map, placement.territory(), &collection, date, &readers);
            prop_assert!(judged.is_ok() || absent.is_err(), "{ruling:?}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_in_any_order(
        map in map(), items in findings(), date in date(), places in any::<[Index; 8]>()
    ) {
        let ruling = rule(&map, &items, date);
        prop_assert_eq!(&rule(&map, &items, date), &ruling);
        let mut other = items.clone();
        for place in places.iter().filter(|_| !items.is_empty()) {
            let taken = other.remove(place.index(items.len()));
            other.push(taken);
        }
        other.extend(items.first().copied());
        prop_assert_eq!(&rule(&map, &other, date), &ruling);
    }

    #[test]
    fn findings_that_play_no_part_change_nothing(
        map in map(), items in findings(), date in date(), code in select(COUNTRIES)
    ) {
        let with = |kind| {
            let more = Finding::parse(kind, code).expect("a finding");
            items.iter().copied().chain([more]).collect::<Vec<_>>()
        };
        let has = |kinds: &[EvidenceKind]| items.iter().any(|f| kinds.contains(&f.kind()));
        let ruling = rule(&map, &items, date);
        if has(&[EvidenceKind::CollectedIn]) {
            prop_assert_eq!(&rule(&map, &with(EvidenceKind::Ip), date), &ruling);
        }
        if has(&[EvidenceKind::Residence, EvidenceKind::CollectedIn, EvidenceKind::Ip]) {
            prop_assert_eq!(&rule(&map, &with(EvidenceKind::Phone), date), &ruling);
            prop_assert_eq!(&rule(&map, &with(EvidenceKind::Sim), date), &ruling);
        }
    }

    #[test]
    fn findings_read_back_what_was_written(items in findings()) {
        let mut findings = Findings::new();
        for finding in items {
            findings.insert(finding).expect("room");
        }
        prop_assert_eq!(Findings::decode(&findings.encode()), Ok(findings));
    }

    #[test]
    fn any_bytes_decode_to_themselves_or_not_at_all(bytes in prop::collection::vec(0_u8..96, 0..16)) {
        if let Ok(findings) = Findings::decode(&bytes) {
            prop_assert_eq!(findings.encode(), bytes);
        }
    }

    #[test]
    fn no_text_makes_the_map_reader_panic(text in "([a-z_]{1,12} = |\\[\\[?[a-z]{1,9}\\]?\\]|\"[ -~]{0,9}\"|[0-9-]{1,10}|true|\\{|\\}|,|\\n|é){0,40}") {
        let read = RegionMap::parse(&text);
        prop_assert!(read.is_err_and(|wrong| !wrong.is_empty()));
    }
}
