//! What a shard's own work costs: sealing and opening one record, and durable puts through a real
//! session, straight to the shard. Figures go with their engine and disk: the stores lie in the
//! target folder.

#[path = "../tests/suite/support/mod.rs"]
mod support;

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use support::{Place, put_ru};
use wire::session as proto;

fn sealing(c: &mut Criterion) {
    let mut group = c.benchmark_group("sealing");
    for bytes in [512, 16 << 10, 1 << 20] {
        group.throughput(Throughput::Bytes(bytes as u64));
        let body = vec![7; bytes];
        let sealing = shard::bench::Sealing::new();
        group.bench_with_input(BenchmarkId::new("seal", bytes), &body, |b, body| {
            b.iter(|| sealing.seal(black_box(body)));
        });
        let row = sealing.seal(&body);
        group.bench_with_input(BenchmarkId::new("open", bytes), &row, |b, row| {
            b.iter(|| sealing.open(black_box(row)));
        });
    }
    group.finish();
}

fn commit(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut group = c.benchmark_group("durable puts, straight to the shard, 512 B");
    group.sample_size(20);
    for engine in engine::Kind::ALL {
        for in_flight in [1_u64, 64, 512] {
            let mut place = Place::new_in("ru-msk", env!("CARGO_TARGET_TMPDIR"));
            place.engine = engine;
            let shard = runtime.block_on(place.start());
            let mut session = runtime.block_on(shard.session());
            let mut n = 0_u64;
            group.throughput(Throughput::Elements(in_flight));
            let id = BenchmarkId::new(engine.as_str(), in_flight);
            group.bench_function(id, |b| {
                b.iter(|| {
                    runtime.block_on(async {
                        let calls: Vec<_> = (n..n + in_flight)
                            .map(|n| {
                                let subject = format!("p{}", n % 1000);
                                let put = put_ru(&subject, &format!("k{n}"), &[7; 512], n);
                                session.wrap(proto::call::Op::Put(put))
                            })
                            .collect();
                        n += in_flight;
                        let ids: Vec<_> = calls.iter().map(|call| call.id).collect();
                        session.send(calls).await;
                        for id in ids {
                            let answer = session.answer(id).await.expect("the session is open");
                            assert!(answer.is_ok(), "a put is written");
                        }
                    });
                });
            });
            drop(session);
            runtime.block_on(shard.stop()).expect("the shard drains");
        }
    }
    group.finish();
}

criterion_group!(benches, sealing, commit);
criterion_main!(benches);
