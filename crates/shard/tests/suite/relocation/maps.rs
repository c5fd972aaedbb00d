//! Moves that a map is the reason for.

use super::*;
use crate::support::MAP;

/// The next map: people of GB live in us-iad.
fn next_map(before: &Place) -> String {
    let digest = before.map().epoch().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbered = format!("version = 2\npredecessor = \"sha256:{hex}\"\n");
    let clause = "[[clauses]]\nid = \"gb-us\"\nfrom = \"GB\"\nto = \"US\"\ncollections = \"*\"\n\
                  legal_basis = \"INVENTED FOR THE EXAMPLE\"\nimporter = \"INVENTED FOR THE EXAMPLE\"\n\
                  reference = \"INVENTED FOR THE EXAMPLE\"\nnot_before = 2020-01-01\n\
                  expires = 2100-01-01\n\n[[clauses]]\nid = \"gb-eea\"\n";
    let home = |region: &str| format!("for = \"GB\"\nregion = \"{region}\"\n");
    MAP.replacen("version = 1\n", &numbered, 1)
        .replacen(&home("eu-fra"), &home("us-iad"), 1)
        .replacen("[[clauses]]\nid = \"gb-eea\"\n", clause, 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_says_of_whom_a_map_moves_under_which_laws_the_records_lay() {
    let (mut home, mut away) = (Place::new("eu-fra"), Place::new("us-iad"));
    let shard = home.start().await;
    let mut session = shard.session().await;
    let british = findings(&[("citizenship", "GB"), ("residence", "GB")]);
    let put = proto::Put { findings: british.into(), ..put_ru("george", "k", b"body", 1) };
    session.put(put).await.unwrap();
    drop(session);
    shard.stop().await.unwrap();
    away.start().await.stop().await.unwrap();

    let next = next_map(&home);
    (home.map, away.map) = (next.clone(), next);
    let target = away.start().await;
    let shard = home.open().await.unwrap();
    let annex = away.annex.replace("127.0.0.1:1\"", &format!("127.0.0.1:{}\"", target.port));
    shard.peers().set(vec![Annex::parse(&annex, &home.map()).unwrap()]);
    let shard = Running::serve(shard, "eu-fra").await;
    let (mut session, mut there) = (shard.session().await, target.session().await);
    let order = proto::Relocate {
        subject: "george".into(),
        region: "us-iad".into(),
        request_id: request_id(2).into(),
        reason: "the map has another home".into(),
        ..Default::default()
    };
    let ordered = session.call(Op::Relocate(order)).await;
    assert_eq!(reason(ordered), "done");
    while there.get("george", "profiles", "k").await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    drop((session, there));
    shard.stop().await.unwrap();
    target.stop().await.unwrap();
    // By the map in force nothing places them here any more; that they lay here under a law, and under
    // which, is what a report counts by.
    let all = entries(&home);
    let of_collection =
        all.iter().filter(|entry| entry.kind == Kind::MoveOut && entry.collection.is_some());
    let laws: Vec<_> = of_collection.map(|entry| entry.jurisdictions.clone()).collect();
    assert_eq!(laws.len(), 1);
    assert!(!laws[0].is_empty(), "the number is counted under a law");
}

/// One step of a move to us-iad, asked for by the shard of ru-msk.
async fn asked(shard: &Running, subject: &str, step: proto::arrival::Step) -> Answer {
    let hello = proto::Hello {
        gateway: String::new(),
        from_region: REGIONS[0].into(),
        from_shard: "s1".into(),
        ..shard.hello()
    };
    let address = format!("http://127.0.0.1:{}", shard.port);
    let client = wire::session::session_client::SessionClient::connect(address).await.unwrap();
    let (mut session, first) = crate::support::open(client, hello).await.unwrap();
    assert!(first.welcome.is_some(), "a shard of a region of the map is let in");
    let subject = subject.into();
    let arrival = proto::Arrival { move_id: vec![9; 16].into(), subject, step: Some(step) };
    session.call(Op::Arrival(arrival)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_map_by_which_no_subject_moves_here_keeps_none_from_being_dropped() {
    use proto::arrival::Step;
    let american = travels::arriving_with(&[("citizenship", "US"), ("residence", "US")]);
    let begin = || Step::Begin(american.clone().into());
    let state = |answer: Answer| match answer {
        Ok(Outcome::Arrived(arrived)) => arrived.state(),
        _ => panic!("a step is answered with how far it is"),
    };
    let mut place = Place::new("us-iad");
    let shard = place.start().await;
    let begun = asked(&shard, "anna", begin()).await;
    assert!(state(begun) == proto::arrived::State::Staging);
    shard.stop().await.unwrap();
    // By the next map the region is the home of no one.
    let digest = place.map().epoch().digest;
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbered = format!("version = 2\npredecessor = \"sha256:{hex}\"\n");
    let home = "[[homes]]\nfor = \"*\"\nregion = \"us-iad\"\n";
    place.map = MAP.replacen("version = 1\n", &numbered, 1).replacen(home, "", 1);
    let shard = place.start().await;
    assert_eq!(reason(asked(&shard, "boris", begin()).await), "NOT_PERMITTED");
    let dropped = asked(&shard, "anna", Step::Drop(true)).await;
    assert!(state(dropped) == proto::arrived::State::None);
    shard.stop().await.unwrap();
    assert!(stored::rows_in(&*place.store(), &[0x10]).is_empty());
}
