//! A client that encrypts bodies under its caller's own keys, and decrypts what it reads.

use std::borrow::Cow;
use std::sync::Arc;

use crate::own_keys::{KeyProvider, OwnKeys};
use crate::transit_keys::NotSealed;
use crate::{Client, Error, api};

impl Client {
    /// The same client, but every body is encrypted under the caller's own key before anything else, and
    /// decrypted when it is read. Attributes, names and sizes stay as they are. A receipt commits to the
    /// encrypted body: [`Client::encrypted`] gives it. The same request, with the same `request_id`, body and key, is
    /// the same bytes; so do not change the current key between a request and its retry. Uploads and
    /// downloads are [`NotSealed::Call`], and an export gives the bodies encrypted.
    #[must_use]
    pub fn with_own_keys(&self, keys: Arc<dyn KeyProvider>) -> Self {
        let mut client = self.clone();
        client.own_keys = Some(OwnKeys::new(keys));
        client
    }

    /// A put with its body as the region gets it, for [`crate::verify_receipt`].
    ///
    /// # Errors
    /// [`Error::NotSealed`].
    pub fn encrypted<'a>(
        &self,
        request: &'a api::PutRecordRequest,
    ) -> Result<Cow<'a, api::PutRecordRequest>, Error> {
        let Some(own) = &self.own_keys else { return Ok(Cow::Borrowed(request)) };
        let api::PutRecordRequest { subject, collection, key, request_id, body, .. } = request;
        let body = own.encrypted(subject.as_ref(), collection, key, request_id, body)?.into();
        Ok(Cow::Owned(api::PutRecordRequest { body, ..request.clone() }))
    }

    /// The same of a patch.
    pub(crate) fn encrypted_patch<'a>(
        &self,
        request: &'a api::PatchRecordRequest,
    ) -> Result<Cow<'a, api::PatchRecordRequest>, Error> {
        let (Some(own), Some(body)) = (&self.own_keys, &request.body) else {
            return Ok(Cow::Borrowed(request));
        };
        let api::PatchRecordRequest { subject, collection, key, request_id, .. } = request;
        let body = own.encrypted(subject.as_ref(), collection, key, request_id, body)?;
        Ok(Cow::Owned(api::PatchRecordRequest { body: Some(body.into()), ..request.clone() }))
    }

    /// A record that answers a get, with its body decrypted.
    pub(crate) fn decrypted_of(
        &self,
        request: &api::GetRecordRequest,
        record: api::Record,
    ) -> Result<api::Record, Error> {
        let id = |of: Option<&api::SubjectRef>| of.map(|subject| subject.id.clone());
        let same = id(record.subject.as_ref()) == id(request.subject.as_ref())
            && record.collection == request.collection
            && record.key == request.key;
        if self.own_keys.is_some() && !same {
            return Err(NotSealed::OwnKey.into());
        }
        self.decrypted(record)
    }

    /// A record with its body decrypted, by the names that it has.
    pub(crate) fn decrypted(&self, record: api::Record) -> Result<api::Record, Error> {
        match &self.own_keys {
            Some(own) => Ok(own.decrypted(record)?),
            None => Ok(record),
        }
    }
}

#[cfg(test)]
mod tests {
    use sealed::CallerKey;

    use super::*;
    use crate::{KeySet, Settings};

    fn key(id: &str, byte: u8) -> CallerKey {
        CallerKey::new(id, [byte; 32]).unwrap()
    }

    fn client(keys: KeySet) -> Client {
        let plain = Client::lazy("http://127.0.0.1:1", Settings::DEFAULT).unwrap();
        plain.with_own_keys(Arc::new(keys))
    }

    fn record(put: &api::PutRecordRequest) -> api::Record {
        api::Record {
            subject: put.subject.clone(),
            collection: put.collection.clone(),
            key: put.key.clone(),
            body: put.body.clone(),
            ..Default::default()
        }
    }

    #[tokio::test]
    async fn a_body_is_read_under_the_key_that_encrypted_it() {
        let old = client(KeySet::new(key("1", 1), []));
        let put = api::PutRecordRequest {
            subject: Some(api::SubjectRef { id: "anna".to_owned(), ..Default::default() }),
            collection: "profiles".to_owned(),
            key: "main".to_owned(),
            body: b"a marker".to_vec().into(),
            request_id: "01234567-89ab-4def-8123-456789abcdef".to_owned(),
            ..Default::default()
        };
        let sent = old.encrypted(&put).unwrap().into_owned();
        assert!(!sent.body.windows(6).any(|part| part == b"marker"));
        // Sent again, it is the same; another request is not.
        assert!(old.encrypted(&put).unwrap().body == sent.body);
        let other = api::PutRecordRequest {
            request_id: "11234567-89ab-4def-8123-456789abcdef".to_owned(),
            ..put.clone()
        };
        assert!(old.encrypted(&other).unwrap().body != sent.body);
        let new = client(KeySet::new(key("2", 2), [key("1", 1)]));
        assert!(new.decrypted(record(&sent)).unwrap().body == put.body);
        assert!(new.encrypted(&put).unwrap().body != sent.body);
        let failed = |client: &Client, record| {
            matches!(client.decrypted(record), Err(Error::NotSealed(NotSealed::OwnKey)))
        };
        assert!(failed(&client(KeySet::new(key("2", 2), [])), record(&sent)));
        assert!(failed(&client(KeySet::new(key("1", 9), [])), record(&sent)));
        assert!(failed(&new, record(&put)), "a plain body passes for an encrypted one");
        let moved = api::Record { key: "other".to_owned(), ..record(&sent) };
        assert!(failed(&new, moved));
        // A gateway that answers another record, names and all, does not pass.
        let asked = api::GetRecordRequest {
            subject: put.subject.clone(),
            collection: put.collection.clone(),
            key: "other".to_owned(),
            ..Default::default()
        };
        assert!(new.decrypted_of(&asked, record(&sent)).is_err());
        let asked = api::GetRecordRequest { key: put.key, ..asked };
        assert!(new.decrypted_of(&asked, record(&sent)).is_ok());
    }
}
