//! From requests for lists and counts to typed values.

use std::collections::BTreeMap;

use atlas::{Filter, OrderBy};
use terms::limits::{LIST_PAGE_DEFAULT, LIST_PAGE_MAX, LIST_REGIONS_MAX};
use terms::{Collection, Detail, Reason, RegionId, Rejection, SubjectId};
use wire::v1;

use crate::api::get_request::SealedQuestion;
use crate::api::page_token::{self, ShardPlace};
use crate::api::participants::Wanted;
use crate::api::request::{RequestReader, stated};

/// The field of a list with its sealed questions.
const SEALED_QUESTIONS: &str = "sealed_questions";

/// Which records are asked for.
pub(crate) struct Choice {
    pub(crate) collection: Collection,
    /// None: those of all subjects.
    pub(crate) subject: Option<SubjectId>,
    /// The domicile of the subject, or the regions that the caller names: in order, each once.
    pub(crate) regions: Vec<RegionId>,
    /// Only records that name this person.
    pub(crate) participant: Option<Wanted>,
    /// The filter as it came; the shard reads it again.
    pub(crate) filter: String,
    pub(crate) purpose: String,
}

/// A list that is well-formed.
pub(crate) struct List {
    pub(crate) choice: Choice,
    pub(crate) order_by: String,
    pub(crate) order: Option<OrderBy>,
    pub(crate) view: v1::RecordView,
    pub(crate) page_size: usize,
    /// None: the first page.
    pub(crate) places: Option<Vec<ShardPlace>>,
    /// What the bodies of each region are answered sealed to; empty: they are plain, or there are none.
    pub(crate) questions: Questions,
}

/// Sealed questions, by region.
pub(crate) type Questions = BTreeMap<RegionId, SealedQuestion>;

/// The parts of a request that say which records.
struct Sent {
    collection: String,
    subject: Option<v1::SubjectRef>,
    regions: Vec<String>,
    participant: Option<v1::SubjectRef>,
    filter: String,
    purpose: String,
}

impl RequestReader<'_> {
    /// Reads the request for a list.
    pub(crate) fn list(self, request: v1::ListRecordsRequest) -> Result<List, Rejection> {
        let v1::ListRecordsRequest { collection, subject, regions, filter, order_by, .. } = request;
        let (purpose, participant) = (request.purpose, request.participant);
        let sent = Sent { collection, subject, regions, participant, filter, purpose };
        let choice = self.choice(sent)?;
        let rules = self.map.collection(&choice.collection).ok_or(Reason::CollectionUnknown)?;
        let order = OrderBy::parse(&order_by, rules)?;
        let view = record_view(request.view)?;
        let questions = self.questions(&choice, view, request.sealed_questions)?;
        let page_size = match usize::try_from(request.page_size) {
            Ok(0) => LIST_PAGE_DEFAULT,
            Ok(size) => size.min(LIST_PAGE_MAX),
            Err(_) => {
                let fault = Rejection::new(Reason::FieldInvalid).field("page_size");
                return Err(fault.problem("is negative"));
            }
        };
        let token = Some(request.page_token).filter(|token| !token.is_empty());
        let places = token.map(|token| page_token::decode(&token, &choice.regions)).transpose()?;
        Ok(List { choice, order_by, order, view, page_size, places, questions })
    }

    /// Reads the request for a count.
    pub(crate) fn count(self, request: v1::CountRecordsRequest) -> Result<Choice, Rejection> {
        let v1::CountRecordsRequest { collection, subject, regions, filter, .. } = request;
        let (purpose, participant) = (request.purpose, request.participant);
        self.choice(Sent { collection, subject, regions, participant, filter, purpose })
    }

    /// Reads the request for a watch: which records, and where it goes on.
    pub(crate) fn watch(
        self,
        request: v1::WatchRecordsRequest,
    ) -> Result<(Choice, Option<Vec<ShardPlace>>), Rejection> {
        let v1::WatchRecordsRequest { collection, subject, region, cursor, purpose } = request;
        let regions = Some(region).filter(|region| !region.is_empty()).into_iter().collect();
        let (filter, participant) = (String::new(), None);
        let sent = Sent { collection, subject, regions, participant, filter, purpose };
        let choice = self.choice(sent).map_err(of_region)?;
        let cursor = Some(cursor).filter(|cursor| !cursor.is_empty());
        let places = cursor.map(|cursor| page_token::decode(&cursor, &choice.regions));
        Ok((choice, places.transpose().map_err(|fault| fault.field("cursor"))?))
    }

    /// Reads the request for a scan: which records, how much of each, and to what bodies are sealed.
    pub(crate) fn scan(
        self,
        request: v1::ScanRecordsRequest,
    ) -> Result<(Choice, v1::RecordView, Questions), Rejection> {
        let v1::ScanRecordsRequest { collection, region, purpose, filter, .. } = request;
        let (view, question) = (request.view, request.sealed_question);
        let regions = Some(region).filter(|region| !region.is_empty()).into_iter().collect();
        let (subject, participant) = (None, None);
        let sent = Sent { collection, subject, regions, participant, filter, purpose };
        let choice = self.choice(sent).map_err(of_region)?;
        if choice.purpose.trim().is_empty() {
            return Err(Rejection::new(Reason::FieldMissing).field("purpose"));
        }
        let view = record_view(view)?;
        let questions = self.questions(&choice, view, question.into_iter().collect());
        let questions = questions.map_err(|fault| match fault.field.as_deref() {
            Some(SEALED_QUESTIONS) => fault.field("sealed_question"),
            Some(_) | None => fault,
        });
        Ok((choice, view, questions?))
    }

    /// The sealed questions of a call, one for each of its regions; or none, where plain bodies may be answered.
    fn questions(
        self,
        choice: &Choice,
        view: v1::RecordView,
        sent: Vec<v1::SealedQuestion>,
    ) -> Result<Questions, Rejection> {
        let invalid = |problem: &'static str| {
            Err(Rejection::new(Reason::FieldInvalid).field(SEALED_QUESTIONS).problem(problem))
        };
        match view {
            v1::RecordView::Whole if sent.is_empty() => {
                self.map.admit_plain(&choice.collection, SEALED_QUESTIONS)?;
            }
            v1::RecordView::Whole => {}
            v1::RecordView::Unspecified | v1::RecordView::Names | v1::RecordView::Attributes => {
                return if sent.is_empty() {
                    Ok(Questions::new())
                } else {
                    invalid("is of a call that answers no bodies")
                };
            }
        }
        let several = sent.len();
        let mut questions = Questions::new();
        for question in sent {
            let of = choice.regions.iter().find(|region| region.as_str() == question.region);
            let Some(region) = of else { return invalid("has a region that is not asked") };
            let question = SealedQuestion::of_region(question, region, SEALED_QUESTIONS)?;
            questions.insert(region.clone(), question);
        }
        if several > 0 && (questions.len() != several || several != choice.regions.len()) {
            return invalid("has not exactly one for each region");
        }
        Ok(questions)
    }

    fn choice(self, sent: Sent) -> Result<Choice, Rejection> {
        let Sent { collection, subject, regions, participant, filter, purpose } = sent;
        let participant = participant.map(|sent| Wanted::read(self.map, sent)).transpose()?;
        let collection = self.collection(&collection)?;
        let (subject, regions) = match subject {
            Some(reference) => {
                if !regions.is_empty() {
                    let fault = Rejection::new(Reason::FieldInvalid).field("regions");
                    return Err(fault.problem("is not set together with a subject"));
                }
                let (subject, domicile) = self.subject(Some(reference))?;
                let missing = || {
                    Rejection::new(Reason::DomicileRequired)
                        .field("subject.domicile")
                        .cure("set subject.domicile as returned by the first put")
                };
                (Some(subject), vec![domicile.ok_or_else(missing)?])
            }
            None => (None, self.regions(&regions)?),
        };
        let rules = self.map.collection(&collection).ok_or(Reason::CollectionUnknown)?;
        Filter::parse(&filter, rules)?;
        stated("purpose", &purpose)?;
        rules.admit_purpose(&purpose)?;
        Ok(Choice { collection, subject, regions, participant, filter, purpose })
    }

    /// The regions of a list, which the caller must be allowed to use: in order, each once.
    fn regions(self, names: &[String]) -> Result<Vec<RegionId>, Rejection> {
        if names.is_empty() {
            let fault = Rejection::new(Reason::FieldMissing).field("regions");
            return Err(fault.problem("names no region, and there is no subject"));
        }
        if names.len() > LIST_REGIONS_MAX {
            let fault = Rejection::new(Reason::TooManyItems).field("regions");
            return Err(fault.with(Detail::Limit, LIST_REGIONS_MAX));
        }
        let mut regions = Vec::with_capacity(names.len());
        for (n, name) in names.iter().enumerate() {
            let path = || format!("regions[{n}]");
            let region = RegionId::parse(name).map_err(|why| Rejection::id(path(), why))?;
            self.caller.may_reach(&region)?;
            if self.map.region(&region).is_none() {
                return Err(Rejection::new(Reason::DomicileUnknown).field(path()));
            }
            regions.push(region);
        }
        regions.sort();
        regions.dedup();
        Ok(regions)
    }
}

/// A list of regions that a request calls its region.
fn of_region(fault: Rejection) -> Rejection {
    let named = fault.field.as_deref().is_some_and(|name| name.starts_with("regions"));
    if named { fault.field("region") } else { fault }
}

fn record_view(view: i32) -> Result<v1::RecordView, Rejection> {
    match v1::RecordView::try_from(view) {
        Ok(v1::RecordView::Unspecified) => Ok(v1::RecordView::Names),
        Ok(view) => Ok(view),
        Err(_) => Err(Rejection::new(Reason::FieldInvalid).field("view")),
    }
}
