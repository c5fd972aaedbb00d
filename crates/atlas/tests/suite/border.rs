//! Borders under the sample map, row by row: who may read what, and through which gateways it may
//! come in. And the keys of map and annex that say so.

use std::sync::Arc;

use atlas::{
    Annex, Attachment, Country, Date, EvidenceKind, Finding, Findings, Ingress, Question,
    RegionMap, StatutePack, decide, egress, egress_of_absent, egress_of_any, ingress,
    ingress_of_absent,
};
use terms::{Collection, Detail, Reason, TenantId};

const SAMPLE: &str = include_str!("../../../../tests/evidence/map.toml");

fn sample() -> RegionMap {
    RegionMap::parse(SAMPLE).expect("the sample is sound")
}

fn country(code: &str) -> Option<Country> {
    (code != "?").then(|| Country::parse(code).expect("a country"))
}

fn day(text: &str) -> Date {
    Date::parse(text).expect("a day")
}

fn collection(name: &str) -> Collection {
    Collection::parse(name).expect("a name")
}

/// The laws that attach to `kind code, kind code`.
fn laws(map: &RegionMap, of: &str, known: &str) -> Vec<Attachment> {
    let mut findings = Findings::new();
    for item in known.split(", ") {
        let (kind, code) = item.split_once(' ').expect("kind and code");
        let kind = EvidenceKind::parse(kind).expect("a kind");
        findings.insert(Finding::parse(kind, code).expect("a finding")).expect("room");
    }
    let (tenant, collection) = (TenantId::parse("sample").expect("a name"), collection(of));
    let date = day("2026-11-23");
    let question = Question {
        tenant: &tenant,
        collection: &collection,
        findings: &findings,
        date: date.into(),
    };
    decide(map, &question).expect("a known collection").attachments().to_vec()
}

/// Whom the law bars, as codes; nothing if it may be read.
fn barred(map: &RegionMap, (of, known, readers): (&str, &str, &str), date: &str) -> String {
    let readers: Vec<_> = readers.split(' ').map(country).collect();
    match egress(map, &laws(map, of, known), &collection(of), day(date), &readers) {
        Ok(()) => String::new(),
        Err(barred) => {
            let fault = barred.egress_fault();
            assert_eq!(fault.reason, Reason::EgressNotCovered);
            fault.detail(Detail::Conflicting).expect("whose law").to_owned()
        }
    }
}

#[test]
fn the_sample_map_lets_these_read_and_no_others() {
    let map = sample();
    for (of, known, readers, expected) in [
        // Primary-first: at home, or under the clause for profiles.
        ("profiles", "residence RU", "RU RU", ""),
        ("profiles", "residence RU", "KZ RU", ""),
        ("profiles", "residence RU", "RU KZ", ""),
        ("messages", "residence RU", "KZ RU", "RU"),
        ("messages", "residence RU", "RU KZ", "RU"),
        ("profiles", "residence RU", "DE RU", "RU"),
        ("profiles", "residence RU", "RU DE", "RU"),
        ("profiles", "residence RU", "? RU", "RU"),
        // Exclusive, for payments alone.
        ("payments", "residence IN", "IN IN", ""),
        ("payments", "residence IN", "US IN", "IN"),
        ("payments", "residence IN", "IN US", "IN"),
        ("payments", "residence IN", "? ?", "IN"),
        ("profiles", "residence IN", "? ?", ""),
        // Conditional: all of the EEA is one jurisdiction.
        ("messages", "residence FR", "NO DE", ""),
        ("messages", "residence FR", "KZ DE", ""),
        ("payments", "residence FR", "KZ DE", "EEA"),
        ("messages", "residence FR", "GB DE", "EEA"),
        ("messages", "residence GB", "GB DE", ""),
        // One form for lists: a comma, as in a refusal's.
        ("messages", "residence FR, residence RU", "? ?", "EEA,RU"),
        ("messages", "residence GB", "US DE", "GB"),
        // A mirror's law bars no reader, and where no law attaches there is nothing to judge.
        ("messages", "residence KZ", "US ?", ""),
        ("payments", "residence BR", "? ?", ""),
        // Two laws: both must let them.
        ("profiles", "citizenship RU, residence FR", "KZ KZ", ""),
        ("profiles", "citizenship RU, residence FR", "RU RU", ""),
        ("profiles", "citizenship RU, residence FR", "DE DE", "RU"),
        ("messages", "citizenship RU, residence FR", "US KZ", "EEA,RU"),
    ] {
        let row = (of, known, readers);
        assert_eq!(barred(&map, row, "2026-11-23"), expected, "{row:?}");
    }
}

#[test]
fn clauses_end_and_so_does_the_map() {
    let row = ("profiles", "residence RU", "KZ RU");
    let map = sample();
    assert_eq!(barred(&map, row, "2099-12-31"), "");
    assert_eq!(barred(&map, row, "2100-01-01"), "RU");
    assert_eq!(barred(&map, row, "2019-12-31"), "RU");
    let ends = SAMPLE.replace("version = 1", "version = 1\nvalid_until = 2027-06-30");
    let map = RegionMap::parse(&ends).expect("sound");
    assert_eq!(barred(&map, row, "2027-06-30"), "");
    assert_eq!(barred(&map, row, "2027-07-01"), "RU");
    assert_eq!(barred(&map, ("profiles", "residence RU", "RU RU"), "2027-07-01"), "");
}

#[test]
fn who_may_know_that_something_is_not_there() {
    let map = sample();
    for (place, of, readers, expected) in [
        ("RU", "profiles", "RU RU", ""),
        // No clause of another law leads to RU for messages; for profiles those of EEA and GB do,
        // and neither covers the way on to KZ for people of GB.
        ("RU", "messages", "KZ RU", "RU"),
        ("RU", "profiles", "KZ RU", "GB"),
        ("RU", "profiles", "DE RU", "RU"),
        ("DE", "messages", "SE DE", ""),
        ("DE", "messages", "GB DE", "EEA"),
        ("DE", "messages", "KZ DE", "GB"),
        ("DE", "messages", "? DE", "EEA,GB"),
        ("IN", "payments", "US IN", "IN"),
        ("IN", "profiles", "US IN", ""),
        ("US", "payments", "BR US", ""),
        ("KZ", "messages", "US KZ", "EEA"),
    ] {
        let all: Vec<_> = readers.split(' ').map(country).collect();
        let place = country(place).expect("a country");
        let judged = egress_of_absent(&map, place, &collection(of), day("2026-11-23"), &all);
        let codes = judged.err().map(|barred| {
            barred.egress_fault().detail(Detail::Conflicting).expect("whose law").to_owned()
        });
        assert_eq!(codes.unwrap_or_default(), expected, "{place} {of} {readers}");
    }
    // A clause that has ended still tells that records may lie there.
    let ended = SAMPLE.replacen("expires = 2100-01-01", "expires = 2021-01-01", 1);
    assert!(ended.find("2021-01-01") < ended.find("id = \"gb-eea\""), "the clause eea-ru");
    let map = RegionMap::parse(&ended).expect("sound");
    let (place, all) = (country("RU").expect("a country"), [country("IN"), country("RU")]);
    let judged = egress_of_absent(&map, place, &collection("profiles"), day("2026-11-23"), &all);
    let codes: Vec<_> = judged.expect_err("barred").conflicting().to_vec();
    assert_eq!(format!("{codes:?}"), "[EEA, GB, RU]");
}

/// A law that lets records lie anywhere, and bars readers in one country.
const FREE: &str = r#"
id = "made-jp"
jurisdiction = "JP"
title = "Made up: none in JP, nothing to AE"
citation = "none: made up for tests"
source = "none: made up for tests"
trigger = "located"
constraint = "none"
deny = ["AE"]
from = 2020-01-01
[[rules]]
says = "made up for tests"
citation = "none"
verified = "inference"
"#;

#[test]
fn a_law_that_asks_for_no_clause_may_bar_readers_wherever_a_record_lies() {
    let pack = Arc::new(StatutePack::parse(FREE).expect("a sound pack"));
    let digest = hex::encode(pack.digest());
    let law = format!("\n[[statutes]]\nid = \"made-jp\"\ndigest = \"sha256:{digest}\"\n");
    let map = RegionMap::parse_carrying(&format!("{SAMPLE}{law}"), &[pack]).expect("sound");
    let (place, of, on) = (country("IN").expect("a country"), collection("profiles"), "2026-11-23");
    for (readers, expected) in [("US IN", ""), ("AE IN", "JP"), ("? IN", "JP")] {
        let all: Vec<_> = readers.split(' ').map(country).collect();
        // No clause leads to the place.
        assert_eq!(egress_of_absent(&map, place, &of, day(on), &all), Ok(()), "{readers}");
        let judged = egress_of_any(&map, place, &of, day(on), &all);
        let codes: Vec<String> = judged.err().map_or_else(Vec::new, |barred| {
            barred.conflicting().iter().map(ToString::to_string).collect()
        });
        assert_eq!(codes.concat(), expected, "{readers}");
        assert_eq!(egress_of_any(&sample(), place, &of, day(on), &all), Ok(()), "{readers}");
    }
    // The laws of the place count as well.
    let (place, all) = (country("DE").expect("a country"), [country("GB"), country("DE")]);
    assert!(egress_of_any(&map, place, &collection("messages"), day(on), &all).is_err());
}

#[test]
fn a_law_may_want_a_gateway_inside() {
    let id = "id = \"ru-152fz\"";
    let text = SAMPLE.replace(id, &format!("{id}\ningress = \"in-territory\""));
    let map = RegionMap::parse(&text).expect("sound");
    let setting = |id: &str| {
        let mut all = map.statutes().iter();
        all.find(|statute| statute.id().as_str() == id).expect("in force").ingress()
    };
    assert_eq!(setting("ru-152fz"), Ingress::InTerritory);
    assert_eq!(setting("eu-gdpr"), Ingress::Anywhere);
    for (known, gateway, expected) in [
        ("residence RU", "RU", true),
        ("residence RU", "KZ", false),
        ("residence RU", "?", false),
        ("citizenship RU, residence FR", "DE", false),
        ("residence FR", "US", true),
        ("residence BR", "?", true),
    ] {
        let judged = ingress(&laws(&map, "profiles", known), country(gateway));
        assert_eq!(judged.is_ok(), expected, "{known} {gateway}");
        if let Err(barred) = judged {
            assert_eq!(barred.ingress_fault().reason, Reason::WrongIngress);
            assert_eq!(barred.ingress_fault().detail(Detail::Conflicting), Some("RU"));
        }
    }
    // Of what is not there: by the laws of the place, and those from which a clause leads there.
    for (place, gateway, expected) in [
        ("RU", "RU", true),
        ("RU", "KZ", false),
        ("RU", "?", false),
        ("KZ", "US", false),
        ("US", "US", true),
    ] {
        let place = country(place).expect("a country");
        let of = collection("profiles");
        let judged = ingress_of_absent(&map, place, &of, day("2026-11-23"), country(gateway));
        assert_eq!(judged.is_ok(), expected, "{place:?} {gateway}");
    }
}

#[test]
fn a_collection_or_a_law_may_want_bodies_sealed() {
    let plain = |map: &RegionMap, of: &str| {
        map.admit_plain(&collection(of), "body").map_err(|no| {
            assert_eq!(no.field.as_deref(), Some("body"));
            no.reason
        })
    };
    let not_sealed = Err(Reason::TransitNotSealed);
    let read = |text: &str| RegionMap::parse(text).expect("sound");
    assert_eq!(plain(&sample(), "profiles"), Ok(()));
    // A collection, and no other.
    let name = "name = \"profiles\"";
    assert!(SAMPLE.contains(name));
    let map = read(&SAMPLE.replacen(name, &format!("{name}\ntransit = \"sealed\""), 1));
    assert_eq!(plain(&map, "profiles"), not_sealed);
    assert_eq!(plain(&map, "messages"), Ok(()));
    // A law, for all that it covers, of any person.
    let id = "id = \"ru-152fz\"";
    let map = read(&SAMPLE.replacen(id, &format!("{id}\ntransit = \"sealed\""), 1));
    let covered = |of: &str| {
        let law = map.statutes().iter().find(|law| law.id().as_str() == "ru-152fz");
        law.expect("in force").covers(&collection(of))
    };
    assert!(covered("profiles"));
    for of in ["profiles", "messages"] {
        assert_eq!(plain(&map, of), if covered(of) { not_sealed } else { Ok(()) }, "{of}");
    }
    assert!(
        RegionMap::parse(&SAMPLE.replacen(name, &format!("{name}\ntransit = \"plain\""), 1))
            .is_err()
    );
}

#[test]
fn a_map_names_its_trust_domain_and_authorities_or_takes_the_deployment() {
    let map = sample();
    assert_eq!(map.trust_domain(), "sample");
    assert!(map.regions().iter().all(|region| region.authorities().is_empty()));
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    let text =
        SAMPLE.replace("version = 1", "version = 1\ntrust_domain = \"prod.example_1\"").replace(
            "name = \"kz-ala\"\nterritory = \"KZ\"",
            &format!(
                "name = \"kz-ala\"\nterritory = \"KZ\"\n\
                 authorities = [\"sha256:{one}\", \"sha256:{two}\"]"
            ),
        );
    let map = RegionMap::parse(&text).expect("sound");
    assert_eq!(map.trust_domain(), "prod.example_1");
    let pinned = |name| {
        let name = terms::RegionId::parse(name).expect("a name");
        map.region(&name).expect("a region").authorities().to_vec()
    };
    assert_eq!(pinned("kz-ala"), [[0x11; 32], [0x22; 32]]);
    assert!(pinned("eu-fra").is_empty());
}

#[test]
fn an_ingress_is_an_address_with_tls_or_on_this_machine() {
    let map = sample();
    let annex = |ingress: &str| {
        let shards = "[[shards]]\nname = \"s1\"\naddress = \"https://10.0.0.1:7411\"\n\
                      slots = \"0-1023\"\n";
        Annex::parse(&format!("region = \"eu-fra\"\n{ingress}{shards}"), &map)
    };
    assert_eq!(annex("").expect("sound").ingress(), None);
    for good in [
        "https://gateway.example:443",
        "https://[2001:db8::1]:443",
        "http://127.0.0.1:7400",
        "http://localhost:7400",
        "http://[::1]:7400",
    ] {
        let read = annex(&format!("ingress = \"{good}\"\n"));
        assert_eq!(read.expect(good).ingress(), Some(good));
    }
    for bad in [
        "http://gateway.example:80",
        "http://10.0.0.1:80",
        "http://127.0.0.1.example:80",
        "http://localhost.example:80",
        "https://gateway.example",
        "https://gateway.example:443/path",
        "https://user@gateway.example:443",
        "gateway.example:443",
        "",
    ] {
        assert!(annex(&format!("ingress = \"{bad}\"\n")).is_err(), "{bad}");
    }
}
