//! Exports: all that a region holds of a subject, part by part.

use std::collections::VecDeque;
use std::time::Duration;

use sealed::{AnswerPart, AnswerSecret, PageDigest};
use tokio::time::timeout;
use tonic::{Code, Request, Streaming};
use wire::v1::export_subject_response::Part;

use crate::sealed_reads::opened;
use crate::transit_keys::NotSealed;
use crate::{Client, Error, api};

/// Time in which the next part of an export must come.
const PART_WAIT_MAX: Duration = Duration::from_secs(60);

impl Client {
    /// Begins an export of a subject. What is refused is refused here, unless it is refused later on
    /// the way: an export without [`ExportPart::End`] is not whole. Asked once.
    ///
    /// A client that seals bodies ([`Client::sealed`]) gets all bodies sealed, and opens them. Then nothing
    /// between it and the region can leave a record out: the end comes only if all seals were right.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn export_subject(
        &self,
        request: api::ExportSubjectRequest,
    ) -> Result<Export, Error> {
        let mut fetched = false;
        loop {
            let (sealed, secret) =
                Box::pin(self.sealed_export(&request, self.question().until)).await?;
            let mut sent = Request::new(sealed);
            if let Some(bearer) = self.bearer().await? {
                sent.metadata_mut().insert("authorization", bearer);
            }
            let mut to = self.own();
            let begun = timeout(PART_WAIT_MAX, to.subjects.export(sent)).await;
            match begun.map_err(|_| Error::TimedOut)?.map_err(Error::from) {
                // Its key is one from before, so nothing was logged: once more, with that of now.
                Err(error) if self.forgets_keys(&error) && !fetched => fetched = true,
                begun => {
                    let parts = begun?.into_inner();
                    let subject = request.subject.unwrap_or_default().id;
                    let seals = secret.map(|secret| Seals::new(secret, subject));
                    return Ok(Export { parts, taken: Taken::new(seals) });
                }
            }
        }
    }
}

/// A part of an export.
#[expect(missing_debug_implementations, reason = "it holds a person's records")]
pub enum ExportPart {
    /// The first: what is held of the subject, without its records.
    Subject(api::Subject),
    /// A record, whole.
    Record(api::Record),
    /// The last: the export is whole, and had so many records.
    End(u64),
}

/// An export on its way.
#[expect(missing_debug_implementations, reason = "it holds a person's records")]
pub struct Export {
    parts: Streaming<api::ExportSubjectResponse>,
    taken: Taken,
}

impl Export {
    /// The next part; none after the end.
    ///
    /// # Errors
    /// [`Error`], also where the stream ends before the end, or lacks records: it is not whole then, and gives
    /// nothing but errors.
    pub async fn next(&mut self) -> Result<Option<ExportPart>, Error> {
        loop {
            if self.taken.ended {
                return Ok(None);
            }
            let next = timeout(PART_WAIT_MAX, self.parts.message()).await;
            let next = next.map_err(|_| Error::TimedOut)??.unwrap_or_default();
            if let Some(part) = self.taken.next(next)? {
                return Ok(Some(part));
            }
        }
    }
}

/// What has come of an export.
struct Taken {
    records: u64,
    ended: bool,
    /// A part was not right, so nothing that follows is.
    broken: bool,
    /// None: it was asked for in plain.
    seals: Option<Seals>,
}

impl Taken {
    const fn new(seals: Option<Seals>) -> Self {
        Self { records: 0, ended: false, broken: false, seals }
    }

    /// Takes the next part. None: it was a seal.
    fn next(&mut self, next: api::ExportSubjectResponse) -> Result<Option<ExportPart>, Error> {
        if self.broken {
            return Err(Error::NotBailiwick(Code::Ok));
        }
        let part = self.part(next);
        self.broken = part.is_err();
        part
    }

    fn part(&mut self, next: api::ExportSubjectResponse) -> Result<Option<ExportPart>, Error> {
        let seal = next.seal;
        Ok(match (next.part, &mut self.seals) {
            (Some(Part::Subject(subject)), seals) => {
                seals.as_mut().map_or(Ok(()), |seals| seals.begin(&subject, &seal))?;
                Some(ExportPart::Subject(subject))
            }
            (Some(Part::Record(record)), seals) => {
                self.records += 1;
                let record = match seals {
                    Some(seals) => seals.record(record)?,
                    None if record.sealed => return Err(NotSealed::Answer.into()),
                    None => record,
                };
                Some(ExportPart::Record(record))
            }
            (Some(Part::Page(page)), Some(seals)) => {
                seals.page(&page.next, &seal)?;
                None
            }
            (Some(Part::End(end)), seals)
                if u64::try_from(end.record_count) == Ok(self.records) =>
            {
                seals.as_ref().map_or(Ok(()), Seals::end)?;
                self.ended = true;
                Some(ExportPart::End(self.records))
            }
            (Some(Part::Page(_)), None) | (Some(Part::End(_)) | None, _) => {
                return Err(Error::NotBailiwick(Code::Ok));
            }
        })
    }
}

/// What has been shown of a sealed export: a chain of seals from its collections to the end of the last one.
struct Seals {
    secret: AnswerSecret,
    /// The person that was asked for.
    subject: String,
    /// Collections that have not ended. None: the first part has not come.
    left: Option<VecDeque<String>>,
    /// Where the page begins that comes now.
    from: Vec<u8>,
    /// Its records so far.
    records: PageDigest,
}

impl Seals {
    fn new(secret: AnswerSecret, subject: String) -> Self {
        let (left, from, records) = (None, Vec::new(), PageDigest::default());
        Self { secret, subject, left, from, records }
    }

    /// Takes the first part.
    fn begin(&mut self, subject: &api::Subject, seal: &[u8]) -> Result<(), NotSealed> {
        let names: Vec<&str> =
            subject.collections.iter().map(|it| it.collection.as_str()).collect();
        self.shown(&AnswerPart::Collections(&names), seal)?;
        if self.left.is_some() {
            return Err(NotSealed::Answer);
        }
        self.left = Some(names.into_iter().map(str::to_owned).collect());
        Ok(())
    }

    /// Opens a record of the page that comes now.
    fn record(&mut self, record: api::Record) -> Result<api::Record, NotSealed> {
        let collection = self.left.as_ref().and_then(VecDeque::front);
        let subject = record.subject.as_ref().map(|subject| &subject.id);
        if collection != Some(&record.collection) || subject != Some(&self.subject) {
            return Err(NotSealed::Answer);
        }
        self.records.add(&record.body);
        opened(record, &self.secret)
    }

    /// Ends that page.
    fn page(&mut self, next: &[u8], seal: &[u8]) -> Result<(), NotSealed> {
        let records = std::mem::take(&mut self.records).finish();
        let left = self.left.as_ref().and_then(VecDeque::front);
        let collection = left.ok_or(NotSealed::Answer)?;
        let from = &self.from;
        self.shown(&AnswerPart::Page { collection, from, next, records: &records }, seal)?;
        self.from = next.to_vec();
        if next.is_empty() {
            self.left.as_mut().and_then(VecDeque::pop_front);
        }
        Ok(())
    }

    /// Whether all collections have ended.
    fn end(&self) -> Result<(), NotSealed> {
        let ended = self.left.as_ref().is_some_and(VecDeque::is_empty);
        if ended { Ok(()) } else { Err(NotSealed::Answer) }
    }

    fn shown(&self, part: &AnswerPart<'_>, seal: &[u8]) -> Result<(), NotSealed> {
        self.secret.open_part(part, seal).map(drop).map_err(|_| NotSealed::Answer)
    }
}

#[cfg(test)]
mod tests {
    use sealed::{Binding, Call, RegionKey};

    use super::*;

    type Stream = Vec<api::ExportSubjectResponse>;

    /// The question of an export: what the region answers with, and what opens that.
    fn question() -> (AnswerSecret, AnswerSecret) {
        let key = RegionKey::derive("ru-msk", &[7; 32]);
        let asked = Binding {
            call: Call::Export,
            tenant: "sample",
            subject: "anna",
            collection: "",
            key: "",
            request_id: &[],
            if_version: None,
            etag: "",
            asks: &["the person asked"],
        };
        let (question, opens) = key.public().seal(&asked, &[]).unwrap();
        (key.open(&asked, &question).unwrap().answer, opens)
    }

    fn response(part: Part, seal: Vec<u8>) -> api::ExportSubjectResponse {
        api::ExportSubjectResponse { part: Some(part), seal: seal.into() }
    }

    fn record(of: &AnswerSecret, collection: &str, key: &str) -> api::Record {
        let part = AnswerPart::Record {
            subject: "anna",
            collection,
            key,
            version: 3,
            etag: "e",
            attachment_bytes: 0,
        };
        let body = of.seal_part([1; 32], &part, format!("body of {key}").as_bytes());
        api::Record {
            subject: Some(api::SubjectRef { id: "anna".into(), domicile: "ru-msk".into() }),
            collection: collection.into(),
            key: key.into(),
            version: 3,
            etag: "e".into(),
            body: body.into(),
            sealed: true,
            ..Default::default()
        }
    }

    fn page(of: &AnswerSecret, name: &str, ends: [&str; 2], keys: &[&str]) -> Stream {
        let (records, mut digest) =
            (keys.iter().map(|key| record(of, name, key)), PageDigest::default());
        let records: Vec<_> = records.collect();
        records.iter().for_each(|record| digest.add(&record.body));
        let [from, next] = ends.map(str::as_bytes);
        let digest = digest.finish();
        let part = AnswerPart::Page { collection: name, from, next, records: &digest };
        let seal = of.seal_part([2; 32], &part, &[]);
        let next = next.to_vec().into();
        let records = records.into_iter().map(|record| response(Part::Record(record), Vec::new()));
        records.chain([response(Part::Page(api::ExportPage { next }), seal)]).collect()
    }

    fn first(of: &AnswerSecret, names: &[&str]) -> api::ExportSubjectResponse {
        let collection = |name: &&str| api::SubjectCollection {
            collection: (*name).to_owned(),
            ..Default::default()
        };
        let collections = names.iter().map(collection).collect();
        let subject = api::Subject { collections, ..Default::default() };
        response(
            Part::Subject(subject),
            of.seal_part([3; 32], &AnswerPart::Collections(names), &[]),
        )
    }

    const NAMES: [&str; 3] = ["messages", "payments", "profiles"];

    /// What a region answers: two pages of messages, one without records, and one of profiles.
    fn honest(of: &AnswerSecret) -> Stream {
        let mut all = vec![first(of, &NAMES)];
        all.extend(page(of, "messages", ["", "then"], &["a", "b"]));
        all.extend(page(of, "messages", ["then", ""], &["c"]));
        all.extend(page(of, "payments", ["", ""], &[]));
        all.extend(page(of, "profiles", ["", ""], &["main"]));
        all.push(end(4));
        all
    }

    fn end(record_count: i64) -> api::ExportSubjectResponse {
        response(Part::End(api::ExportEnd { record_count }), Vec::new())
    }

    /// The end of an export that a gateway changes on its way, with the count that it would then have.
    fn read(secret: &AnswerSecret, mut all: Stream) -> Result<Vec<Vec<u8>>, Error> {
        let is_record =
            |one: &&api::ExportSubjectResponse| matches!(one.part, Some(Part::Record(_)));
        let count = i64::try_from(all.iter().filter(is_record).count()).unwrap();
        for one in &mut all {
            if let Some(Part::End(end)) = &mut one.part {
                end.record_count = count;
            }
        }
        let mut taken = Taken::new(Some(Seals::new(secret.clone(), "anna".to_owned())));
        let mut bodies = Vec::new();
        // A stream that breaks off gives an empty part.
        for next in all.into_iter().chain([api::ExportSubjectResponse::default()]) {
            match taken.next(next) {
                Err(error) => {
                    // Nothing that follows is believed, whatever it is.
                    for next in honest(secret) {
                        assert!(taken.next(next).is_err());
                    }
                    return Err(error);
                }
                Ok(Some(ExportPart::End(records))) => {
                    assert_eq!(usize::try_from(records).unwrap(), bodies.len());
                    return Ok(bodies);
                }
                Ok(Some(ExportPart::Record(record))) => {
                    assert!(!record.sealed);
                    bodies.push(record.body.to_vec());
                }
                Ok(Some(ExportPart::Subject(_)) | None) => {}
            }
        }
        Ok(bodies)
    }

    /// What a gateway does to an export on its way.
    struct Lie<'a> {
        what: &'static str,
        tell: Box<dyn Fn(&mut Stream) + 'a>,
    }

    fn lie<'a>(what: &'static str, tell: impl Fn(&mut Stream) + 'a) -> Lie<'a> {
        Lie { what, tell: Box::new(tell) }
    }

    // Places of an honest export: 0 the subject, 1 and 2 messages, 3 their page, 4 a message, 5 its page, 6
    // the page of payments, 7 the profile, 8 its page, 9 the end.

    /// About what is there, and in which order.
    fn lies_about_places(others: &AnswerSecret) -> Vec<Lie<'_>> {
        vec![
            lie("no record", |all| drop(all.remove(2))),
            lie("no page", |all| drop(all.drain(4..=5))),
            lie("no seal of a page", |all| drop(all.remove(5))),
            lie("no empty page", |all| drop(all.remove(6))),
            lie("no collection", |all| drop(all.drain(7..=8))),
            lie("an end at once", |all| drop(all.drain(1..9))),
            lie("no end", |all| all.truncate(9)),
            lie("no first part", |all| drop(all.remove(0))),
            lie("fewer collections", move |all| {
                drop(all.drain(7..=8));
                let seal = all[0].seal.clone();
                all[0] = api::ExportSubjectResponse { seal, ..first(others, &NAMES[..2]) };
            }),
            lie("two first parts", |all| all.insert(6, all[0].clone())),
            lie("records in another order", |all| all.swap(1, 2)),
            lie("a page again", |all| drop(all.splice(4..4, all[1..=3].to_vec()))),
            lie("the second page first", |all| all[1..=5].rotate_left(3)),
            lie("a page that is said to be the last", |all| {
                drop(all.drain(4..=5));
                all[3].part = Some(Part::Page(api::ExportPage::default()));
            }),
            lie("a record twice", |all| all.insert(2, all[1].clone())),
            lie("no seals", |all| all.iter_mut().for_each(|it| it.seal.clear())),
        ]
    }

    /// About a record, or with the answer to another question of the same caller, about the same person.
    fn lies_about_records(other: &Stream) -> Vec<Lie<'_>> {
        vec![
            lie("the body of another record", |all| {
                let Some(Part::Record(second)) = all[2].part.clone() else { panic!("a record") };
                change(all, |record| record.body.clone_from(&second.body));
            }),
            lie("a plain body", |all| {
                change(all, |record| (record.body, record.sealed) = ("plain".into(), false));
            }),
            lie("a body without the mark", |all| change(all, |record| record.sealed = false)),
            lie("another version", |all| change(all, |record| record.version = 4)),
            lie("another etag", |all| change(all, |record| record.etag = "f".into())),
            lie("another key", |all| change(all, |record| record.key = "b".into())),
            lie("an attachment", |all| change(all, |record| record.attachment_bytes = 9)),
            lie("another person", |all| change(all, |record| record.subject = None)),
            lie("another collection", |all| {
                change(all, |record| record.collection = "profiles".into());
            }),
            lie("another answer's record", move |all| all[1].clone_from(&other[1])),
            lie("another answer's page", move |all| drop(all.splice(4..=5, other[4..=5].to_vec()))),
            lie("another answer's seal", move |all| all[6].clone_from(&other[6])),
            lie("another answer's first part", move |all| all[0].clone_from(&other[0])),
            lie("another answer", move |all| all.clone_from(other)),
        ]
    }

    /// Changes the first record.
    fn change(all: &mut Stream, change: impl Fn(&mut api::Record)) {
        let Some(Part::Record(record)) = &mut all[1].part else { panic!("a record is there") };
        change(record);
    }

    #[test]
    fn an_export_that_a_gateway_has_changed_has_no_end() {
        let (answers, opens) = question();
        let bodies = read(&opens, honest(&answers)).map_err(|error| error.to_string()).unwrap();
        assert_eq!(
            bodies,
            ["a", "b", "c", "main"].map(|key| format!("body of {key}").into_bytes())
        );
        let (others, _) = question();
        let other = honest(&others);
        for Lie { what, tell } in
            lies_about_places(&others).into_iter().chain(lies_about_records(&other))
        {
            let mut all = honest(&answers);
            tell(&mut all);
            assert!(read(&opens, all).is_err(), "{what}");
        }
        // An export that was asked for in plain takes nothing sealed.
        for one in &honest(&answers)[1..=3] {
            assert!(Taken::new(None).next(one.clone()).is_err());
        }
        // A count that is not that of the records.
        let mut taken = Taken::new(Some(Seals::new(opens, "anna".to_owned())));
        let mut all = honest(&answers);
        *all.last_mut().unwrap() = end(5);
        assert!(all.into_iter().any(|next| taken.next(next).is_err()));
    }
}
