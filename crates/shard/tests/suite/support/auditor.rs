//! An auditor of a real shard: its pages, its service.

use std::collections::BTreeMap;

use ledger::checkpoint::Checkpoint;
use ledger::entry::{Detail, Entry, Kind};
use ledger::note::Verifier;
use ledger::{Hash, hash};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use wire::session as proto;
use wire::v1 as api;
use wire::v1::ledger_client::LedgerClient;

use super::{Running, Session, put_ru};

pub(crate) const ORIGIN: &str = "sample/ru-msk/s1/1";

/// One page over HTTP/1.1: status and body.
pub(crate) async fn page(port: u16, path: &str) -> (u16, Vec<u8>) {
    page_of(port, path, "localhost").await
}

pub(crate) async fn page_of(port: u16, path: &str, host: &str) -> (u16, Vec<u8>) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it is answered");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("headers");
    let (head, body) = answer.split_at(end);
    let head = String::from_utf8_lossy(head);
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, body.get(4..).expect("a body").to_vec())
}

pub(crate) async fn auditor(shard: &Running) -> LedgerClient<Channel> {
    let url = format!("http://127.0.0.1:{}", shard.audit_port);
    LedgerClient::connect(url).await.expect("it listens").max_decoding_message_size(64 << 20)
}

pub(crate) async fn fill(session: &mut Session, from: u64, count: u64) {
    let mut calls = Vec::new();
    for n in from..from + count {
        calls.push(session.wrap(proto::call::Op::Put(put_ru(&format!("p{n}"), "main", b"x", n))));
    }
    let ids: Vec<u64> = calls.iter().map(|call| call.id).collect();
    for some in calls.chunks(200) {
        session.send(some.to_vec()).await;
    }
    for id in ids {
        assert!(session.answer(id).await.expect("an answer").is_ok());
    }
}

/// The newest checkpoint, once it has signed for so many entries.
pub(crate) async fn checkpoint(
    auditor: &mut LedgerClient<Channel>,
    size: u64,
) -> (Checkpoint, Verifier) {
    loop {
        let told =
            auditor.checkpoint(api::LedgerCheckpointRequest::default()).await.expect("it is there");
        let told = told.into_inner();
        let log = Verifier::from_vkey(&told.vkey).expect("it is there");
        let checkpoint = Checkpoint::open(&told.checkpoint, &log).expect("it is there");
        if checkpoint.size >= size {
            return (checkpoint, log);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

pub(crate) async fn entries(
    auditor: &mut LedgerClient<Channel>,
    request: api::LedgerEntriesRequest,
) -> Vec<(u64, Vec<u8>)> {
    let mut stream = auditor.entries(request).await.expect("it is there").into_inner();
    let mut all = Vec::new();
    while let Some(batch) = stream.message().await.expect("it is there") {
        assert_eq!(batch.indexes.len(), batch.entries.len());
        let entries = batch.entries.into_iter().map(|entry| entry.to_vec());
        all.extend(batch.indexes.into_iter().zip(entries));
    }
    all
}

/// A log as it is served, to its last checkpoint.
pub(crate) struct Log {
    pub(crate) key: Verifier,
    pub(crate) entries: Vec<Vec<u8>>,
}

/// All logs by their origins. Every one ends as it should, and names the one before it.
pub(crate) async fn logs(auditor: &mut LedgerClient<Channel>) -> BTreeMap<String, Log> {
    let told = auditor.checkpoint(api::LedgerCheckpointRequest::default()).await;
    let vkeys = told.expect("it is there").into_inner().vkeys;
    let mut logs = BTreeMap::new();
    let mut before: Option<(String, Hash)> = None;
    for (n, vkey) in vkeys.iter().enumerate() {
        let key = Verifier::from_vkey(vkey).expect("a key");
        let origin = key.name().to_owned();
        let asked = api::LedgerCheckpointRequest { origin: origin.clone() };
        let told = auditor.checkpoint(asked).await.expect("it is there").into_inner();
        let signed = Checkpoint::open(&told.checkpoint, &key).expect("it is signed");
        let asked = api::LedgerEntriesRequest {
            origin: origin.clone(),
            end: signed.size,
            ..Default::default()
        };
        let all = entries(auditor, asked).await;
        let all: Vec<Vec<u8>> = all.into_iter().map(|(_, entry)| entry).collect();
        let mut edge = ledger::Edge::new();
        all.iter().for_each(|entry| edge.append(hash::leaf_hash(entry), &mut vec![]));
        assert_eq!((edge.size(), edge.root()), (signed.size, signed.root));
        let decoded: Vec<Entry> =
            all.iter().map(|entry| Entry::decode(entry).expect("an entry")).collect();
        let seals: Vec<usize> = (0..decoded.len())
            .filter(|n| decoded.get(*n).is_some_and(|entry| entry.kind == Kind::Seal))
            .collect();
        let last = n + 1 == vkeys.len();
        assert_eq!(seals, if last { vec![] } else { vec![decoded.len() - 1] });
        if let Some((origin, root)) = &before {
            let first = decoded.first().expect("a GENESIS");
            let names = |detail: &Detail| matches!(detail, Detail::OldHead { origin: o, root: r, .. } if o == origin && r == root);
            assert!(first.details.iter().any(names), "{origin} is not named");
        }
        before = Some((origin.clone(), signed.root));
        logs.insert(origin, Log { key, entries: all });
    }
    logs
}
