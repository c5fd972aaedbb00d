//! The file of `map test`, and what it says of the sample map.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use atlas::{Date, Findings, Given, MapTests, Person, RegionMap, Verdict};
use terms::Reason;

const PEOPLE: &str = r#"
[[people]]
name = "a Russian in Almaty"
collection = "profiles"
evidence = ["citizenship RU", "residence KZ"]
expect = { region = "ru-msk", mirrors = ["kz-ala"], jurisdictions = ["RU", "KZ"], clauses = ["ru-kz"] }

[[people]]
name = "a Russian in Almaty, her messages"
tenant = "sample"
collection = "messages"
date = 2026-01-01
evidence = ["citizenship RU", "residence KZ"]
expect = { refused = "TRANSFER_NOT_COVERED", jurisdictions = ["KZ", "RU"] }

[[people]]
name = "nobody knows"
collection = "profiles"
evidence = []
expect.refused = "JURISDICTION_UNDETERMINED"

[[people]]
name = "by address"
collection = "profiles"
evidence = ["ip 203.0.113.7", "sim 250"]
expect.region = "us-iad"
"#;

fn sample() -> RegionMap {
    let text = include_str!("../../../../tests/evidence/map.toml");
    RegionMap::parse(text).unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

fn people(text: &str) -> Vec<Person> {
    let people = MapTests::parse(text).unwrap_or_else(|wrong| panic!("{wrong:#?}"));
    people.people().to_vec()
}

fn judged(person: &Person) -> Verdict {
    let day = Date::parse("2026-11-25").expect("a day");
    let findings = person.findings().expect("findings");
    person.judge(&sample(), Ok(&findings), day)
}

#[test]
fn people_are_placed_as_expected() {
    let people = people(PEOPLE);
    assert_eq!(people.iter().map(|person| person.line).collect::<Vec<_>>(), [2, 8, 16, 22]);
    for person in people.iter().take(3) {
        let verdict = judged(person);
        assert!(verdict.passed(), "{}: {verdict:#?}", person.name);
    }
}

#[test]
fn raw_values_are_left_to_the_caller() {
    let people = people(PEOPLE);
    let person = people.last().expect("people");
    assert_eq!(person.findings(), None);
    let kinds: Vec<String> = person.evidence.iter().map(|given| format!("{given:?}")).collect();
    assert_eq!(kinds, ["Raw(ip, …)", "Raw(sim, …)"]);
    let day = Date::parse("2026-11-25").expect("a day");
    let verdict = person.judge(&sample(), Err(Reason::EvidenceMalformed), day);
    assert_eq!(verdict.differences, ["refused with EVIDENCE_MALFORMED, not placed in us-iad"]);
    let verdict = person.judge(&sample(), Ok(&Findings::new()), day);
    assert!(!verdict.passed());
    for bad in ["ip", "ip ", "citizenship Russia", "ip XX", "phone de", "age 7", "residence XX"] {
        assert_eq!(Given::parse(bad), None, "{bad}");
    }
}

#[test]
fn what_differs_is_said() {
    for (was, is, differs) in [
        ("region = \"ru-msk\"", "region = \"eu-fra\"", "placed in ru-msk, not in eu-fra"),
        ("[\"kz-ala\"]", "[]", "mirrors are [kz-ala], not []"),
        ("[\"RU\", \"KZ\"]", "[\"RU\"]", "jurisdictions are [KZ, RU], not [RU]"),
        ("[\"ru-kz\"]", "[\"ru-de\"]", "clauses are [ru-kz], not [ru-de]"),
        ("citizenship RU\"", "citizenship KZ\"", "placed in kz-ala, not in ru-msk"),
        (
            "collection = \"profiles\"",
            "collection = \"x\"",
            "refused with COLLECTION_UNKNOWN, not placed in ru-msk",
        ),
        (
            "collection = \"profiles\"",
            "collection = \"profiles\"\ntenant = \"x\"",
            "the map has no tenant `x`; its tenants are: sample; name one by `tenant = \"…\"` under \
             this person's [[people]]",
        ),
    ] {
        assert!(PEOPLE.contains(was), "{was}");
        let people = people(&PEOPLE.replacen(was, is, 1));
        let verdict = judged(people.first().expect("people"));
        assert_eq!(verdict.differences.first().map(String::as_str), Some(differs), "{verdict:#?}");
    }
    let people = people(&PEOPLE.replace("TRANSFER_NOT_COVERED", "NO_REGION"));
    let verdict = judged(people.get(1).expect("people"));
    assert_eq!(verdict.differences, ["refused with TRANSFER_NOT_COVERED, not NO_REGION"]);
    assert!(verdict.answer.starts_with("refused with TRANSFER_NOT_COVERED: no transfer clause"));
}

#[test]
fn every_mistake_is_named() {
    for (was, is, wrong) in [
        ("[[people]]", "[[person]]", "2:3: KEY_UNKNOWN"),
        (PEOPLE, "", "1:1: KEY_MISSING: this file of people has no `people`"),
        ("name = \"nobody knows\"", "name = \"by address\"", "23:8: NAME_DUPLICATE"),
        ("name = \"nobody knows\"", "", "16:1: KEY_MISSING: this person has no `name`"),
        ("citizenship RU", "citizenship ru", "5:13: VALUE_INVALID: `citizenship ru` is not a kind"),
        ("evidence = []", "", "16:1: KEY_MISSING: this person has no `evidence`"),
        ("collection = \"profiles\"", "collection = \"P\"", "4:14: NAME_INVALID"),
        ("date = 2026-01-01", "date = \"soon\"", "12:8: DATE_INVALID"),
        ("region = \"ru-msk\", ", "", "6:10: KEY_MISSING: this expectation has neither"),
        (
            "region = \"ru-msk\"",
            "region = \"ru-msk\", refused = \"NO_REGION\"",
            "6:10: VALUE_INVALID: this expectation has a `region` and",
        ),
        ("region = \"ru-msk\"", "refused = \"NO_REGION\"", "6:10: SETTING_UNUSED"),
        ("\"TRANSFER_NOT_COVERED\"", "\"NEVER\"", "14:22: VALUE_INVALID: `NEVER` is not a reason"),
        ("[\"ru-kz\"]", "[\"RU\"]", "6:94: NAME_INVALID"),
        ("expect.region = \"us-iad\"", "", "22:1: KEY_MISSING: this person has no `expect`"),
        ("expect.region = \"us-iad\"", "expect = 7", "26:10: VALUE_TYPE"),
    ] {
        assert!(PEOPLE.contains(was), "{was}");
        let found = MapTests::parse(&PEOPLE.replacen(was, is, 1));
        let found: Vec<String> = found.expect_err(is).iter().map(ToString::to_string).collect();
        let [one] = found.as_slice() else { panic!("{was} to {is}: {found:#?}") };
        assert!(one.starts_with(wrong), "{was} to {is}: {one}");
    }
    let many = vec!["\"sim 250\""; 65].join(", ");
    let found =
        MapTests::parse(&PEOPLE.replacen("evidence = []", &format!("evidence = [{many}]"), 1));
    assert!(found.is_err_and(|wrong| wrong.len() == 1 && wrong[0].code == "LIMIT_RANGE"));
}
