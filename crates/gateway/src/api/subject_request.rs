//! From requests about a subject as a whole to typed values.

use terms::{Collection, Reason, RegionId, Rejection, RequestId, SubjectId};
use wire::v1;

use crate::api::request::{Given, RequestReader, prove, request_id, stated, time_ms};

/// A subject in the region that is named.
pub(crate) struct Named {
    pub(crate) subject: SubjectId,
    pub(crate) region: RegionId,
}

/// A question about what is held of a subject, or an export, well-formed.
pub(crate) struct About {
    pub(crate) of: Named,
    pub(crate) purpose: String,
}

/// An erasure, well-formed.
pub(crate) struct Erase {
    pub(crate) of: Named,
    /// Empty: the whole subject.
    pub(crate) collection: String,
    pub(crate) request_id: RequestId,
    pub(crate) reason: String,
    /// In minutes since 1970; 0: there is none.
    pub(crate) deadline_minute: u32,
    pub(crate) ground: v1::ErasureGround,
    /// In milliseconds since 1970; 0: now.
    pub(crate) arose_ms: u64,
    pub(crate) validate_only: bool,
    pub(crate) prove: bool,
}

/// A rotation of a subject's keys, well-formed.
pub(crate) struct RotateKey {
    pub(crate) of: Named,
    pub(crate) request_id: RequestId,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) prove: bool,
}

/// A reassessment, well-formed.
pub(crate) struct Reassess {
    pub(crate) of: Named,
    pub(crate) given: Given,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) prove: bool,
}

/// A step of the choice of a subject's region, well-formed.
pub(crate) struct Adjudicate {
    pub(crate) of: Named,
    /// None: a dry run that only asks what is open.
    pub(crate) region: Option<RegionId>,
    pub(crate) request_id: RequestId,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) prove: bool,
}

/// The order of a relocation, well-formed.
pub(crate) struct Relocate {
    pub(crate) of: Named,
    /// Where to.
    pub(crate) region: RegionId,
    pub(crate) request_id: RequestId,
    pub(crate) given: Given,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
}

/// A block or its end, well-formed.
pub(crate) struct Block {
    pub(crate) of: Named,
    /// In minutes since 1970; 0: it is lifted now.
    pub(crate) until_minute: u32,
    pub(crate) then_erase: bool,
    pub(crate) reason: String,
    pub(crate) validate_only: bool,
    pub(crate) prove: bool,
}

impl RequestReader<'_> {
    /// Reads a question.
    pub(crate) fn about(
        self,
        subject: Option<v1::SubjectRef>,
        purpose: String,
    ) -> Result<About, Rejection> {
        let of = self.named(subject)?;
        stated("purpose", &purpose)?;
        Ok(About { of, purpose })
    }

    /// Reads an erasure.
    pub(crate) fn erase(self, request: v1::EraseSubjectRequest) -> Result<Erase, Rejection> {
        let of = if request.collection.is_empty() {
            self.named(request.subject)?
        } else {
            // One that the map no longer declares may still have records.
            let collection = Collection::parse(&request.collection)
                .map_err(|why| Rejection::id("collection", why))?;
            self.caller.may_use(&collection)?;
            self.in_region(request.subject)?
        };
        Ok(Erase {
            of,
            collection: request.collection,
            request_id: request_id(&request.request_id)?,
            reason: reason(request.reason)?,
            deadline_minute: minute(time_ms("deadline", request.deadline)?),
            ground: ground(request.ground)?,
            arose_ms: time_ms("ground_time", request.ground_time)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads a rotation of a subject's keys.
    pub(crate) fn rotate_key(
        self,
        request: v1::RotateSubjectKeyRequest,
    ) -> Result<RotateKey, Rejection> {
        Ok(RotateKey {
            of: self.named(request.subject)?,
            request_id: request_id(&request.request_id)?,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads a reassessment.
    pub(crate) fn reassess(
        self,
        request: v1::ReassessSubjectRequest,
    ) -> Result<Reassess, Rejection> {
        Ok(Reassess {
            of: self.named(request.subject)?,
            given: self.given(&request.evidence, &request.findings)?,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads a step of the choice of a subject's region.
    pub(crate) fn adjudicate(
        self,
        request: v1::AdjudicateSubjectRequest,
    ) -> Result<Adjudicate, Rejection> {
        let of = self.named(request.subject)?;
        let region = match request.region.as_str() {
            "" if request.validate_only => None,
            "" => return Err(Rejection::new(Reason::FieldMissing).field("region")),
            name => Some(RegionId::parse(name).map_err(|why| Rejection::id("region", why))?),
        };
        Ok(Adjudicate {
            of,
            region,
            request_id: request_id(&request.request_id)?,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads the order of a relocation.
    pub(crate) fn relocate(
        self,
        request: v1::RelocateSubjectRequest,
    ) -> Result<Relocate, Rejection> {
        let of = self.named(request.subject)?;
        if request.region.is_empty() {
            return Err(Rejection::new(Reason::FieldMissing).field("region"));
        }
        let region = RegionId::parse(&request.region);
        Ok(Relocate {
            of,
            region: region.map_err(|why| Rejection::id("region", why))?,
            request_id: request_id(&request.request_id)?,
            given: self.given(&request.evidence, &request.findings)?,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
        })
    }

    /// Reads which subject's relocation is meant.
    pub(crate) fn operation(self, subject: Option<v1::SubjectRef>) -> Result<Named, Rejection> {
        self.named(subject)
    }

    /// Reads which relocation is to be given up, and why; and the id with which it was ordered, if only
    /// that one is meant.
    pub(crate) fn cancel(
        self,
        request: v1::CancelOperationRequest,
    ) -> Result<(Named, String, Option<RequestId>), Rejection> {
        let of = self.named(request.subject)?;
        let id = Some(request.request_id).filter(|id| !id.is_empty());
        let id = id.map(|id| request_id(&id)).transpose()?;
        Ok((of, reason(request.reason)?, id))
    }

    /// Reads a block.
    pub(crate) fn block(self, request: v1::BlockSubjectRequest) -> Result<Block, Rejection> {
        let of = self.named(request.subject)?;
        if request.end_time.is_none() {
            return Err(Rejection::new(Reason::FieldMissing).field("end_time"));
        }
        Ok(Block {
            of,
            until_minute: minute(time_ms("end_time", request.end_time)?),
            then_erase: request.then_erase,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// Reads the end of a block.
    pub(crate) fn unblock(self, request: v1::UnblockSubjectRequest) -> Result<Block, Rejection> {
        Ok(Block {
            of: self.named(request.subject)?,
            until_minute: 0,
            then_erase: false,
            reason: reason(request.reason)?,
            validate_only: request.validate_only,
            prove: prove(request.receipt_view)?,
        })
    }

    /// The subject and its domicile, for a caller who may use all of its collections.
    fn named(self, subject: Option<v1::SubjectRef>) -> Result<Named, Rejection> {
        self.caller.may_use_all()?;
        self.in_region(subject)
    }

    fn in_region(self, subject: Option<v1::SubjectRef>) -> Result<Named, Rejection> {
        let (subject, domicile) = self.subject(subject)?;
        let region = domicile.ok_or_else(|| {
            Rejection::new(Reason::DomicileRequired)
                .field("subject.domicile")
                .cure("set subject.domicile as returned by the first put")
        })?;
        Ok(Named { subject, region })
    }
}

/// The minute that begins then, or the next to begin.
fn minute(ms: u64) -> u32 {
    u32::try_from(ms.div_ceil(60_000)).unwrap_or(u32::MAX)
}

/// On which ground data must go.
fn ground(number: i32) -> Result<v1::ErasureGround, Rejection> {
    let unknown = |_| Rejection::new(Reason::FieldInvalid).field("ground");
    v1::ErasureGround::try_from(number).map_err(unknown)
}

/// Why something is done, for the log.
fn reason(text: String) -> Result<String, Rejection> {
    if text.is_empty() {
        return Err(Rejection::new(Reason::FieldMissing).field("reason"));
    }
    stated("reason", &text)?;
    Ok(text)
}
