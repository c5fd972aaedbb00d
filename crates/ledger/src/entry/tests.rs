//! Entries against golden bytes, noise, changed bytes and every limit.

use proptest::prelude::*;

use super::*;
use crate::testing::flips;

/// Entries by another program (see the README beside them), each with the line it must show.
fn golden() -> Vec<(Vec<u8>, &'static str)> {
    let file = include_str!("../../tests/golden/entries.txt");
    let blocks = file.trim_end().split("\n\n").map(|block| block.split_once("\n    ").unwrap());
    blocks.map(|(hex, line)| (hex::decode(hex).unwrap(), line.trim_end())).collect()
}

#[test]
fn golden_entries() {
    let golden = golden();
    let mut kinds = Vec::new();
    for (bytes, line) in &golden {
        let entry = Entry::decode(bytes).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(entry.to_string(), *line);
        assert_eq!(&entry.encode().unwrap(), bytes, "{line}");
        kinds.push(entry.kind);
    }
    assert!(Kind::ALL.iter().all(|kind| kinds.contains(kind)), "one of each kind");
}

/// One of them, field by field.
#[test]
fn a_golden_entry_in_full() {
    let (bytes, _) = &golden()[4];
    let entry = Entry::decode(bytes).unwrap();
    let hash = |text: &str| {
        use sha2::{Digest, Sha256};
        <[u8; 32]>::from(Sha256::digest(text))
    };
    let tag = |text: &str| *hash(text).first_chunk::<16>().unwrap();
    let expected = Entry {
        kind: Kind::Place,
        minute: 29_748_896,
        tenant_tag: Some(tag("tenant")),
        collection: Some("profile".into()),
        jurisdictions: vec!["EEA".into()],
        statutes: vec!["eu-gdpr-2016".into()],
        clauses: vec!["eea-to-us-scc".into()],
        map: Some(MapRef { epoch: 7, digest: hash("map 7") }),
        evidence_kinds: EvidenceKind::ALL.iter().copied().collect(),
        caller: Some(Caller { role: Role::Writer, tag: tag("caller"), territory: None }),
        earlier: None,
        details: vec![
            Detail::PhoneData("9.0.43".into()),
            Detail::IpData("2026-07 (sample)".into()),
        ],
        commitment: Some(hash("commitment 4")),
    };
    assert_eq!(entry, expected);
    assert_eq!(&expected.encode().unwrap(), bytes);
}

#[test]
fn a_typical_entry_is_small() {
    let (bytes, line) = &golden()[3];
    assert!(line.starts_with("PLACE ") && bytes.len() <= 170, "{}", bytes.len());
    assert!(golden()[4].0.len() < 220);
}

#[test]
fn every_flipped_bit_is_another_entry_or_none() {
    for (bytes, line) in golden() {
        for other in flips(&bytes) {
            if let Ok(entry) = Entry::decode(&other) {
                assert_eq!(entry.encode().unwrap(), other);
                assert_ne!(entry.to_string(), line);
            }
        }
        for end in 0..bytes.len() {
            assert!(Entry::decode(&bytes[..end]).is_err(), "{line}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(Entry::decode(&longer), Err(Error::Trailing));
    }
}

fn check(change: impl FnOnce(&mut Entry), expected: Result<(), Error>) {
    let mut entry = Entry::new(Kind::Place, 1);
    change(&mut entry);
    let mut out = b"before".to_vec();
    assert_eq!(entry.encode_into(&mut out), expected, "{entry}");
    match expected {
        Ok(()) => assert_eq!(Entry::decode(&out[6..]), Ok(entry)),
        Err(_) => assert_eq!(out, b"before", "nothing is left of an entry that is refused"),
    }
}

#[test]
fn limits_are_held() {
    let name = |length: usize| "x".repeat(length);
    check(|e| e.collection = Some(name(127)), Ok(()));
    check(|e| e.collection = Some(name(128)), Err(Error::Length));
    check(|e| e.collection = Some(String::new()), Err(Error::Length));
    for bad in ["a b", "a,b", "a\n", "ä", "\u{7f}", "a\0"] {
        check(|e| e.collection = Some(bad.into()), Err(Error::Character));
        check(|e| e.statutes = vec![bad.into()], Err(Error::Character));
    }
    let many = |count: usize| (0..count).map(|i| format!("s{i:03}")).collect::<Vec<_>>();
    check(|e| e.clauses = many(64), Ok(()));
    check(|e| e.clauses = many(65), Err(Error::Length));
    check(|e| e.jurisdictions = vec!["RU".into(), "EEA".into()], Err(Error::Order));
    check(|e| e.jurisdictions = vec!["RU".into(), "RU".into()], Err(Error::Order));
    check(|e| e.jurisdictions = vec![String::new()], Err(Error::Length));
    check(|e| e.details = vec![Detail::Reason(name(512))], Ok(()));
    check(|e| e.details = vec![Detail::Reason(name(513))], Err(Error::Length));
    check(|e| e.details = vec![Detail::Reason(String::new())], Err(Error::Length));
    check(|e| e.details = vec![Detail::Reason("a\tb".into())], Err(Error::Character));
    check(|e| e.details = vec![Detail::Reason("ä".into())], Err(Error::Character));
    check(|e| e.details = vec![Detail::Count(1), Detail::Count(2)], Err(Error::Order));
    check(|e| e.details = vec![Detail::Deadline(1), Detail::Count(2)], Err(Error::Order));
    let caller = |territory: &str| {
        Some(Caller { role: Role::Reader, tag: [1; 16], territory: Some(territory.into()) })
    };
    check(|e| e.caller = caller("RU"), Ok(()));
    check(|e| e.caller = caller(""), Err(Error::Length));
    check(|e| e.caller = caller("R U"), Err(Error::Character));
}

/// The largest entry that the other limits allow fits the limit of the entry, and a bundle.
#[test]
fn the_largest_entry_fits() {
    let names: Vec<_> = (0..64).map(|i| format!("{i:0127}")).collect();
    let text = || "x".repeat(512);
    let entry = Entry {
        kind: Kind::Create,
        minute: u32::MAX,
        tenant_tag: Some([255; 16]),
        collection: Some("x".repeat(127)),
        jurisdictions: names.clone(),
        statutes: names.clone(),
        clauses: names,
        map: Some(MapRef { epoch: u64::MAX, digest: [255; 32] }),
        evidence_kinds: EvidenceKind::ALL.iter().copied().collect(),
        caller: Some(Caller { role: Role::Shard, tag: [1; 16], territory: Some("x".repeat(127)) }),
        earlier: Some(u64::MAX),
        details: vec![
            Detail::Count(u64::MAX),
            Detail::Reason(text()),
            Detail::OldHead { origin: text(), size: u64::MAX, root: Hash([1; 32]) },
            Detail::Peer { origin: text(), index: u64::MAX },
            Detail::Deadline(u32::MAX),
            Detail::LogKey(text()),
            Detail::PhoneData(text()),
            Detail::IpData(text()),
            Detail::Signers(text()),
            Detail::Region(text()),
            Detail::References(text()),
        ],
        commitment: Some([255; 32]),
    };
    let bytes = entry.encode().unwrap();
    assert!(bytes.len() <= ENTRY_BYTES_MAX && ENTRY_BYTES_MAX <= usize::from(u16::MAX));
    assert_eq!(Entry::decode(&bytes), Ok(entry));
    assert_eq!(Entry::decode(&vec![1; ENTRY_BYTES_MAX + 1]), Err(Error::Length));
}

#[test]
fn what_has_another_form_is_refused() {
    // format, kind, minute, fields, what follows
    let bytes = |format: u8, kind: u8, fields: u16, rest: &[u8]| {
        [&[format, kind, 0, 0, 0, 1], &fields.to_be_bytes()[..], rest].concat()
    };
    let decode = |bytes: Vec<u8>| Entry::decode(&bytes).map(|entry| entry.kind);
    assert_eq!(decode(bytes(1, 3, 0, &[])), Ok(Kind::Place));
    for (format, kind, fields, rest, error) in [
        (0, 3, 0, &[][..], Error::Format),
        (2, 3, 0, &[], Error::Format),
        (1, 0, 0, &[], Error::Code),
        (1, 26, 0, &[], Error::Code),
        (1, 3, 1 << 11, &[], Error::Code),
        (1, 3, 1 << 15, &[], Error::Code),
        (1, 3, 0, &[0], Error::Trailing),
        (1, 3, 2, &[0], Error::Length),
        (1, 3, 2, &[1, b' '], Error::Character),
        (1, 3, 2, &[1, 0xc3], Error::Character),
        (1, 3, 4, &[0], Error::Length),
        (1, 3, 4, &[65], Error::Length),
        (1, 3, 4, &[2, 1, b'b', 1, b'a'], Error::Order),
        (1, 3, 4, &[2, 1, b'a', 1, b'a'], Error::Order),
        (1, 3, 64, &[0], Error::Code),
        (1, 3, 64, &[0x80], Error::Code),
        (1, 3, 128, &[0], Error::Code),
        (1, 3, 128, &[9], Error::Code),
        (1, 3, 512, &[0], Error::Length),
        (1, 3, 512, &[1, 0], Error::Code),
        (1, 3, 512, &[1, 12], Error::Code),
        (1, 3, 512, &[1, 10], Error::Truncated),
        (1, 3, 512, &[1, 11, 0, 0], Error::Length),
        (1, 3, 512, &[1, 2, 0, 0], Error::Length),
        (1, 3, 512, &[1, 2, 0, 1, b'\n'], Error::Character),
        (1, 3, 512, &[2, 5, 0, 0, 0, 1, 5, 0, 0, 0, 1], Error::Order),
        (1, 3, 1024, &[0; 31], Error::Truncated),
    ] {
        assert_eq!(decode(bytes(format, kind, fields, rest)), Err(error), "{fields} {rest:?}");
    }
}

#[test]
fn lists_can_be_brought_in_order() {
    let mut entry = Entry::new(Kind::Place, 1);
    entry.statutes = vec!["b".into(), "a".into(), "b".into()];
    entry.details = vec![Detail::Deadline(5), Detail::Count(1)];
    assert_eq!(entry.encode(), Err(Error::Order));
    let entry = entry.in_order();
    assert_eq!(entry.statutes, ["a", "b"]);
    assert_eq!(entry.details, [Detail::Count(1), Detail::Deadline(5)]);
    assert!(entry.encode().is_ok());
    let mut twice = entry;
    twice.details = vec![Detail::Count(2), Detail::Count(1)];
    assert_eq!(twice.in_order().encode(), Err(Error::Order));
}

#[test]
fn minutes_are_shown_as_dates() {
    for (minute, shown) in [
        (0, "1970-01-01T00:00Z"),
        (59, "1970-01-01T00:59Z"),
        (84_960, "1970-03-01T00:00Z"),
        (15_863_040, "2000-02-29T00:00Z"),
        (15_864_480, "2000-03-01T00:00Z"),
        (27_873_359, "2022-12-30T11:59Z"),
        (68_374_079, "2099-12-31T23:59Z"),
        (68_457_600, "2100-02-28T00:00Z"),
        (68_459_040, "2100-03-01T00:00Z"),
        (u32::MAX, "10136-02-16T04:15Z"),
    ] {
        let line = Entry::new(Kind::Seal, minute).to_string();
        assert_eq!(line, format!("SEAL {shown}"));
    }
}

fn name() -> impl Strategy<Value = String> {
    "[!-+\\--~]{1,20}"
}

fn list() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(name(), 0..5).prop_map(|set| set.into_iter().collect())
}

fn detail() -> impl Strategy<Value = Detail> {
    let text = || "[ -~]{1,40}";
    prop_oneof![
        any::<u64>().prop_map(Detail::Count),
        text().prop_map(Detail::Reason),
        (text(), any::<u64>(), any::<[u8; 32]>())
            .prop_map(|(origin, size, root)| Detail::OldHead { origin, size, root: Hash(root) }),
        (text(), any::<u64>()).prop_map(|(origin, index)| Detail::Peer { origin, index }),
        any::<u32>().prop_map(Detail::Deadline),
        text().prop_map(Detail::LogKey),
        text().prop_map(Detail::PhoneData),
        text().prop_map(Detail::IpData),
        text().prop_map(Detail::Signers),
        text().prop_map(Detail::Region),
        text().prop_map(Detail::References),
    ]
}

fn caller() -> impl Strategy<Value = Caller> {
    let role = prop::sample::select(Role::ALL);
    let fields = (role, any::<[u8; 16]>(), prop::option::of(name()));
    fields.prop_map(|(role, tag, territory)| Caller { role, tag, territory })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let map = any::<(u64, [u8; 32])>().prop_map(|(epoch, digest)| MapRef { epoch, digest });
    let evidence = (0_u8..128).prop_map(|bits| EvidenceKinds::from_bits(bits).unwrap());
    let details = prop::collection::vec(detail(), 0..6).prop_map(|mut details| {
        details.sort_by_key(Detail::code);
        details.dedup_by_key(|detail| detail.code());
        details
    });
    (
        (prop::sample::select(Kind::ALL), any::<u32>(), any::<Option<[u8; 16]>>()),
        (prop::option::of(name()), list(), list(), list()),
        (prop::option::of(map), evidence, prop::option::of(caller())),
        (any::<Option<u64>>(), details, any::<Option<[u8; 32]>>()),
    )
        .prop_map(|(when, about, ruled, rest)| Entry {
            kind: when.0,
            minute: when.1,
            tenant_tag: when.2,
            collection: about.0,
            jurisdictions: about.1,
            statutes: about.2,
            clauses: about.3,
            map: ruled.0,
            evidence_kinds: ruled.1,
            caller: ruled.2,
            earlier: rest.0,
            details: rest.1,
            commitment: rest.2,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_encoded_decodes(entry in any_entry()) {
        let bytes = entry.encode().unwrap();
        prop_assert_eq!(Entry::decode(&bytes), Ok(entry));
    }

    #[test]
    fn random_bytes_decode_to_themselves_or_not_at_all(
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        kind in 1_u8..26,
        fields in 0_u16..2048,
    ) {
        // Plain noise, and noise behind a valid beginning.
        let shaped = [&[1, kind, 0, 0, 0, 1], &fields.to_be_bytes()[..], &bytes].concat();
        for bytes in [bytes, shaped] {
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode().unwrap(), bytes);
            }
        }
    }

    /// Two bytes of a valid entry changed: it stays valid far more often than noise does.
    #[test]
    fn changed_entries_decode_to_themselves_or_not_at_all(
        entry in any_entry(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3),
    ) {
        let mut bytes = entry.encode().unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(entry) = Entry::decode(&bytes) {
            prop_assert_eq!(entry.encode().unwrap(), bytes);
        }
    }
}
