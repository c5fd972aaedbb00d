//! What a record's head says of its attributes: their values, and by which rows of indexes the
//! record is found. With it the rows are found again when the record is replaced or deleted,
//! whatever the map says by then.
//!
//! Layout, within the sealed head: whether the collection's list has the record (1), whether the
//! change feed has this version (2), whether it names participants (4), and whether it is deleted and
//! named some (8; all in 1 byte), the attributes with their length ([`RecordAttributes::encode`]), then
//! for each of them the code of the index under which it was written (1 byte), then the participants, if
//! there are any, or the jurisdictions by which those were bound that a deleted record named: their
//! number (4 bytes), and these.

use std::collections::{BTreeMap, BTreeSet};

use atlas::{
    AttributeName, AttributeValue, CollectionRules, Index, Jurisdiction, RecordAttributes,
};
use terms::{Detail, Reason, Rejection};

use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::participants::{self, PARTICIPANTS_BYTES_MAX, Participant};

/// Bytes of its form where there are no attributes.
pub(crate) const INDEXED_BYTES_MIN: usize = 1 + 4;
/// Bytes of one attribute: its name and value with what stands before them, and its index.
const ATTRIBUTE_BYTES_MAX: usize = 1
    + atlas::limits::ATTRIBUTE_NAME_BYTES_MAX
    + 1
    + 2
    + atlas::limits::ATTRIBUTE_TEXT_BYTES_MAX
    + 1
    + 1;
/// Bytes of its form at most. What is kept of participants is shorter than they are.
pub(crate) const INDEXED_BYTES_MAX: usize = INDEXED_BYTES_MIN
    + atlas::limits::ATTRIBUTES_MAX * ATTRIBUTE_BYTES_MAX
    + PARTICIPANTS_BYTES_MAX;

/// The attributes of one version of a record, and how it is found.
#[derive(Clone, Default)]
pub(crate) struct Indexed {
    /// Whether the collection's list has the record.
    pub(crate) listed: bool,
    /// Whether the change feed has this version.
    pub(crate) fed: bool,
    pub(crate) attributes: RecordAttributes,
    /// The attributes as they travel and lie.
    pub(crate) encoded: Vec<u8>,
    /// The people that the record names besides its owner: it is found by each of them.
    pub(crate) participants: Vec<Participant>,
    /// Of a deleted record: the jurisdictions that bound those that it named. Who may not know of the record
    /// is not told of its end.
    pub(crate) bound: Vec<Jurisdiction>,
    /// The index of each attribute, in their order.
    indexes: Vec<Index>,
}

/// What a patch changes of the attributes.
pub(crate) struct AttributeChanges {
    pub(crate) set: RecordAttributes,
    pub(crate) removed: Vec<AttributeName>,
}

impl Indexed {
    /// The attributes of a record that is written under these rules.
    ///
    /// # Errors
    /// `ATTRIBUTE_UNKNOWN`, `ATTRIBUTE_INVALID`.
    pub(crate) fn under(
        rules: Option<&CollectionRules>,
        attributes: RecordAttributes,
    ) -> Result<Self, Rejection> {
        let mut indexes = Vec::with_capacity(attributes.len());
        for (name, value) in attributes.iter() {
            let fault = |reason| Err(Rejection::new(reason).field("attributes"));
            match rules.and_then(|rules| rules.attribute(name)) {
                None => return fault(Reason::AttributeUnknown),
                Some(own) if !own.takes(value) => {
                    return fault(Reason::AttributeInvalid)
                        .map_err(|fault| fault.with(Detail::Attribute, own.name()));
                }
                Some(own) => indexes.push(own.index()),
            }
        }
        let listed = rules.is_some_and(CollectionRules::listed);
        let encoded = attributes.encode();
        Ok(Self { listed, attributes, encoded, indexes, ..Self::default() })
    }

    /// The attributes of a record that comes from another region. Those that these rules do not declare
    /// stay, and nothing is found by them.
    pub(crate) fn arrived(rules: Option<&CollectionRules>, attributes: RecordAttributes) -> Self {
        let index = |(name, value)| {
            let own = rules.and_then(|rules| rules.attribute(name));
            own.filter(|own| own.takes(value)).map_or(Index::None, atlas::AttributeRules::index)
        };
        let indexes = attributes.iter().map(index).collect();
        let listed = rules.is_some_and(CollectionRules::listed);
        let encoded = attributes.encode();
        Self { listed, attributes, encoded, indexes, ..Self::default() }
    }

    /// The same attributes after some were set and some removed. What stays is found as these rules
    /// say, or as before if they do not declare it any more.
    ///
    /// # Errors
    /// Those of [`Indexed::under`]; `TOO_MANY_ITEMS`.
    pub(crate) fn patched(
        &self,
        rules: Option<&CollectionRules>,
        changes: AttributeChanges,
    ) -> Result<Self, Rejection> {
        let AttributeChanges { set, removed } = changes;
        let set = Self::under(rules, set)?;
        let declared = |name| rules.and_then(|rules| rules.attribute(name));
        let mut all: BTreeMap<&AttributeName, (&AttributeValue, Index)> = BTreeMap::new();
        for ((name, value), old) in self.attributes.iter().zip(&self.indexes) {
            let own = declared(name).filter(|own| own.takes(value));
            all.insert(name, (value, own.map_or(*old, atlas::AttributeRules::index)));
        }
        for (n, name) in removed.iter().enumerate() {
            if all.remove(name).is_none() && declared(name).is_none() {
                let field = format!("remove_attributes[{n}]");
                return Err(Rejection::new(Reason::AttributeUnknown).field(field));
            }
        }
        for ((name, value), index) in set.attributes.iter().zip(&set.indexes) {
            all.insert(name, (value, *index));
        }
        let (mut attributes, mut indexes) = (RecordAttributes::new(), Vec::new());
        for (name, (value, index)) in all {
            attributes.insert(name.clone(), value.clone()).map_err(|_| {
                let fault = Rejection::new(Reason::TooManyItems).field("attributes");
                fault.with(Detail::Limit, atlas::limits::ATTRIBUTES_MAX)
            })?;
            indexes.push(index);
        }
        let encoded = attributes.encode();
        let (listed, participants) = (set.listed, self.participants.clone());
        let (fed, bound) = (false, Vec::new());
        Ok(Self { listed, fed, attributes, encoded, participants, bound, indexes })
    }

    /// What is kept when the record is deleted: it is found by nothing.
    pub(crate) fn deleted(&self) -> Self {
        let all = self.participants.iter().flat_map(|one| one.jurisdictions.iter().copied());
        let all: BTreeSet<Jurisdiction> = all.collect();
        Self { bound: all.into_iter().collect(), ..Self::default() }
    }

    /// The same attributes, found as these rules say; by one that they do not declare so, not at all.
    /// None: they are found so already.
    pub(crate) fn aligned(&self, rules: Option<&CollectionRules>) -> Option<Self> {
        let index = |(name, value): (&AttributeName, &AttributeValue)| {
            let own = rules.and_then(|rules| rules.attribute(name));
            own.filter(|own| own.takes(value)).map_or(Index::None, atlas::AttributeRules::index)
        };
        let indexes: Vec<Index> = self.attributes.iter().map(index).collect();
        let listed = rules.is_some_and(CollectionRules::listed);
        let differs = listed != self.listed || indexes != self.indexes;
        differs.then(|| Self { listed, indexes, ..self.clone() })
    }

    /// Each attribute by which the record is found, and how.
    pub(crate) fn found_by(
        &self,
    ) -> impl Iterator<Item = (&AttributeName, &AttributeValue, Index)> {
        let all = self.attributes.iter().zip(&self.indexes);
        all.filter(|(_, index)| **index != Index::None)
            .map(|((name, value), index)| (name, value, *index))
    }

    /// Whether no row of an index names the record.
    pub(crate) fn is_found_by_nothing(&self) -> bool {
        !self.listed
            && self.participants.is_empty()
            && self.indexes.iter().all(|index| *index == Index::None)
    }

    /// Bytes of its form.
    pub(crate) fn bytes(&self) -> usize {
        let named = &self.participants;
        let named = if named.is_empty() { 0 } else { participants::bytes(named) };
        let bound = self.bound.iter().map(|code| 4 + code.as_str().len()).sum::<usize>();
        let bound = if self.bound.is_empty() { 0 } else { 4 + bound };
        INDEXED_BYTES_MIN + self.encoded.len() + self.indexes.len() + named + bound
    }

    pub(crate) fn write(&self, head: &mut Writer) {
        let (named, bound) = (!self.participants.is_empty(), !self.bound.is_empty());
        let flags = u8::from(self.listed) | u8::from(self.fed) << 1;
        let flags = flags | u8::from(named) << 2 | u8::from(bound) << 3;
        head.u8(flags).bytes(&self.encoded);
        for index in &self.indexes {
            head.u8(index.code());
        }
        if named {
            participants::write(&self.participants, head);
        }
        if bound {
            head.u32(u32::try_from(self.bound.len()).expect("there are few jurisdictions"));
            for code in &self.bound {
                head.text(code.as_str());
            }
        }
    }

    pub(crate) fn read(head: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flags = head.u8()?;
        if flags > 15 {
            return Err(Malformed);
        }
        let (listed, fed) = (flags & 1 > 0, flags & 2 > 0);
        let encoded = head.bytes()?.to_vec();
        let attributes = RecordAttributes::decode(&encoded).map_err(|_| Malformed)?;
        let index = |_| Index::from_code(head.u8()?).ok_or(Malformed);
        let indexes = (0..attributes.len()).map(index).collect::<Result<_, _>>()?;
        let participants = if flags & 4 > 0 { participants::read(head)? } else { Vec::new() };
        let bound = if flags & 8 > 0 { head.u32()? } else { 0 };
        let code = |_| Jurisdiction::parse(head.text()?).ok_or(Malformed);
        let bound = (0..bound).map(code).collect::<Result<_, _>>()?;
        Ok(Self { listed, fed, attributes, encoded, participants, bound, indexes })
    }
}
