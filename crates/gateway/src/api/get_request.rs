//! Requests for one record, to typed values.

use bytes::Bytes;
use terms::{Reason, RegionId, Rejection, limits};
use wire::v1;

use crate::api::request::{RequestReader, Target, fits_key, stated};

/// A get that is well-formed.
pub(crate) struct Get {
    pub(crate) target: Target,
    /// To what the body is to be sealed. None: it is answered plain.
    pub(crate) question: Option<SealedQuestion>,
    /// Why, for the log; empty: not stated.
    pub(crate) purpose: String,
    /// Where the copy is that is to be read. None: the record is read at its domicile.
    pub(crate) copy_in: Option<RegionId>,
}

/// A sealed question, and the id of the key to which it is sealed.
pub(crate) struct SealedQuestion {
    pub(crate) key: String,
    pub(crate) sealed: Bytes,
}

impl SealedQuestion {
    fn read(key: String, sealed: Bytes, field: &'static str) -> Result<Self, Rejection> {
        fits_key(&key)?;
        if sealed.len() != limits::SEALED_OVERHEAD_BYTES {
            let fault = Rejection::new(Reason::FieldInvalid).field(field);
            return Err(fault.problem("is not a sealed body without content"));
        }
        Ok(Self { key, sealed })
    }

    /// The question for the bodies of many records in that region.
    pub(crate) fn of_region(
        question: v1::SealedQuestion,
        region: &RegionId,
        field: &'static str,
    ) -> Result<Self, Rejection> {
        let v1::SealedQuestion { region: of, key, question } = question;
        if of != region.as_str() {
            let fault = Rejection::new(Reason::FieldInvalid).field(field);
            return Err(fault.problem("is of another region than the request"));
        }
        if key.is_empty() {
            return Err(Rejection::new(Reason::FieldMissing).field(field));
        }
        Self::read(key, question, field)
    }
}

impl RequestReader<'_> {
    /// Reads a get.
    pub(crate) fn get(self, request: v1::GetRecordRequest) -> Result<Get, Rejection> {
        let get = self.get_names(request)?;
        if get.question.is_none() {
            self.map.admit_plain(&get.target.collection, "sealed_question")?;
        }
        Ok(get)
    }

    /// Reads a question for an attachment, or for what it is: its digest is that of a plain body.
    pub(crate) fn get_attachment(self, request: v1::GetRecordRequest) -> Result<Get, Rejection> {
        let get = self.get_names(request)?;
        self.map.admit_plain(&get.target.collection, "collection")?;
        Ok(get)
    }

    fn get_names(self, request: v1::GetRecordRequest) -> Result<Get, Rejection> {
        let v1::GetRecordRequest { subject, collection, key, purpose, copy_in, .. } = request;
        let (id, sealed) = (request.sealed_key, request.sealed_question);
        let copy_in = Some(copy_in).filter(|region| !region.is_empty());
        let copy_in = copy_in.map(|region| self.copied_to(&region)).transpose()?;
        let target = match copy_in {
            // The home is not called: who may call the region of the copy may name it.
            Some(_) => self.target_anywhere(subject, &collection, key)?,
            None => self.target(subject, &collection, key)?,
        };
        stated("purpose", &purpose)?;
        self.map.collection(&target.collection).map_or(Ok(()), |of| of.admit_purpose(&purpose))?;
        let question = match (id.is_empty(), sealed.is_empty()) {
            (true, true) => None,
            (true, false) => return Err(Rejection::new(Reason::FieldMissing).field("sealed_key")),
            (false, _) => Some(SealedQuestion::read(id, sealed, "sealed_question")?),
        };
        Ok(Get { target, question, purpose, copy_in })
    }

    /// The region of a copy, which the caller must be allowed to use.
    fn copied_to(self, region: &str) -> Result<RegionId, Rejection> {
        let region = RegionId::parse(region).map_err(|why| Rejection::id("copy_in", why))?;
        self.caller.may_reach(&region)?;
        Ok(region)
    }
}
