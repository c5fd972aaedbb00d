//! What the callers of a history ask: drawn from a seed, and from what they were told before.

use std::collections::BTreeMap;

use super::model::{Ask, Attributes, Body, Change, FILTERS, Value, Write};

/// Records of a history: two of each subject.
pub(crate) const RECORDS: usize = 6;

/// Subject and key of a record.
pub(crate) fn names(record: usize) -> (String, String) {
    (format!("p{}", record / 2), format!("k{}", record % 2))
}

/// Numbers that a seed gives (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("small")
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A caller: what it has sent, and what it knows.
#[derive(Debug)]
pub(crate) struct Caller {
    dice: Dice,
    /// Its own numbers are this one, and every [`CALLERS_MAX`]th after it.
    next: u64,
    sent: Vec<(usize, Write)>,
    /// Of each record, the newest version that it was told of, and its etag.
    known: BTreeMap<usize, (u64, String)>,
    /// Writes whose outcome it does not know: it asks again.
    open: Vec<(usize, Write)>,
    /// When records may expire: so many milliseconds after the time it is.
    lives: &'static [u64],
}

/// Callers of one history at most.
const CALLERS_MAX: u64 = 16;

impl Caller {
    pub(crate) fn new(seed: u64, n: u64, lives: &'static [u64]) -> Self {
        let mut dice = Dice(seed);
        dice.0 = dice.next() ^ n;
        let (sent, known, open) = (Vec::new(), BTreeMap::new(), Vec::new());
        Self { dice, next: n + CALLERS_MAX, sent, known, open, lives }
    }

    pub(crate) const fn dice(&mut self) -> &mut Dice {
        &mut self.dice
    }

    /// Remembers the etag of a version.
    pub(crate) fn learn(&mut self, record: usize, version: u64, etag: String) {
        if !etag.is_empty() {
            self.known.insert(record, (version, etag));
        }
    }

    /// Remembers that the outcome of a write is not known.
    pub(crate) fn doubt(&mut self, record: usize, write: Write) {
        self.open.push((record, write));
    }

    fn number(&mut self) -> u64 {
        self.next += CALLERS_MAX;
        self.next
    }

    /// What it asks next, at that time. A list asks of all records.
    pub(crate) fn draw(&mut self, now: u64) -> (usize, Ask) {
        let record = self.dice.index(RECORDS);
        match self.dice.below(16) {
            0..3 => (record, Ask::Get),
            3 => (record, Ask::List(self.dice.index(FILTERS.len()))),
            4 | 5 if !self.open.is_empty() => {
                let at = self.dice.index(self.open.len());
                let (record, write) = self.open.swap_remove(at);
                (record, Ask::Write(write))
            }
            // The same again, whatever has become of it.
            4 | 5 if !self.sent.is_empty() => {
                let at = self.dice.index(self.sent.len());
                let (record, write) = self.sent.get(at).cloned().expect("one of them");
                (record, Ask::Write(write))
            }
            drawn => {
                let write = self.write(record, drawn == 6, now);
                self.sent.push((record, write.clone()));
                (record, Ask::Write(write))
            }
        }
    }

    /// A new write. `reused`: with the id of another one, if there is one of the record.
    fn write(&mut self, record: usize, reused: bool, now: u64) -> Write {
        let of = self.number();
        let other = self.sent.iter().rev().find(|(own, write)| *own == record && !write.dry);
        let request = other.filter(|_| reused).map_or(of, |(_, write)| write.request);
        let known = self.known.get(&record).cloned();
        let (mut if_version, mut etag) = (None, None);
        match self.dice.below(8) {
            0 => if_version = Some(0),
            1 | 2 => if_version = known.map(|(version, _)| version),
            3 => etag = known,
            _ => {}
        }
        let change = if request == of { self.change(of, now) } else { self.put(of, now) };
        let dry = request == of && self.dice.one_in(12);
        Write { request, of, dry, if_version, etag, change }
    }

    fn put(&mut self, n: u64, now: u64) -> Change {
        let body = self.body(n);
        Change::Put { body, attributes: self.attributes(), expires: self.expires(now) }
    }

    fn change(&mut self, n: u64, now: u64) -> Change {
        match self.dice.below(10) {
            0..5 => self.put(n, now),
            5 | 6 => {
                let set = self.attributes();
                let mut remove = vec!["age", "mail", "note"];
                remove.retain(|name| !set.contains_key(name) && self.dice.one_in(2));
                let empty = set.is_empty() && remove.is_empty();
                let body = (empty || self.dice.one_in(2)).then(|| self.body(n));
                Change::Patch { body, set, remove }
            }
            7 => Change::Touch { expires: self.expires(now) },
            _ => Change::Delete,
        }
    }

    fn body(&mut self, n: u64) -> Body {
        Body { n, large: self.dice.one_in(4) }
    }

    fn expires(&mut self, now: u64) -> u64 {
        if self.lives.is_empty() || self.dice.one_in(2) {
            return 0;
        }
        let at = self.dice.index(self.lives.len());
        now + self.lives.get(at).copied().expect("one of them")
    }

    fn attributes(&mut self) -> Attributes {
        let dice = &mut self.dice;
        let mut all = Attributes::new();
        if dice.one_in(2) {
            let age = [-2, -1, 0, 1, 2].get(dice.index(5)).copied().expect("one of five");
            all.insert("age", Value::Integer(age));
        }
        if dice.one_in(2) {
            let mail = ["a@x", "b@x", ""].get(dice.index(3)).copied().expect("one of three");
            all.insert("mail", Value::Text(mail));
        }
        if dice.one_in(3) {
            all.insert("note", Value::Text("n"));
        }
        if dice.one_in(2) {
            all.insert("seen", Value::Bool(dice.one_in(2)));
        }
        all
    }
}
