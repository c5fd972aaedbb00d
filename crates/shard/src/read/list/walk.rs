//! Walks over the candidates of a question, and takes those that are wanted.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use engine::{Key, Value, View as StoreView};
use sealed::AnswerSecret;
use terms::{Reason, Rejection, UnixMillis};
use tokio::time::Instant;

use crate::Error;
use crate::policy::egress::EgressPolicy;
use crate::read::list::fault::Fault;
use crate::read::list::people::{People, Person};
use crate::read::list::plan::Plan;
use crate::read::list::query::{Asked, ListQuery};
use crate::store::index_keys::head_of;
use crate::store::keys;
use crate::store::record::{Address, Body, Head, Stored};

/// Rows that are read at once.
pub(super) const ROWS_AT_ONCE: usize = 256;
/// Bytes that are read at once.
pub(super) const BYTES_AT_ONCE: usize = 1 << 20;

/// What one question walks with.
pub(crate) struct Walk<'a> {
    pub(crate) policy: &'a EgressPolicy<'a>,
    pub(crate) view: &'a dyn StoreView,
    pub(crate) query: &'a ListQuery,
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) plan: &'a Plan,
    /// Records may be withheld, and the plan reads them whatever is asked: they are counted.
    pub(crate) guarded: bool,
    pub(crate) deadline: Instant,
    /// Records whose time of expiry has come by then are not there.
    pub(crate) now: UnixMillis,
    pub(crate) people: RefCell<People>,
    /// What seals bodies. None: they are given plain.
    pub(crate) secret: Option<&'a AnswerSecret>,
}

/// A record that may be wanted.
pub(super) struct Candidate {
    pub(super) person: Rc<Person>,
    pub(super) address: Address,
    pub(super) head: Head,
    row: Value,
}

/// The first key past that one.
pub(super) fn past(key: &[u8]) -> Key {
    [key, &[0]].concat()
}

impl Walk<'_> {
    pub(super) fn in_time(&self) -> Result<(), Rejection> {
        if Instant::now() > self.deadline {
            return Err(Reason::DeadlinePassed.into());
        }
        Ok(())
    }

    /// Opens the records to which these rows belong, one for each row. None: it is not of the
    /// question, whatever the filter says.
    pub(super) fn open(
        &self,
        rows: Vec<(Key, Value)>,
        by_index: bool,
    ) -> Result<Vec<Option<Candidate>>, Fault> {
        let damaged = || Error::Damaged("indexes");
        let (heads, values): (Vec<Key>, Vec<Option<Value>>) = if by_index {
            let heads = rows.iter().map(|(row, _)| head_of(row).map(<[u8]>::to_vec));
            let heads: Vec<Key> = heads.collect::<Option<_>>().ok_or_else(damaged)?;
            let keys: Vec<&[u8]> = heads.iter().map(Vec::as_slice).collect();
            let values = self.view.get_many(&keys)?;
            (heads, values)
        } else {
            rows.into_iter().map(|(head, row)| (head, Some(row))).unzip()
        };
        // Heads lie among those of other collections, and the rows of subjects.
        let own = self.policy.node.namer.collection_tag(&self.query.collection);
        let is_own = |head: &Key| keys::is_head_of(head, own);
        let keys: Vec<&[u8]> =
            heads.iter().filter(|head| is_own(head)).map(Vec::as_slice).collect();
        self.people.borrow_mut().meet(self.policy, self.view, &keys)?;
        let mut all = Vec::with_capacity(heads.len());
        for (head, row) in heads.iter().zip(values) {
            // A row of an index and its record are of one commit.
            let row = row.ok_or_else(damaged)?;
            all.push(if is_own(head) { self.candidate(head, row, by_index)? } else { None });
        }
        Ok(all)
    }

    fn candidate(
        &self,
        key: &[u8],
        row: Value,
        by_index: bool,
    ) -> Result<Option<Candidate>, Error> {
        let (_, tag) = keys::of_subject(key).ok_or(Error::Damaged("indexes"))?;
        if self.query.subject.as_ref().is_some_and(|owner| owner.tag != tag) {
            return Ok(None);
        }
        let Some(person) = self.people.borrow().get(tag) else { return Ok(None) };
        let opened = person.open(self.policy.node, self.view, key, &row)?;
        let Some((address, head)) = opened else { return Ok(None) };
        let of_collection = address.collection == self.query.collection;
        let is_of = of_collection && !head.is_deleted();
        // The records that name a person are found in one index for all collections.
        let elsewhere = !of_collection && self.query.participant.is_some();
        if by_index && !is_of && !elsewhere {
            return Err(Error::Damaged("indexes"));
        }
        let is_there = is_of && !head.has_expired(self.now);
        Ok(is_there.then_some(Candidate { person, address, head, row }))
    }

    /// The candidate, if it is wanted and those who ask may have it.
    pub(super) fn wanted(
        &self,
        candidate: Option<Candidate>,
        withheld: &mut u64,
    ) -> Result<Option<Candidate>, Fault> {
        let Some(candidate) = candidate else { return Ok(None) };
        let indexed = &candidate.head.indexed;
        let (named, wanted) = (&indexed.participants, self.query.participant.as_ref());
        // Before anything is asked of the record: the number is the same whatever is asked.
        if candidate.person.barred || !self.policy.lets_read_of(named) {
            self.policy.barred();
            *withheld += u64::from(self.guarded);
            return Ok(None);
        }
        let matches = wanted.is_none_or(|wanted| wanted.is_among(named))
            && self.asked.filter.matches(&indexed.attributes);
        // One who is blocked, erased or moved just now is not served: that is no law's doing.
        Ok(Some(candidate).filter(|candidate| matches && candidate.person.readable))
    }

    /// The place of a record in the order that was asked for. None: it has none.
    pub(super) fn place(&self, candidate: &Candidate) -> Option<Vec<u8>> {
        let order = self.asked.order.as_ref()?;
        match &order.attribute {
            // No key has a zero byte, which is a control character.
            None => Some([candidate.address.key.expose().as_bytes(), &[0]].concat()),
            Some(name) => Some(candidate.head.indexed.attributes.get(name)?.ordered()),
        }
    }

    /// The body, read at the same moment.
    pub(super) fn body(&self, candidate: &Candidate) -> Result<Bytes, Fault> {
        let Candidate { address, head, row, .. } = candidate;
        let apart = match head.body {
            Body::Apart(_) => {
                let mut found = self.view.get_many(&[&keys::body(&address.row)])?;
                Some(found.pop().flatten().ok_or(Error::Damaged("records"))?)
            }
            Body::Inline(_) | Body::Deleted | Body::Chunked(_) => None,
        };
        let (region, cipher) = (&self.policy.node.region, self.policy.node.cipher);
        let stored = Stored::read(row).map_err(|_| Error::Damaged("records"))?;
        let body = stored.body(address, region, cipher, head, apart);
        Ok(body.map_err(|_| Error::Damaged("records"))?.into())
    }
}
