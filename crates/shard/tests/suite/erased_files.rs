//! Many people are erased: what the files of their region still hold of them byte by byte, and what
//! the region's keys still open. On both engines that lie in files.
//!
//! The rows are opened by their documented layouts alone, with code that is not the shard's.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atlas::{Annex, AttributeValue};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac};
use engine::{Backend, Embedded, Kind};
use shard::KeyRequest;
use wire::session as proto;
use wire::session::call::Op;
use wire::session::reply::Outcome;
use wire::session::upload::Step;

use crate::attributes::{attributes, place, text};
use crate::support::stored::{checkpoint, entries, log_key, rows};
use crate::support::{
    Place, Running, Session, Stand, TENANT, copy_folder, put_ru, request_id, unlocked,
};

/// People who are erased in one run, on each engine; `ERASED` says otherwise.
const ERASED: u64 = 300;
/// People who stay.
const STAY: u64 = 30;
/// Of the erased, those with an attachment.
const WITH_ATTACHMENT: u64 = 4;
/// The first of the values in an index that keeps their order.
const AGE: i64 = 0x5a17_c0de_0000_0000;
/// What such a value begins with in a row of the index: its sign bit is the other way round.
const AGE_IN_ROWS: [u8; 4] = [0xda, 0x17, 0xc0, 0xde];
/// Puts in one frame.
const AT_ONCE: usize = 100;
/// A chunk of an attachment.
const CHUNK: usize = 1 << 20;
/// Time in which a shard does what an operator asks about its keys.
const KEYS_WITHIN: Duration = Duration::from_secs(300);
/// What stands in every id, attribute and body of those who are erased.
const MARKS: [&str; 3] = ["gone-person-", "@gone.example", "body of one who is gone"];

fn gone(n: u64) -> String {
    format!("gone-person-{n:06}")
}

/// Sends calls, and gives what is answered to each.
async fn send(session: &mut Session, ops: Vec<Op>) -> Vec<Outcome> {
    let mut answers = Vec::new();
    for ops in ops.chunks(AT_ONCE) {
        let calls: Vec<_> = ops.iter().map(|op| session.wrap(op.clone())).collect();
        let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
        session.send(calls).await;
        for id in ids {
            let answer = session.answer(id).await.unwrap();
            answers.push(answer.unwrap_or_else(|fault| panic!("{}", fault.reason)));
        }
    }
    answers
}

/// The puts of one who is erased.
fn puts_of(n: u64) -> Vec<Op> {
    let (id, body) = (gone(n), MARKS[2].as_bytes());
    let serial = AttributeValue::Integer(AGE + i64::try_from(n).unwrap());
    let named = [("age", serial), ("mail", text(&format!("mail-{n}@gone.example")))];
    let attributes = attributes(&named).encode().into();
    let first = proto::Put { attributes, ..put_ru(&id, "main", body, 10 * n) };
    let second =
        put_ru(&id, MARKS[0], &body.repeat(if n.is_multiple_of(10) { 900 } else { 3 }), 10 * n + 1);
    let second = proto::Put { collection: "messages".into(), ..second };
    vec![Op::Put(first), Op::Put(second)]
}

async fn attach(session: &mut Session, n: u64) -> Outcome {
    let whole = MARKS[2].as_bytes().repeat(60_000);
    let sha256 = digest::digest(&digest::SHA256, &whole);
    let step = |step| {
        Op::Upload(proto::Upload {
            put: Some(proto::Put {
                body: Vec::new().into(),
                create_subject: false,
                findings: Vec::new().into(),
                ..put_ru(&gone(n), "film", b"", 10 * n + 2)
            }),
            size: whole.len() as u64,
            sha256: sha256.as_ref().to_vec().into(),
            step: Some(step),
        })
    };
    let mut steps = vec![step(Step::Begin(true))];
    for (number, data) in (0..).zip(whole.chunks(CHUNK)) {
        steps.push(step(Step::Chunk(proto::UploadChunk { number, data: data.to_vec().into() })));
    }
    steps.push(step(Step::Finish(true)));
    let mut last = None;
    for op in steps {
        last = send(session, vec![op]).await.pop();
    }
    last.unwrap()
}

fn opening(outcome: &Outcome) -> [u8; 32] {
    let Outcome::Written(written) = outcome else { panic!("it is written") };
    written.opening.as_ref().try_into().unwrap()
}

/// Stores all of them, and gives the openings of those who are erased.
async fn store(session: &mut Session, erased: u64) -> HashSet<[u8; 32]> {
    let puts = (0..erased).flat_map(puts_of).collect();
    let mut openings: HashSet<_> = send(session, puts).await.iter().map(opening).collect();
    for n in 0..WITH_ATTACHMENT {
        openings.insert(opening(&attach(session, n).await));
    }
    let stay = |n: u64| Op::Put(put_ru(&format!("stays-{n}"), "main", b"here", 1 << 40 | n));
    send(session, (0..STAY).map(stay).collect()).await;
    openings
}

fn erase(n: u64) -> Op {
    Op::Erase(proto::Erase {
        subject: gone(n),
        request_id: request_id(1 << 50 | n).into(),
        reason: "the person asked".into(),
        ..Default::default()
    })
}

// === the documented layouts ===

fn text_of(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn binding(parts: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    parts.iter().for_each(|part| text_of(&mut out, part));
    out
}

/// The keys in a file keyring.
struct Keys {
    index: Vec<u8>,
    generations: Vec<(u32, Vec<u8>)>,
}

impl Keys {
    fn read(folder: &Path) -> Self {
        let file = fs::read_to_string(folder.join("ru-msk.keyring")).unwrap();
        let file: toml::Table = file.parse().unwrap();
        let key = |value: &toml::Value| hex::decode(value.as_str().unwrap()).unwrap();
        let generations = file["generations"].as_array().unwrap().iter().map(|line| {
            (u32::try_from(line["number"].as_integer().unwrap()).unwrap(), key(&line["key"]))
        });
        Self { index: key(&file["index"]), generations: generations.collect() }
    }

    /// The tag in the keys of a subject's rows.
    fn tag(&self, subject: &str) -> [u8; 16] {
        let hmac = |key: &[u8], text: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
        };
        let derived =
            |purpose: &str| hmac(&self.index, &binding(&["bailiwick derived key v1", purpose]));
        // First a hash under the locate key, by which gateways ask.
        let locate = hmac(&derived("locate"), b"bailiwick locate key v1");
        let hash = hmac(&hmac(&locate, b"hashes"), &binding(&[TENANT, subject]));
        hmac(&derived("rows"), &[&b"subject"[..], &hash[..]].concat())[..16].try_into().unwrap()
    }

    /// Whether any key that is held opens the wrapped key of a subject.
    fn open(&self, subject: &str, row: &SubjectRow) -> bool {
        let mut bound = binding(&["subject key v1", "ru-msk", TENANT, subject]);
        bound.extend_from_slice(&u64::from(row.incarnation).to_be_bytes());
        self.generations.iter().any(|(_, key)| {
            let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).unwrap());
            let (nonce, sealed) = row.wrapped.split_at(12);
            let nonce = Nonce::assume_unique_for_key(nonce.try_into().unwrap());
            key.open_in_place(nonce, Aad::from(&bound), &mut sealed.to_vec()).is_ok()
        })
    }
}

/// The front of the row of a subject that is kept.
struct SubjectRow {
    incarnation: u32,
    wrapped: [u8; 60],
}

/// The rows of subjects that are kept, by their tags.
fn subjects(rows: &[(Vec<u8>, Vec<u8>)]) -> HashMap<[u8; 16], SubjectRow> {
    let kept = rows.iter().filter(|(key, row)| key.len() == 20 && row[1] == 1);
    kept.map(|(key, row)| {
        let incarnation = u32::from_be_bytes(row[2..6].try_into().unwrap());
        let wrapped = row[10..70].try_into().unwrap();
        (key[3..19].try_into().unwrap(), SubjectRow { incarnation, wrapped })
    })
    .collect()
}

// === the search ===

/// How often what is looked for stands in the files below a folder.
#[derive(Debug, Default, PartialEq, Eq)]
struct Hits {
    marks: usize,
    openings: usize,
    /// Values that an index keeps in their order.
    ages: usize,
    /// Keys of subjects, wrapped.
    wrapped: HashSet<[u8; 60]>,
}

fn search(
    folder: &Path,
    openings: &HashSet<[u8; 32]>,
    wrapped: &HashSet<[u8; 60]>,
    hits: &mut Hits,
) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, openings, wrapped, hits);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let firsts: HashSet<[u8; 8]> = openings
            .iter()
            .map(|opening| &opening[..8])
            .chain(wrapped.iter().map(|wrapped| &wrapped[..8]))
            .map(|first| first.try_into().unwrap())
            .collect();
        for (at, window) in bytes.windows(8).enumerate() {
            let rest = &bytes[at..];
            hits.marks += MARKS.iter().filter(|mark| rest.starts_with(mark.as_bytes())).count();
            hits.ages += usize::from(rest.starts_with(&AGE_IN_ROWS));
            if !firsts.contains(window) {
                continue;
            }
            let opening = rest.first_chunk::<32>();
            hits.openings += usize::from(opening.is_some_and(|it| openings.contains(it)));
            hits.wrapped.extend(rest.first_chunk::<60>().filter(|it| wrapped.contains(*it)));
        }
    }
}

// === the run ===

/// Waits until the chunks of attachments that are gone are deleted, and stops the shard.
async fn stop_when_swept(place: &Place, mut shard: Running) {
    for _ in 0..30 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        shard.stop().await.unwrap();
        let left = |prefix| rows(&place.path("data"), place.engine, &[prefix]).len();
        if left(0x12) + left(0x13) + left(0x14) == 0 {
            return;
        }
        shard = place.start().await;
    }
    panic!("chunks are left");
}

/// Rotates the region's key, waits until all are wrapped under the new one, and destroys the old one.
async fn renew_keys(place: &Place) {
    let ask = async |id: u64, request| {
        let settings = place.settings();
        let asked = settings.ask_about_keys(id.to_string(), request, KEYS_WITHIN).await;
        asked.unwrap().unwrap()
    };
    ask(1, KeyRequest::Rotate).await;
    for n in 2.. {
        let all = ask(n, KeyRequest::Status).await;
        if all.iter().all(|it| it.current || it.subjects == 0) {
            break;
        }
    }
    ask(0, KeyRequest::Destroy(1)).await;
}

/// Copies the store into one of the other engine, as `bailiwick shard convert` does.
async fn convert(place: &Place) -> &'static str {
    let map = place.map();
    let annex = Annex::parse(&place.annex, &map).unwrap();
    let kind = if place.engine == Kind::Sled { Kind::Fjall } else { Kind::Sled };
    let options = engine::Options { cache_bytes: 16 << 20 };
    let to = Embedded { kind, folder: place.path("copy"), options };
    let to: Arc<dyn Backend> = Arc::new(to);
    unlocked(|| shard::convert(&place.settings(), &map, &annex, &place.outside(), &to))
        .await
        .unwrap();
    "copy"
}

#[expect(clippy::print_stdout, reason = "the long run shows it")]
async fn run(place: Place, erased: u64) {
    let (data, saved) = (place.path("data"), place.path("saved"));
    let shard = place.start().await;
    let mut session = shard.session().await;
    let openings = store(&mut session, erased).await;
    drop(session);
    shard.stop().await.unwrap();
    let log = entries(&data, place.engine, 1);
    let before = subjects(&rows(&data, place.engine, &[0x10]));
    assert!(rows(&data, place.engine, &[0x12]).len() as u64 > WITH_ATTACHMENT);
    fs::create_dir(&saved).unwrap();
    for folder in ["data", "keys"] {
        copy_folder(&place.path(folder), &saved.join(folder));
    }

    let shard = place.start().await;
    let mut session = shard.session().await;
    session.role = Some("eraser");
    send(&mut session, (0..erased).map(erase).collect()).await;
    renew_keys(&place).await;
    drop(session);
    stop_when_swept(&place, shard).await;

    // In the store: a tombstone for each, and no other row.
    let (held, lost) = (Keys::read(&place.path("keys")), Keys::read(&saved.join("keys")));
    let tags: HashSet<_> = (0..erased).map(|n| held.tag(&gone(n))).collect();
    let all = rows(&data, place.engine, &[]);
    let of_gone = |key: &[u8]| key.windows(16).any(|window| tags.contains(window));
    let left: Vec<_> = all.iter().filter(|(key, _)| of_gone(key)).collect();
    assert_eq!(left.len() as u64, erased);
    assert!(left.iter().all(|(key, row)| key.len() == 20 && row[..2] == [1, 0]));
    assert!(all.iter().all(|(key, _)| !key.windows(4).any(|window| window == AGE_IN_ROWS)));
    assert_eq!(subjects(&all).len() as u64, STAY);

    // In the files: nothing that was not encrypted. What was may lie there for a while.
    let row_of = |n: u64| before.get(&held.tag(&gone(n))).unwrap();
    let wrapped: HashSet<_> = (0..erased).map(|n| row_of(n).wrapped).collect();
    let mut hits = Hits::default();
    ["data", "anchor", "keys"]
        .iter()
        .for_each(|folder| search(&place.path(folder), &openings, &wrapped, &mut hits));
    assert_eq!((hits.marks, hits.openings), (0, 0));
    let (engine, sealed, ages) = (place.engine.as_str(), hits.wrapped.len(), hits.ages);
    println!(
        "{engine}: {erased} erased; its files still hold {sealed} of their keys, wrapped, and \
         {ages} values of an index"
    );
    // No key that is left opens any of it, in the copy that was made before either.
    let opened = |keys: &Keys| (0..erased).filter(|n| keys.open(&gone(*n), row_of(*n))).count();
    assert_eq!((opened(&lost) as u64, opened(&held)), (erased, 0));

    // A copy of the rows holds nothing more.
    let mut hits = Hits::default();
    search(&place.path(convert(&place).await), &openings, &wrapped, &mut hits);
    assert_eq!(hits, Hits::default());
    // The search finds what is there: the copy from before has the rows, and a planted text.
    fs::write(
        saved.join("planted"),
        [MARKS[0].as_bytes(), openings.iter().next().unwrap()].concat(),
    )
    .unwrap();
    search(&saved, &openings, &wrapped, &mut hits);
    assert_eq!((hits.marks, hits.openings), (1, 1));
    assert!(hits.ages > 0 && hits.wrapped.len() as u64 > erased / 2, "{}", hits.wrapped.len());

    // The log has only grown, and its checkpoint is over all of it.
    let after = entries(&data, place.engine, 1);
    assert!(after.starts_with(&log));
    let mut edge = ledger::Edge::new();
    after.iter().for_each(|entry| edge.append(ledger::hash::leaf_hash(entry), &mut Vec::new()));
    let signed = checkpoint(&place.path("anchor").join("ru-msk-s1.checkpoint"), &log_key(&after));
    assert_eq!((signed.size, signed.root), (edge.size(), edge.root()));
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "a switch of this test")]
async fn nothing_of_those_who_were_erased_is_left_to_read() {
    let erased = std::env::var("ERASED").ok().and_then(|text| text.parse().ok());
    for engine in Kind::ALL {
        let mut place = place();
        place.stand_on(Stand::Files(engine));
        run(place, erased.unwrap_or(ERASED)).await;
    }
}
