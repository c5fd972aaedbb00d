//! The formats of both kinds of sealed bodies: against vectors of another program (the Python client, whose
//! HPKE was compared with that of the package `cryptography`), and against every change of what they are
//! bound to.

#![expect(clippy::unwrap_used, reason = "a test that goes astray may panic")]

use ledger::note::{Signer, Verifier};
use sealed::{
    AnswerPart, Binding, Call, CallerKey, CallerRecord, NotOpened, NoteInvalid, PageDigest,
    RegionKey, TransitKey, key_id,
};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).unwrap()
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap()
}

fn bytes(of: &Value, name: &str) -> Vec<u8> {
    hex::decode(text(of, name)).unwrap()
}

fn array<const N: usize>(of: &Value, name: &str) -> [u8; N] {
    bytes(of, name).try_into().unwrap()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of[name].as_array().unwrap();
    assert!(list.len() > 2);
    list
}

fn region_key(all: &Value) -> RegionKey {
    RegionKey::derive(text(all, "region"), &array(all, "secret"))
}

#[test]
fn sealed_bodies_and_answers_are_those_of_another_program() {
    let all = vectors();
    let key = region_key(&all);
    assert_eq!(key.public().id(), text(&all, "id"));
    for one in list(&all, "sealed") {
        let call = match text(one, "call") {
            "put" => Call::Put,
            "patch" => Call::Patch,
            "get" => Call::Get,
            "list" => Call::List,
            "scan" => Call::Scan,
            _ => Call::Export,
        };
        let asks = one["asks"].as_array().unwrap().iter().map(|ask| ask.as_str().unwrap());
        let asks: Vec<&str> = asks.collect();
        let request_id = bytes(one, "request_id");
        let binding = Binding {
            call,
            tenant: text(one, "tenant"),
            subject: text(one, "subject"),
            collection: text(one, "collection"),
            key: text(one, "key"),
            request_id: &request_id,
            if_version: one["if_version"].as_i64(),
            etag: text(one, "etag"),
            asks: &asks,
        };
        let opened = key.open(&binding, &bytes(one, "sealed")).unwrap();
        assert_eq!(opened.body, bytes(one, "body"));
        let version = one["answer_version"].as_i64().unwrap();
        let (etag, nonce) = (text(one, "answer_etag"), array(one, "answer_nonce"));
        let answer = opened.answer.seal(nonce, version, etag, &bytes(one, "answer_body"));
        assert_eq!(answer, bytes(one, "answer"));
    }
}

/// The parts of the answer to the export, which is the last of the requests.
#[test]
fn parts_of_answers_are_those_of_another_program_and_open_in_their_place_alone() {
    let all = vectors();
    let asked = list(&all, "sealed").last().unwrap();
    assert_eq!(text(asked, "call"), "export");
    let binding = Binding {
        call: Call::Export,
        tenant: text(asked, "tenant"),
        subject: text(asked, "subject"),
        collection: "",
        key: "",
        request_id: &[],
        if_version: None,
        etag: "",
        asks: &[asked["asks"][0].as_str().unwrap()],
    };
    let secret = region_key(&all).open(&binding, &bytes(asked, "sealed")).unwrap().answer;
    let parts = list(&all, "parts");
    let with = |one: &Value, each: &mut dyn FnMut(AnswerPart<'_>)| match text(one, "kind") {
        "record" => each(AnswerPart::Record {
            subject: text(one, "subject"),
            collection: text(one, "collection"),
            key: text(one, "key"),
            version: one["version"].as_i64().unwrap(),
            etag: text(one, "etag"),
            attachment_bytes: one["attachment_bytes"].as_i64().unwrap(),
        }),
        "collections" => {
            let names = one["names"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
            each(AnswerPart::Collections(&names.collect::<Vec<&str>>()));
        }
        _ => {
            let mut records = PageDigest::default();
            for sealed in one["records"].as_array().unwrap() {
                records.add(&hex::decode(sealed.as_str().unwrap()).unwrap());
            }
            each(AnswerPart::Page {
                collection: text(one, "collection"),
                from: &bytes(one, "from"),
                next: &bytes(one, "next"),
                records: &records.finish(),
            });
        }
    };
    for (n, one) in parts.iter().enumerate() {
        let (nonce, body, answer) = (array(one, "nonce"), bytes(one, "body"), bytes(one, "answer"));
        with(one, &mut |part| {
            assert_eq!(secret.seal_part(nonce, &part, &body), answer);
            for (m, other) in parts.iter().enumerate() {
                let opened = secret.open_part(&part, &bytes(other, "answer"));
                assert_eq!(opened, if n == m { Ok(body.clone()) } else { Err(NotOpened) });
            }
            // Not as the answer to a get, either.
            assert_eq!(secret.open(3, "etag-3", &answer), Err(NotOpened));
        });
    }
}

#[test]
fn caller_held_bodies_are_those_of_another_program() {
    let all = vectors();
    for one in list(&all, "caller") {
        let key = CallerKey::new(text(one, "key_id"), array(one, "caller_key")).unwrap();
        let record = CallerRecord {
            subject: text(one, "subject"),
            collection: text(one, "collection"),
            key: text(one, "key"),
        };
        let body = bytes(one, "body");
        let sealed = key.seal(&record, text(one, "request_id"), &body);
        assert_eq!(sealed, bytes(one, "sealed"));
        assert_eq!(key_id(&sealed), Some(key.id()));
        assert_eq!(key.open(&record, &sealed), Ok(body));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&record, &changed), Err(NotOpened), "byte {at}");
        }
        for other in [
            CallerRecord { subject: "another", ..record },
            CallerRecord { collection: "another", ..record },
            CallerRecord { key: "another", ..record },
        ] {
            assert_eq!(key.open(&other, &sealed), Err(NotOpened));
        }
    }
    assert_eq!(key_id(b"a plain body"), None);
    assert!(CallerKey::new("", [0; 32]).is_none());
}

/// Two ends that agree on everything, and then differ in one thing.
#[test]
fn a_body_opens_for_its_own_request_alone() {
    let key = RegionKey::derive("ru-msk", &[7; 32]);
    let binding = Binding {
        call: Call::Put,
        tenant: "sample",
        subject: "anna",
        collection: "profiles",
        key: "main",
        request_id: &[1; 16],
        if_version: None,
        etag: "",
        asks: &[],
    };
    let (sealed, secret) = key.public().seal(&binding, b"a marker").unwrap();
    assert_eq!(sealed.len(), b"a marker".len() + sealed::SEALED_OVERHEAD_BYTES);
    let opened = key.open(&binding, &sealed).unwrap();
    assert_eq!(opened.body, b"a marker");
    let others = [
        Binding { call: Call::Patch, ..binding },
        Binding { call: Call::Get, ..binding },
        Binding { tenant: "other", ..binding },
        Binding { subject: "boris", ..binding },
        Binding { collection: "messages", ..binding },
        Binding { key: "other", ..binding },
        // The same bytes, divided in another way.
        Binding { subject: "annap", collection: "rofiles", ..binding },
        Binding { request_id: &[2; 16], ..binding },
        Binding { if_version: Some(0), ..binding },
        Binding { etag: "1", ..binding },
        Binding { asks: &[""], ..binding },
        Binding { call: Call::List, ..binding },
        Binding { call: Call::Scan, ..binding },
        Binding { call: Call::Export, ..binding },
    ];
    for other in others {
        assert_eq!(key.open(&other, &sealed).err(), Some(NotOpened));
    }
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        assert_eq!(key.open(&binding, &changed).err(), Some(NotOpened), "byte {at}");
    }
    for short in [&[], &sealed[..31], &sealed[..47]] {
        assert_eq!(key.open(&binding, short).err(), Some(NotOpened));
    }
    // Another region with the same key pair, and another key of the same region.
    for other in [RegionKey::derive("eu-fra", &[7; 32]), RegionKey::derive("ru-msk", &[8; 32])] {
        assert_eq!(other.open(&binding, &sealed).err(), Some(NotOpened));
    }
    let answer = opened.answer.seal([3; 32], 5, "etag", b"answered");
    assert_eq!(secret.open(5, "etag", &answer), Ok(b"answered".to_vec()));
    assert_eq!(secret.open(6, "etag", &answer), Err(NotOpened));
    assert_eq!(secret.open(5, "other", &answer), Err(NotOpened));
    let (_, unrelated) = key.public().seal(&binding, b"a marker").unwrap();
    assert_eq!(unrelated.open(5, "etag", &answer), Err(NotOpened));
}

#[test]
fn a_region_s_key_is_believed_by_its_note_alone() {
    let all = vectors();
    let (note, region) = (text(&all, "note"), text(&all, "region"));
    let identity = Verifier::from_vkey(text(&all, "identity")).unwrap();
    let read = |note: &str, region: &str, now| {
        TransitKey::verify(note, &identity, region, now).map(|found| found.key.id().to_owned())
    };
    assert_eq!(read(note, region, 1_500_000).as_deref(), Ok(text(&all, "id")));
    // What this program publishes is the same, byte for byte.
    let signer = Signer::from_seed("sample/ru-msk/transit", &array(&all, "identity_seed")).unwrap();
    let key = region_key(&all);
    assert_eq!(key.publish("sample", &signer, 1_000_000, 2_000_000).unwrap(), note);

    assert_eq!(read(note, "eu-fra", 1_500_000), Err(NoteInvalid::OtherRegion));
    assert_eq!(read(note, region, 900_000), Err(NoteInvalid::OutOfTime));
    assert_eq!(read(note, region, 2_086_400), Err(NoteInvalid::OutOfTime));
    assert_eq!(read("", region, 1_500_000), Err(NoteInvalid::Malformed));
    // A gateway's own key, signed by itself under the region's name.
    let own = RegionKey::derive(region, &[9; 32]);
    let forger = Signer::from_seed("sample/ru-msk/transit", &[1; 32]).unwrap();
    let forged = own.publish("sample", &forger, 1_000_000, 2_000_000).unwrap();
    assert_eq!(read(&forged, region, 1_500_000), Err(NoteInvalid::Unsigned));
    // Its own key put into the region's note.
    let swapped = note.replace(text(&all, "public"), &"ab".repeat(32));
    assert_ne!(swapped, note);
    assert_eq!(read(&swapped, region, 1_500_000), Err(NoteInvalid::Unsigned));
    // Another region's note, by that region's identity, for this region.
    let other = Signer::from_seed("sample/eu-fra/transit", &[2; 32]).unwrap();
    let foreign = RegionKey::derive("eu-fra", &[3; 32]);
    let foreign = foreign.publish("sample", &other, 1_000_000, 2_000_000).unwrap();
    let verified = TransitKey::verify(&foreign, &other.verifier(), region, 1_500_000);
    assert_eq!(verified.err(), Some(NoteInvalid::OtherRegion));
}
