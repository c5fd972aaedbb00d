//! What is asked: as it came, and as the map in force reads it.

use atlas::{AttributeName, CollectionRules, Filter, OrderBy, RegionMap};
use bytes::Bytes;
use engine::View as StoreView;
use sealed::{AnswerSecret, Binding, Call};
use terms::{Collection, Detail, Reason, RegionId, Rejection, SubjectId, TenantId};

use crate::node::Node;
use crate::policy::egress::SealedQuestion;
use crate::store::index_state::IndexState;
use crate::store::keys::Owner;
use crate::store::participants::Participant;
use crate::store::transit::of_export;

/// How much of each record is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Names,
    Attributes,
    Whole,
}

impl View {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Names => "names",
            Self::Attributes => "attributes",
            Self::Whole => "whole",
        }
    }
}

/// What is asked of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    Records,
    /// How many there are.
    Number,
    /// What has changed.
    Changes,
    /// All of them, page after page, with one entry in the log.
    Scan,
}

impl Of {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Number => "number",
            Self::Changes => "changes",
            Self::Scan => "scan",
        }
    }
}

/// A person that records are to name.
pub(crate) struct Wanted {
    pub(crate) id: SubjectId,
    /// None: of any region.
    pub(crate) region: Option<RegionId>,
}

impl Wanted {
    /// Whether the person is among these.
    pub(crate) fn is_among(&self, participants: &[Participant]) -> bool {
        let is = |one: &Participant| {
            one.id == self.id && self.region.as_ref().is_none_or(|region| one.region == *region)
        };
        participants.iter().any(is)
    }
}

/// A question about many records. It has no `Debug`: a filter may hold a person's data.
pub(crate) struct ListQuery {
    pub(crate) collection: Collection,
    /// None: the whole collection.
    pub(crate) subject: Option<Owner>,
    pub(crate) filter: String,
    pub(crate) order_by: String,
    pub(crate) view: View,
    pub(crate) page_size: usize,
    /// Weight of the page beyond its first record.
    pub(crate) weight_max: usize,
    /// Only records that name this person besides their owner.
    pub(crate) participant: Option<Wanted>,
    /// Empty: the first page.
    pub(crate) cursor: Bytes,
    /// Whether each record comes with a cursor of its own.
    pub(crate) cursor_each: bool,
    pub(crate) of: Of,
    /// Why, for the log; empty: not stated.
    pub(crate) purpose: String,
    /// What bodies are answered sealed to. None: they are plain.
    pub(crate) question: Option<SealedQuestion>,
    /// It is a page of an export, which leaves nothing out, and has a seal. Then it has a question.
    pub(crate) export: bool,
    /// The caller's name, to which cursors are bound.
    pub(crate) caller: String,
}

/// The same under the map in force.
pub(crate) struct Asked<'a> {
    pub(crate) rules: &'a CollectionRules,
    pub(crate) filter: Filter,
    pub(crate) order: Option<OrderBy>,
    /// Whether the collection has a list with all records in it.
    pub(crate) listed: bool,
    /// The regions of the person that records are to name.
    pub(crate) regions: Vec<RegionId>,
}

impl ListQuery {
    /// What seals the bodies, if that was asked for.
    ///
    /// # Errors
    /// Those of [`SealedQuestion::open`].
    pub(crate) fn secret(
        &self,
        node: &Node,
        tenant: &TenantId,
    ) -> Result<Option<&AnswerSecret>, Rejection> {
        let Some(question) = &self.question else { return Ok(None) };
        let subject = self.subject.as_ref().map_or("", |owner| owner.subject.expose());
        if self.export {
            return question
                .open(node, &of_export(tenant, subject, &[self.purpose.as_str()]))
                .map(Some);
        }
        let wanted = self.participant.as_ref();
        let region = wanted.and_then(|wanted| wanted.region.as_ref());
        let asks = [
            self.filter.as_str(),
            &self.order_by,
            wanted.map_or("", |wanted| wanted.id.expose()),
            region.map_or("", |region| region.as_str()),
            &self.purpose,
        ];
        let binding = Binding {
            call: if self.of == Of::Scan { Call::Scan } else { Call::List },
            collection: self.collection.as_str(),
            ..of_export(tenant, subject, &asks)
        };
        question.open(node, &binding).map(Some)
    }

    /// Reads it under that map, or a later one's indexes as `view` has them.
    ///
    /// # Errors
    /// `COLLECTION_UNKNOWN`, those of [`CollectionRules::admit_purpose`], [`Filter::parse`] and
    /// [`OrderBy::parse`], `INDEX_BUILDING`.
    pub(crate) fn read_under<'a>(
        &self,
        map: &'a RegionMap,
        view: &dyn StoreView,
    ) -> Result<Asked<'a>, Rejection> {
        let unknown = || Rejection::new(Reason::CollectionUnknown).field("collection");
        let rules = map.collection(&self.collection).ok_or_else(unknown)?;
        rules.admit_purpose(&self.purpose)?;
        let filter = Filter::parse(&self.filter, rules)?;
        let order = OrderBy::parse(&self.order_by, rules)?;
        let indexes = IndexState::of(view, &self.collection)?;
        let complete = |field: &'static str, name: &AttributeName| match rules.attribute(name) {
            Some(own) if !indexes.has_all_by(own) => {
                let fault = Rejection::new(Reason::IndexBuilding).field(field);
                Err(fault.with(Detail::Attribute, name))
            }
            Some(_) | None => Ok(()),
        };
        // The records of one subject are read without an index, whatever the filter.
        if self.subject.is_none() {
            let compared = filter.comparisons().iter();
            compared.map(|one| &one.attribute).try_for_each(|name| complete("filter", name))?;
        }
        let ordered = order.as_ref().and_then(|order| order.attribute.as_ref());
        ordered.map_or(Ok(()), |name| complete("order_by", name))?;
        // A list that is being built is not used: what has none is answered from all heads.
        let listed = rules.listed() && indexes.lists_all();
        let regions = match self.participant.as_ref().map(|wanted| &wanted.region) {
            None => Vec::new(),
            Some(Some(region)) => vec![region.clone()],
            Some(None) => map.regions().iter().map(|region| region.name().clone()).collect(),
        };
        Ok(Asked { rules, filter, order, listed, regions })
    }

    /// What the log says of it.
    pub(crate) fn purpose(&self) -> String {
        match (self.purpose.as_str(), self.of) {
            ("", Of::Number) => "a count of records".to_owned(),
            ("", Of::Records) => "a list of records".to_owned(),
            ("", Of::Changes) => "a watch of records".to_owned(),
            ("", Of::Scan) => "a scan of records".to_owned(),
            (stated, _) => stated.to_owned(),
        }
    }
}
