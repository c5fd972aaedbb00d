//! What was judged under one map and comes to the committer under another; and claims of other regions.

use super::*;
use crate::reply::Claimed;
use crate::write::question::{NotedAnswer, Question};

/// The sample map as its own successor.
fn next() -> String {
    let next = testing::MAP.replacen("\nversion = 1\n", "\nversion = 2\n", 1);
    assert_ne!(next, testing::MAP);
    next
}

fn note(stage: &mut Stage, judged: Option<EpochNumber>) -> &'static str {
    let (reply, answers) = slot();
    let question = Question {
        kind: ledger::entry::Kind::Count,
        answer: NotedAnswer::Session(reply, Box::new(Outcome::Claimed(Claimed::Free))),
        who: asker(Role::Reader, Some(here())).who,
        collection: None,
        judged,
        map: stage.committer.rules.map_ref(),
        count: 1,
        why: "a question".into(),
    };
    stage.committer.run_errand(Errand::Note(Box::new(question)), false).expect("a commit");
    answered(&answers)
}

#[test]
fn an_answer_that_was_judged_under_another_map_is_not_given() {
    let mut stage = Stage::new(&Disk::new(1));
    let first = Some(stage.committer.rules.epoch());
    assert_eq!(note(&mut stage, first), "free");
    stage.under(&next());
    assert_eq!(note(&mut stage, first), "MAPS_DIFFER");
    assert_eq!(note(&mut stage, None), "free");
    let now = Some(stage.committer.rules.epoch());
    assert_eq!(note(&mut stage, now), "free");
    assert_eq!(stage.committer.node.metrics.entries.get(), 3);
}

#[test]
fn a_claim_is_of_a_region_of_the_map_and_one_that_meets_the_id_is_logged() {
    let mut stage = Stage::new(&Disk::new(1));
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    stage.under(&next().replacen(tenant, &format!("{tenant}unique = \"reachable\"\n"), 1));
    let node = Arc::clone(&stage.committer.node);
    let mut put = stage.a_put("anna", 1, findings(0), b"body");
    put.asked = node.claims.ticket().0.to_vec().into();
    assert_eq!(stage.does(Action::Put(Box::new(put))), "written");
    let claim = |subject: &str, region: &str| {
        let owner = address(&node, subject).owner;
        let of = Asked { slot: owner.slot, tag: owner.tag, row: owner.row() };
        let region = terms::RegionId::parse(region).expect("a name");
        Action::Claim(Box::new(Claim { of, region, validate_only: false }))
    };
    for (subject, region, answer, entries) in [
        ("anna", "zz-zzz", "MAPS_DIFFER", 1),
        ("anna", "ru-msk", "MAPS_DIFFER", 1),
        ("boris", "kz-ala", "free", 1),
        ("anna", "kz-ala", "held", 2),
    ] {
        assert_eq!(stage.does(claim(subject, region)), answer, "{subject} {region}");
        assert_eq!(node.metrics.entries.get(), entries, "{subject} {region}");
    }
    let mut last = None;
    crate::log::each_entry(&*node.engine, Period::FIRST, 1, 2, &mut |_, entry| {
        last = Some(ledger::entry::Entry::decode(entry).expect("an entry"));
        Ok(())
    })
    .expect("a read");
    let last = last.expect("an entry");
    assert_eq!((last.kind, last.count()), (ledger::entry::Kind::Count, Some(1)));
}
