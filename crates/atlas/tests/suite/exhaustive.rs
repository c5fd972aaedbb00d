//! Every question that a map can tell apart, put to atlas and to a second implementation of the
//! rules, which is naive on purpose (`exhaustive/naive.rs`): they agree on every one.
//!
//! A map tells few countries apart: those that no law, home or clause of it distinguishes are one
//! class. Put are all sets of up to three findings over one or two countries of each class, in
//! every kind of evidence, for every collection, for every class of tenants, on the first and the
//! last day of every stretch in which nothing begins or ends. Every other country comes alone, in
//! every kind, so that the classes are not merely believed.

#![expect(clippy::print_stdout, reason = "how many cases there were, for who reads the output")]
#![expect(clippy::panic, clippy::indexing_slicing, reason = "a test that goes astray may panic")]

mod areas;
mod classes;
mod maps;
mod naive;
mod steps;
mod text;

use std::collections::BTreeMap;

use areas::Areas;
use atlas::{
    Country, Date, Disputed, EvidenceKind, Finding, Findings, Jurisdiction, Outcome, Placement,
    Question, choices, decide_chosen,
};
use maps::{Maps, maps, written};
use naive::{Answer, Asked, End, Flaw, Rules};
use terms::{Collection, RegionId, TenantId};

/// The kinds of evidence that a ruling tells apart. A document is what a citizenship is: it comes
/// in sets of two at most.
const KINDS: &[&str] = &["citizenship", "residence", "collected_in", "ip", "phone", "sim"];
/// The largest set of findings.
const FINDINGS_MAX: usize = 3;
/// The same where each region is chosen for each set.
const FINDINGS_OF_CHOICES_MAX: usize = 2;
/// Every way in which the naive rules can be broken, with a map under which that shows.
const FLAWS: &[(Flaw, &str)] = &[
    (Flaw::ContactsBesidePresence, "sample"),
    (Flaw::IpBesideCollectedIn, "sample"),
    (Flaw::StatelessIsUnknown, "sample"),
    (Flaw::UnknownAttachesByAnyHint, "strict"),
    (Flaw::UnknownNeverAttaches, "sample"),
    (Flaw::PresenceEndsNothingAbroad, "strict"),
    (Flaw::AbroadAlwaysAttaches, "strict"),
    (Flaw::AbroadIsRefusedLast, "strict"),
    (Flaw::ContactsAttachMirrors, "sample"),
    (Flaw::OperatorsAreNowhere, "made"),
    (Flaw::LawsNeverBegin, "sample"),
    (Flaw::LawsNeverEnd, "made"),
    (Flaw::LawsCoverEverything, "sample"),
    (Flaw::NobodyIsUndetermined, "made"),
    (Flaw::CitizensBeforeResidents, "sample"),
    (Flaw::PinsByCode, "sample"),
    (Flaw::AnyHomePins, "made"),
    (Flaw::MirrorsByCode, "made"),
    (Flaw::MirrorsAfterLeads, "sample"),
    (Flaw::LeadsWithoutLaws, "sample"),
    (Flaw::LeadsFallThrough, "harsh"),
    (Flaw::NoLastHome, "sample"),
    (Flaw::TransfersAreFree, "sample"),
    (Flaw::ClausesFromGroups, "harsh"),
    (Flaw::ClausesForEverything, "sample"),
    (Flaw::ClausesNeverBegin, "sample"),
    (Flaw::ClausesNeverEnd, "sample"),
    (Flaw::MapsNeverExpire, "strict"),
    (Flaw::CopiesOfExclusive, "made"),
    (Flaw::CopiesFromPinsAreFree, "sample"),
    (Flaw::CopiesFromOthersAreFree, "sample"),
    (Flaw::NoCopies, "sample"),
    (Flaw::StrictestAlone, "made"),
    (Flaw::ReadingsDoNothing, "settings"),
    (Flaw::ExemptionsDoNothing, "settings"),
    (Flaw::SectorsDoNothing, "settings"),
    (Flaw::ScopesDoNothing, "settings"),
    (Flaw::DeniedByNobody, "settings"),
    (Flaw::DeniedAtHome, "settings"),
    (Flaw::DeniedAfterClauses, "settings"),
    (Flaw::CollectionsExcludeNobody, "apart"),
    (Flaw::ClausesExcludeNobody, "apart"),
    (Flaw::SilentSitesPass, "apart"),
    (Flaw::ExcludedLeadsFallThrough, "apart"),
    (Flaw::ExcludedLastHomeTakes, "apart"),
    (Flaw::ExcludedPinsStand, "apart"),
];

/// The same for what is chosen for a person.
const FLAWS_OF_CHOICES: &[(Flaw, &str)] = &[
    (Flaw::ChoicesBesidePins, "harsh"),
    (Flaw::ChoicesBesideMirrors, "apart"),
    (Flaw::ChoicesOfAnyHome, "harsh"),
    (Flaw::ChoicesOfExcludedSites, "apart"),
    (Flaw::ChoicesNeedNoClause, "apart"),
    (Flaw::ChoicesBindNobody, "apart"),
];

/// A set of findings, twice.
struct Case<'a> {
    atlas: Findings,
    texts: Vec<(&'a str, &'a str)>,
}

/// The rest of a question, twice.
struct Place<'a> {
    tenant: (TenantId, &'a str),
    collection: (Collection, &'a str),
    date: (Date, &'a str),
}

/// What was put, and what came out.
#[derive(Debug, Default)]
struct Tally {
    cases: usize,
    ends: BTreeMap<&'static str, usize>,
}

/// Atlas's answer, in the words of the naive one.
fn atlas_answer<'a>(ruling: &'a atlas::Ruling, conflicting: &'a [Jurisdiction]) -> Answer<'a> {
    let codes = |all: &'a [Jurisdiction]| all.iter().map(|one| one.as_str()).collect();
    let end = match ruling.outcome() {
        Outcome::Placed(placement) => End::Placed {
            region: placement.region().as_str(),
            mirrors: placement.mirrors().iter().map(|mirror| mirror.as_str()).collect(),
            clauses: placement.clauses().iter().map(|clause| clause.as_str()).collect(),
        },
        Outcome::Refused(refusal) => {
            End::Refused { reason: refusal.reason().as_str(), conflicting: codes(conflicting) }
        }
    };
    let laws = ruling.attachments().iter().map(|law| law.statute().as_str());
    let mut laws: Vec<&str> = laws.collect();
    laws.dedup();
    let mut kinds: Vec<&str> = ruling.kinds().iter().map(EvidenceKind::as_str).collect();
    kinds.sort_unstable();
    Answer { laws, jurisdictions: codes(ruling.jurisdictions()), kinds, end }
}

/// Puts one question to both. `Err`: they do not agree; then what each says.
fn put(
    maps: &Maps,
    flaw: Option<Flaw>,
    case: &Case<'_>,
    place: &Place<'_>,
    chosen: Option<&(RegionId, String)>,
) -> Result<&'static str, String> {
    let (tenant, collection) = (&place.tenant.0, &place.collection.0);
    let question =
        Question { tenant, collection, findings: &case.atlas, date: place.date.0.into() };
    let region = chosen.map(|(region, _)| region);
    let ruling = decide_chosen(&maps.atlas, &question, region).expect("a known collection");
    if let Some(region) = region {
        let choices = choices(&maps.atlas, &question).expect("a known collection");
        let counts = ruling.placement().is_some_and(Placement::is_chosen);
        if counts != choices.contains(region) {
            return Err(format!("{}: {region}: {counts}, of {choices:?}", maps.name));
        }
    }
    let conflicting = ruling.refusal().map(|refusal| refusal.conflicting()).unwrap_or_default();
    let atlas = atlas_answer(&ruling, &conflicting);
    let asked = Asked {
        tenant: place.tenant.1,
        collection: place.collection.1,
        date: place.date.1,
        findings: &case.texts,
        chosen: chosen.map(|(_, text)| text.as_str()),
    };
    let naive = Rules { text: &maps.text, flaw }.answer(&asked);
    if atlas != naive {
        return Err(format!("{}: {asked:#?}\natlas: {atlas:#?}\nnaive: {naive:#?}", maps.name));
    }
    Ok(match naive.end {
        End::Placed { mirrors, clauses, .. } if mirrors.is_empty() && clauses.is_empty() => {
            "placed"
        }
        End::Placed { mirrors, .. } if mirrors.is_empty() => "placed under clauses",
        End::Placed { .. } => "placed with copies",
        End::Refused { .. } => ruling.refusal().map_or("", |refusal| refusal.reason().as_str()),
    })
}

/// All sets of up to `size` of these findings, the smaller first.
fn sets<'a>(items: &[(&'a str, &'a str)], size: usize) -> Vec<Case<'a>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..size {
        let mut next = Vec::new();
        for set in &last {
            let from = set.last().map_or(0, |last| last + 1);
            next.extend((from..items.len()).map(|item| [set.as_slice(), &[item]].concat()));
        }
        all.extend(next.iter().cloned());
        last = next;
    }
    let case = |set: Vec<usize>| {
        let mut atlas = Findings::new();
        let texts: Vec<(&str, &str)> = set.into_iter().map(|item| items[item]).collect();
        for (kind, code) in &texts {
            let kind = EvidenceKind::parse(kind).expect("a kind");
            atlas.insert(Finding::parse(kind, code).expect("a finding")).expect("room");
        }
        Case { atlas, texts }
    };
    all.into_iter().map(case).collect()
}

/// Every country that ISO 3166-1 lists.
fn all_countries() -> Vec<String> {
    Country::all().map(|country| country.as_str().to_owned()).collect()
}

/// All sets of up to `size` findings over these countries; those of up to two with a document; and
/// every other country alone.
fn cases<'a>(all: &'a [String], codes: &'a [String], size: usize) -> Vec<Case<'a>> {
    let of = |kind: &'static str, codes: &'a [String]| {
        codes.iter().map(move |code| (kind, code.as_str()))
    };
    let stateless = [("citizenship", Finding::STATELESS)];
    let kinds = KINDS.iter().flat_map(|kind| of(kind, codes));
    let mut items: Vec<(&str, &str)> = stateless.into_iter().chain(kinds).collect();
    let mut cases = sets(&items, size);
    items.extend([("document", Finding::STATELESS)].into_iter().chain(of("document", codes)));
    let documents = sets(&items, size.min(2)).into_iter();
    cases.extend(documents.filter(|case| case.texts.iter().any(|(kind, _)| *kind == "document")));
    let others = KINDS.iter().flat_map(|kind| of(kind, all));
    let others: Vec<(&str, &str)> =
        others.filter(|(_, code)| !codes.iter().any(|own| own == code)).collect();
    // Without the empty set, which came above.
    cases.extend(sets(&others, 1).into_iter().skip(1));
    cases
}

/// Puts all sets of up to `size` findings. `Err`: the first question on which the two do not
/// agree.
fn put_all(maps: &Maps, flaw: Option<Flaw>, size: usize) -> Result<Tally, String> {
    put_each(maps, flaw, size, &[None])
}

/// The same with each region chosen for each person.
fn put_choices(maps: &Maps, flaw: Option<Flaw>, size: usize) -> Result<Tally, String> {
    let region = |name: &String| (RegionId::parse(name).expect("a name"), name.clone());
    let regions: Vec<_> = maps.text.regions.keys().map(region).map(Some).collect();
    put_each(maps, flaw, size, &regions)
}

fn put_each(
    maps: &Maps,
    flaw: Option<Flaw>,
    size: usize,
    chosen: &[Option<(RegionId, String)>],
) -> Result<Tally, String> {
    let all = all_countries();
    let (_, codes) = classes::countries(&maps.text, &all);
    let cases = cases(&all, &codes, size);
    let (tenants, days) = (classes::tenants(&maps.text), classes::days(&maps.text));
    let mut tally = Tally::default();
    for day in &days {
        for tenant in &tenants {
            for collection in maps.text.collections.iter().map(|own| &own.name) {
                let place = Place {
                    tenant: (TenantId::parse(tenant).expect("a name"), tenant),
                    collection: (Collection::parse(collection).expect("a name"), collection),
                    date: (Date::parse(day).expect("a day"), day),
                };
                for (case, chosen) in
                    cases.iter().flat_map(|case| chosen.iter().map(move |one| (case, one)))
                {
                    let end = put(maps, flaw, case, &place, chosen.as_ref())?;
                    *tally.ends.entry(end).or_default() += 1;
                    tally.cases += 1;
                }
            }
        }
    }
    Ok(tally)
}

fn check(name: &'static str) {
    let maps = maps(name);
    let (classes, codes) = classes::countries(&maps.text, &all_countries());
    match put_all(&maps, None, FINDINGS_MAX) {
        Ok(Tally { cases, ends }) => {
            let shown = codes.join(" ");
            println!("{name}: {cases} cases ({classes} classes of countries: {shown}): {ends:?}");
        }
        Err(differs) => panic!("{differs}"),
    }
}

#[test]
fn every_case_of_the_sample_map() {
    check("sample");
}

#[test]
fn every_case_of_the_strict_map() {
    check("strict");
}

#[test]
fn every_case_of_the_made_map() {
    check("made");
}

#[test]
fn every_case_of_the_harsh_map() {
    check("harsh");
}

#[test]
fn every_case_of_the_map_with_every_setting() {
    check("settings");
}

#[test]
fn every_case_of_the_map_that_excludes_sites() {
    check("apart");
}

#[test]
fn every_choice_is_judged_alike() {
    for name in ["apart", "harsh"] {
        let maps = maps(name);
        match put_choices(&maps, None, FINDINGS_OF_CHOICES_MAX) {
            Ok(Tally { cases, ends }) => println!("choices in {name}: {cases} cases: {ends:?}"),
            Err(differs) => panic!("{differs}"),
        }
    }
    for (flaw, name) in FLAWS_OF_CHOICES {
        let maps = maps(name);
        let found = (1..=FINDINGS_OF_CHOICES_MAX)
            .any(|size| put_choices(&maps, Some(*flaw), size).is_err());
        assert!(found, "{flaw:?} does not show under the map {name}");
    }
}

#[test]
fn the_longest_prefix_of_a_disputed_area_wins() {
    let atlas = maps("settings").atlas;
    let (areas, addresses, numbers) = Areas::read(&written("settings"));
    let known = |area: &Disputed| {
        let decided = area.decided().iter().map(|country| country.as_str().to_owned());
        (area.name().to_owned(), decided.collect::<Vec<_>>())
    };
    let mut met = BTreeMap::new();
    for address in &addresses {
        let area = atlas.disputed_address(*address).map(known);
        assert_eq!(area.as_ref(), areas.of_address(*address), "{address}");
        *met.entry(area.map(|(name, _)| name)).or_insert(0) += 1;
    }
    for number in &numbers {
        let area = atlas.disputed_number(number).map(known);
        assert_eq!(area.as_ref(), areas.of_number(number), "{number}");
        *met.entry(area.map(|(name, _)| name)).or_insert(0) += 1;
    }
    println!("disputed areas: {met:?}");
    assert_eq!(met.len(), 3, "both areas, and none");
}

#[test]
fn every_rule_done_wrong_is_found() {
    for (flaw, name) in FLAWS {
        let maps = maps(name);
        let found = (1..=FINDINGS_MAX).any(|size| put_all(&maps, Some(*flaw), size).is_err());
        assert!(found, "{flaw:?} does not show under the map {name}");
    }
}
