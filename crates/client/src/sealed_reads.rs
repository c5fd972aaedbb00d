//! Reads of many bodies that the region answers sealed: lists, scans and exports.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sealed::{AnswerPart, AnswerSecret, Binding, Call};
use tokio::time::Instant;

use crate::sealing::{binding, domicile};
use crate::transit_keys::{NotSealed, Sealing};
use crate::{Client, Error, api};

/// What opens the bodies of a call, by region.
pub(crate) struct Secrets(BTreeMap<String, AnswerSecret>);

impl Secrets {
    /// A record as its caller reads it.
    pub(crate) fn open(&self, record: api::Record) -> Result<api::Record, NotSealed> {
        let region = record.subject.as_ref().map(|subject| subject.domicile.as_str());
        let secret = region.and_then(|region| self.0.get(region)).ok_or(NotSealed::Answer)?;
        opened(record, secret)
    }
}

/// A record of an answer of many, as its caller reads it.
pub(crate) fn opened(
    mut record: api::Record,
    secret: &AnswerSecret,
) -> Result<api::Record, NotSealed> {
    let part = AnswerPart::Record {
        subject: record.subject.as_ref().map_or("", |subject| &subject.id),
        collection: &record.collection,
        key: &record.key,
        version: record.version,
        etag: &record.etag,
        attachment_bytes: record.attachment_bytes,
    };
    let body = secret.open_part(&part, &record.body);
    let body = body.ok().filter(|_| record.sealed).ok_or(NotSealed::Answer)?;
    record.body = body.into();
    record.sealed = false;
    Ok(record)
}

/// A record of a call that a client has or has not sealed.
pub(crate) fn read(
    record: api::Record,
    secrets: Option<&Secrets>,
) -> Result<api::Record, NotSealed> {
    match secrets {
        Some(secrets) => secrets.open(record),
        None if record.sealed => Err(NotSealed::Answer),
        None => Ok(record),
    }
}

impl Client {
    /// A list as it leaves, and what opens its bodies. None: it has none, or this client does not seal.
    pub(crate) async fn sealed_list<'a>(
        &self,
        request: &'a api::ListRecordsRequest,
        until: Instant,
    ) -> Result<(Cow<'a, api::ListRecordsRequest>, Option<Secrets>), Error> {
        let bodies = request.view == i32::from(api::RecordView::Whole);
        let Some(sealing) = self.sealing.as_ref().filter(|_| bodies) else {
            return Ok((Cow::Borrowed(request), None));
        };
        let subject = request.subject.as_ref();
        let regions: BTreeSet<&str> = match subject {
            Some(_) => BTreeSet::from([domicile(subject)?]),
            None => request.regions.iter().map(String::as_str).collect(),
        };
        let participant = request.participant.as_ref();
        let asks = [
            request.filter.as_str(),
            &request.order_by,
            participant.map_or("", |named| &named.id),
            participant.map_or("", |named| &named.domicile),
            &request.purpose,
        ];
        let asked = binding(Call::List, sealing, subject, &request.collection);
        let asked = Binding { asks: &asks, ..asked };
        let (mut sealed_questions, mut secrets) = (Vec::new(), BTreeMap::new());
        for region in regions {
            let (question, secret) = self.ask_sealed(sealing, region, &asked, until).await?;
            sealed_questions.push(question);
            secrets.insert(region.to_owned(), secret);
        }
        let sealed = api::ListRecordsRequest { sealed_questions, ..request.clone() };
        Ok((Cow::Owned(sealed), Some(Secrets(secrets))))
    }

    /// A scan as it leaves, and what opens its bodies.
    pub(crate) async fn sealed_scan(
        &self,
        request: &api::ScanRecordsRequest,
        until: Instant,
    ) -> Result<(api::ScanRecordsRequest, Option<Secrets>), Error> {
        let bodies = request.view == i32::from(api::RecordView::Whole);
        let Some(sealing) = self.sealing.as_ref().filter(|_| bodies) else {
            return Ok((request.clone(), None));
        };
        let asks = [request.filter.as_str(), "", "", "", &request.purpose];
        let asked = binding(Call::Scan, sealing, None, &request.collection);
        let asked = Binding { asks: &asks, ..asked };
        let region = &request.region;
        let (question, secret) = self.ask_sealed(sealing, region, &asked, until).await?;
        let secrets = Secrets(BTreeMap::from([(region.clone(), secret)]));
        let sealed_question = Some(question);
        Ok((api::ScanRecordsRequest { sealed_question, ..request.clone() }, Some(secrets)))
    }

    /// An export as it leaves, and what opens its bodies.
    pub(crate) async fn sealed_export(
        &self,
        request: &api::ExportSubjectRequest,
        until: Instant,
    ) -> Result<(api::ExportSubjectRequest, Option<AnswerSecret>), Error> {
        let Some(sealing) = &self.sealing else { return Ok((request.clone(), None)) };
        let subject = request.subject.as_ref();
        let region = domicile(subject)?;
        let asks = [request.purpose.as_str()];
        let asked = Binding { asks: &asks, ..binding(Call::Export, sealing, subject, "") };
        let (question, secret) = self.ask_sealed(sealing, region, &asked, until).await?;
        let sealed_question = Some(question);
        Ok((api::ExportSubjectRequest { sealed_question, ..request.clone() }, Some(secret)))
    }

    /// A question for the bodies of many records in one region.
    async fn ask_sealed(
        &self,
        sealing: &Sealing,
        region: &str,
        asked: &Binding<'_>,
        until: Instant,
    ) -> Result<(api::SealedQuestion, AnswerSecret), Error> {
        let key = self.transit_key(sealing, region, until).await?;
        let (question, secret) = key.seal(asked, &[]).map_err(|_| NotSealed::Seal)?;
        let (region, key) = (region.to_owned(), key.id().to_owned());
        Ok((api::SealedQuestion { region, key, question: question.into() }, secret))
    }
}
