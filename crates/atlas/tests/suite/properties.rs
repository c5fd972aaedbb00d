//! What holds of every ruling, whatever the map and whatever is known of the person.
//!
//! The maps are random: regions, homes, statutes of every trigger and constraint, and clauses.
//! What a placement must satisfy is written here a second time, from what the constraints mean
//! and not from the steps that find a place.

use crate::random::{COUNTRIES, date, findings, map, rule};
use atlas::{
    Attachment, Constraint, Country, Date, EvidenceKind, Finding, Findings, HomeFor, Outcome,
    Placement, RegionMap, Ruling, Territory,
};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use terms::{Collection, Reason};

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
        let free = matches!(constraint, Constraint::Mirror | Constraint::None);
        return free && law.pack().deny().is_empty();
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
