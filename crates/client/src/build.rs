//! A put or an upload, field by field: what was not said keeps the default of the API.

use prost::bytes::Bytes;
use prost_types::Timestamp;
use terms::EntropyFailed;

use crate::call::System;
use crate::{api, new_request_id};

/// A put that is being made, or the announcement of an upload.
///
/// ```
/// use client::{PutBuilder, api};
///
/// # fn main() -> Result<(), terms::EntropyFailed> {
/// let put = PutBuilder::new("anna", "messages", "m-1")?
///     .create_subject()
///     .evidence(api::EvidenceKind::Residence, "DE")
///     .participant("boris", "ru-msk")
///     .body("hello")
///     .build();
/// assert_eq!(put.participants.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
#[expect(missing_debug_implementations, reason = "it holds a person's record")]
pub struct PutBuilder {
    put: api::PutRecordRequest,
    subject: api::SubjectRef,
}

impl PutBuilder {
    /// A put of that record of that subject, under a request id that is drawn here.
    ///
    /// # Errors
    /// [`EntropyFailed`], when there is no randomness.
    pub fn new(
        subject: impl Into<String>,
        collection: impl Into<String>,
        key: impl Into<String>,
    ) -> Result<Self, EntropyFailed> {
        let put = api::PutRecordRequest {
            collection: collection.into(),
            key: key.into(),
            request_id: new_request_id(&System)?.to_string(),
            ..Default::default()
        };
        let subject = api::SubjectRef { id: subject.into(), domicile: String::new() };
        Ok(Self { put, subject })
    }

    /// The region that holds the subject's records of the collection, as a put returned it.
    pub fn domicile(mut self, region: impl Into<String>) -> Self {
        self.subject.domicile = region.into();
        self
    }

    /// The id of a request that was sent before, for its retry.
    pub fn request_id(mut self, id: impl Into<String>) -> Self {
        self.put.request_id = id.into();
        self
    }

    /// The content.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.put.body = body.into();
        self
    }

    /// One more attribute.
    pub fn attribute(mut self, name: impl Into<String>, value: api::attribute::Value) -> Self {
        self.put.attributes.push(api::Attribute { name: name.into(), value: Some(value) });
        self
    }

    /// One more person besides the owner that the record is about, with the region that holds that
    /// person's records of the collection.
    pub fn participant(mut self, id: impl Into<String>, region: impl Into<String>) -> Self {
        self.put.participants.push(api::SubjectRef { id: id.into(), domicile: region.into() });
        self
    }

    /// Create the subject if its region does not know it: evidence or findings must come with it.
    pub fn create_subject(mut self) -> Self {
        self.put.create_subject = true;
        self
    }

    /// One more piece of evidence.
    pub fn evidence(mut self, kind: api::EvidenceKind, value: impl Into<String>) -> Self {
        let evidence =
            api::Evidence { kind: kind.into(), value: value.into(), ..Default::default() };
        self.put.evidence.push(evidence);
        self
    }

    /// One more finding, where the evidence itself is not sent.
    pub fn finding(mut self, kind: api::EvidenceKind, country: impl Into<String>) -> Self {
        let finding = api::Finding { kind: kind.into(), country: country.into() };
        self.put.findings.push(finding);
        self
    }

    /// Write only if the record has this version; 0: only if there is no record.
    pub fn if_version(mut self, version: i64) -> Self {
        self.put.if_version = Some(version);
        self
    }

    /// Write only if the record has this etag.
    pub fn etag(mut self, etag: impl Into<String>) -> Self {
        self.put.etag = etag.into();
        self
    }

    /// When the record expires.
    pub fn expire_time(mut self, time: Timestamp) -> Self {
        self.put.expire_time = Some(time);
        self
    }

    /// Wait for the proof that the log has the entry.
    pub fn full_receipt(mut self) -> Self {
        self.put.receipt_view = api::ReceiptView::Full.into();
        self
    }

    /// Check everything, store nothing.
    pub fn validate_only(mut self) -> Self {
        self.put.validate_only = true;
        self
    }

    /// The put.
    #[must_use]
    pub fn build(self) -> api::PutRecordRequest {
        api::PutRecordRequest { subject: Some(self.subject), ..self.put }
    }

    /// The announcement of an upload of so many bytes with that SHA-256 ([`crate::measure`]), in the
    /// place of a body. An upload has no dry run.
    #[must_use]
    pub fn build_upload(self, bytes: u64, sha256: [u8; 32]) -> api::UploadSpec {
        let Self { put, subject } = self;
        api::UploadSpec {
            subject: Some(subject),
            collection: put.collection,
            key: put.key,
            request_id: put.request_id,
            size: i64::try_from(bytes).unwrap_or(i64::MAX),
            sha256: sha256.to_vec().into(),
            attributes: put.attributes,
            if_version: put.if_version,
            etag: put.etag,
            expire_time: put.expire_time,
            receipt_view: put.receipt_view,
            create_subject: put.create_subject,
            evidence: put.evidence,
            findings: put.findings,
            participants: put.participants,
        }
    }
}

/// A get that is being made.
///
/// ```
/// let get = client::GetBuilder::new("anna", "in-bom", "payments", "p-1")
///     .purpose("an audit of the payments of May")
///     .copy_in("us-iad")
///     .build();
/// assert_eq!(get.copy_in, "us-iad");
/// ```
#[derive(Clone)]
#[must_use]
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct GetBuilder(api::GetRecordRequest);

impl GetBuilder {
    /// A get of that record of that subject, whose records of the collection the region `domicile` holds.
    pub fn new(
        subject: impl Into<String>,
        domicile: impl Into<String>,
        collection: impl Into<String>,
        key: impl Into<String>,
    ) -> Self {
        let subject = api::SubjectRef { id: subject.into(), domicile: domicile.into() };
        Self(api::GetRecordRequest {
            subject: Some(subject),
            collection: collection.into(),
            key: key.into(),
            ..Default::default()
        })
    }

    /// Why the record is read, for the log. It must name no person.
    pub fn purpose(mut self, purpose: impl Into<String>) -> Self {
        self.0.purpose = purpose.into();
        self
    }

    /// Read the copy that this region has, which may be older than the record:
    /// [`api::Record::copy`] says as of when it is.
    pub fn copy_in(mut self, region: impl Into<String>) -> Self {
        self.0.copy_in = region.into();
        self
    }

    /// The get.
    #[must_use]
    pub fn build(self) -> api::GetRecordRequest {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Everything that can be said.
    fn full() -> PutBuilder {
        PutBuilder::new("anna", "messages", "m-1")
            .unwrap()
            .domicile("eu-fra")
            .body("hello")
            .attribute("stars", api::attribute::Value::IntegerValue(5))
            .participant("boris", "ru-msk")
            .participant("vera", "kz-ala")
            .create_subject()
            .evidence(api::EvidenceKind::Residence, "DE")
            .finding(api::EvidenceKind::Citizenship, "FR")
            .if_version(3)
            .etag("etag")
            .expire_time(Timestamp { seconds: 4_000_000_000, nanos: 0 })
            .full_receipt()
            .validate_only()
    }

    #[test]
    fn what_is_said_is_in_the_request_and_nothing_else() {
        let put = PutBuilder::new("anna", "profiles", "main").unwrap().build();
        assert!(terms::RequestId::parse(&put.request_id).is_ok());
        let plain = api::PutRecordRequest {
            subject: Some(api::SubjectRef { id: "anna".to_owned(), domicile: String::new() }),
            collection: "profiles".to_owned(),
            key: "main".to_owned(),
            request_id: put.request_id.clone(),
            ..Default::default()
        };
        assert!(put == plain);
        let other = PutBuilder::new("anna", "profiles", "main").unwrap();
        assert!(other.clone().build().request_id != put.request_id);
        assert_eq!(other.request_id(put.request_id.clone()).build().request_id, put.request_id);
        let put = full().build();
        let named: Vec<_> =
            put.participants.iter().map(|one| (one.id.as_str(), one.domicile.as_str())).collect();
        assert_eq!(named, [("boris", "ru-msk"), ("vera", "kz-ala")]);
        assert_eq!(
            (&*put.body, put.if_version, put.etag.as_str()),
            (&b"hello"[..], Some(3), "etag")
        );
        assert!(put.create_subject && put.validate_only);
        assert_eq!((put.evidence.len(), put.findings.len(), put.attributes.len()), (1, 1, 1));
        assert_eq!(put.receipt_view, i32::from(api::ReceiptView::Full));
        assert_eq!(put.expire_time.map(|time| time.seconds), Some(4_000_000_000));
    }

    #[test]
    fn an_upload_says_the_same_of_its_record() {
        let (put, upload) = (full().build(), full().build_upload(7, [9; 32]));
        assert_eq!((upload.size, upload.sha256.len()), (7, 32));
        assert!(upload.subject == put.subject && upload.participants == put.participants);
        assert!(upload.evidence == put.evidence && upload.findings == put.findings);
        assert!(upload.attributes == put.attributes && upload.create_subject);
        assert!(upload.collection == put.collection && upload.key == put.key);
        assert_eq!((upload.if_version, &upload.etag), (put.if_version, &put.etag));
        assert_eq!((upload.expire_time, upload.receipt_view), (put.expire_time, put.receipt_view));
    }
}
