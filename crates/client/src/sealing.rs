//! A client that seals bodies to their region before they leave, and opens the answers. So no gateway reads
//! them as they pass.

use std::borrow::Cow;
use std::sync::Arc;

use sealed::{AnswerSecret, Binding, Call, TransitKey};
use terms::{Reason, RequestId};
use tokio::time::Instant;
use wire::v1::ruling;

use crate::call::Route;
use crate::gateway::Gateway;
use crate::stream::{Prepared, Prepares};
use crate::transit_keys::{NotSealed, Sealing};
use crate::{Client, Error, api, clock};

impl Client {
    /// The same client, but every body that it sends is sealed to its region before it leaves, and every body
    /// that it reads comes sealed: the gateway cannot read them as they pass. One who acts
    /// as that gateway can still ask for bodies itself. What cannot be sealed is not sent:
    /// an upload and a download are [`NotSealed::Call`]. A put without a domicile asks for its placement
    /// first. A gateway that lies can leave records out of a list or a scan, and not out of an export.
    ///
    /// `identities` are the public keys that sign the transit keys of regions, as `bailiwick shard
    /// show-transit-key` prints them, one for each region. They must come by another way than through a
    /// gateway. [`crate::Access::tenant`] is needed.
    ///
    /// # Errors
    /// [`Error::NotSealed`].
    pub fn sealed<I>(&self, identities: I) -> Result<Self, Error>
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        let identities: Vec<String> = identities.into_iter().map(Into::into).collect();
        let sealing = Sealing::new(self.gateways.tenant(), &identities)?;
        let mut client = self.clone();
        client.sealing = Some(Arc::new(sealing));
        Ok(client)
    }

    /// Refuses a call whose bodies this client could not seal or decrypt.
    pub(crate) fn carries_plain(&self) -> Result<(), Error> {
        let plain = self.sealing.is_none() && self.own_keys.is_none();
        if plain { Ok(()) } else { Err(NotSealed::Call.into()) }
    }

    /// Whether a refusal means that keys must be fetched again. They are forgotten then.
    pub(crate) fn forgets_keys(&self, error: &Error) -> bool {
        let Some(sealing) = &self.sealing else { return false };
        let known = error.refused().and_then(|refused| refused.known());
        let unknown = known == Some(Reason::TransitKeyUnknown);
        if unknown {
            sealing.forget();
        }
        unknown
    }

    /// Forgets keys where a refusal means that they must be fetched again.
    pub(crate) fn forget_keys(&self, error: &Error) {
        self.forgets_keys(error);
    }

    /// A put as it leaves.
    pub(crate) async fn sealed_put<'a>(
        &self,
        request: &'a api::PutRecordRequest,
        until: Instant,
    ) -> Result<Cow<'a, api::PutRecordRequest>, Error> {
        let Some(sealing) = &self.sealing else { return Ok(Cow::Borrowed(request)) };
        let region = self.region_of(request, until).await?;
        let key = self.transit_key(sealing, &region, until).await?;
        let id = request_id(&request.request_id)?;
        let binding = Binding {
            key: &request.key,
            request_id: id.bytes(),
            if_version: request.if_version,
            etag: &request.etag,
            ..binding(Call::Put, sealing, request.subject.as_ref(), &request.collection)
        };
        let (body, _) = key.seal(&binding, &request.body).map_err(|_| NotSealed::Seal)?;
        let subject = request.subject.clone().unwrap_or_default();
        Ok(Cow::Owned(api::PutRecordRequest {
            // The body opens in this region alone, so it goes to no other.
            subject: Some(api::SubjectRef { domicile: region, ..subject }),
            body: body.into(),
            sealed_key: key.id().to_owned(),
            ..request.clone()
        }))
    }

    /// A patch as it leaves.
    pub(crate) async fn sealed_patch<'a>(
        &self,
        request: &'a api::PatchRecordRequest,
        until: Instant,
    ) -> Result<Cow<'a, api::PatchRecordRequest>, Error> {
        let (Some(sealing), Some(plain)) = (&self.sealing, &request.body) else {
            return Ok(Cow::Borrowed(request));
        };
        let key = self.transit_key(sealing, domicile(request.subject.as_ref())?, until).await?;
        let id = request_id(&request.request_id)?;
        let binding = Binding {
            key: &request.key,
            request_id: id.bytes(),
            if_version: request.if_version,
            etag: &request.etag,
            ..binding(Call::Patch, sealing, request.subject.as_ref(), &request.collection)
        };
        let (body, _) = key.seal(&binding, plain).map_err(|_| NotSealed::Seal)?;
        let (body, sealed_key) = (Some(body.into()), key.id().to_owned());
        Ok(Cow::Owned(api::PatchRecordRequest { body, sealed_key, ..request.clone() }))
    }

    /// A get as it leaves, and what opens its answer.
    pub(crate) async fn sealed_get<'a>(
        &self,
        request: &'a api::GetRecordRequest,
        until: Instant,
    ) -> Result<(Cow<'a, api::GetRecordRequest>, Option<AnswerSecret>), Error> {
        let Some(sealing) = &self.sealing else { return Ok((Cow::Borrowed(request), None)) };
        let homes = [domicile(request.subject.as_ref())?];
        let [home] = homes;
        // A copy opens in its own region, as the copy of that home.
        let (region, asks) = match request.copy_in.as_str() {
            "" => (home, &[][..]),
            region => (region, &homes[..]),
        };
        let key = self.transit_key(sealing, region, until).await?;
        let binding = Binding {
            key: &request.key,
            asks,
            ..binding(Call::Get, sealing, request.subject.as_ref(), &request.collection)
        };
        let (question, secret) = key.seal(&binding, &[]).map_err(|_| NotSealed::Seal)?;
        let (sealed_key, sealed_question) = (key.id().to_owned(), question.into());
        let sealed = api::GetRecordRequest { sealed_key, sealed_question, ..request.clone() };
        Ok((Cow::Owned(sealed), Some(secret)))
    }

    /// A record as its caller reads it.
    pub(crate) fn opened(
        &self,
        record: api::Record,
        secret: Option<&AnswerSecret>,
    ) -> Result<api::Record, Error> {
        match (secret, record.sealed) {
            (None, false) => Ok(record),
            (Some(secret), true) => {
                let body = secret.open(record.version, &record.etag, &record.body);
                let body = body.map_err(|_| NotSealed::Answer)?.into();
                Ok(api::Record { body, sealed: false, ..record })
            }
            (Some(_), false) | (None, true) => Err(NotSealed::Answer.into()),
        }
    }

    /// The region for which the body of a put is: its domicile, or where the rules place it.
    async fn region_of(
        &self,
        request: &api::PutRecordRequest,
        until: Instant,
    ) -> Result<String, Error> {
        if let Ok(region) = domicile(request.subject.as_ref()) {
            return Ok(region.to_owned());
        }
        if request.evidence.is_empty() && request.findings.is_empty() {
            return Err(NotSealed::Domicile.into());
        }
        let question = api::ResolvePlacementRequest {
            collection: request.collection.clone(),
            evidence: request.evidence.clone(),
            findings: request.findings.clone(),
        };
        let given = self.resolve_until(&question, until).await?;
        // A refusal is one here.
        self.gateways.placed(&given)?;
        match given.outcome {
            Some(ruling::Outcome::Placement(placement)) => Ok(placement.region),
            Some(ruling::Outcome::Refusal(_)) | None => Err(NotSealed::Domicile.into()),
        }
    }

    pub(crate) async fn transit_key(
        &self,
        sealing: &Sealing,
        region: &str,
        until: Instant,
    ) -> Result<TransitKey, Error> {
        if let Some(known) = sealing.known(region, clock::now()) {
            return Ok(known);
        }
        if !sealing.knows(region) {
            return Err(NotSealed::Region.into());
        }
        let get = |mut to: Gateway, request| async move { to.transit.get_key(request).await };
        let request = api::GetTransitKeyRequest { region: region.to_owned() };
        let route = Route { until, ..self.question() };
        let (answer, _) = self.attempts(&request, route, get).await?;
        Ok(sealing.keep(region, &answer.note)?)
    }
}

/// Puts and patches of a stream.
impl Prepares for Client {
    fn put(&self, request: api::PutRecordRequest) -> Prepared<'_, api::PutRecordRequest> {
        Box::pin(async move {
            let own = self.encrypted(&request)?.into_owned();
            let sealed = Box::pin(self.sealed_put(&own, Instant::now() + self.deadline())).await?;
            let sealed = sealed.into_owned();
            Ok((own, sealed))
        })
    }

    fn patch(&self, request: api::PatchRecordRequest) -> Prepared<'_, api::PatchRecordRequest> {
        Box::pin(async move {
            let own = self.encrypted_patch(&request)?.into_owned();
            let sealed =
                Box::pin(self.sealed_patch(&own, Instant::now() + self.deadline())).await?;
            let sealed = sealed.into_owned();
            Ok((own, sealed))
        })
    }

    fn refused(&self, error: &Error) {
        self.forgets_keys(error);
    }
}

pub(crate) fn domicile(subject: Option<&api::SubjectRef>) -> Result<&str, NotSealed> {
    let region = subject.map(|subject| subject.domicile.as_str());
    region.filter(|region| !region.is_empty()).ok_or(NotSealed::Domicile)
}

fn request_id(text: &str) -> Result<RequestId, NotSealed> {
    RequestId::parse(text).map_err(|_| NotSealed::RequestId)
}

/// What a body is bound to, without its key, request and conditions.
pub(crate) fn binding<'a>(
    call: Call,
    sealing: &'a Sealing,
    subject: Option<&'a api::SubjectRef>,
    collection: &'a str,
) -> Binding<'a> {
    Binding {
        call,
        tenant: &sealing.tenant,
        subject: subject.map_or("", |subject| subject.id.as_str()),
        collection,
        key: "",
        request_id: &[],
        if_version: None,
        etag: "",
        asks: &[],
    }
}

#[cfg(test)]
mod tests {
    use ledger::note::Signer;
    use sealed::{NoteInvalid, RegionKey, identity_name};

    use super::*;
    use crate::{Access, Settings};

    fn signer(region: &str, seed: u8) -> Signer {
        Signer::from_seed(&identity_name("sample", region), &[seed; 32]).unwrap()
    }

    fn client(tenant: Option<&str>) -> Client {
        let access = Access { tenant: tenant.map(str::to_owned), ..Default::default() };
        Client::lazy_with("http://127.0.0.1:1", Settings::DEFAULT, access).unwrap()
    }

    fn not_sealed<T>(answer: Result<T, Error>) -> Option<NotSealed> {
        if let Error::NotSealed(why) = answer.err()? { Some(why) } else { None }
    }

    #[tokio::test]
    async fn what_cannot_be_sealed_is_not_sent() {
        let identity = signer("ru-msk", 1).vkey();
        let of = |tenant: Option<&str>, keys: &[&str]| {
            client(tenant).sealed(keys.iter().copied().map(str::to_owned))
        };
        assert_eq!(not_sealed(of(None, &[&identity])), Some(NotSealed::Tenant));
        assert_eq!(not_sealed(of(Some("sample"), &["nonsense"])), Some(NotSealed::Identity));
        let twice = of(Some("sample"), &[&identity, &signer("ru-msk", 2).vkey()]);
        assert_eq!(not_sealed(twice), Some(NotSealed::Identity));
        let log = Signer::from_seed("sample/ru-msk/one/1", &[3; 32]).unwrap().vkey();
        assert_eq!(not_sealed(of(Some("sample"), &[&log])), Some(NotSealed::Identity));
        let client = of(Some("sample"), &[&identity]).unwrap();
        let subject = |domicile: &str| {
            Some(api::SubjectRef { id: "anna".to_owned(), domicile: domicile.to_owned() })
        };
        let put = |subject| api::PutRecordRequest { subject, ..Default::default() };
        // Nothing listens there: whatever is sent fails in another way.
        let answer = client.put(&put(subject("eu-fra"))).await.map(|_| ());
        assert_eq!(not_sealed(answer), Some(NotSealed::Region));
        let answer = client.put(&put(subject(""))).await.map(|_| ());
        assert_eq!(not_sealed(answer), Some(NotSealed::Domicile));
        let get = api::GetRecordRequest { subject: subject("eu-fra"), ..Default::default() };
        assert_eq!(not_sealed(client.get(&get).await), Some(NotSealed::Region));
        let whole = api::RecordView::Whole.into();
        let regions = vec!["eu-fra".to_owned()];
        let list = api::ListRecordsRequest { view: whole, regions, ..Default::default() };
        assert_eq!(not_sealed(client.list_page(&list).await), Some(NotSealed::Region));
        let region = "eu-fra".to_owned();
        let scan = api::ScanRecordsRequest { view: whole, region, ..Default::default() };
        assert_eq!(not_sealed(client.scan(&scan).await), Some(NotSealed::Region));
        let export = api::ExportSubjectRequest { subject: subject("eu-fra"), ..Default::default() };
        assert_eq!(not_sealed(client.export_subject(export).await), Some(NotSealed::Region));
    }

    #[tokio::test]
    async fn a_gateway_puts_no_key_and_no_answer_of_its_own_in_their_place() {
        let identity = signer("ru-msk", 1);
        let sealing = Sealing::new(Some("sample"), &[identity.vkey()]).unwrap();
        let (now, key) = (clock::now(), RegionKey::derive("ru-msk", &[7; 32]));
        let note = key.publish("sample", &identity, now, now + 100).unwrap();
        assert_eq!(sealing.keep("ru-msk", &note).unwrap().id(), key.public().id());
        // A clock that is ahead by what a note is believed with does not fetch it for each call.
        for later in [0, 100, 100 + 86_399] {
            assert_eq!(sealing.known("ru-msk", now + later).unwrap().id(), key.public().id());
        }
        // A key that is no longer the one to seal to is fetched again.
        assert!(sealing.known("ru-msk", now + 100 + 86_400).is_none());
        let own = RegionKey::derive("ru-msk", &[8; 32]);
        let forged = own.publish("sample", &signer("ru-msk", 9), now, now + 100).unwrap();
        let refused = sealing.keep("ru-msk", &forged).err();
        assert_eq!(refused, Some(NotSealed::Key(NoteInvalid::Unsigned)));
        sealing.forget();
        assert!(sealing.known("ru-msk", now).is_none());

        let client = client(Some("sample")).sealed([identity.vkey()]).unwrap();
        let binding = binding(Call::Get, &sealing, None, "profiles");
        let (question, secret) = key.public().seal(&binding, &[]).unwrap();
        let opened = key.open(&binding, &question).unwrap();
        let body = opened.answer.seal([1; 32], 4, "e", b"hello");
        let etag = "e".to_owned();
        let record =
            api::Record { version: 4, etag, body: body.into(), sealed: true, ..Default::default() };
        let read = client.opened(record.clone(), Some(&secret)).unwrap();
        assert!(read.body == b"hello"[..] && !read.sealed);
        for other in [
            api::Record { version: 5, ..record.clone() },
            api::Record { etag: "f".to_owned(), ..record.clone() },
            api::Record { sealed: false, ..record.clone() },
            api::Record { body: b"plain".to_vec().into(), sealed: false, ..record.clone() },
            api::Record { body: vec![0; 100].into(), ..record.clone() },
        ] {
            assert_eq!(not_sealed(client.opened(other, Some(&secret))), Some(NotSealed::Answer));
        }
        assert_eq!(not_sealed(client.opened(record, None)), Some(NotSealed::Answer));
    }
}
