//! What is malformed, what says nothing, and what neither may ever show.

use atlas::{EvidenceKind, Finding, Findings, RegionMap};
use evidence::{DatabaseRefused, Evidence, Sources, findings_sent, kind};
use terms::{Detail, Pii, Reason, Rejection};

fn sources() -> Sources {
    let database = include_bytes!("../../../tests/evidence/ip-country.mmdb");
    Sources::new(Some(database.to_vec())).expect("a database")
}

const MAP: &str = include_str!("../../../tests/evidence/map.toml");

fn map() -> RegionMap {
    RegionMap::parse(MAP).expect("a sound map")
}

fn say(sources: &Sources, kind: EvidenceKind, value: &str) -> Result<Vec<String>, Rejection> {
    let findings = sources.findings(&map(), &[(kind, value)], &Findings::new())?;
    Ok(findings.iter().map(|f| format!("{} {}", f.kind(), f.code())).collect())
}

#[test]
fn a_malformed_value_is_named_by_its_field_only() {
    use EvidenceKind::{Citizenship, CollectedIn, Document, Ip, Phone, Residence, Sim};
    let (sources, map) = (sources(), map());
    for (kind, value) in [
        (Citizenship, "RUS"),
        (Citizenship, ""),
        (Document, "ru"),
        (Residence, "XX"),
        (CollectedIn, "XX"),
        (Residence, "ZQ"),
        (Ip, "1.2.3"),
        (Ip, "1.2.3.4/8"),
        (Ip, "fe80::1%eth0"),
        (Phone, "8 916 123-45-67"),
        (Phone, "+7 916 123 45 67"),
        (Phone, "tel:+79161234567"),
        (Phone, "+79161234567;ext=1"),
        (Phone, "+79161234567x1"),
        (Phone, "+７９１６１２３４５６７"),
        (Phone, "\u{ff0b}79161234567"),
        (Residence, "UK"),
        (Citizenship, "Ru"),
        (Citizenship, "\u{ff32}\u{ff35}"),
        (Ip, "203.0.113.07"),
        (Ip, "[2001:db8::1]"),
        (Ip, "203.0.113.7:443"),
        (Phone, "+1234567890123456"),
        (Sim, "25"),
        (Sim, "25x"),
        (Residence, &"R".repeat(65)),
    ] {
        let items = [(Residence, "DE"), (kind, value)];
        let fault = sources.findings(&map, &items, &Findings::new()).expect_err(value);
        assert_eq!(fault.reason, Reason::EvidenceMalformed, "{kind} {value}");
        assert_eq!(fault.field.as_deref(), Some("evidence[1].value"));
        let shown = format!("{fault} {fault:?}");
        // Short texts are in every sentence; `XX` is named as a rule, not as what was sent.
        assert!(value.len() < 4 || !shown.contains(value), "{shown}");
    }
}

#[test]
fn what_says_nothing_is_no_finding() {
    use EvidenceKind::{Ip, Phone, Sim};
    let sources = sources();
    for (kind, value) in [
        (Ip, "192.0.2.7"),
        (Ip, "10.0.0.1"),
        (Ip, "::1"),
        (Ip, "::"),
        (Ip, "100.64.0.1"),
        (Ip, "fd00::1"),
        (Ip, "192.88.99.1"),
        // 6to4, Teredo and NAT64 under a local prefix: of a Russian address, and of any.
        (Ip, "2002:5bd2:79d4::1"),
        (Ip, "2001:0:5bd2:79d4::1"),
        (Ip, "64:ff9b:1::5bd2:79d4"),
        (Phone, "+1"),
        (Phone, "+80012345678"),
        (Phone, "+78001234567"),
        (Phone, "+18002345678"),
        (Phone, "+447012345678"),
        (Phone, "+448001234567"),
        (Phone, "+590590271234"),
        (Sim, "999"),
        (Sim, "340"),
        (Sim, "425"),
    ] {
        assert_eq!(say(&sources, kind, value), Ok(Vec::new()), "{kind} {value}");
    }
    let without = Sources::new(None).expect("no database is needed");
    assert_eq!(say(&without, Ip, "91.210.121.212"), Ok(Vec::new()));
    assert!(Sources::new(Some(vec![0; 4096])).is_err());
}

/// The database with some bytes changed for as many others, wherever they stand.
fn database_with(from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = include_bytes!("../../../tests/evidence/ip-country.mmdb").to_vec();
    let mut found = 0;
    for at in 0..bytes.len() - from.len() {
        if bytes.get(at..).is_some_and(|rest| rest.starts_with(from)) {
            bytes.splice(at..at + from.len(), to.iter().copied());
            found += 1;
        }
    }
    assert!(found > 0, "the database has such bytes");
    bytes
}

#[test]
fn a_database_of_another_kind_is_refused() {
    // No `country`, as in one of autonomous systems or of another maker; no `iso_code` in it.
    for (from, to) in [(b"Gcountry", b"Gxountry"), (b"iso_code", b"iso_cose")] {
        let refused = Sources::new(Some(database_with(from, to))).expect_err("another kind");
        assert!(matches!(refused, DatabaseRefused::Kind(_, _)), "{refused}");
        let said = refused.to_string();
        assert!(said.contains("Bailiwick-Test-Country") && said.contains("country.iso_code"));
    }
    // Each `country` is a text, as IPinfo has it.
    let refused = Sources::new(Some(database_with(b"\xe1\x20\x08", b"\x42\x20\x08")));
    let refused = refused.expect_err("another shape");
    assert!(matches!(refused, DatabaseRefused::Kind(_, _)), "{refused}");
    // Each `country` points behind the data.
    let refused = Sources::new(Some(database_with(b"\xe1\x20\x00", b"\xe1\x3f\xff")));
    assert!(refused.is_err());
}

#[test]
fn another_database_takes_the_place_of_one() {
    let sources = sources();
    let address = |sources: &Sources| say(sources, EvidenceKind::Ip, "91.210.121.212");
    let before = address(&sources).expect("an address");
    let [country] = before.as_slice() else { unreachable!("one country") };
    let code = country.strip_prefix("ip ").expect("an address");
    let (from, to) = (format!("B{code}"), "BTV");
    let other = sources.with_ip_database(database_with(from.as_bytes(), to.as_bytes()));
    let other = other.expect("a database");
    assert_eq!(address(&other), Ok(vec!["ip TV".to_owned()]));
    assert_eq!(address(&sources), Ok(before), "who holds the old one goes on with it");
    assert!(other.with_ip_database(vec![0; 4096]).is_err());
    assert_eq!(say(&other, EvidenceKind::Phone, "+79123456789"), Ok(vec!["phone RU".to_owned()]));
}

#[test]
fn what_says_something_is_one() {
    use EvidenceKind::{Citizenship, Document, Ip, Phone, Sim};
    let sources = sources();
    for (kind, value, finding) in [
        (Citizenship, "XX", "citizenship XX"),
        (Document, "KZ", "document KZ"),
        (Phone, "+77710009998", "phone KZ"),
        (Phone, "+79123456789", "phone RU"),
        (Sim, "250", "sim RU"),
    ] {
        assert_eq!(say(&sources, kind, value), Ok(vec![finding.to_owned()]));
    }
    let plain = say(&sources, Ip, "172.226.21.169").expect("an address");
    assert_eq!(plain.len(), 1);
    for form in ["::ffff:172.226.21.169", "::172.226.21.169", "::ffff:0:ace2:15a9"] {
        assert_eq!(say(&sources, Ip, form), Ok(plain.clone()), "{form}");
    }
    assert_eq!(say(&sources, Ip, "64:ff9b::172.226.21.169"), Ok(plain));
}

#[test]
fn there_is_an_end_to_evidence() {
    let items = vec![(EvidenceKind::Sim, "250"); 65];
    let none = Findings::new();
    for fault in [sources().findings(&map(), &items, &none), findings_sent(&items)] {
        let fault = fault.expect_err("one too many");
        assert_eq!(fault.reason, Reason::TooManyItems);
        assert_eq!(fault.detail(Detail::Limit), Some("64"));
    }
    let most = items.get(..64).expect("64 of 65");
    assert!(sources().findings(&map(), most, &none).is_ok());
}

#[test]
fn findings_may_be_sent_in_place_of_evidence() {
    use EvidenceKind::{Citizenship, Phone, Residence};
    let sent = findings_sent(&[(Phone, "KZ"), (Citizenship, "XX")]).expect("two findings");
    assert_eq!(sent.len(), 2);
    let fault = findings_sent(&[(Phone, "KZ"), (Residence, "XX")]).expect_err("no such residence");
    assert_eq!(fault.reason, Reason::EvidenceMalformed);
    assert_eq!(fault.field.as_deref(), Some("findings[1].country"));
    let fault = kind("locale", "evidence[0].kind").expect_err("no evidence");
    assert_eq!(fault.reason, Reason::EvidenceKindUnknown);
    assert_eq!(fault.field.as_deref(), Some("evidence[0].kind"));
    assert_eq!(kind("sim", "x"), Ok(EvidenceKind::Sim));
}

#[test]
fn the_versions_of_all_data_are_told() {
    let versions = sources().versions();
    let names: Vec<&str> = versions.list().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["phone", "ip", "mcc", "countries"]);
    assert!(versions.ip.is_some_and(|ip| !ip.database_type.is_empty() && ip.build_epoch_s > 0));
    let without = Sources::new(None).expect("no database is needed").versions();
    assert_eq!(
        without.list().iter().find(|(n, _)| *n == "ip").map(|(_, v)| v.as_str()),
        Some("none")
    );
}

#[test]
fn evidence_does_not_show_its_value() {
    let evidence =
        Evidence { kind: EvidenceKind::Phone, value: Pii::new("+79123456789".to_owned()) };
    assert_eq!(format!("{evidence:?}"), "Evidence(phone, …)");
    assert_eq!(evidence.as_item(), (EvidenceKind::Phone, "+79123456789"));
}

#[test]
fn a_disputed_area_points_to_whom_the_map_decides_for_or_to_nobody() {
    use EvidenceKind::{CollectedIn, Ip, Phone, Residence};
    let areas = "\n[[disputed]]\nname = \"open\"\naddresses = [\"203.0.113.0/24\", \"2001:db8::/32\"]\n\
                 numbers = [\"+7978\", \"+38069\", \"+99544\"]\nclaims = [\"RU\", \"UA\"]\n\
                 [[disputed]]\nname = \"decided\"\naddresses = [\"203.0.113.128/25\"]\n\
                 numbers = [\"+79781\"]\nclaims = [\"RU\", \"UA\"]\ndecided = [\"UA\", \"RU\"]\n";
    let map = RegionMap::parse(&format!("{MAP}{areas}")).expect("a sound map");
    let sources = sources();
    let open = [
        (Ip, "203.0.113.7"),
        (Ip, "::ffff:203.0.113.7"),
        (Ip, "::203.0.113.7"),
        (Ip, "::ffff:0:203.0.113.7"),
        (Ip, "64:ff9b::203.0.113.7"),
        (Ip, "2001:db8::1"),
        (Phone, "+79782345678"),
        (Phone, "+789782345678"),
        (Phone, "+3800692345678"),
        (Phone, "+9950442345678"),
    ];
    for (kind, value) in open {
        let items = [(EvidenceKind::Citizenship, "DE"), (kind, value)];
        let fault = sources.findings(&map, &items, &Findings::new()).expect_err(value);
        assert_eq!(fault.reason, Reason::JurisdictionDisputed);
        assert_eq!(fault.field.as_deref(), Some("evidence[1].value"));
        assert_eq!(fault.detail(Detail::Conflicting), Some("RU,UA"));
        let shown = format!("{fault} {fault:?}");
        assert!(!shown.contains(value) && !shown.contains("open"), "{shown}");
    }
    for (kind, value, expected) in [
        (Ip, "203.0.113.200", "ip RU, ip UA"),
        (Ip, "::ffff:203.0.113.128", "ip RU, ip UA"),
        (Ip, "203.0.114.1", ""),
        (Phone, "+79781234567", "phone RU, phone UA"),
        (Phone, "+789781234567", "phone RU, phone UA"),
        (Ip, "2002:cb00:7107::1", ""),
        (Phone, "+79123456789", "phone RU"),
    ] {
        let found = sources.findings(&map, &[(kind, value)], &Findings::new()).expect(value);
        let found: Vec<_> = found.iter().map(|f| format!("{} {}", f.kind(), f.code())).collect();
        assert_eq!(found.join(", "), expected, "{value}");
    }
    // What plays no part beside the rest need not be decided, wherever the rest comes from.
    for (other, value, kind, idle) in [
        (CollectedIn, "DE", Ip, "203.0.113.7"),
        (CollectedIn, "DE", Phone, "+79782345678"),
        (Residence, "DE", Phone, "+79782345678"),
        (Ip, "203.0.113.200", Phone, "+79782345678"),
    ] {
        let items = [(kind, idle), (other, value)];
        assert!(sources.findings(&map, &items, &Findings::new()).is_ok(), "{kind} {other}");
    }
    let mut sent = Findings::new();
    sent.insert(Finding::parse(CollectedIn, "DE").expect("a finding")).expect("room");
    let found = sources.findings(&map, &[(Ip, "203.0.113.7")], &sent).expect("it plays no part");
    assert_eq!(found, sent);
    // Residence does not make an address idle, and an open area makes no number idle.
    for other in [(Residence, "DE"), (Phone, "+79123456789")] {
        let items = [(Ip, "203.0.113.7"), other];
        assert!(sources.findings(&map, &items, &Findings::new()).is_err(), "{other:?}");
    }
}
