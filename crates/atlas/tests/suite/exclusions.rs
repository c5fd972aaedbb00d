//! Sites that a collection or a clause excludes: what a refusal says, what a plan shows, and what is left
//! to choose.

use crate::support::with_digests;
use atlas::{
    Date, EvidenceKind, Finding, Findings, Move, Question, RegionMap, Ruling, check, choices,
    decide, decide_chosen, decide_stored, plan,
};
use terms::{Collection, Reason, RegionId, TenantId};

/// Two homes that may lead, and a law that asks for a clause.
const MAP: &str = r#"
name = "x"
deployment = "x"
version = 1
[[tenants]]
name = "acme"
[[collections]]
name = "notes"
category = "x"
reads = "counted"
@NOTES
[[collections]]
name = "cards"
category = "x"
reads = "counted"
[[regions]]
name = "de-fra"
territory = "DE"
[[regions]]
name = "ru-msk"
territory = "RU"
site.operator = "Halls"
site.controlled_from = ["RU"]
[[regions]]
name = "us-iad"
territory = "US"
site.operator = "Clouds"
site.controlled_from = ["US"]
[[homes]]
for = "RU"
region = "ru-msk"
[[homes]]
for = "EEA"
region = "de-fra"
[[homes]]
for = "US"
region = "us-iad"
[[statutes]]
id = "ru-152fz"
digest = "@ru-152fz"
reading = "primary-first"
citizens_abroad = "attach"
[[statutes]]
id = "eu-gdpr"
digest = "@eu-gdpr"
[[clauses]]
id = "eea-us"
from = "EEA"
to = "US"
collections = "*"
legal_basis = "x"
importer = "x"
reference = "x"
not_before = 2020-01-01
expires = 2100-01-01
@CLAUSE
"#;

fn map(notes: &str, clause: &str) -> RegionMap {
    let text = MAP.replace("@NOTES", notes).replace("@CLAUSE", clause);
    RegionMap::parse(&with_digests(&text)).expect("a sound map")
}

/// The question of a person's notes, put to a function.
fn with<T>(known: &[(EvidenceKind, &str)], ask: impl FnOnce(&Question<'_>) -> T) -> T {
    let mut findings = Findings::new();
    for (kind, code) in known {
        findings.insert(Finding::parse(*kind, code).expect("a finding")).expect("room");
    }
    let tenant = TenantId::parse("acme").expect("a name");
    let collection = Collection::parse("notes").expect("a name");
    let date = Date::parse("2026-11-25").expect("a day").into();
    ask(&Question { tenant: &tenant, collection: &collection, findings: &findings, date })
}

fn rule(map: &RegionMap, known: &[(EvidenceKind, &str)], chosen: Option<&str>) -> Ruling {
    let chosen = chosen.map(|name| RegionId::parse(name).expect("a name"));
    with(known, |question| decide_chosen(map, question, chosen.as_ref()).expect("a collection"))
}

fn region(ruling: &Ruling) -> &str {
    ruling.placement().map_or("", |placement| placement.region().as_str())
}

const RUSSIAN: &[(EvidenceKind, &str)] =
    &[(EvidenceKind::Citizenship, "RU"), (EvidenceKind::Residence, "RU")];
const GERMAN: &[(EvidenceKind, &str)] = &[(EvidenceKind::Residence, "DE")];
const AMERICAN: &[(EvidenceKind, &str)] = &[(EvidenceKind::Residence, "US")];
const BOTH: &[(EvidenceKind, &str)] =
    &[(EvidenceKind::Residence, "US"), (EvidenceKind::CollectedIn, "TR")];

#[test]
fn a_refusal_names_the_law_that_leads_there_and_what_helps() {
    let excluding = map("exclude.operators = [\"HALLS\", \"Clouds\"]", "");
    let ruling = rule(&excluding, RUSSIAN, None);
    let refusal = ruling.refusal().expect("a law leads to an excluded site");
    assert_eq!(refusal.reason(), Reason::RegionExcluded);
    assert_eq!(refusal.conflicting().iter().map(|of| of.as_str()).collect::<Vec<_>>(), ["RU"]);
    assert!(refusal.problem().contains("ru-msk") && refusal.problem().contains("notes"));
    assert!(refusal.cure().contains("exactly RU"), "{}", refusal.cure());
    // No law fixes the place, the home is passed over, and there is none for other countries.
    let ruling = rule(&excluding, AMERICAN, None);
    let refusal = ruling.refusal().expect("no home is left");
    assert_eq!((refusal.reason(), refusal.conflicting().len()), (Reason::RegionExcluded, 0));
    assert!(refusal.problem().contains("us-iad"), "{}", refusal.problem());
    // Without an exclusion that person has a home, and one from nowhere has none.
    let free = map("", "");
    assert_eq!(region(&rule(&free, AMERICAN, None)), "us-iad");
    let nowhere = rule(&free, &[(EvidenceKind::Residence, "BR")], None);
    assert_eq!(nowhere.refusal().map(atlas::Refusal::reason), Some(Reason::NoRegion));
}

#[test]
fn a_clause_that_excludes_the_site_covers_nothing_there() {
    let excluding = map("exclude.regions = [\"de-fra\"]", "exclude.controlled_from = [\"US\"]");
    let free = map("exclude.regions = [\"de-fra\"]", "");
    let person = &[(EvidenceKind::Residence, "DE"), (EvidenceKind::CollectedIn, "US")];
    assert_eq!(region(&rule(&free, person, None)), "us-iad");
    let ruling = rule(&excluding, person, None);
    let refusal = ruling.refusal().expect("the only clause excludes the site");
    assert_eq!(refusal.reason(), Reason::TransferNotCovered);
    assert!(refusal.problem().contains("excludes the site of us-iad"), "{}", refusal.problem());
}

#[test]
fn a_plan_shows_whom_an_exclusion_moves_and_refuses() {
    let (old, new) = (map("", ""), map("exclude.controlled_from = [\"US\"]", ""));
    let day = Date::parse("2026-11-25").expect("a day");
    let shown = plan(&old, &new, day);
    let key = |collection: &str| format!("collection `{collection}`: exclude");
    assert!(shown.changes.iter().any(|change| change.to_string().starts_with(&key("notes"))));
    // de-fra does not say who controls its operator: it is excluded as well.
    let reason = Reason::RegionExcluded;
    for from in ["de-fra", "us-iad"] {
        let from = RegionId::parse(from).expect("a name");
        let moved = Move::Refused { from, reason };
        let effect = shown.effects.iter().find(|effect| effect.moved == moved).expect("an effect");
        assert!(effect.collections.iter().all(|name| name.as_str() == "notes"), "{effect:?}");
    }
    assert!(shown.widens(), "people are placed elsewhere, or not at all");
    let back = plan(&new, &old, day);
    let to = RegionId::parse("us-iad").expect("a name");
    let allowed = Move::NewlyAllowed { reason, to };
    assert!(back.widens() && back.effects.iter().any(|effect| effect.moved == allowed));
}

#[test]
fn an_operator_is_known_by_its_words() {
    let excluded = |name: &str| {
        let map = map(&format!("exclude.operators = [\"{name}\", \"Other\"]"), "");
        region(&rule(&map, RUSSIAN, None)).is_empty()
    };
    for (name, wanted) in [("Halls", true), (" hALLS  ", true), ("Ha lls", false)] {
        assert_eq!(excluded(name), wanted, "{name:?}");
    }
    let spaced = MAP.replace("\"Halls\"", "\"Two  Halls\"");
    let notes = "exclude.operators = [\"two halls\"]";
    let text = spaced.replace("@NOTES", notes).replace("@CLAUSE", "");
    let spaced = RegionMap::parse(&with_digests(&text)).expect("a sound map");
    assert_eq!(rule(&spaced, RUSSIAN, None).refusal().map(atlas::Refusal::reason), {
        Some(Reason::RegionExcluded)
    });
}

#[test]
fn an_operator_of_a_similar_name_is_reported_once_another_one_is_excluded() {
    let day = Date::parse("2026-11-25").expect("a day");
    let similar = |operators: &str, own: &str| {
        let notes = format!("exclude.operators = [{operators}]");
        let text = MAP.replace("@NOTES", &notes).replace("@CLAUSE", "");
        let text = text.replace("\"Clouds\"", &format!("\"{own}\""));
        let all = check(&with_digests(&text), &[], day, &[]);
        let found: Vec<String> = all
            .all()
            .filter(|one| one.code == "EXCLUSION_SIMILAR")
            .map(|one| one.problem.clone())
            .collect();
        found
    };
    let found = similar("\"Halls\"", "Halls GmbH");
    assert!(found.len() == 1 && found[0].contains("us-iad"), "{found:?}");
    assert_eq!(similar("\"Halls of Ice\"", "Ice").len(), 2, "either may be the longer name");
    assert!(similar("\"Halls\", \"Halls GmbH\"", "Halls GmbH").is_empty(), "it is excluded");
    assert!(similar("\"Halls\"", "Clouds").is_empty());
}

#[test]
fn what_is_stored_may_stay_where_the_rules_place_it_without_the_choice() {
    let free = map("", "");
    let name = |text: &str| RegionId::parse(text).expect("a name");
    let stored = |chosen: Option<&str>, here: &str| {
        let chosen = chosen.map(name);
        let ruling = with(AMERICAN, |question| {
            decide_stored(&free, question, chosen.as_ref(), &name(here)).expect("a collection")
        });
        let placement = ruling.placement().expect("it is lawful").clone();
        (placement.region().to_string(), placement.is_chosen())
    };
    let chosen = Some("de-fra");
    for (chosen, here, placed, by_choice) in [
        (None, "us-iad", "us-iad", false),
        (None, "de-fra", "us-iad", false),
        (chosen, "us-iad", "us-iad", false),
        (chosen, "de-fra", "de-fra", true),
        // Elsewhere there is one place for it, that of the choice.
        (chosen, "ru-msk", "de-fra", true),
        (Some("mars"), "us-iad", "us-iad", false),
    ] {
        assert_eq!(stored(chosen, here), (placed.to_owned(), by_choice), "{chosen:?} {here}");
    }
}

#[test]
fn what_is_open_is_where_a_choice_leads_and_the_rest_is_void() {
    let free = map("", "");
    let open = |map: &RegionMap, known: &[(EvidenceKind, &str)]| -> Vec<String> {
        let all = with(known, |question| choices(map, question).expect("a collection"));
        all.iter().map(ToString::to_string).collect()
    };
    assert_eq!(open(&free, AMERICAN), ["de-fra", "ru-msk", "us-iad"]);
    assert_eq!(open(&free, GERMAN), ["de-fra", "us-iad"]);
    assert!(open(&free, RUSSIAN).is_empty() && open(&free, &[]).is_empty());
    for (known, by_rules) in [(AMERICAN, "us-iad"), (GERMAN, "de-fra"), (BOTH, "us-iad")] {
        let left = open(&free, known);
        for name in ["de-fra", "ru-msk", "us-iad", "mars"] {
            let ruling = rule(&free, known, Some(name));
            let counts = left.iter().any(|own| own == name);
            assert_eq!(region(&ruling), if counts { name } else { by_rules });
            let placement = ruling.placement().expect("it is lawful either way");
            assert_eq!(placement.is_chosen(), counts);
        }
    }
    // Under the clause that it rests on, and not where the site is excluded.
    let chosen = rule(&free, GERMAN, Some("us-iad"));
    let clauses = chosen.placement().expect("a placement").clauses();
    assert_eq!(clauses.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ["eea-us"]);
    let excluding = map("exclude.regions = [\"us-iad\"]", "");
    assert_eq!(open(&excluding, GERMAN), ["de-fra"]);
    assert_eq!(region(&rule(&excluding, GERMAN, Some("us-iad"))), "de-fra");
    // A law that fixes the place is not overridden, and the plain ruling is that without a choice.
    assert_eq!(region(&rule(&free, RUSSIAN, Some("us-iad"))), "ru-msk");
    let plain = with(AMERICAN, |question| decide(&free, question).expect("a collection"));
    assert_eq!(plain, rule(&free, AMERICAN, None));
}
