//! How many records are wanted. The number that a list has answers a question for all of it, and rows of
//! an index that say all that is asked are counted unread, if no border is crossed. The records of which
//! more must be known are looked at one by one either way: those that may have expired, and those of
//! subjects that may not be served.

use std::collections::{HashMap, HashSet};

use engine::{Key, Order, ScanLimit, Span, Value};

use crate::Error;
use crate::read::list::fault::Fault;
use crate::read::list::walk::{BYTES_AT_ONCE, ROWS_AT_ONCE, Walk, past};
use crate::reply::Page;
use crate::store::index_keys::{ListKeys, head_of};
use crate::store::types::{Minute, SubjectTag};
use crate::store::{keys, list_number};

/// Rows that are read at once where they are only counted.
const COUNTED_AT_ONCE: usize = 8_192;

/// What finds the beginning of a subject's rows in the key of a row about the subject.
type HeadOf = fn(&[u8]) -> Option<&[u8]>;

/// The records of which more must be known than that an index has them.
struct Unsure {
    /// The heads of those that expire in this minute, or whose deletion is due.
    due: HashSet<Key>,
    /// The subjects that may be blocked, moving or being erased, and what the keys of their rows begin with.
    subjects: HashMap<SubjectTag, Key>,
}

impl Unsure {
    fn has_subject_of(&self, head: &[u8]) -> bool {
        keys::of_subject(head).is_none_or(|(_, tag)| self.subjects.contains_key(&tag))
    }

    fn has(&self, head: &[u8]) -> bool {
        self.due.contains(head) || self.has_subject_of(head)
    }
}

impl Walk<'_> {
    pub(crate) fn count(&self) -> Result<Page, Fault> {
        let exact = self.plan.exact && self.policy.at_home();
        let unsure = if exact { self.unsure()? } else { None };
        if let (Some(unsure), Some(list)) = (&unsure, &self.plan.list)
            && let Some(all) = list_number::read(self.view, list)?
        {
            return self.of_list(list, all, unsure);
        }
        let rows = if unsure.is_some() { COUNTED_AT_ONCE } else { ROWS_AT_ONCE };
        let mut page = Page::default();
        for span in &self.plan.spans {
            let mut span = span.clone();
            loop {
                self.in_time()?;
                let limit = ScanLimit { rows, bytes: BYTES_AT_ONCE };
                let found = self.view.scan(&span, Order::Ascending, limit)?;
                let Some((last, _)) = found.rows.last() else { break };
                span.from = past(last);
                let (more, mut rows) = (found.more, found.rows);
                if let Some(unsure) = &unsure {
                    let all = rows.len();
                    rows.retain(|(row, _)| head_of(row).is_none_or(|head| unsure.has(head)));
                    page.count += u64::try_from(all - rows.len()).unwrap_or(u64::MAX);
                }
                while !rows.is_empty() {
                    let some = rows.split_off(rows.len().saturating_sub(ROWS_AT_ONCE));
                    self.count_opened(some, &mut page)?;
                }
                if !more {
                    break;
                }
            }
        }
        Ok(page)
    }

    /// The records of a list that has so many.
    fn of_list(&self, list: &ListKeys, all: u64, unsure: &Unsure) -> Result<Page, Fault> {
        let mut page = Page { count: all, ..Page::default() };
        let due = unsure.due.iter().filter(|head| !unsure.has_subject_of(head));
        for some in due.cloned().collect::<Vec<_>>().chunks(ROWS_AT_ONCE) {
            self.in_time()?;
            self.count_again(list, some, &mut page)?;
        }
        let own = self.policy.node.namer.collection_tag(&self.query.collection);
        for prefix in unsure.subjects.values() {
            let mut span = keys::heads_of(prefix, own);
            loop {
                self.in_time()?;
                let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
                let found = self.view.scan(&span, Order::Ascending, limit)?;
                let heads: Vec<Key> = found.rows.into_iter().map(|(head, _)| head).collect();
                let Some(last) = heads.last() else { break };
                span.from = past(last);
                self.count_again(list, &heads, &mut page)?;
                if !found.more {
                    break;
                }
            }
        }
        Ok(page)
    }

    /// Takes the records with these heads out of the list's number, and counts those that are wanted.
    fn count_again(&self, list: &ListKeys, heads: &[Key], page: &mut Page) -> Result<(), Fault> {
        let rows: Vec<Key> = heads.iter().map(|head| list.listed(head)).collect();
        let wanted: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
        let found = self.view.get_many(&wanted)?;
        let listed = rows.into_iter().zip(found).filter_map(|(row, value)| Some((row, value?)));
        let listed: Vec<(Key, Value)> = listed.collect();
        let of_number = u64::try_from(listed.len()).unwrap_or(u64::MAX);
        page.count = page.count.checked_sub(of_number).ok_or(Error::Damaged("indexes"))?;
        self.count_opened(listed, page)
    }

    /// Opens the records of these rows, and counts those that are wanted.
    fn count_opened(&self, rows: Vec<(Key, Value)>, page: &mut Page) -> Result<(), Fault> {
        for candidate in self.open(rows, self.plan.by_index)? {
            let wanted = self.wanted(candidate, &mut page.withheld)?;
            page.count += u64::from(wanted.is_some());
        }
        Ok(())
    }

    /// The records that are looked at one by one. None: there are too many.
    fn unsure(&self) -> Result<Option<Unsure>, Fault> {
        const DAMAGED: Error = Error::Damaged("records");
        let (mut due, mut subjects) = (HashSet::new(), HashMap::new());
        let Some(rows) = self.few(&keys::expiring(None, Minute::of(self.now)))? else {
            return Ok(None);
        };
        for row in &rows {
            due.insert(keys::of_due(row).ok_or(DAMAGED)?.to_vec());
        }
        let spans: [(Span, HeadOf); 3] = [
            (keys::all_subjects_due(), keys::of_due),
            (keys::all_moving(None), keys::of_moving),
            (keys::all_arriving(), keys::of_moving),
        ];
        for (span, of) in spans {
            let Some(rows) = self.few(&span)? else { return Ok(None) };
            for row in &rows {
                let (prefix, tag) = of(row).and_then(keys::of_subject).ok_or(DAMAGED)?;
                subjects.insert(tag, prefix.to_vec());
            }
        }
        Ok(Some(Unsure { due, subjects }))
    }

    /// The keys in a span. None: there are too many.
    fn few(&self, span: &Span) -> Result<Option<Vec<Key>>, Fault> {
        let limit = ScanLimit { rows: COUNTED_AT_ONCE, bytes: BYTES_AT_ONCE };
        let found = self.view.scan(span, Order::Ascending, limit)?;
        let all = || found.rows.into_iter().map(|(key, _)| key).collect();
        Ok((!found.more).then(all))
    }
}
