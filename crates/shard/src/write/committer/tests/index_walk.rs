//! Indexes that are built for stored records while writes, maps and other steps of the walk come in
//! between: at no moment does an index that counts as complete lack a record, and at the end the
//! store has exactly the rows that the map says.

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;

use atlas::{AttributeName, AttributeValue, RegionMap, SignedMap, VerifiedMap};
use engine::{Key, Order, ScanLimit, Span};
use terms::RecordKey;

use super::*;
use crate::read::list::{List, ListQuery, Of, View};
use crate::reply::tests::Arrived;
use crate::reply::{Listed, Page};
use crate::store::index_keys::Indexes;
use crate::store::index_state::IndexState;
use crate::store::indexed::{AttributeChanges, Indexed};
use crate::store::record::Stored;
use crate::store::region_maps::Offered;
use crate::store::subject::SubjectRow;
use crate::store::{keys, list_number};
use crate::write::command::{Errand, IndexStep, MapOp, Patch, PatchedBody, Touch};
use crate::write::index_rows;
use crate::write::index_walk::look;

/// Each seed is a run that can be replayed; one that has found a mistake stays.
const SEEDS: std::ops::Range<u64> = 1..41;
const STEPS: usize = 150;
/// Records that one step of the walk changes: far fewer than there are.
const AT_ONCE: usize = 3;

/// The name, type and index of an attribute.
type Attribute = (&'static str, &'static str, &'static str);

/// What maps declare of the first collection: whether it has a list, and its attributes.
const DECLARED: [(bool, &[Attribute]); 8] = [
    (false, &[("age", "integer", "none"), ("mail", "string", "none")]),
    (false, &[("age", "integer", "range"), ("mail", "string", "none")]),
    (true, &[("age", "integer", "range"), ("mail", "string", "exact")]),
    (true, &[("age", "integer", "exact"), ("mail", "string", "exact")]),
    // The same name with another type: what is stored stays as it is, and is not found by it.
    (false, &[("age", "string", "exact"), ("mail", "string", "exact")]),
    (true, &[("mail", "string", "exact")]),
    (false, &[]),
    (true, &[("age", "integer", "range")]),
];

/// The rows by which a record is found.
fn rows(node: &Node, address: &Address, indexed: &Indexed) -> BTreeSet<Key> {
    let mut rows = index_rows::rows(&node.namer, address, indexed);
    let list = index_rows::list(&node.namer, address);
    rows.extend(indexed.listed.then(|| list.listed(&address.row)));
    rows
}

/// Numbers that a seed gives.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(n).expect("small")).expect("small")
    }
}

/// A stage with a walk, and what it does in a run.
pub(super) struct Run {
    pub(super) stage: Stage,
    pub(super) dice: Dice,
    declared: usize,
    requests: u64,
    /// Steps of the walk that were looked for, and may be late.
    steps: Vec<IndexStep>,
}

/// The next map, which declares that.
fn next_map(before: &RegionMap, declared: usize) -> RegionMap {
    let (list, attributes) = DECLARED[declared];
    let epoch = before.epoch();
    let digest = epoch.digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut of_first = "reads = \"counted\"\n".to_owned();
    if list {
        of_first.push_str("list = true\n");
    }
    for (name, kind, index) in attributes {
        of_first.push_str(&format!(
            "\n[[collections.attributes]]\nname = \"{name}\"\ntype = \"{kind}\"\nindex = \"{index}\"\n"
        ));
    }
    let version = format!("version = {}\npredecessor = \"sha256:{digest}\"\n", epoch.number + 1);
    let text = testing::MAP.replacen("version = 1\n", &version, 1);
    RegionMap::parse(&text.replacen("reads = \"counted\"\n", &of_first, 1)).expect("a map")
}

impl Run {
    pub(super) fn node(&self) -> &Node {
        &self.stage.committer.node
    }

    pub(super) fn commit(&mut self, action: Action) {
        let (op, room) = self.stage.op(1, action);
        self.stage.committer.commit(&mut VecDeque::from([(op, room)]), false).expect("a commit");
    }

    pub(super) fn request(&mut self) -> Request {
        self.requests += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.requests.to_be_bytes());
        Request { id, fingerprint: Fingerprint(id) }
    }

    pub(super) fn some_address(&mut self) -> Address {
        let (subject, key) = (self.dice.below(5), self.dice.below(5));
        let Address { owner, collection, .. } = self.stage.address(&format!("p{subject}"));
        let key = RecordKey::parse(&format!("k{key}")).expect("a key");
        let row = self.node().namer.record(&owner, &collection, &key);
        Address { owner, collection, key, row }
    }

    /// Attributes that the map in force allows.
    fn some_attributes(&mut self) -> RecordAttributes {
        let mut attributes = RecordAttributes::new();
        for (name, kind, _) in DECLARED[self.declared].1 {
            let n = self.dice.below(4);
            let value = match (n, *kind) {
                (0, _) => continue,
                (n, "integer") => AttributeValue::Integer(i64::try_from(n).expect("small")),
                (n, _) => AttributeValue::text(&format!("t{n}")).expect("a text"),
            };
            attributes.insert(AttributeName::parse(name).expect("a name"), value).expect("room");
        }
        attributes
    }

    pub(super) fn put(&mut self, expires: Option<UnixMillis>) {
        let (address, request) = (self.some_address(), self.request());
        let attributes = self.some_attributes();
        let body = vec![7; self.dice.below(2) * 5_000];
        let body_key = Zeroizing::new([9; 32]);
        let region = &self.node().region;
        let sealed = SealedBody::new(&address, region, &AesGcm, &body_key, &body);
        let subject = address.owner.subject.expose().to_owned();
        let content = Content { body_key, sealed, ..Content::none([1; 32], [2; 12]) };
        let put = self.stage.a_put(&subject, 1, findings(0), b"");
        let body_bytes = body.len();
        let put = Put { address, request, content, attributes, body_bytes, expires, ..put };
        self.commit(Action::Put(Box::new(put)));
    }

    /// Changes a part of a record, or deletes it; where there is none, it is refused.
    pub(super) fn change(&mut self) {
        let (address, request, condition) =
            (self.some_address(), self.request(), Condition::default());
        let (validate_only, nonce) = (false, [3; 12]);
        let action = match self.dice.below(3) {
            0 => {
                let set = self.some_attributes();
                let removed = AttributeName::parse("mail").filter(|name| set.get(name).is_none());
                let removed = removed.into_iter().filter(|_| self.dice.below(2) == 0).collect();
                let changes = AttributeChanges { set, removed };
                let body = PatchedBody::Stays(nonce);
                let patch = Patch { address, request, condition, validate_only, body, changes };
                Action::Patch(Box::new(patch))
            }
            1 => {
                let expires = None;
                let touch = Touch { address, request, condition, validate_only, expires, nonce };
                Action::Touch(Box::new(touch))
            }
            _ => {
                let content = Content::none([4; 32], nonce);
                let delete = Delete { address, request, condition, validate_only, content };
                Action::Delete(Box::new(delete))
            }
        };
        self.commit(action);
    }

    fn take_map(&mut self) {
        let declared = self.dice.below(DECLARED.len());
        self.take(declared);
    }

    /// Takes a map that declares that.
    pub(super) fn take(&mut self, declared: usize) {
        self.declared = declared;
        let map = next_map(&self.node().map(), self.declared);
        let signed = SignedMap::of(&map, String::new());
        let by = vec!["anna".to_owned(), "boris".to_owned()];
        let offered = Offered { sealed: VerifiedMap { map: Arc::new(map), by }, signed };
        let (reply, answers) = slot();
        let errand = Errand::Map(MapOp { reply, offered });
        self.stage.committer.run_errand(errand, false).expect("no engine fails");
        let taken = answers.try_recv().expect("an answer").0;
        assert!(matches!(taken, Outcome::MapTaken(_)), "{}", said(&taken));
    }

    /// Does a step that was looked for some time ago, or the next.
    fn walk(&mut self) {
        if self.dice.below(2) == 0 {
            let found = look(self.node(), AT_ONCE).expect("rows that open");
            self.steps.extend(found);
        } else if !self.steps.is_empty() {
            let late = self.dice.below(self.steps.len());
            let step = self.steps.swap_remove(late);
            assert!(self.stage.committer.index(&step).expect("no engine fails").expect("a step"));
        }
    }

    pub(super) fn walk_to_the_end(&mut self) {
        for _ in 0..10_000 {
            let Some(step) = look(self.node(), AT_ONCE).expect("rows that open") else { return };
            assert!(self.stage.committer.index(&step).expect("no engine fails").expect("a step"));
        }
        unreachable!("the walk has an end");
    }

    fn scan(&self, span: &Span) -> Vec<(Key, Vec<u8>)> {
        let limit = ScanLimit { rows: usize::MAX, bytes: usize::MAX };
        self.node().engine.scan(span, Order::Ascending, limit).expect("rows").rows
    }

    /// All rows of indexes that the heads say, and those that the map in force says.
    fn expected(&self) -> [BTreeSet<Key>; 2] {
        let (node, map) = (self.node(), self.node().map());
        let mut both = [BTreeSet::new(), BTreeSet::new()];
        for (key, row) in self.scan(&keys::subjects()) {
            if keys::is_subject(&key) {
                continue;
            }
            let (prefix, tag) = keys::of_subject(&key).expect("a head");
            let subject = self.scan(&Span::prefix(&keys::subject_row(prefix))).remove(0).1;
            let owner = Subject::owner_of(&subject, tag, node.subject_keys());
            let owner = owner.expect("it opens").expect("it is kept");
            let SubjectRow::Kept(subject) = node.open_subject(&owner, &subject).expect("it opens")
            else {
                unreachable!("no subject is erased here")
            };
            let of = subject.key_of(&key).expect("a key");
            let stored = Stored::read(&row).expect("a head");
            let (address, head) = stored.named(&owner, &key, &node.region, of).expect("it opens");
            both[0].extend(rows(node, &address, &head.indexed));
            if !head.is_deleted() {
                let aligned = head.indexed.aligned(map.collection(&address.collection));
                let aligned = aligned.unwrap_or(head.indexed);
                both[1].extend(rows(node, &address, &aligned));
            }
        }
        both
    }

    /// What must hold at every moment.
    pub(super) fn holds(&self, when: &str) {
        let stored: BTreeSet<Key> =
            self.scan(&Span::prefix(&[0x30])).into_iter().map(|(key, _)| key).collect();
        let [of_heads, of_map] = self.expected();
        assert!(stored == of_heads, "{when}: a row that no head says, or none that one says");
        let (node, map) = (self.node(), self.node().map());
        let (tenant, collection) =
            (asker(Role::Writer, None).tenant, Collection::parse("profiles"));
        let collection = collection.expect("a name");
        let view = node.engine.view().expect("a view");
        let complete = IndexState::of(&*view, &collection).expect("it opens");
        let indexes = Indexes { layout: &node.namer, tenant: &tenant, collection: &collection };
        let rules = map.collection(&collection).expect("it is declared");
        let by = rules.attributes().iter().filter(|own| complete.has_all_by(own));
        let mut spans: Vec<Span> =
            by.map(|own| indexes.of_attribute(own.name(), own.kind(), own.index()).all()).collect();
        spans.extend(complete.lists_all().then(|| indexes.list().all()));
        let list = indexes.list();
        let rows = u64::try_from(self.scan(&list.all()).len()).expect("few");
        assert_eq!(list_number::read(&*view, &list).expect("it opens"), Some(rows), "{when}");
        for span in spans {
            let within = |key: &&Key| span.from <= **key && **key < span.until;
            let wanted: Vec<&Key> = of_map.iter().filter(within).collect();
            assert_eq!(stored.iter().filter(within).collect::<Vec<_>>(), wanted, "{when}");
        }
    }
}

impl Run {
    pub(super) fn new(seed: u64) -> Self {
        Self::on(&Disk::new(seed), seed)
    }

    pub(super) fn on(disk: &Disk, seed: u64) -> Self {
        let stage = Stage::new(disk);
        let dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { stage, dice, declared: 0, requests: 0, steps: Vec::new() }
    }

    /// How many records a list gives, or why it gives none.
    fn listed(&self, subject: Option<&str>, filter: &str, order_by: &str) -> Result<usize, String> {
        let subject = subject.map(|subject| self.stage.address(subject).owner);
        let (filter, order_by) = (filter.to_owned(), order_by.to_owned());
        let page = self.page(ListQuery { subject, filter, order_by, ..Self::all() })?;
        Ok(page.records.len())
    }

    /// A list of all records of the collection.
    pub(super) fn all() -> ListQuery {
        ListQuery {
            collection: Collection::parse("profiles").expect("a name"),
            subject: None,
            participant: None,
            filter: String::new(),
            order_by: String::new(),
            view: View::Names,
            page_size: 100,
            weight_max: 1 << 20,
            cursor: bytes::Bytes::new(),
            cursor_each: false,
            of: Of::Records,
            purpose: String::new(),
            question: None,
            export: false,
            caller: "app".to_owned(),
        }
    }

    /// A page of a list, or why there is none.
    pub(super) fn page(&self, query: ListQuery) -> Result<Page, String> {
        let answer = self.ask(query).try_recv().expect("an answer").0;
        let reason = said(&answer);
        let Outcome::Listed(page) = answer else { return Err(reason.to_owned()) };
        Ok(page)
    }

    /// Asks. A count is answered once its entry is there.
    pub(super) fn ask(&self, query: ListQuery) -> Receiver<Arrived> {
        let (reply, answers) = slot();
        let asker = asker(Role::Reader, Some(here()));
        let deadline = Instant::now() + Duration::from_secs(600);
        List { reply, deadline, asker, query }.serve(&self.stage.reader());
        answers
    }
}

#[test]
fn what_needs_an_index_is_refused_until_the_walk_has_come_to_the_end() {
    let mut run = Run::new(1);
    run.take(0);
    while run.listed(None, "", "").expect("a list") < 12 {
        run.put(None);
    }
    // As before the map, all heads are looked at.
    let all = run.listed(None, "", "").expect("a list");
    let of_one = run.listed(Some("p1"), "", "").expect("a list");
    assert_eq!(run.listed(None, "age >= 0", ""), Err("INDEX_REQUIRED".to_owned()));
    run.take(2);
    let mut steps = 0;
    while let Some(step) = look(run.node(), AT_ONCE).expect("rows that open") {
        for (filter, order) in [("age >= 0", ""), ("mail = \"t1\"", ""), ("", "age")] {
            assert_eq!(run.listed(None, filter, order), Err("INDEX_BUILDING".to_owned()));
        }
        assert_eq!(run.listed(None, "", ""), Ok(all));
        assert_eq!(run.listed(Some("p1"), "", ""), Ok(of_one));
        assert!(run.listed(Some("p1"), "age >= 0", "").is_ok());
        assert!(run.stage.committer.index(&step).expect("no engine fails").expect("a step"));
        steps += 1;
    }
    assert!(steps > 2, "{steps} steps");
    let aged = run.listed(None, "age >= 0", "").expect("a list");
    assert_eq!(run.listed(None, "", "age"), Ok(aged));
    assert!(aged > 0 && aged < all);
    assert_eq!(run.listed(None, "", ""), Ok(all));
}

#[test]
fn a_list_goes_on_when_its_index_becomes_complete_between_two_pages() {
    let mut run = Run::new(1);
    run.take(0);
    while run.listed(None, "", "").expect("a list") < 12 {
        run.put(None);
    }
    let all = run.listed(None, "", "").expect("a list");
    run.take(2);
    let first = run.page(ListQuery { page_size: 5, ..Run::all() }).expect("a page");
    run.walk_to_the_end();
    let rest = run.page(ListQuery { cursor: first.next, ..Run::all() }).expect("a page");
    let pages = first.records.iter().chain(&rest.records);
    let name =
        |record: &Listed| (record.subject.expose().to_owned(), record.key.expose().to_owned());
    let each: BTreeSet<_> = pages.map(name).collect();
    assert_eq!((first.records.len(), rest.records.len(), each.len()), (5, all - 5, all));
    assert!(rest.next.is_empty());
}

#[test]
fn whatever_comes_between_two_steps_of_the_walk_no_complete_index_has_a_gap() {
    for seed in SEEDS {
        let mut run = Run::new(seed);
        run.take_map();
        let mut complete = 0;
        for n in 0..STEPS {
            match run.dice.below(20) {
                0 => run.take_map(),
                1..8 => run.put(None),
                8..12 => run.change(),
                // A walk that ends, and comes again: what it had found is lost.
                12 if run.dice.below(4) == 0 => run.steps.clear(),
                _ => run.walk(),
            }
            run.holds(&format!("seed {seed}, step {n}"));
            complete += usize::from(look(run.node(), AT_ONCE).expect("it opens").is_none());
        }
        assert!(complete > 0 && complete < STEPS, "seed {seed}: {complete} moments without a walk");
        run.walk_to_the_end();
        run.holds(&format!("seed {seed}, at the end"));
        let [of_heads, of_map] = run.expected();
        assert!(of_heads == of_map, "seed {seed}: a head says what no map in force says");
        let view = run.node().engine.view().expect("a view");
        let state = IndexState::read(&*view).expect("it opens").expect("it is there");
        assert_eq!(state.building().count(), 0);
    }
}
