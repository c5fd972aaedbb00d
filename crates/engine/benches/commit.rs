//! What a durable commit costs: 1, 64, 512 rows of 700 bytes, and the committer's own shape, on
//! each engine, on the disk that holds the target folder.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::{Batch, Kind, Options};

const ROW_BYTES: usize = 700;

/// Keys of 48 bytes in no order, as HMACs are; values that do not compress.
fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let words = std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)).to_le_bytes()
    });
    words.flatten().take(len).collect()
}

fn batch(first: u64, rows: u64, beside: usize) -> Batch {
    let mut batch = Batch::new();
    for row in first..first + rows {
        batch.put(bytes(row << 20, 48), bytes(row << 20 | 1, ROW_BYTES));
    }
    if beside > 0 {
        batch.put(first.to_be_bytes(), bytes(first, beside));
    }
    batch
}

fn commits(criterion: &mut Criterion) {
    for kind in Kind::ALL {
        let mut group = criterion.benchmark_group(kind.as_str());
        group.sample_size(10).warm_up_time(Duration::from_secs(1));
        group.measurement_time(Duration::from_secs(3));
        for (rows, beside) in [(1, 0), (64, 0), (512, 0), (2048, 300_000)] {
            let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
            let folder = tempfile::tempdir_in(place).expect("a folder under the target folder");
            let options = Options { cache_bytes: 256 << 20 };
            let engine = engine::open(kind, folder.path(), options).expect("open");
            let next = Cell::new(0);
            group.throughput(Throughput::Elements(rows));
            group.bench_function(format!("{rows} rows + {beside} B"), |bencher| {
                bencher.iter_batched(
                    || {
                        let first = next.replace(next.get() + rows);
                        batch(first, rows, beside)
                    },
                    |batch| {
                        let head = engine.head().expect("head");
                        engine.commit(black_box(batch), head, head.size + rows).expect("commit");
                    },
                    criterion::BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

criterion_group!(benches, commits);
criterion_main!(benches);
