//! Fills one page: in the order of the rows, or sorted.

use bytes::Bytes;
use engine::{Key, Order, ScanLimit, Span, Value};
use sealed::{ANSWER_OVERHEAD_BYTES, AnswerPart};
use terms::{Reason, Rejection};

use crate::Error;
use crate::read::list::cursor::{Cursors, invalid};
use crate::read::list::fault::Fault;
use crate::read::list::plan::{Plan, Sequence};
use crate::read::list::query::View;
use crate::read::list::walk::{BYTES_AT_ONCE, Candidate, ROWS_AT_ONCE, Walk, past};
use crate::reply::{Listed, Page, weight};
use crate::store::index_keys::{at_place, place_of};
use crate::store::{keys, participants};

/// Candidates that one page looks at. A page that has looked at so many ends, be it short.
const LOOKED_AT_MAX: usize = 10_000;

/// Candidates that are sorted for one page.
const SORTED_MAX: usize = 10_000;

/// One page of what is asked for.
pub(super) fn page(walk: &Walk<'_>) -> Result<Page, Fault> {
    let cursors = Cursors::new(walk.policy.node, walk.policy.asker, walk.query);
    let cursor = &walk.query.cursor;
    let after = (!cursor.is_empty()).then(|| cursors.open(cursor)).transpose()?;
    let mut filling = Filling::new(walk, &cursors);
    let Plan { spans, by_index, listed, sequence, .. } = walk.plan;
    match sequence {
        Sequence::AsStored { ordered, descending } => {
            let (ordered, descending) = (*ordered, *descending);
            let (by_index, listed) = (*by_index, *listed);
            let way = Way { spans, by_index, listed, ordered, descending };
            filling.stream(&way, after.as_deref())?;
        }
        Sequence::Sorted { descending, instead } => {
            if !filling.sort(*descending, after.as_deref())? {
                let spans = instead.as_deref().ok_or_else(too_many)?;
                filling = Filling::new(walk, &cursors);
                let descending = *descending;
                let (by_index, listed, ordered) = (true, false, true);
                let way = Way { spans, by_index, listed, ordered, descending };
                filling.stream(&way, after.as_deref())?;
            }
        }
    }
    Ok(filling.page)
}

fn too_many() -> Rejection {
    Rejection::new(Reason::IndexRequired)
        .field("order_by")
        .problem(format!("more than {SORTED_MAX} records would have to be sorted"))
        .cure("narrow the filter, name a subject, or order by an attribute with a range index")
}

/// In which rows a page is found, and how one goes through them.
struct Way<'a> {
    spans: &'a [Span],
    by_index: bool,
    /// Whether these are rows of the collection's list: a place is a head's key, as it is where heads are
    /// read. So a list that becomes complete between two pages is gone on with.
    listed: bool,
    /// Whether that is the order that was asked for: then a place is a value and a head's key.
    /// Otherwise it is the key of a row.
    ordered: bool,
    descending: bool,
}

impl Way<'_> {
    /// The place of a row.
    fn place<'r>(&self, row: &'r [u8]) -> Result<&'r [u8], Error> {
        if !self.ordered && !self.listed {
            return Ok(row);
        }
        place_of(row).ok_or(Error::Damaged("indexes"))
    }

    /// The spans after that place, in the order in which they are read.
    fn after(&self, place: Option<&[u8]>) -> Result<Vec<Span>, Fault> {
        let mut spans = self.spans.to_vec();
        if let Some(place) = place {
            let within = |span: &Span| span.from.as_slice() <= place && place < &span.until[..];
            let known = if self.listed {
                within(&keys::subjects())
            } else {
                self.ordered || spans.iter().any(within)
            };
            // The map has changed since: what was asked is answered by other rows now.
            if !known {
                return Err(invalid().into());
            }
            for span in &mut spans {
                let by_place = self.ordered || self.listed;
                let at = if by_place { at_place(span, place) } else { Some(place.to_vec()) };
                let at = at.ok_or(Error::Damaged("indexes"))?;
                if self.descending {
                    span.until = std::mem::take(&mut span.until).min(at);
                } else {
                    span.from = std::mem::take(&mut span.from).max(past(&at));
                }
            }
        }
        spans.retain(|span| !span.is_empty());
        if self.descending {
            spans.reverse();
        }
        Ok(spans)
    }
}

/// A record in the order that is asked for.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    place: Vec<u8>,
    /// The key of its head.
    head: Key,
}

/// A page that is being filled.
struct Filling<'a> {
    walk: &'a Walk<'a>,
    cursors: &'a Cursors<'a>,
    page: Page,
    /// The place of the row that was looked at last.
    last: Vec<u8>,
}

impl<'a> Filling<'a> {
    fn new(walk: &'a Walk<'a>, cursors: &'a Cursors<'a>) -> Self {
        Self { walk, cursors, page: Page::default(), last: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.page.records.len() >= self.walk.query.page_size
    }

    /// The page ends with the row that was looked at last.
    fn end(&mut self) -> Result<(), Error> {
        self.page.next = self.cursors.seal(&self.last)?;
        Ok(())
    }

    /// Takes records in the order of their rows.
    fn stream(&mut self, way: &Way<'_>, after: Option<&[u8]>) -> Result<(), Fault> {
        let order = if way.descending { Order::Descending } else { Order::Ascending };
        let mut left = LOOKED_AT_MAX;
        let mut spans = way.after(after)?.into_iter().peekable();
        while let Some(mut span) = spans.next() {
            loop {
                self.walk.in_time()?;
                let rows = ROWS_AT_ONCE.min(self.walk.query.page_size.max(16)).min(left);
                let limit = ScanLimit { rows, bytes: BYTES_AT_ONCE };
                let found = self.walk.view.scan(&span, order, limit)?;
                let Some((last, _)) = found.rows.last().cloned() else { break };
                left -= found.rows.len();
                let is_end = !found.more && spans.peek().is_none();
                if !self.take(found.rows, way, is_end)? {
                    return Ok(());
                }
                if left == 0 && !is_end {
                    return Ok(self.end()?);
                }
                if !found.more {
                    break;
                }
                if way.descending {
                    span.until = last;
                } else {
                    span.from = past(&last);
                }
            }
        }
        Ok(())
    }

    /// Takes what is wanted of some rows; `is_end`: there are no more behind them. False: the page
    /// ends here.
    fn take(
        &mut self,
        rows: Vec<(Key, Value)>,
        way: &Way<'_>,
        is_end: bool,
    ) -> Result<bool, Fault> {
        let places = rows.iter().map(|(row, _)| way.place(row).map(<[u8]>::to_vec));
        let places: Vec<Vec<u8>> = places.collect::<Result<_, _>>()?;
        let mut rest = places.len();
        for (place, candidate) in places.into_iter().zip(self.walk.open(rows, way.by_index)?) {
            rest -= 1;
            let wanted = self.walk.wanted(candidate, &mut self.page.withheld)?;
            if let Some(candidate) = wanted {
                let order = self.walk.place(&candidate).unwrap_or_default();
                if !self.add(&candidate, &place, order)? {
                    self.end()?;
                    return Ok(false);
                }
            }
            self.last = place;
            if self.is_full() {
                if rest > 0 || !is_end {
                    self.end()?;
                }
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads all candidates, and takes the next of them in the order that was asked for. False:
    /// there are too many.
    fn sort(&mut self, descending: bool, after: Option<&[u8]>) -> Result<bool, Fault> {
        let Some(mut kept) = self.gather(descending, after)? else { return Ok(false) };
        if after.is_some() {
            // They were counted with the first page.
            self.page.withheld = 0;
        }
        kept.sort_unstable();
        if descending {
            kept.reverse();
        }
        let mut rest = kept.len();
        for some in kept.chunks(ROWS_AT_ONCE) {
            let keys: Vec<&[u8]> = some.iter().map(|one| one.head.as_slice()).collect();
            let rows = self.walk.view.get_many(&keys)?;
            let rows = some.iter().zip(rows).map(|(one, row)| Some((one.head.clone(), row?)));
            let rows = rows.collect::<Option<_>>().ok_or(Error::Damaged("records"))?;
            for (Placed { place, head }, candidate) in some.iter().zip(self.walk.open(rows, false)?)
            {
                rest -= 1;
                let candidate = candidate.ok_or(Error::Damaged("records"))?;
                let order = place.strip_suffix(&head[..]).unwrap_or(place).to_vec();
                if !self.add(&candidate, place, order)? {
                    self.end()?;
                    return Ok(true);
                }
                self.last.clone_from(place);
                if self.is_full() {
                    if rest > 0 {
                        self.end()?;
                    }
                    return Ok(true);
                }
            }
        }
        Ok(true)
    }

    /// What is wanted and comes after that place: places, and the keys of heads.
    fn gather(
        &mut self,
        descending: bool,
        after: Option<&[u8]>,
    ) -> Result<Option<Vec<Placed>>, Fault> {
        let (mut kept, mut looked) = (Vec::new(), 0);
        for span in &self.walk.plan.spans {
            let mut span = span.clone();
            loop {
                self.walk.in_time()?;
                let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: BYTES_AT_ONCE };
                let found = self.walk.view.scan(&span, Order::Ascending, limit)?;
                let Some((last, _)) = found.rows.last() else { break };
                span.from = past(last);
                looked += found.rows.len();
                if looked > SORTED_MAX {
                    return Ok(None);
                }
                for candidate in self.walk.open(found.rows, self.walk.plan.by_index)? {
                    let wanted = self.walk.wanted(candidate, &mut self.page.withheld)?;
                    let Some(candidate) = wanted else { continue };
                    let Some(order) = self.walk.place(&candidate) else { continue };
                    let place = [order, candidate.address.row.clone()].concat();
                    let is_later = after.is_none_or(|after| {
                        if descending { place.as_slice() < after } else { place.as_slice() > after }
                    });
                    if is_later {
                        kept.push(Placed { place, head: candidate.address.row });
                    }
                }
                if !found.more {
                    break;
                }
            }
        }
        Ok(Some(kept))
    }

    /// The body as it is given: sealed, if that was asked for. That of an attachment too, though it is empty:
    /// so no gateway makes one of a record.
    fn sealed(&self, candidate: &Candidate, body: Bytes) -> Result<Bytes, Error> {
        let Some(secret) = self.walk.secret else { return Ok(body) };
        let Candidate { person, address, head, .. } = candidate;
        let attachment_bytes = head.body.attachment_bytes();
        let part = AnswerPart::Record {
            subject: person.owner.subject.expose(),
            collection: address.collection.as_str(),
            key: address.key.expose(),
            version: i64::try_from(head.version.0).unwrap_or(i64::MAX),
            etag: &head.etag(),
            attachment_bytes: i64::try_from(attachment_bytes).unwrap_or(i64::MAX),
        };
        Ok(secret.seal_part(self.walk.policy.node.random()?, &part, &body).into())
    }

    /// Adds a record. False: it does not fit any more.
    fn add(&mut self, candidate: &Candidate, place: &[u8], order: Vec<u8>) -> Result<bool, Fault> {
        let Candidate { person, address, head, .. } = candidate;
        let (view, query) = (self.walk.query.view, self.walk.query);
        let (count, attributes) = match view {
            View::Names => (0, Vec::new()),
            View::Attributes | View::Whole => {
                (head.indexed.attributes.len(), head.indexed.encoded.clone())
            }
        };
        let attachment_bytes = head.body.attachment_bytes();
        let is_whole = view == View::Whole && attachment_bytes == 0;
        let body = if is_whole { head.body.bytes() } else { 0 };
        let body = body + self.walk.secret.map_or(0, |_| ANSWER_OVERHEAD_BYTES);
        let subject = person.owner.subject.clone();
        let named = &head.indexed.participants;
        let named_bytes = participants::bytes(named);
        let names = subject.expose().len() + address.key.expose().len() + named_bytes;
        let weight = weight(count, names + attributes.len() + body);
        if !self.page.records.is_empty() && self.page.weight + weight > query.weight_max {
            return Ok(false);
        }
        let body = if is_whole { self.walk.body(candidate)? } else { Bytes::new() };
        let body = self.sealed(candidate, body)?;
        let cursor = if query.cursor_each { self.cursors.seal(place)? } else { Bytes::new() };
        self.page.weight += weight;
        self.page.records.push(Listed {
            subject,
            key: address.key.clone(),
            version: head.version,
            etag: head.etag(),
            expires: head.expires,
            attributes,
            participants: named.clone(),
            body,
            sealed: self.walk.secret.is_some(),
            attachment_bytes,
            order,
            cursor,
            change: None,
        });
        Ok(true)
    }
}
