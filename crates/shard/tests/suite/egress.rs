//! The egress policy of a real shard: what crosses a border to a reader, what comes in through a gateway,
//! what a role may ask, and that none of the answers tells whether somebody is there.

use crate::erasure::{as_eraser, erase, held};
use crate::support::{Place, Session, delete, findings, put_ru, request_id};
use wire::session as proto;
use wire::session::call::Op;
use wire::v1::SubjectState;

const EGRESS: &str = "EGRESS_NOT_COVERED";

/// A put of a person with that residence into a collection.
fn put_in(subject: &str, of: &str, country: &str, n: u64) -> proto::Put {
    proto::Put {
        subject: subject.into(),
        collection: of.into(),
        key: "k".into(),
        body: b"body".to_vec().into(),
        request_id: request_id(n).into(),
        create_subject: true,
        findings: findings(&[("residence", country)]).into(),
        ..Default::default()
    }
}

fn get(subject: &str, of: &str, key: &str) -> Op {
    Op::Get(proto::Get {
        subject: subject.into(),
        collection: of.into(),
        key: key.into(),
        ..Default::default()
    })
}

/// What a caller who stands there gets: `found`, or the reason.
async fn read(
    session: &mut Session,
    from: Option<&'static str>,
    what: (&str, &str, &str),
) -> String {
    session.territory = from;
    let (subject, of, key) = what;
    let outcome = session.get(subject, of, key).await;
    session.territory = None;
    outcome.map_or_else(
        |reason| reason,
        |found| {
            assert_eq!(found.body, "body");
            "found".to_owned()
        },
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_crosses_a_border_only_under_a_clause() {
    // By the sample map: ru-kz covers profiles, eea-ru profiles, eea-kz profiles and messages.
    let ru = Place::new("ru-msk");
    let ru = ru.start().await;
    let mut session = ru.session().await;
    session.put(put_in("anna", "profiles", "RU", 1)).await.unwrap();
    session.put(put_in("anna", "messages", "RU", 2)).await.unwrap();
    for (from, profiles, messages) in [
        (None, "found", "found"),
        (Some("RU"), "found", "found"),
        (Some("KZ"), "found", EGRESS),
        (Some("DE"), EGRESS, EGRESS),
        (Some(""), EGRESS, EGRESS),
    ] {
        assert_eq!(read(&mut session, from, ("anna", "profiles", "k")).await, profiles, "{from:?}");
        assert_eq!(read(&mut session, from, ("anna", "messages", "k")).await, messages, "{from:?}");
    }
    drop(session);
    ru.stop().await.unwrap();
    let eu = Place::new("eu-fra");
    let eu = eu.start().await;
    let mut session = eu.session().await;
    session.put(put_in("fritz", "messages", "FR", 1)).await.unwrap();
    session.put(put_in("george", "messages", "GB", 2)).await.unwrap();
    for (from, fritz, george) in [
        (None, "found", "found"),
        // All of the EEA is one jurisdiction; to it leads gb-eea.
        (Some("SE"), "found", "found"),
        (Some("GB"), EGRESS, "found"),
        (Some("KZ"), "found", EGRESS),
        (Some("US"), EGRESS, EGRESS),
        (Some(""), EGRESS, EGRESS),
    ] {
        assert_eq!(read(&mut session, from, ("fritz", "messages", "k")).await, fritz, "{from:?}");
        assert_eq!(read(&mut session, from, ("george", "messages", "k")).await, george, "{from:?}");
    }
    drop(session);
    eu.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_may_not_read_may_not_replace_what_that_rests_on() {
    let place = Place::new("eu-fra");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_in("george", "messages", "GB", 1)).await.unwrap();
    session.put(put_in("fritz", "messages", "FR", 2)).await.unwrap();
    let reassess = |subject: &str, validate_only| {
        Op::Reassess(proto::Reassess {
            subject: subject.into(),
            findings: findings(&[("residence", "FR")]).into(),
            reason: "a caller abroad says so".into(),
            validate_only,
            ..Default::default()
        })
    };
    let known = refused(&mut session, "KZ", reassess("george", false)).await;
    assert_eq!(known.reason.as_str(), EGRESS);
    // A dry run tells no more, nor does one about a subject that is not there.
    for (subject, dry) in [("george", true), ("nobody", false), ("nobody", true)] {
        let fault = refused(&mut session, "KZ", reassess(subject, dry)).await;
        assert_eq!(fault, known, "{subject} {dry}");
    }
    assert_eq!(read(&mut session, Some("KZ"), ("george", "messages", "k")).await, EGRESS);
    assert_eq!(read(&mut session, Some("GB"), ("george", "messages", "k")).await, "found");
    // A caller who may read may ask, and at home all may be asked.
    for (from, subject) in [(Some("KZ"), "fritz"), (None, "george")] {
        session.territory = from;
        assert!(session.call(reassess(subject, false)).await.is_ok(), "{subject}");
    }
    assert_eq!(read(&mut session, Some("KZ"), ("george", "messages", "k")).await, "found");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_takes_no_law_away_from_a_ruling_that_stands() {
    // Two laws of one jurisdiction: the strict one attaches while citizenship is not known.
    let mut place = Place::new("ru-msk");
    let two = "\n[[statutes]]\nid = \"ru-152fz-12\"\ndigest = \"sha256:\
               7d553c2e243a108d2286c5c89c7af45141002c82de07b81393a57039b3177037\"\n";
    let kz = "\n[[statutes]]\nid = \"kz-94v\"\n";
    for (old, new) in [
        ("reading = \"primary-first\"", "reading = \"exclusive\"".to_owned()),
        ("region = \"ru-msk\"\nlead = false\n", "region = \"ru-msk\"\n".to_owned()),
        (kz, format!("{two}{kz}")),
    ] {
        assert_eq!(place.map.matches(old).count(), 1, "{old}");
        place.map = place.map.replace(old, &new);
    }
    let (before, clause) = place.map.split_once("id = \"ru-kz\"").expect("the clause");
    let begins = "not_before = 2020-01-01";
    let notified = "notified = 2020-01-01\nnot_before = 2020-02-01";
    place.map = format!("{before}id = \"ru-kz\"{}", clause.replacen(begins, notified, 1));
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_in("anna", "profiles", "RU", 1)).await.unwrap();
    let record = ("anna", "profiles", "k");
    assert_eq!(read(&mut session, Some("KZ"), record).await, EGRESS);
    session.territory = Some("KZ");
    let mut put = put_in("anna", "profiles", "RU", 2);
    put.findings = findings(&[("citizenship", "BR")]).into();
    assert_eq!(session.put(put.clone()).await.err().unwrap(), "JURISDICTION_CHANGED");
    assert_eq!(read(&mut session, Some("KZ"), record).await, EGRESS);
    // For a person with that citizenship from the start the clause is enough.
    put.subject = "bruna".into();
    put.findings = findings(&[("residence", "RU"), ("citizenship", "BR")]).into();
    session.put(put).await.unwrap();
    assert_eq!(read(&mut session, Some("KZ"), ("bruna", "profiles", "k")).await, "found");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exclusive_record_is_read_at_home_only() {
    let place = Place::new("in-bom");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_in("asha", "payments", "IN", 1)).await.unwrap();
    for country in atlas::Country::all().map(atlas::Country::as_str) {
        let expected = if country == "IN" { "found" } else { EGRESS };
        let got = read(&mut session, Some(country), ("asha", "payments", "k")).await;
        assert_eq!(got, expected, "{country}");
    }
    drop(session);
    shard.stop().await.unwrap();
}

/// The whole answer, so that nothing in it differs.
async fn refused(session: &mut Session, from: &'static str, op: Op) -> terms::Rejection {
    session.territory = Some(from);
    let answer = session.call(op).await;
    session.territory = None;
    link::session::from_wire(answer.err().expect("refused"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_barred_and_what_is_not_there_look_the_same_from_abroad() {
    let place = Place::new("eu-fra");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_in("fritz", "messages", "FR", 1)).await.unwrap();
    session.put(put_in("george", "messages", "GB", 2)).await.unwrap();
    let mut gone = put_in("gone", "messages", "FR", 3);
    let delete = proto::Delete {
        subject: "gone".into(),
        collection: "messages".into(),
        key: "k".into(),
        request_id: request_id(4).into(),
        ..Default::default()
    };
    gone.key = "k".into();
    session.put(gone).await.unwrap();
    session.delete(delete).await.unwrap();
    for from in ["US", "RU", ""] {
        let mut all = Vec::new();
        for (subject, of, key) in [
            ("fritz", "messages", "k"),
            ("fritz", "messages", "other"),
            ("fritz", "profiles", "k"),
            ("george", "messages", "k"),
            ("george", "messages", "other"),
            ("gone", "messages", "k"),
            ("nobody", "messages", "k"),
        ] {
            // Messages alone: what a law lets go differs by collection, and that is public.
            if of != "messages" && from == "RU" {
                continue;
            }
            all.push(refused(&mut session, from, get(subject, of, key)).await);
        }
        assert!(all.iter().all(|fault| fault.reason.as_str() == EGRESS), "{from}: {all:?}");
        let messages: Vec<_> = all.iter().filter(|fault| **fault == all[0]).collect();
        assert_eq!(messages.len(), all.len(), "{from}: {all:?}");
    }
    // Somebody in KZ may read messages of the EEA, and not those of GB. Whether George exists is
    // not told: not of a record, not of another key, not of nobody.
    let george = refused(&mut session, "KZ", get("george", "messages", "k")).await;
    let nobody = refused(&mut session, "KZ", get("nobody", "messages", "k")).await;
    assert_eq!(george, nobody);
    assert_eq!(george.reason.as_str(), EGRESS);
    // What the reader may have, it may also know to be missing.
    let other = refused(&mut session, "KZ", get("fritz", "messages", "other")).await;
    assert_eq!(other.reason.as_str(), "RECORD_NOT_FOUND");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_was_erased_is_abroad_as_one_that_never_was() {
    let place = Place::new("us-iad");
    let shard = place.start().await;
    let mut session = shard.session().await;
    for (subject, n) in [("ann", 1), ("bob", 2)] {
        session.put(put_in(subject, "messages", "US", n)).await.unwrap();
    }
    // No law of the place keeps a person there from readers abroad.
    session.territory = Some("KZ");
    assert_eq!(held(&mut session, "ann").await.unwrap().collections.len(), 1);
    session.territory = None;
    as_eraser(&mut session, Op::Erase(erase("ann", 3))).await.unwrap();
    assert_eq!(held(&mut session, "ann").await.unwrap().state, i32::from(SubjectState::Erased));
    for from in ["KZ", ""] {
        session.territory = Some(from);
        assert_eq!(held(&mut session, "bob").await.err(), None, "{from}");
        assert_eq!(held(&mut session, "ann").await.err().unwrap(), "SUBJECT_UNKNOWN", "{from}");
        assert_eq!(held(&mut session, "nobody").await.err().unwrap(), "SUBJECT_UNKNOWN", "{from}");
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_read_leaves_no_entry_and_no_count() {
    let place = Place::new("in-bom");
    let shard = place.start().await;
    let mut session = shard.session().await;
    let first = session.put(put_in("asha", "payments", "IN", 1)).await.unwrap();
    for _ in 0..20 {
        assert_eq!(read(&mut session, Some("US"), ("asha", "payments", "k")).await, EGRESS);
    }
    let mut second = put_in("asha", "payments", "IN", 2);
    second.key = "k2".into();
    assert_eq!(session.put(second).await.unwrap().index, first.index + 1);
    // Payments are logged: a read that is answered has an entry.
    assert_eq!(read(&mut session, Some("IN"), ("asha", "payments", "k")).await, "found");
    let mut third = put_in("asha", "payments", "IN", 3);
    third.key = "k3".into();
    assert_eq!(session.put(third).await.unwrap().index, first.index + 3);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_came_later_binds_reads_before_the_next_write() {
    let place = Place::new("kz-ala");
    let shard = place.start().await;
    let mut session = shard.session().await;
    // Lives in KZ; the messages' ruling rests on that alone, and KZ's law is a mirror: no bar.
    session.put(put_in("dana", "messages", "KZ", 1)).await.unwrap();
    assert_eq!(read(&mut session, Some("US"), ("dana", "messages", "k")).await, "found");
    // Another collection brings a residence in the EEA, which a clause lets lie here.
    let mut more = put_in("dana", "profiles", "FR", 2);
    more.findings = findings(&[("residence", "FR"), ("residence", "KZ")]).into();
    session.put(more).await.unwrap();
    assert_eq!(read(&mut session, Some("KZ"), ("dana", "messages", "k")).await, "found");
    assert_ne!(read(&mut session, Some("US"), ("dana", "messages", "k")).await, "found");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clause_that_has_ended_covers_no_reader_also_when_the_clock_is_set_back() {
    let mut place = Place::new("ru-msk");
    let clock = std::sync::Arc::new(crate::support::SetClock(Default::default()));
    let ms = |day: &str| u64::from(atlas::Date::parse(day).expect("a day").day()) * 86_400_000;
    clock.0.store(ms("2026-11-23"), std::sync::atomic::Ordering::Relaxed);
    place.clock = clock.clone();
    // The clause ru-kz alone ends.
    let (before, after) = place.map.split_once("id = \"ru-kz\"").expect("the clause");
    place.map = format!("{before}id = \"ru-kz\"{}", after.replacen("2100-01-01", "2027-01-01", 1));
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    let anna = ("anna", "profiles", "k");
    assert_eq!(read(&mut session, Some("KZ"), anna).await, "found");
    clock.set(&place, ms("2027-01-01"));
    assert_eq!(read(&mut session, Some("KZ"), anna).await, EGRESS);
    assert_eq!(read(&mut session, Some("RU"), anna).await, "found");
    session.put(put_ru("anna", "k2", b"body", 2)).await.unwrap();
    clock.set(&place, ms("2026-11-23"));
    assert_eq!(read(&mut session, Some("KZ"), anna).await, EGRESS);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ruling_that_cannot_be_made_again_is_read_at_home_only() {
    let mut place = Place::new("us-iad");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_in("joe", "messages", "US", 1)).await.unwrap();
    assert_eq!(read(&mut session, Some("BR"), ("joe", "messages", "k")).await, "found");
    drop(session);
    shard.stop().await.unwrap();
    // The next map has dropped the collection.
    place.map = place.map.replace("version = 1", "version = 2");
    place.map = place.map.replacen("name = \"messages\"", "name = \"letters\"", 1);
    place.map = place.map.replace("\"profiles\", \"messages\"", "\"profiles\", \"letters\"");
    let shard = place.start().await;
    let mut session = shard.session().await;
    assert_eq!(read(&mut session, None, ("joe", "messages", "k")).await, "found");
    assert_ne!(read(&mut session, Some("BR"), ("joe", "messages", "k")).await, "found");
    assert_ne!(read(&mut session, Some(""), ("joe", "messages", "k")).await, "found");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_asks_for_its_own_and_nothing_else() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    let delete = |key: &str| Op::Delete(delete("anna", key, 9));
    let create = Op::Create(proto::Create { subject: "new".into(), ..Default::default() });
    let put = || Op::Put(put_ru("anna", "k2", b"x", 2));
    for role in ["reader", "eraser", "operator", "auditor", "shard", "writer", "admin", ""] {
        session.role = Some(role);
        for (op, its) in [
            (get("anna", "profiles", "k"), "reader"),
            // Permission comes before existence, and before whatever is wrong with the call.
            (get("nobody", "", "\0"), "reader"),
            (delete("none"), "writer"),
            (create.clone(), "writer"),
            (put(), "writer"),
        ] {
            if role != its {
                let fault = session.call(op).await.err().expect("refused");
                let fault = link::session::from_wire(fault);
                assert_eq!(fault, terms::Rejection::new(terms::Reason::NotPermitted), "{role}");
            }
        }
    }
    session.role = None;
    // None of it was stored.
    assert_eq!(session.get("anna", "profiles", "k2").await.err().unwrap(), "RECORD_NOT_FOUND");
    assert_eq!(session.get("new", "profiles", "k").await.err().unwrap(), "SUBJECT_UNKNOWN");
    assert_eq!(session.get("anna", "profiles", "k").await.unwrap().body, "body");
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_stands_beside_the_gateway_or_somewhere_and_not_both() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    session.put(put_ru("anna", "k", b"body", 1)).await.unwrap();
    for (territory, beside) in [("DE", true), ("RU", true), ("XX", false), ("ru", false)] {
        let mut call = session.wrap(get("anna", "profiles", "k"));
        let caller = call.caller.as_mut().expect("a caller");
        (caller.territory, caller.beside_gateway) = (territory.into(), beside);
        let id = call.id;
        session.send(vec![call]).await;
        let fault = session.answer(id).await.expect("open").err().expect("refused");
        assert_eq!((&*fault.reason, &*fault.field), ("FIELD_INVALID", "caller.territory"));
    }
    // Who asked last from where is remembered with where it stood.
    for (from, expected) in
        [(None, "found"), (Some("DE"), EGRESS), (None, "found"), (Some(""), EGRESS)]
    {
        assert_eq!(read(&mut session, from, ("anna", "profiles", "k")).await, expected);
    }
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_comes_in_through_a_gateway_inside_if_a_law_asks_for_it() {
    let mut place = Place::new("eu-fra");
    // The gateway of a plaintext session stands where the shard does: in DE.
    for law in ["eu-gdpr", "uk-gdpr"] {
        let id = format!("id = \"{law}\"\n");
        place.map = place.map.replace(&id, &format!("{id}ingress = \"in-territory\"\n"));
    }
    let ingress = "region = \"eu-fra\"\ningress = \"https://gw.example:443\"\n";
    place.annex = place.annex.replace("region = \"eu-fra\"\n", ingress);
    let shard = place.start().await;
    let mut session = shard.session().await;
    let first = session.put(put_in("fritz", "messages", "FR", 1)).await.unwrap();
    let mut dry = put_in("george", "messages", "GB", 2);
    dry.validate_only = true;
    for put in [put_in("george", "messages", "GB", 2), dry] {
        let fault = session.call(Op::Put(put)).await.err().expect("refused");
        let fault = link::session::from_wire(fault);
        assert_eq!(fault.reason, terms::Reason::WrongIngress);
        assert_eq!(fault.detail(terms::Detail::Conflicting), Some("GB"));
        assert_eq!(fault.detail(terms::Detail::Region), Some("eu-fra"));
        // The gateway beside this shard is in the wrong territory, too.
        assert_eq!(fault.detail(terms::Detail::Ingress), None);
    }
    // Nothing was stored; nor is a subject created from there, body or not.
    assert_eq!(session.get("george", "messages", "k").await.err().unwrap(), "SUBJECT_UNKNOWN");
    let create = proto::Create {
        subject: "george".into(),
        collection: "messages".into(),
        request_id: request_id(3).into(),
        findings: findings(&[("residence", "GB")]).into(),
        ..Default::default()
    };
    assert_eq!(session.create(create).await.err().unwrap(), "WRONG_INGRESS");
    let next = session.put(put_in("frieda", "messages", "FR", 4)).await.unwrap();
    assert_eq!(next.index, first.index + 1);
    drop(session);
    shard.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_barred_record_is_not_waited_for_whatever_its_size() {
    let place = Place::new("ru-msk");
    let shard = place.start().await;
    let mut session = shard.session().await;
    for (subject, n) in [("anna", 1), ("boris", 2)] {
        let put = put_in(subject, "messages", "RU", n);
        let large = proto::Put { body: vec![7; 1 << 20].into(), ..put };
        session.put(large).await.unwrap();
    }
    // More than there is room for, and nobody takes it.
    let reads = 2 * (terms::limits::SESSION_ANSWER_BYTES_MAX >> 20);
    let home: Vec<_> = (0..reads).map(|_| session.wrap(get("anna", "messages", "k"))).collect();
    session.send(home).await;
    // Ten times what it takes until there is no room.
    tokio::time::sleep(std::time::Duration::from_secs(8)).await;
    session.territory = Some("DE");
    let barred = session.wrap(get("boris", "messages", "k"));
    let absent = session.wrap(get("nobody", "messages", "k"));
    let (barred_id, absent_id) = (barred.id, absent.id);
    session.send(vec![barred, absent]).await;
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    // Both answers come before what waits for room.
    let mut order = Vec::new();
    while order.len() < reads + 2 {
        let frame = session.answers.message().await.expect("a session").expect("a frame");
        order.extend(frame.replies.iter().map(|reply| reply.id));
    }
    let at = |id| order.iter().position(|other| *other == id).unwrap();
    assert_eq!(at(absent_id), at(barred_id) + 1, "the two are answered one after the other");
    assert!(at(barred_id) < reads, "it waited for room");
    drop(session);
    shard.stop().await.unwrap();
}
