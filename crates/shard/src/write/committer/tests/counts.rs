//! A count says what a list gives, whatever becomes of records and of their subjects, and reads few rows.

use terms::RegionId;

use super::index_walk::Run;
use super::*;
use crate::read::list::{ListQuery, Of};
use crate::write::command::{Arrive, ArriveStep, Block, Erase};
use crate::write::move_command::{ArrivingRecord, ArrivingSubject};

/// Each seed is a run that can be replayed; one that has found a mistake stays.
const SEEDS: std::ops::Range<u64> = 1..31;
const STEPS: usize = 120;
const MINUTE_MS: u64 = 60_000;
/// A map that has a list of the collection.
const LISTED: usize = 2;
/// Under it: what rows of an index decide alone, by spans of any kind, and what they do not.
const FILTERS: [&str; 7] = [
    "age = 2",
    "age IN (1, 3)",
    "age > 1",
    "age >= 1 AND age < 3",
    "mail = \"t2\"",
    "age != 2",
    "age = 1 AND mail = \"t1\"",
];

/// What is given, and what is withheld: one who is not served is in neither.
type Told = (u64, u64);

impl Run {
    fn counted(&mut self, filter: &str) -> Told {
        let query = ListQuery { of: Of::Number, filter: filter.to_owned(), ..Self::all() };
        let answers = self.ask(query);
        let group = self.stage.inbox.group().expect("a question");
        let errand = group.errand.expect("a question");
        self.stage.committer.run_errand(*errand, false).expect("no engine fails");
        let Ok((Outcome::Listed(page), _)) = answers.try_recv() else { panic!("a count") };
        (page.count, page.withheld)
    }

    fn given(&self, filter: &str) -> Told {
        let query = ListQuery { filter: filter.to_owned(), ..Self::all() };
        let page = self.page(query).expect("a list");
        assert!(page.next.is_empty(), "all of it is one page");
        (u64::try_from(page.records.len()).expect("few"), page.withheld)
    }

    fn block(&mut self) {
        let owner = self.some_address().owner;
        let until = Minute(Minute::of(self.node().now()).0 + 5);
        let blocked = (self.dice.below(3) > 0).then_some(Blocked { until, then_erase: false });
        let (reason, validate_only, opening) = ("asked for".to_owned(), false, [6; 32]);
        let block = Block { owner, blocked, reason, validate_only, opening };
        self.commit(Action::Block(Box::new(block)));
    }

    fn erase(&mut self) {
        let Address { owner, collection, .. } = self.some_address();
        let erase = Erase {
            owner,
            collection: (self.dice.below(4) > 0).then_some(collection),
            request: Some(self.request()),
            reason: "the person asked".to_owned(),
            deadline: None,
            ground: None,
            arose: None,
            validate_only: false,
            again: false,
            moved: None,
            opening: [7; 32],
        };
        self.commit(Action::Erase(Box::new(erase)));
    }

    /// A subject arrives with one record, or what has come of it goes.
    fn arrive(&mut self) {
        let at = self.stage.address("arriving");
        let step = match self.dice.below(3) {
            0 => ArriveStep::Begin(Box::new(ArrivingSubject {
                findings: findings(0),
                bases: vec![(at.collection.clone(), findings(0))],
                created: ([1; 16], Minute(1)),
                erased: Vec::new(),
                blocked: None,
                chosen: None,
            })),
            1 => {
                let (body_key, region) = (Zeroizing::new([9; 32]), &self.node().region);
                let sealed = SealedBody::new(&at, region, &AesGcm, &body_key, b"body");
                let content = Content { body_key, sealed, ..Content::none([1; 32], [2; 12]) };
                let record = ArrivingRecord {
                    address: at.clone(),
                    version: Version(1),
                    content,
                    expires: None,
                    attributes: RecordAttributes::new(),
                    participants: Vec::new(),
                    requests: Vec::new(),
                    whole: None,
                };
                ArriveStep::Rows { after: Vec::new(), next: vec![1], records: vec![record] }
            }
            _ => ArriveStep::Drop,
        };
        let from = RegionId::parse("eu-fra").expect("a region");
        // One that has ended is not begun again.
        let move_id = [u8::try_from(self.dice.below(9)).expect("small"); 16];
        let (owner, opening, bytes) = (at.owner, [8; 32], 0);
        let arrive = Arrive { owner, from, move_id, opening, bytes, step };
        self.commit(Action::Arrive(Box::new(arrive)));
    }

    /// So many minutes go by.
    fn wait(&mut self, minutes: usize) {
        let minutes = u64::try_from(minutes).expect("few");
        let now = self.stage.committer.now();
        self.stage.committer.last_commit = UnixMillis(now.0 + minutes * MINUTE_MS);
        // Readers know the time of the last commit.
        self.change();
    }

    fn some_step(&mut self) {
        match self.dice.below(20) {
            0..5 => self.put(None),
            5..9 => {
                let now = self.stage.committer.now().0;
                self.put(Some(UnixMillis(now + MINUTE_MS)));
            }
            9..12 => self.change(),
            12..14 => {
                let minutes = self.dice.below(3);
                self.wait(minutes);
            }
            14 => {
                let address = self.some_address();
                self.commit(Action::Expire(Box::new(address)));
            }
            15 | 16 => self.block(),
            17 if self.dice.below(3) == 0 => self.erase(),
            _ => self.arrive(),
        }
    }
}

#[test]
fn a_count_says_what_a_list_gives() {
    let (mut most, mut unserved, mut filtered) = (0, 0, [0; FILTERS.len()]);
    for seed in SEEDS {
        let mut run = Run::new(seed);
        run.take(LISTED);
        run.walk_to_the_end();
        run.put(None);
        for n in 0..STEPS {
            run.some_step();
            let given = run.given("");
            assert_eq!(run.counted(""), given, "seed {seed}, step {n}");
            let (filter, most_of_it) =
                (FILTERS[n % FILTERS.len()], &mut filtered[n % FILTERS.len()]);
            let found = run.given(filter);
            assert_eq!(run.counted(filter), found, "seed {seed}, step {n}: {filter}");
            *most_of_it = found.0.max(*most_of_it);
            let listed = rows_of(run.node(), 0x54).pop().expect("a number").1;
            let listed = u64::from_be_bytes(*listed.last_chunk().expect("it is known"));
            most = given.0.max(most);
            unserved += listed - given.0;
        }
        run.holds(&format!("seed {seed}, at the end"));
    }
    assert!(
        most > 10 && unserved > 0,
        "{most} given at most, {unserved} in the list and not given"
    );
    assert!(filtered.iter().all(|most| *most > 0), "{filtered:?} found by the filters at most");
}

#[test]
fn a_count_reads_few_rows() {
    let disk = Disk::new(1);
    let mut run = Run::on(&disk, 1);
    run.take(LISTED);
    run.walk_to_the_end();
    while run.given("").0 < 20 {
        run.put(None);
    }
    let read = |run: &mut Run, filter: &str, records: u64| {
        let before = disk.rows_read();
        assert_eq!(run.counted(filter).0, records);
        disk.rows_read() - before
    };
    let all = read(&mut run, "", 20);
    assert!(all < 10, "{all} rows were read to count 20 records");
    // As many as are counted, and no record.
    let mut found = 0;
    for filter in &FILTERS[..5] {
        let (records, _) = run.given(filter);
        found += records;
        let own = read(&mut run, filter, records);
        assert!(own < records + 10, "{own} rows were read to count {records} records: {filter}");
    }
    assert!(found > 15, "{found} records for all filters");
}
