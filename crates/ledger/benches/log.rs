//! What a batch costs: encoding its entries, hashing them, growing the tree, signing its head.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ledger::entry::{Caller, EvidenceKind, MapRef, Role};
use ledger::hash::leaf_hash;
use ledger::note::Signer;
use ledger::statement::{Statement, commitment, content_digest};
use ledger::{Checkpoint, Edge, Entry, Kind};

/// Entries in a batch.
const BATCH: u64 = 256;

/// A typical entry: two jurisdictions, two statutes, two pieces of evidence.
fn place(i: u64) -> Entry {
    let mut entry = Entry::new(Kind::Place, 29_748_896);
    entry.tenant_tag = Some([1; 16]);
    entry.collection = Some("profile".to_owned());
    entry.jurisdictions = vec!["EEA".to_owned(), "RU".to_owned()];
    entry.statutes = vec!["eu-gdpr-2016".to_owned(), "ru-152fz-242fz".to_owned()];
    entry.map = Some(MapRef { epoch: 7, digest: [2; 32] });
    entry.evidence_kinds = [EvidenceKind::Citizenship, EvidenceKind::Phone].into_iter().collect();
    let territory = Some("RU".to_owned());
    entry.caller = Some(Caller { role: Role::Writer, tag: [3; 16], territory });
    entry.commitment = Some(commitment(&[4; 32], &i.to_be_bytes()));
    entry
}

fn entries(bench: &mut Criterion) {
    let entry = place(0);
    let bytes = entry.encode().expect("a valid entry");
    let mut out = Vec::with_capacity(1024);
    bench.bench_function("entry/encode_into", |b| {
        b.iter(|| {
            out.clear();
            black_box(&entry).encode_into(&mut out).expect("a valid entry");
        });
    });
    bench.bench_function("entry/decode", |b| b.iter(|| Entry::decode(black_box(&bytes))));
    bench.bench_function("entry/leaf_hash", |b| b.iter(|| leaf_hash(black_box(&bytes))));
    let body = [5; 512];
    bench.bench_function("statement/digest_and_commitment_512B", |b| {
        b.iter(|| {
            let digest = content_digest(&[4; 32], black_box(&body));
            let statement = Statement {
                tenant: "sample",
                subject: "p-00000",
                collection: "profile",
                key: "main",
                version: 1,
                digest,
            };
            commitment(&[4; 32], &statement.encode())
        });
    });
}

fn batch(bench: &mut Criterion) {
    let mut edge = Edge::new();
    (0..70_000_u64).for_each(|i| edge.append(leaf_hash(&i.to_be_bytes()), &mut Vec::new()));
    let encoded: Vec<_> = (0..BATCH).map(|i| place(i).encode().expect("a valid entry")).collect();
    let leaves: Vec<_> = encoded.iter().map(|bytes| leaf_hash(bytes)).collect();
    let signer = Signer::from_seed("sample/ru/s1/2026a", &[6; 32]).expect("a valid name");
    let mut group = bench.benchmark_group("batch_of_256");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("clone_append_root", |b| {
        b.iter_batched_ref(
            Vec::new,
            |finished| {
                let mut trial = black_box(&edge).clone();
                leaves.iter().for_each(|leaf| trial.append(*leaf, finished));
                trial.root()
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("hash_clone_append_root_sign", |b| {
        b.iter_batched_ref(
            Vec::new,
            |finished| {
                let mut trial = black_box(&edge).clone();
                encoded.iter().for_each(|bytes| trial.append(leaf_hash(bytes), finished));
                let origin = signer.name().to_owned();
                let head = Checkpoint { origin, size: trial.size(), root: trial.root() };
                head.sign(&signer).expect("the log's own key")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(benches, entries, batch);
criterion_main!(benches);
