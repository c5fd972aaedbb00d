//! From requests to typed values: every field checked, every limit kept, every rejection with the path
//! of its field and never with the field's value.

use atlas::{AttributeName, EvidenceKind, Findings, RecordAttributes, RegionMap};
use bytes::Bytes;
use evidence::Sources;
use prost_types::Timestamp;
use terms::{
    Collection, Detail, Reason, RecordKey, RegionId, Rejection, RequestId, SubjectId, limits,
};
use wire::v1;

use crate::api::attributes;
use crate::api::participants::{self, Participant};
use crate::auth::caller::Caller;

/// Bytes of an etag: more than any shard makes.
const ETAG_BYTES_MAX: usize = 64;

/// Collections that one error names.
const COLLECTIONS_SHOWN_MAX: usize = 32;

/// A record's names.
pub(crate) struct Target {
    pub(crate) subject: SubjectId,
    pub(crate) domicile: Option<RegionId>,
    pub(crate) collection: Collection,
    pub(crate) key: String,
}

/// The evidence and findings that the caller gave.
pub(crate) struct Given {
    pub(crate) findings: Findings,
    /// Whether anything was given, even if it gives no finding.
    pub(crate) any: bool,
    /// Whether numbering plans were read for it.
    pub(crate) by_phone: bool,
    /// Whether the IP database was read for it.
    pub(crate) by_ip: bool,
}

/// The conditions on the stored version.
pub(crate) struct Condition {
    pub(crate) if_version: Option<i64>,
    pub(crate) etag: String,
}

/// A put that is well-formed.
pub(crate) struct Put {
    pub(crate) target: Target,
    pub(crate) body: Bytes,
    /// The id of the key to which the body is sealed; empty: it is plain.
    pub(crate) sealed_key: String,
    pub(crate) attributes: RecordAttributes,
    pub(crate) request_id: RequestId,
    pub(crate) condition: Condition,
    pub(crate) create_subject: bool,
    pub(crate) given: Given,
    pub(crate) validate_only: bool,
    /// Whether the receipt is to have a proof that the entry is in the log.
    pub(crate) prove: bool,
    /// Milliseconds since 1970; 0: it does not expire.
    pub(crate) expire_ms: u64,
    pub(crate) participants: Vec<Participant>,
}

/// A new time of expiry for a record, well-formed.
pub(crate) struct Touch {
    pub(crate) target: Target,
    pub(crate) request_id: RequestId,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    /// Whether the receipt is to have a proof that the entry is in the log.
    pub(crate) prove: bool,
    /// Milliseconds since 1970; 0: it does not expire.
    pub(crate) expire_ms: u64,
}

/// A patch that is well-formed.
pub(crate) struct Patch {
    pub(crate) target: Target,
    pub(crate) request_id: RequestId,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    /// Whether the receipt is to have a proof that the entry is in the log.
    pub(crate) prove: bool,
    /// None: it stays.
    pub(crate) body: Option<Bytes>,
    /// As of a put.
    pub(crate) sealed_key: String,
    /// Those to set.
    pub(crate) attributes: RecordAttributes,
    /// The names of those to remove.
    pub(crate) removed: Vec<AttributeName>,
}

/// A delete that is well-formed.
pub(crate) struct Delete {
    pub(crate) target: Target,
    pub(crate) request_id: RequestId,
    pub(crate) condition: Condition,
    pub(crate) validate_only: bool,
    /// Whether the receipt is to have a proof that the entry is in the log.
    pub(crate) prove: bool,
}

/// The creation of a subject, well-formed.
pub(crate) struct Create {
    pub(crate) subject: SubjectId,
    pub(crate) domicile: Option<RegionId>,
    pub(crate) collection: Collection,
    pub(crate) request_id: RequestId,
    pub(crate) given: Given,
    pub(crate) validate_only: bool,
    /// Whether the receipt is to have a proof that the entry is in the log.
    pub(crate) prove: bool,
}

/// A question about a placement, well-formed.
pub(crate) struct Resolve {
    pub(crate) collection: Collection,
    pub(crate) given: Given,
}

/// Reads requests under one map.
#[derive(Clone, Copy)]
pub(crate) struct RequestReader<'a> {
    pub(crate) map: &'a RegionMap,
    pub(crate) sources: &'a Sources,
    /// What this caller may not use is refused, whether it exists or not.
    pub(crate) caller: &'a Caller,
}

impl RequestReader<'_> {
    /// Reads a put.
    pub(crate) fn put(self, request: v1::PutRecordRequest) -> Result<Put, Rejection> {
        let target = self.target(request.subject, &request.collection, request.key)?;
        let request_id = request_id(&request.request_id)?;
        let condition = condition(request.if_version, request.etag)?;
        self.body(&target.collection, request.body.len(), &request.sealed_key)?;
        let rules = self.map.collection(&target.collection);
        let attributes = attributes::read(&request.attributes, rules)?;
        let given = self.given(&request.evidence, &request.findings)?;
        let (owner, region) = (&target.subject, target.domicile.as_ref());
        let sent = request.participants;
        let participants = participants::read(self.map, self.caller, owner, region, sent)?;
        Ok(Put {
            target,
            participants,
            body: request.body,
            sealed_key: request.sealed_key,
            attributes,
            request_id,
            condition,
            create_subject: request.create_subject,
            given,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
            expire_ms: expire_ms(request.expire_time)?,
        })
    }

    /// Reads a touch.
    pub(crate) fn touch(self, request: v1::TouchRecordRequest) -> Result<Touch, Rejection> {
        Ok(Touch {
            target: self.target(request.subject, &request.collection, request.key)?,
            request_id: request_id(&request.request_id)?,
            condition: condition(request.if_version, request.etag)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
            expire_ms: expire_ms(request.expire_time)?,
        })
    }

    /// Reads a patch.
    pub(crate) fn patch(self, request: v1::PatchRecordRequest) -> Result<Patch, Rejection> {
        let target = self.target(request.subject, &request.collection, request.key)?;
        let request_id = request_id(&request.request_id)?;
        let condition = condition(request.if_version, request.etag)?;
        let (body, sealed_key) = (request.body, request.sealed_key);
        match &body {
            Some(body) => self.body(&target.collection, body.len(), &sealed_key)?,
            None if sealed_key.is_empty() => {}
            None => {
                let fault = Rejection::new(Reason::FieldInvalid).field("sealed_key");
                return Err(fault.problem("is given, and no body is"));
            }
        }
        let rules = self.map.collection(&target.collection);
        let attributes = attributes::read(&request.attributes, rules)?;
        let removed = attributes::removed(&request.remove_attributes, &attributes, rules)?;
        if body.is_none() && attributes.is_empty() && removed.is_empty() {
            let rejection = Rejection::new(Reason::FieldMissing).field("body");
            return Err(rejection.problem("a patch without a body needs an attribute to change"));
        }
        let (validate_only, prove) = (request.validate_only, prove(request.receipt_view)?);
        Ok(Patch {
            target,
            request_id,
            condition,
            validate_only,
            prove,
            body,
            sealed_key,
            attributes,
            removed,
        })
    }

    /// Reads a delete.
    pub(crate) fn delete(self, request: v1::DeleteRecordRequest) -> Result<Delete, Rejection> {
        Ok(Delete {
            target: self.target(request.subject, &request.collection, request.key)?,
            request_id: request_id(&request.request_id)?,
            condition: condition(request.if_version, request.etag)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads the creation of a subject.
    pub(crate) fn create(self, request: v1::CreateSubjectRequest) -> Result<Create, Rejection> {
        let (subject, domicile) = self.subject(request.subject)?;
        let collection = self.collection(&request.collection)?;
        let request_id = request_id(&request.request_id)?;
        let given = self.given(&request.evidence, &request.findings)?;
        let (validate_only, prove) = (request.validate_only, prove(request.receipt_view)?);
        Ok(Create { subject, domicile, collection, request_id, given, validate_only, prove })
    }

    /// Reads a question about a placement.
    pub(crate) fn resolve(
        self,
        request: &v1::ResolvePlacementRequest,
    ) -> Result<Resolve, Rejection> {
        let collection = self.collection(&request.collection)?;
        let given = self.given(&request.evidence, &request.findings)?;
        Ok(Resolve { collection, given })
    }

    pub(super) fn target(
        self,
        reference: Option<v1::SubjectRef>,
        collection: &str,
        key: String,
    ) -> Result<Target, Rejection> {
        let target = self.target_anywhere(reference, collection, key)?;
        target.domicile.as_ref().map_or(Ok(()), |region| self.caller.may_reach(region))?;
        Ok(target)
    }

    /// The same, whether the caller may use the domicile or not.
    pub(super) fn target_anywhere(
        self,
        reference: Option<v1::SubjectRef>,
        collection: &str,
        key: String,
    ) -> Result<Target, Rejection> {
        let (subject, domicile) = subject(reference)?;
        let collection = self.collection(collection)?;
        RecordKey::parse(&key).map_err(|why| Rejection::id("key", why))?;
        Ok(Target { subject, domicile, collection, key })
    }

    /// The subject, and its domicile if one is named, which the caller must be allowed to use.
    pub(crate) fn subject(
        self,
        reference: Option<v1::SubjectRef>,
    ) -> Result<(SubjectId, Option<RegionId>), Rejection> {
        let (subject, domicile) = subject(reference)?;
        domicile.as_ref().map_or(Ok(()), |region| self.caller.may_reach(region))?;
        Ok((subject, domicile))
    }

    /// A collection that the caller may use and the map declares.
    pub(crate) fn collection(self, name: &str) -> Result<Collection, Rejection> {
        let collection = Collection::parse(name).map_err(|why| Rejection::id("collection", why))?;
        self.caller.may_use(&collection)?;
        match self.map.collection(&collection) {
            Some(_) => Ok(collection),
            None => Err(Rejection::new(Reason::CollectionUnknown)
                .field("collection")
                .cure(format!("use one of: {}", self.known_collections()))),
        }
    }

    /// The first collections that the map declares and the caller may use.
    fn known_collections(self) -> String {
        let own = self.map.collections().map(|rules| rules.name());
        let own = own.filter(|name| self.caller.may_use(name).is_ok()).map(Collection::as_str);
        own.take(COLLECTIONS_SHOWN_MAX).collect::<Vec<_>>().join(", ")
    }

    /// Whether a body may be so long, and be as plain as it is.
    fn body(
        self,
        collection: &Collection,
        bytes: usize,
        sealed_key: &str,
    ) -> Result<(), Rejection> {
        let rules = self.map.collection(collection);
        let max = rules.map_or(0, |rules| rules.body_bytes_max()).min(limits::BODY_BYTES_MAX);
        let sealed = if sealed_key.is_empty() {
            self.map.admit_plain(collection, "body")?;
            0
        } else {
            fits_key(sealed_key)?;
            limits::SEALED_OVERHEAD_BYTES
        };
        if bytes <= max + sealed {
            return Ok(());
        }
        Err(Rejection::new(Reason::BodyTooLarge).field("body").with(Detail::Limit, max))
    }

    /// Evidence and findings, merged: both may be sent.
    pub(crate) fn given(
        self,
        evidence: &[v1::Evidence],
        sent: &[v1::Finding],
    ) -> Result<Given, Rejection> {
        if evidence.len().saturating_add(sent.len()) > limits::EVIDENCE_ITEMS_MAX {
            let field = if sent.len() > evidence.len() { "findings" } else { "evidence" };
            return Err(too_many(field));
        }
        let items = named("evidence", "value", evidence.iter().map(|e| (e.kind, &*e.value)))?;
        let by = |kind| items.iter().any(|(k, _)| *k == kind);
        let (by_phone, by_ip) = (by(EvidenceKind::Phone), by(EvidenceKind::Ip));
        let made = named("findings", "country", sent.iter().map(|f| (f.kind, &*f.country)))?;
        let made = evidence::findings_sent(&made)?;
        let findings = self.sources.findings(self.map, &items, &made)?;
        let any = !evidence.is_empty() || !sent.is_empty();
        Ok(Given { findings, any, by_phone, by_ip })
    }
}

impl Given {
    /// As a shard gets them: empty when nothing was given.
    pub(crate) fn encode(&self) -> Bytes {
        if self.any { self.findings.encode().into() } else { Bytes::new() }
    }
}

/// Kinds by their number, each with its text, which may not be empty.
fn named<'a>(
    list: &'static str,
    text_field: &'static str,
    items: impl Iterator<Item = (i32, &'a str)>,
) -> Result<Vec<(EvidenceKind, &'a str)>, Rejection> {
    let check = |(n, (kind, text)): (usize, (i32, &'a str))| {
        let kind = u8::try_from(kind).ok().and_then(EvidenceKind::of_number).ok_or_else(|| {
            Rejection::new(Reason::EvidenceKindUnknown).field(format!("{list}[{n}].kind"))
        })?;
        if text.is_empty() {
            let path = format!("{list}[{n}].{text_field}");
            return Err(Rejection::new(Reason::FieldMissing).field(path));
        }
        Ok((kind, text))
    };
    items.enumerate().map(check).collect()
}

/// Whether it may be the id of a transit key.
pub(super) fn fits_key(id: &str) -> Result<(), Rejection> {
    let printable = id.bytes().all(|c| c.is_ascii_graphic());
    if printable && id.len() <= limits::TRANSIT_KEY_ID_BYTES_MAX {
        return Ok(());
    }
    let fault = Rejection::new(Reason::FieldInvalid).field("sealed_key");
    Err(fault.problem("is not the id of a transit key"))
}

fn too_many(field: &'static str) -> Rejection {
    let rejection = Rejection::new(Reason::TooManyItems).field(field);
    rejection.with(Detail::Limit, limits::EVIDENCE_ITEMS_MAX)
}

fn subject(reference: Option<v1::SubjectRef>) -> Result<(SubjectId, Option<RegionId>), Rejection> {
    let reference =
        reference.ok_or_else(|| Rejection::new(Reason::FieldMissing).field("subject"))?;
    let subject =
        SubjectId::parse(&reference.id).map_err(|why| Rejection::id("subject.id", why))?;
    if reference.domicile.is_empty() {
        return Ok((subject, None));
    }
    let domicile = RegionId::parse(&reference.domicile)
        .map_err(|why| Rejection::id("subject.domicile", why))?;
    Ok((subject, Some(domicile)))
}

pub(crate) fn request_id(text: &str) -> Result<RequestId, Rejection> {
    RequestId::parse(text).map_err(|why| Rejection::id("request_id", why))
}

/// Whether the receipt is to have a proof.
pub(crate) fn prove(view: i32) -> Result<bool, Rejection> {
    match v1::ReceiptView::try_from(view) {
        Ok(v1::ReceiptView::Full) => Ok(true),
        Ok(v1::ReceiptView::Unspecified | v1::ReceiptView::Basic) => Ok(false),
        Err(_) => Err(Rejection::new(Reason::FieldInvalid)
            .field("receipt_view")
            .problem("is not a known value")),
    }
}

/// A time of expiry in milliseconds since 1970; 0: there is none. Whether it has passed is asked by the
/// shard, where a retry is known.
fn expire_ms(time: Option<Timestamp>) -> Result<u64, Rejection> {
    time_ms("expire_time", time)
}

/// A time in milliseconds since 1970; 0: there is none.
pub(crate) fn time_ms(field: &'static str, time: Option<Timestamp>) -> Result<u64, Rejection> {
    let Some(Timestamp { seconds, nanos }) = time else { return Ok(0) };
    let whole = u64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let part = u64::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    let ms = whole.zip(part).map(|(whole, part)| whole + part / 1_000_000);
    ms.filter(|ms| (1..=limits::EXPIRE_MS_MAX).contains(ms)).ok_or_else(|| {
        let fault = Rejection::new(Reason::FieldInvalid).field(field);
        fault.problem("is no time between 1970 and 9999")
    })
}

/// What a caller states for the log: printable ASCII, and short.
pub(crate) fn stated(field: &'static str, text: &str) -> Result<(), Rejection> {
    let printable = text.bytes().all(|c| (0x20..=0x7e).contains(&c));
    if printable && text.len() <= limits::PURPOSE_BYTES_MAX {
        return Ok(());
    }
    let fault = Rejection::new(Reason::FieldInvalid).field(field);
    let most = limits::PURPOSE_BYTES_MAX;
    let problem = format!("is not printable ASCII of at most {most} bytes");
    Err(fault.problem(problem).with(Detail::Limit, most))
}

fn condition(if_version: Option<i64>, etag: String) -> Result<Condition, Rejection> {
    if if_version.is_some_and(|version| version < 0) {
        let rejection = Rejection::new(Reason::FieldInvalid).field("if_version");
        return Err(rejection.problem("is below 0"));
    }
    let printable = etag.bytes().all(|c| c.is_ascii_graphic());
    if etag.len() > ETAG_BYTES_MAX || !printable {
        let rejection = Rejection::new(Reason::FieldInvalid).field("etag");
        return Err(rejection.problem("is not an etag that a read or a write returned"));
    }
    Ok(Condition { if_version, etag })
}
