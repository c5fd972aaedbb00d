//! Where the rows of indexes lie: `30`, the tag of an index (12 bytes), the value, the key of the
//! record's head (40 bytes). The value of such a row is the format version alone.
//!
//! An index is of one tenant, collection, attribute, type and kind; its tag is a keyed hash of
//! these. So when a map changes type or kind, rows of before are in another index. In an `exact`
//! one the value is a keyed hash (16 bytes), in a `range` one the value's own bytes, in order
//! ([`AttributeValue::ordered`]). The list of a collection is an index without an attribute and
//! without values; how many records it has is under `54`, tag of the index
//! ([`crate::store::list_number`]). Another finds records by the people that they name ([`Named`]).

use atlas::{AttributeName, AttributeType, AttributeValue, Index};
use engine::{Key, Span};
use terms::{Collection, RegionId, SubjectId, TenantId};

use crate::store::codec::Writer;
use crate::store::keys::KeyLayout;

/// What every row of an index has as its value: the format version.
pub(crate) const INDEX_ROW: [u8; 1] = [1];
/// The prefix of all rows of indexes.
const PREFIX: u8 = 0x30;
/// Bytes of an index's tag.
const INDEX_TAG_BYTES: usize = 12;
/// The prefix of the numbers of records in lists.
const NUMBER_PREFIX: u8 = 0x54;
/// Bytes of the key of a record's head.
const HEAD_KEY_BYTES: usize = 40;

/// One index: what the keys of all of its rows begin with.
#[derive(Clone)]
pub(crate) struct IndexKeys {
    start: Key,
    index: Index,
}

/// The indexes of one tenant's collection.
#[derive(Clone, Copy)]
pub(crate) struct Indexes<'a> {
    pub(crate) layout: &'a KeyLayout,
    pub(crate) tenant: &'a TenantId,
    pub(crate) collection: &'a Collection,
}

impl Indexes<'_> {
    /// The index over an attribute.
    pub(crate) fn of_attribute(
        &self,
        name: &AttributeName,
        kind: AttributeType,
        index: Index,
    ) -> IndexKeys {
        let mut text = self.names();
        text.text(name.as_str()).u8(kind.code()).u8(index.code());
        IndexKeys::new(self.layout, &text.0, index)
    }

    /// The list of the collection.
    pub(crate) fn list(&self) -> ListKeys {
        ListKeys::of_tag(tag(self.layout, &self.names().0))
    }

    fn names(&self) -> Writer {
        let mut text = Writer::with_capacity(192);
        text.text("index").text(self.tenant.as_str()).text(self.collection.as_str());
        text
    }
}

/// The records of one tenant, of any collection, that name a person besides their owner: for each region
/// of such people an `exact` index whose values are ids. One id is another person in another region.
#[derive(Clone, Copy)]
pub(crate) struct Named<'a> {
    pub(crate) layout: &'a KeyLayout,
    pub(crate) tenant: &'a TenantId,
}

impl Named<'_> {
    fn keys(&self, region: &RegionId) -> IndexKeys {
        let mut text = Writer::with_capacity(160);
        text.text("participants").text(self.tenant.as_str()).text(region.as_str());
        IndexKeys::new(self.layout, &text.0, Index::Exact)
    }

    /// The rows of all records that name people of that region.
    pub(crate) fn of_region(&self, region: &RegionId) -> Span {
        self.keys(region).all()
    }

    /// The row of a record that names that person of that region.
    pub(crate) fn row(&self, person: &SubjectId, region: &RegionId, head: &[u8]) -> Key {
        self.keys(region).row(self.layout, &value(person), head)
    }

    /// The rows of all records that name that person of that region.
    pub(crate) fn all(&self, person: &SubjectId, region: &RegionId) -> Span {
        self.keys(region).equal(self.layout, &value(person))
    }
}

fn value(person: &SubjectId) -> AttributeValue {
    AttributeValue::text(person.expose()).expect("ids are short texts without control characters")
}

impl IndexKeys {
    fn new(layout: &KeyLayout, text: &[u8], index: Index) -> Self {
        let mut start = Vec::with_capacity(1 + INDEX_TAG_BYTES + 16 + HEAD_KEY_BYTES);
        start.push(PREFIX);
        start.extend_from_slice(&tag(layout, text));
        Self { start, index }
    }

    /// What the keys of all rows with that value begin with.
    fn of_value(&self, layout: &KeyLayout, value: &AttributeValue) -> Key {
        let mut key = self.start.clone();
        match self.index {
            Index::Exact => {
                let text = [&self.start[..], &value.ordered()].concat();
                key.extend_from_slice(&layout.index_tag(&text));
            }
            Index::Range => key.extend_from_slice(&value.ordered()),
            Index::None => {}
        }
        key
    }

    /// The row of a record with that value.
    pub(crate) fn row(&self, layout: &KeyLayout, value: &AttributeValue, head: &[u8]) -> Key {
        let mut key = self.of_value(layout, value);
        key.extend_from_slice(head);
        key
    }

    /// All rows with that value.
    pub(crate) fn equal(&self, layout: &KeyLayout, value: &AttributeValue) -> Span {
        Span::prefix(&self.of_value(layout, value))
    }

    /// All rows.
    pub(crate) fn all(&self) -> Span {
        Span::prefix(&self.start)
    }
}

/// The list of one tenant's collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ListKeys {
    tag: [u8; INDEX_TAG_BYTES],
}

impl ListKeys {
    pub(crate) const fn of_tag(tag: [u8; INDEX_TAG_BYTES]) -> Self {
        Self { tag }
    }

    /// The row of a record.
    pub(crate) fn listed(&self, head: &[u8]) -> Key {
        [&[PREFIX], &self.tag[..], head].concat()
    }

    /// All rows.
    pub(crate) fn all(&self) -> Span {
        Span::prefix(&self.listed(&[]))
    }

    /// The row that says how many records it has.
    pub(crate) fn number(&self) -> Key {
        [&[NUMBER_PREFIX], &self.tag[..]].concat()
    }
}

/// What the keys of an index's rows have behind their prefix.
fn tag(layout: &KeyLayout, text: &[u8]) -> [u8; INDEX_TAG_BYTES] {
    *layout.index_tag(text).first_chunk().expect("a tag is longer")
}

/// The key of the head to which a row of an index belongs.
pub(crate) fn head_of(row: &[u8]) -> Option<&[u8]> {
    row.last_chunk::<HEAD_KEY_BYTES>().map(|head| &head[..])
}

/// What follows the index's tag in the key of a row: its place in the order of the index.
pub(crate) fn place_of(row: &[u8]) -> Option<&[u8]> {
    row.get(1 + INDEX_TAG_BYTES..)
}

/// The key of the row at that place of the same index as `span`.
pub(crate) fn at_place(span: &Span, place: &[u8]) -> Option<Key> {
    Some([span.from.get(..1 + INDEX_TAG_BYTES)?, place].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn rows_of_values_lie_in_their_order_and_apart() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &engine::Disk::new(1));
        let layout = &node.namer;
        let address = testing::address(&node, "anna");
        let (tenant, collection) = (&address.owner.tenant, &address.collection);
        let indexes = Indexes { layout, tenant, collection };
        let name = AttributeName::parse("age").unwrap();
        let of = |index| indexes.of_attribute(&name, AttributeType::Integer, index);
        let (range, exact) = (of(Index::Range), of(Index::Exact));
        let values = [-5, 0, 3, 300].map(AttributeValue::Integer);
        let rows = values.each_ref().map(|value| range.row(layout, value, &address.row));
        assert!(rows.is_sorted());
        let list = indexes.list();
        for (value, row) in values.iter().zip(&rows) {
            let span = range.equal(layout, value);
            let within = |row: &Key| span.from <= *row && *row < span.until;
            assert_eq!(rows.iter().filter(|row| within(row)).count(), 1);
            assert_eq!(head_of(row), Some(&address.row[..]));
            assert_eq!(at_place(&range.all(), place_of(row).unwrap()).as_ref(), Some(row));
            let hashed = exact.row(layout, value, &address.row);
            assert_eq!(hashed.len(), 1 + 12 + 16 + 40);
            assert_eq!(exact.equal(layout, value).from, hashed[..29]);
            for other in [exact.all(), list.all()] {
                assert!(!(other.from <= *row && *row < other.until));
            }
        }
    }
}
