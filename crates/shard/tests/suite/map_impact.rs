//! What a map would do to records that name people besides their owner.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;

use crate::participants::{map, named, naming, put, started};
use crate::support::Session;

/// What a plan of that map counts, by fate: the reason, and the range.
async fn planned(session: &mut Session, text: String) -> Vec<(String, String, u64, u64)> {
    let map = proto::SignedMap { text, note: String::new(), packs: Vec::new() };
    session.role = Some("operator");
    let answer = session.call(Op::Survey(proto::Survey { map: Some(map), day: 0 })).await;
    session.role = None;
    let Ok(Outcome::Surveyed(surveyed)) = answer else { panic!("a plan is answered") };
    let one = |counted: proto::SurveyCount| {
        let range = counted.count.unwrap();
        (counted.fate, counted.detail, range.at_least, range.at_most)
    };
    surveyed.counts.into_iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_counts_records_that_lose_the_clause_of_those_that_they_name() {
    let (_place, shard, mut session) = started("eu-fra", map(&[("RU", "DE")])).await;
    let both = || vec![named("boris", "ru-msk", &["RU"]), named("vera", "ru-msk", &["RU"])];
    session.put(put("anna", "DE", "plain", 1)).await.unwrap();
    for n in 0..3 {
        session.put(naming(put("anna", "DE", &format!("m{n}"), 2 + n), both())).await.unwrap();
    }
    assert!(planned(&mut session, map(&[("RU", "DE")])).await.is_empty());
    let without = planned(&mut session, map(&[])).await;
    assert_eq!(without, [("shared".to_owned(), "TRANSFER_NOT_COVERED".to_owned(), 1, 9)]);
    drop(session);
    shard.stop().await.unwrap();
}
