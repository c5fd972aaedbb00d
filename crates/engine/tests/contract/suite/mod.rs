//! The conformance suite: what every engine passes. `open` opens the same store each time; the
//! suite drops an engine before it opens the next.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a seed is printed for replay; an index that is wrong fails the test"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use engine::{Batch, Engine, Error, Head, Key, Order, Page, ScanLimit, Span, Value, View};

/// Opens the store under test. A store that is new holds nothing.
pub(crate) type Open<'a> = &'a dyn Fn() -> Box<dyn Engine>;

const NO_LIMIT: ScanLimit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };

/// Everything, on one store after another; `fresh` gives an opener of a new store.
pub(crate) fn suite(fresh: &mut dyn FnMut() -> Box<dyn Fn() -> Box<dyn Engine>>) {
    for part in [
        commits_are_whole_and_outlive_a_reopening,
        the_head_is_compared_and_set,
        terms_grow,
        scans_go_both_ways_within_limits,
        limits_of_sizes_hold,
        values_of_every_size_come_back,
        no_trace_of_a_large_value_is_left,
        a_view_keeps_its_moment,
        scans_see_one_moment,
    ] {
        part(&*fresh());
    }
}

/// A small generator of its own, so that a seed gives the same run for ever (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number below `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    /// Bytes that do not compress.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let words = std::iter::repeat_with(|| self.below(u64::MAX).to_le_bytes());
        words.flatten().take(len).collect()
    }
}

/// Commits `batch` against the engine's own head, one entry further.
pub(crate) fn commit(engine: &dyn Engine, batch: Batch) {
    let head = engine.head().expect("head");
    engine.commit(batch, head, head.size + 1).expect("commit");
    assert_eq!(engine.head(), Ok(Head { size: head.size + 1, ..head }));
}

pub(crate) fn get(engine: &dyn Engine, key: &[u8]) -> Option<Value> {
    engine.get_many(&[key]).expect("get").remove(0)
}

pub(crate) fn all(engine: &dyn Engine) -> Vec<(Key, Value)> {
    let page = engine.scan(&Span::all(), Order::Ascending, NO_LIMIT).expect("scan");
    assert!(!page.more);
    page.rows
}

fn batch(rows: &[(&str, Option<&str>)]) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in rows {
        match value {
            Some(value) => batch.put(*key, *value),
            None => batch.delete(*key),
        }
    }
    batch
}

fn commits_are_whole_and_outlive_a_reopening(open: Open<'_>) {
    let engine = open();
    assert_eq!(engine.head().expect("head"), Head { term: 1, size: 0 });
    assert!(all(&*engine).is_empty());
    commit(&*engine, batch(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]));
    commit(&*engine, batch(&[("b", None), ("c", Some("4")), ("gone", None)]));
    commit(&*engine, Batch::new());
    let check = |engine: &dyn Engine| {
        let values = engine.get_many(&[b"c", b"a", b"b", b"a", b"x"]).expect("get");
        let value = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(values, [value("4"), value("1"), None, value("1"), None]);
        assert_eq!(engine.get_many(&[]), Ok(vec![]));
        assert_eq!(engine.head().expect("head").size, 3);
    };
    check(&*engine);
    drop(engine);
    check(&*open());
}

fn the_head_is_compared_and_set(open: Open<'_>) {
    let engine = open();
    commit(&*engine, batch(&[("a", Some("1"))]));
    let head = engine.head().expect("head");
    for wrong in [
        Head { size: head.size + 1, ..head },
        Head { size: head.size - 1, ..head },
        Head { term: head.term + 1, ..head },
        Head { term: head.term - 1, ..head },
    ] {
        let refused = engine.commit(batch(&[("a", Some("2"))]), wrong, wrong.size + 1);
        assert_eq!(refused, Err(Error::HeadMoved { found: head }));
    }
    let shrinks = engine.commit(batch(&[("a", None)]), head, head.size - 1);
    assert_eq!(shrinks, Err(Error::Shrinks { from: head.size, to: head.size - 1 }));
    assert_eq!(engine.head(), Ok(head));
    assert_eq!(get(&*engine, b"a"), Some(b"1".to_vec()));
    // None of this is a failure of the disk: the writer goes on.
    engine.commit(batch(&[("a", Some("3"))]), head, head.size).expect("the size may stay");
    engine.commit(batch(&[("a", Some("4"))]), head, head.size + 9).expect("or jump");
    assert_eq!(get(&*engine, b"a"), Some(b"4".to_vec()));
}

fn terms_grow(open: Open<'_>) {
    for term in 1..=4 {
        let engine = open();
        let head = engine.head().expect("head");
        assert_eq!((head.term, head.size), (term, term - 1));
        commit(&*engine, Batch::new());
        if term > 1 {
            let late = engine.commit(Batch::new(), Head { term: term - 1, ..head }, head.size);
            assert!(matches!(late, Err(Error::HeadMoved { .. })));
        }
    }
}

fn page(engine: &dyn Engine, span: &Span, order: Order, rows: usize, bytes: usize) -> Page {
    engine.scan(span, order, ScanLimit { rows, bytes }).expect("scan")
}

fn keys(page: &Page) -> String {
    let keys = page.rows.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned());
    keys.collect::<Vec<_>>().join(" ")
}

fn scans_go_both_ways_within_limits(open: Open<'_>) {
    use Order::{Ascending, Descending};
    let engine = open();
    let mut batch = Batch::new();
    for key in ["a", "b", "b1", "b2", "b3", "c", "d"] {
        batch.put(key, vec![0; 9]);
    }
    batch.put([0xff; 3], "last");
    batch.put([0], "first");
    commit(&*engine, batch);
    let span = |from: &str, until: &str| Span { from: from.into(), until: until.into() };
    let check = |span: &Span, order, rows, bytes, expected: &str, more| {
        let page = page(&*engine, span, order, rows, bytes);
        assert_eq!((keys(&page).as_str(), page.more), (expected, more));
    };
    let b = Span::prefix(b"b");
    check(&b, Ascending, 9, 999, "b b1 b2 b3", false);
    check(&b, Descending, 9, 999, "b3 b2 b1 b", false);
    check(&b, Ascending, 4, 999, "b b1 b2 b3", false);
    check(&b, Ascending, 3, 999, "b b1 b2", true);
    check(&b, Descending, 1, 999, "b3", true);
    check(&b, Ascending, 0, 999, "", true);
    check(&Span::prefix(b"x"), Ascending, 0, 999, "", false);
    check(&b, Ascending, 9, 10 + 11 + 11, "b b1 b2", true);
    check(&b, Ascending, 9, 10 + 11 + 10, "b b1", true);
    check(&b, Ascending, 9, 0, "b", true);
    check(&span("b1", "b1"), Ascending, 9, 999, "", false);
    check(&span("c", "b"), Descending, 9, 999, "", false);
    check(&span("b1", "c"), Descending, 9, 999, "b3 b2 b1", false);
    check(&span("b11", ""), Ascending, 3, 999, "b2 b3 c", true);
    check(&span("b3\0", ""), Ascending, 2, 999, "c d", true);
    let everything = page(&*engine, &Span::all(), Descending, 99, 999);
    assert_eq!(everything.rows.len(), 9);
    assert_eq!(everything.rows[0], (vec![0xff; 3], b"last".to_vec()));
    assert_eq!(everything.rows[8], (vec![0], b"first".to_vec()));
    assert_eq!(page(&*engine, &Span::prefix(&[0xff]), Ascending, 9, 999).rows.len(), 1);
}

fn limits_of_sizes_hold(open: Open<'_>) {
    let engine = open();
    let head = engine.head().expect("head");
    let try_put = |key: usize, value: usize| {
        let mut batch = Batch::new();
        batch.put("beside", "it");
        batch.put(vec![7; key], vec![7; value]);
        engine.commit(batch, head, head.size + 1)
    };
    assert_eq!(try_put(0, 1), Err(Error::EmptyKey));
    let long = engine::KEY_BYTES_MAX + 1;
    assert!(matches!(try_put(long, 1), Err(Error::TooLarge { what: "key", .. })));
    let large = engine::VALUE_BYTES_MAX + 1;
    assert!(matches!(try_put(1, large), Err(Error::TooLarge { what: "value", .. })));
    let mut four = Batch::new();
    for key in 0..4 {
        four.put([key], vec![0; engine::VALUE_BYTES_MAX]);
    }
    let four = engine.commit(four, head, head.size + 1);
    assert!(matches!(four, Err(Error::TooLarge { what: "batch", .. })));
    assert!(all(&*engine).is_empty());
    assert_eq!(try_put(engine::KEY_BYTES_MAX, 1), Ok(()));
    assert_eq!(all(&*engine).len(), 2);
}

/// Sizes around every border there is: empty, one chunk, a former threshold, the largest body.
const SIZES: [usize; 12] =
    [0, 1, 700, 4095, 4096, 4097, 59 << 10, 60 << 10, 61 << 10, 300_000, 1 << 20, 16 << 20];

fn values_of_every_size_come_back(open: Open<'_>) {
    let engine = open();
    let mut random = Random(1);
    let values = SIZES.map(|size| random.bytes(size));
    let key = |size: usize| format!("v{size:09}").into_bytes();
    let mut together = Batch::new();
    for value in &values {
        together.put(key(value.len()), value.clone());
    }
    assert!(together.bytes() > 17 << 20);
    commit(&*engine, together);
    let check = |engine: &dyn Engine| {
        for value in &values {
            assert!(get(engine, &key(value.len())).as_ref() == Some(value));
        }
        let rows = all(engine);
        assert!(rows.iter().map(|(_, value)| value).eq(&values));
        let small = page(engine, &Span::all(), Order::Ascending, 99, 100_000);
        assert_eq!((small.rows.len(), small.more), (7, true));
        let large = page(engine, &Span::all(), Order::Descending, 99, 1);
        assert_eq!((large.rows[0].1.len(), large.rows.len()), (16 << 20, 1));
    };
    check(&*engine);
    drop(engine);
    check(&*open());
}

fn no_trace_of_a_large_value_is_left(open: Open<'_>) {
    let mut engine = open();
    let mut random = Random(2);
    let sizes = [1 << 20, 10, 100_000, 99_999, 61 << 10, 4096, 4097, 0, 300_000];
    for (round, size) in sizes.into_iter().enumerate() {
        let value = random.bytes(size);
        let mut batch = Batch::new();
        batch.put("k", value.clone());
        batch.put("k0", "neighbour");
        commit(&*engine, batch);
        if round % 3 == 2 {
            drop(engine);
            engine = open();
        }
        let rows = all(&*engine);
        assert!(rows == [(b"k".to_vec(), value), (b"k0".to_vec(), b"neighbour".to_vec())]);
    }
    let mut batch = Batch::new();
    batch.delete("k");
    batch.delete("k0");
    commit(&*engine, batch);
    assert!(all(&*engine).is_empty());
    assert_eq!(get(&*engine, b"k"), None);
}

/// All rows of a view, page by page, so many rows at a time.
fn by_pages(view: &dyn View, order: Order, rows: usize) -> Vec<(Key, Value)> {
    let (mut span, mut all) = (Span::all(), Vec::new());
    loop {
        let page = view.scan(&span, order, ScanLimit { rows, bytes: usize::MAX }).expect("scan");
        let last = page.rows.last().map(|(key, _)| key.clone());
        all.extend(page.rows);
        match (last, order) {
            (Some(last), Order::Ascending) if page.more => span.from = [&*last, &[0]].concat(),
            (Some(last), Order::Descending) if page.more => span.until = last,
            _ => return all,
        }
    }
}

/// That a view shows exactly these rows, by every way to read.
fn assert_shows(view: &dyn View, model: &BTreeMap<Key, Value>) {
    for rows in [1, 3, 64, 65, usize::MAX] {
        assert!(by_pages(view, Order::Ascending, rows).iter().eq(model_rows(model).iter()));
        assert!(by_pages(view, Order::Descending, rows).iter().rev().eq(model_rows(model).iter()));
    }
    let keys: Vec<&[u8]> = model.keys().map(Vec::as_slice).collect();
    let values = view.get_many(&keys).expect("get");
    assert!(values.iter().map(Option::as_ref).eq(model.values().map(Some)));
}

fn model_rows(model: &BTreeMap<Key, Value>) -> Vec<(Key, Value)> {
    model.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Commits go on while views are open: each view shows its own moment, for as long as it is open.
fn a_view_keeps_its_moment(open: Open<'_>) {
    let engine = open();
    let mut model = BTreeMap::<Key, Value>::new();
    let mut random = Random(4);
    let empty = engine.view().expect("view");
    let mut views = Vec::new();
    for round in 0..6_u64 {
        let mut batch = Batch::new();
        for _ in 0..60 {
            let key = random.below(150).to_be_bytes().to_vec();
            // Some of several chunks, which grow, shrink, go and come.
            let size = if random.below(10) == 0 { 20_000 } else { 20 };
            if random.below(3) == 0 {
                model.remove(&key);
                batch.delete(key);
            } else {
                let value = random.bytes(size);
                model.insert(key.clone(), value.clone());
                batch.put(key, value);
            }
        }
        if round == 4 {
            model.keys().for_each(|key| batch.delete(key.clone()));
            model.clear();
        }
        commit(&*engine, batch);
        views.push((engine.view().expect("view"), model.clone()));
    }
    // Closed in another order than they were opened.
    for at in [3, 0, 2, 0, 1, 0] {
        for (view, model) in &views {
            assert_shows(&**view, model);
        }
        assert!(by_pages(&*empty, Order::Ascending, 7).is_empty());
        drop(views.remove(at));
        commit(&*engine, Batch::new());
    }
    drop(empty);
    assert_shows(&*engine.view().expect("view"), &model);
}

/// A writer sets all rows to the number of its commit; every read must find one number.
fn scans_see_one_moment(open: Open<'_>) {
    const ROWS: u8 = 100;
    const COMMITS: u64 = 150;
    const READERS: u8 = 3;
    let engine = open();
    let write = |number: u64| {
        let mut batch = Batch::new();
        for row in 0..ROWS {
            batch.put([row], number.to_be_bytes());
        }
        commit(&*engine, batch);
    };
    write(0);
    let done = AtomicBool::new(false);
    let satisfied = AtomicU64::new(0);
    thread::scope(|scope| {
        let reader = |which: u8| {
            let (engine, done, satisfied) = (&engine, &done, &satisfied);
            move || {
                let names: Vec<[u8; 1]> = (0..ROWS).map(|row| [row]).collect();
                let names: Vec<&[u8]> = names.iter().map(<[u8; 1]>::as_slice).collect();
                let mut last = 0;
                while !done.load(Ordering::Relaxed) {
                    let view = engine.view().expect("view");
                    let order = if which == 1 { Order::Ascending } else { Order::Descending };
                    let rows = by_pages(&*view, order, if which == 0 { usize::MAX } else { 30 });
                    let mut values: Vec<Value> = rows.into_iter().map(|(_, value)| value).collect();
                    values.extend(view.get_many(&names).expect("get").into_iter().flatten());
                    assert_eq!(values.len(), 2 * usize::from(ROWS));
                    assert!(values.iter().all(|value| *value == values[0]), "a torn read");
                    let number = u64::from_be_bytes(values[0].as_slice().try_into().expect("8"));
                    assert!(number >= last, "time went back");
                    satisfied.fetch_add(u64::from(last == 0 && number > 0), Ordering::Relaxed);
                    last = number;
                }
            }
        };
        for which in 0..READERS {
            scope.spawn(reader(which));
        }
        let mut number = 0;
        // On a fast engine the readers may need more commits until each has met one.
        while number < COMMITS || satisfied.load(Ordering::Relaxed) < u64::from(READERS) {
            number += 1;
            write(number);
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// `commits` random batches against a model, with reopenings, reads and scans between.
pub(crate) fn against_a_model(open: Open<'_>, seed: u64, commits: u64) {
    println!("seed {seed}, {commits} commits");
    let mut random = Random(seed);
    let mut model = BTreeMap::<Key, Value>::new();
    let mut engine = open();
    for number in 0..commits {
        if random.below(20) == 0 {
            let before = model.clone();
            let view = engine.view().expect("view");
            commit(&*engine, random_batch(&mut random, &mut model));
            assert_shows(&*view, &before);
        } else {
            commit(&*engine, random_batch(&mut random, &mut model));
        }
        if random.below(500) == 0 {
            drop(engine);
            engine = open();
        }
        let key = random_key(&mut random);
        assert!(get(&*engine, &key).as_ref() == model.get(&key), "seed {seed}, commit {number}");
        if random.below(10) == 0 {
            compare_scan(&*engine, &model, &mut random);
        }
    }
    drop(engine);
    let engine = open();
    assert!(all(&*engine).into_iter().eq(model), "seed {seed}, at the end");
    assert_eq!(engine.head().expect("head").size, commits);
}

fn random_batch(random: &mut Random, model: &mut BTreeMap<Key, Value>) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..random.below(8) {
        let key = random_key(random);
        if random.below(4) == 0 {
            model.remove(&key);
            batch.delete(key);
        } else {
            let size = match random.below(200) {
                0 => random.below(20_000),
                1..20 => random.below(5000),
                _ => random.below(50),
            };
            let value = random.bytes(usize::try_from(size).expect("small"));
            model.insert(key.clone(), value.clone());
            batch.put(key, value);
        }
    }
    batch
}

fn random_key(random: &mut Random) -> Key {
    let len = 1 + usize::try_from(random.below(3)).expect("small");
    (0..len)
        .map(|_| {
            [0, 1, 2, b'a', b'b', 0xfe, 0xff][usize::try_from(random.below(7)).expect("small")]
        })
        .collect()
}

fn compare_scan(engine: &dyn Engine, model: &BTreeMap<Key, Value>, random: &mut Random) {
    let span = Span { from: random_key(random), until: random_key(random) };
    let rows = usize::try_from(random.below(20)).expect("small");
    let in_span = |key: &Key| *key >= span.from && *key < span.until;
    let mut expected: Vec<_> =
        model.iter().filter(|(key, _)| in_span(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let order = if random.below(2) == 0 { Order::Ascending } else { Order::Descending };
    if order == Order::Descending {
        expected.reverse();
    }
    let more = expected.len() > rows;
    expected.truncate(rows);
    let page = page(engine, &span, order, rows, usize::MAX);
    assert!(page.rows == expected && page.more == more);
}
