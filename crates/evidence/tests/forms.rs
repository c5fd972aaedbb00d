//! What is malformed, what says nothing, and what neither may ever show.

use atlas::EvidenceKind;
use evidence::{Evidence, Sources, findings_sent, kind};
use terms::{Detail, Fault, Pii, Reason};

fn sources() -> Sources {
    let database = include_bytes!("../../../tests/evidence/ip-country.mmdb");
    Sources::new(Some(database.to_vec())).expect("a database")
}

fn say(sources: &Sources, kind: EvidenceKind, value: &str) -> Result<Vec<String>, Fault> {
    let findings = sources.findings(&[(kind, value)])?;
    Ok(findings.iter().map(|f| format!("{} {}", f.kind(), f.code())).collect())
}

#[test]
fn a_malformed_value_is_named_by_its_field_only() {
    use EvidenceKind::{Citizenship, CollectedIn, Document, Ip, Phone, Residence, Sim};
    let sources = sources();
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
        (Phone, "+1234567890123456"),
        (Sim, "25"),
        (Sim, "25x"),
        (Residence, &"R".repeat(65)),
    ] {
        let items = [(Residence, "DE"), (kind, value)];
        let fault = sources.findings(&items).expect_err(value);
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
        (Phone, "+1"),
        (Phone, "+80012345678"),
        (Sim, "999"),
    ] {
        assert_eq!(say(&sources, kind, value), Ok(Vec::new()), "{kind} {value}");
    }
    let without = Sources::new(None).expect("no database is needed");
    assert_eq!(say(&without, Ip, "91.210.121.212"), Ok(Vec::new()));
    assert!(Sources::new(Some(vec![0; 4096])).is_err());
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
    assert_eq!(say(&sources, Ip, "::ffff:172.226.21.169"), Ok(plain));
}

#[test]
fn there_is_an_end_to_evidence() {
    let items = vec![(EvidenceKind::Sim, "250"); 65];
    for fault in [sources().findings(&items), findings_sent(&items)] {
        let fault = fault.expect_err("one too many");
        assert_eq!(fault.reason, Reason::TooManyItems);
        assert_eq!(fault.detail(Detail::Limit), Some("64"));
    }
    assert!(sources().findings(items.get(..64).expect("64 of 65")).is_ok());
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
