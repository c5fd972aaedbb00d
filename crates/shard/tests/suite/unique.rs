//! Ids that are unique among regions: several gateways create the same ids in two regions at once, while
//! shards start again and some questions get lost. An id that is in both regions was created by a gateway
//! that knew that it had not asked the other region.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use engine::Disk;
use link::host::clock::SystemEntropy;
use link::session::LocateKey;
use terms::{SubjectId, TenantId};
use tokio::task::JoinSet;
use tokio::time::sleep;
use wire::session::session_client::SessionClient;
use wire::session::{self as proto, call::Op, claimed, reply::Outcome};

use crate::support::{Answer, MAP, Place, Running, TENANT, findings, open, put_ru, request_id};

/// Each seed is a run of its own: add one here.
const SEEDS: std::ops::Range<u64> = 0..40;
/// Ids of one run.
const IDS: u64 = 8;
const REGIONS: [(&str, &str); 2] = [("eu-fra", "DE"), ("ru-msk", "RU")];

/// Numbers from a seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.below(12))).await;
    }
}

/// Where the two shards listen just now.
type Ports = Arc<[AtomicU16; 2]>;

fn place(region: &'static str, seed: u64) -> Place {
    let mut place = Place::new(region);
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    place.map = MAP.replacen(tenant, &format!("{tenant}unique = \"reachable\"\n"), 1);
    assert_ne!(place.map, MAP);
    place.disk = Some(Disk::new(seed));
    place.init_as(&place.settings()).unwrap();
    place
}

/// One call over a session of its own. None: there is no shard, or it ends before it answers.
async fn call(ports: &Ports, at: usize, op: Op) -> Option<Answer> {
    let port = ports.get(at).unwrap().load(Ordering::Acquire);
    let client = SessionClient::connect(format!("http://127.0.0.1:{port}")).await.ok()?;
    let hello = proto::Hello {
        protocol: link::session::PROTOCOL,
        deployment: "sample".into(),
        region: REGIONS.get(at).unwrap().0.into(),
        shard: "s1".into(),
        gateway: "test".into(),
        ..Default::default()
    };
    let (mut session, _) = open(client, hello).await?;
    let call = session.wrap(op);
    let id = call.id;
    session.calls.send(proto::ToShard { hello: None, calls: vec![call] }).await.ok()?;
    tokio::time::timeout(Duration::from_secs(90), session.answer(id)).await.ok()?
}

/// What a gateway knows of its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Refused,
    /// It was created, or may have been; and whether the other region had been asked.
    Done {
        asked: bool,
    },
}

/// A gateway that creates an id.
async fn create(ports: Ports, id: String, home: usize, mut chance: Chance) -> End {
    let (region, country) = *REGIONS.get(home).unwrap();
    let create = |asked: bytes::Bytes, n| proto::Create {
        subject: id.clone(),
        collection: "profiles".into(),
        request_id: request_id(n).into(),
        findings: findings(&[("residence", country), ("citizenship", country)]).into(),
        asked,
        ..Default::default()
    };
    let request = chance.below(u64::MAX);
    chance.pause().await;
    let first = call(&ports, home, Op::Create(create(bytes::Bytes::new(), request))).await;
    let ticket = match first {
        Some(Ok(Outcome::AskFirst(first))) => first.ticket,
        Some(Ok(_)) => panic!("{id} is created unasked"),
        Some(Err(_)) | None => return End::Refused,
    };
    chance.pause().await;
    // Now and then the other region is out of reach.
    let reached = chance.below(8) > 0;
    let claimed = if reached { claim(&ports, &id, home, region).await } else { None };
    let asked = match claimed {
        Some(claimed::Outcome::Free) => true,
        Some(_) => return End::Refused,
        None => false,
    };
    chance.pause().await;
    match call(&ports, home, Op::Create(create(ticket, request))).await {
        Some(Ok(Outcome::Written(_))) | None => End::Done { asked },
        Some(Err(fault)) if fault.reason == "SHUTTING_DOWN" => End::Refused,
        Some(Err(fault)) if fault.reason == "WRITE_OUTCOME_UNKNOWN" => End::Done { asked },
        Some(Ok(_) | Err(_)) => End::Refused,
    }
}

/// What the other region says to a claim.
async fn claim(ports: &Ports, id: &str, home: usize, region: &str) -> Option<claimed::Outcome> {
    let other = 1 - home;
    let Some(Ok(Outcome::LocateKey(key))) =
        call(ports, other, Op::LocateKey(proto::LocateKey {})).await
    else {
        return None;
    };
    let key = LocateKey::new((&*key).try_into().unwrap());
    let (tenant, subject) = (TenantId::parse(TENANT).unwrap(), SubjectId::parse(id).unwrap());
    let question = key.ask(&tenant, &subject, &SystemEntropy).unwrap().into();
    let claim = proto::Claim { question, region: region.to_owned(), validate_only: false };
    match call(ports, other, Op::Claim(claim)).await {
        Some(Ok(Outcome::Claimed(claimed))) => Some(claimed.outcome()),
        _ => None,
    }
}

/// Whether a region holds an id.
async fn holds(ports: &Ports, at: usize, id: &str) -> bool {
    let put = proto::Put { create_subject: false, ..put_ru(id, "main", b"", 1) };
    let put = proto::Put { validate_only: true, findings: bytes::Bytes::new(), ..put };
    match call(ports, at, Op::Put(put)).await.unwrap() {
        Err(fault) if fault.reason == "SUBJECT_UNKNOWN" => false,
        Ok(_) => true,
        Err(fault) => panic!("{}", fault.reason),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_is_in_two_regions_unless_a_gateway_knows_that_one_was_not_asked() {
    let (mut once, mut twice, mut restarts) = (0, 0, 0);
    for seed in SEEDS {
        let mut chance = Chance(seed);
        let places = REGIONS.map(|(region, _)| place(region, seed));
        let mut shards: Vec<Running> = Vec::new();
        for place in &places {
            shards.push(place.start().await);
        }
        let ports: Ports = Arc::new([0, 1].map(|n: usize| AtomicU16::new(shards[n].port)));
        let mut gateways = JoinSet::new();
        for n in 0..IDS {
            for home in [0, 1, usize::try_from(chance.below(2)).unwrap()] {
                let (ports, of) = (Arc::clone(&ports), Chance(chance.below(u64::MAX)));
                let id = format!("raced-{n}");
                gateways.spawn(async move { (n, create(ports, id, home, of).await) });
            }
        }
        // In most runs a shard starts again in the middle, and has forgotten its claims.
        if chance.below(4) > 0 {
            chance.pause().await;
            let at = usize::try_from(chance.below(2)).unwrap();
            shards.remove(at).stop().await.unwrap();
            let again = places[at].start().await;
            ports[at].store(again.port, Ordering::Release);
            shards.insert(at, again);
            restarts += 1;
        }
        let ends = gateways.join_all().await;
        for n in 0..IDS {
            let id = format!("raced-{n}");
            let in_both = holds(&ports, 0, &id).await && holds(&ports, 1, &id).await;
            let of_id: Vec<End> =
                ends.iter().filter(|(own, _)| *own == n).map(|(_, end)| *end).collect();
            let unasked = of_id.contains(&End::Done { asked: false });
            assert!(!in_both || unasked, "seed {seed}: {id} is in both regions: {of_id:?}");
            twice += u32::from(in_both);
            once += u32::from(!in_both && of_id.iter().any(|end| *end != End::Refused));
        }
        for shard in shards {
            shard.stop().await.unwrap();
        }
    }
    // The run means something: ids were created, and questions that got lost made doubles.
    assert!(once > 50 && twice > 0 && restarts > 10, "{once} {twice} {restarts}");
}
