//! Calls about one record. If its subject has moved to another region that the caller lists
//! ([`crate::Access::homes`], [`crate::Access::ingresses`]), a call goes on there, once.

use std::sync::atomic::AtomicBool;

use terms::Reason;
use tokio::time::Instant;

use crate::call::{Route, check_size};
use crate::gateway::Gateway;
use crate::receipt::{Written, check_delete, check_patch, check_put, check_touch};
use crate::{Client, Error, api};

/// A request about one subject.
trait OfSubject: Clone {
    /// The subject, with the domicile where it is looked for.
    fn subject(&mut self) -> Option<&mut api::SubjectRef>;
}

macro_rules! of_subject {
    ($($request:ident),*) => {$(
        impl OfSubject for api::$request {
            fn subject(&mut self) -> Option<&mut api::SubjectRef> {
                self.subject.as_mut()
            }
        }
    )*};
}

of_subject!(
    PutRecordRequest,
    GetRecordRequest,
    DeleteRecordRequest,
    TouchRecordRequest,
    PatchRecordRequest
);

/// A request for the region to which its subject has moved, and its way there.
struct Moved<M> {
    request: M,
    route: Route,
}

impl Client {
    /// Puts a record, and checks the answer and its receipt against the request: see
    /// [`crate::Proof`]. The body goes to this client's gateway; if a law wants it taken by
    /// another one and [`crate::Access`] lets it go there, it is sent there, too, under the same
    /// `request_id`.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn put(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let request = self.encrypted(request)?;
        self.put_on(&request, self.write()).await
    }

    /// The same, but nothing of the body leaves before it is known where it may go: asks for the
    /// placement first, and sends the body to the gateway that the answer names, if it must be
    /// another one than this client's. Without evidence and findings there is nothing to ask by:
    /// then the body goes to the gateway that [`crate::Access`] lists for the domicile, if it lists one.
    ///
    /// # Errors
    /// [`Error`]; a placement that is refused is [`Error::Refused`].
    pub async fn put_resolved(
        &self,
        request: &api::PutRecordRequest,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        check_size(request)?;
        let mut route = self.write();
        let named = if request.evidence.is_empty() && request.findings.is_empty() {
            let domicile = request.subject.as_ref().map_or("", |s| s.domicile.as_str());
            self.gateways.listed(domicile)?
        } else {
            let question = api::ResolvePlacementRequest {
                collection: request.collection.clone(),
                evidence: request.evidence.clone(),
                findings: request.findings.clone(),
            };
            let ruling = self.resolve_until(&question, route.until).await?;
            self.gateways.placed(&ruling)?
        };
        if let Some(gateway) = named {
            route = Route { gateway, named: true, ..route };
        }
        let request = self.encrypted(request)?;
        Box::pin(self.put_on(&request, route)).await
    }

    async fn put_on(
        &self,
        request: &api::PutRecordRequest,
        route: Route,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let until = route.until;
        match Box::pin(self.put_once(request, route)).await {
            Err(error) => {
                let Moved { request, route } = self.moved(request, error, until)?;
                Box::pin(self.put_once(&request, route)).await
            }
            answer => answer,
        }
    }

    async fn put_once(
        &self,
        request: &api::PutRecordRequest,
        route: Route,
    ) -> Result<Written<api::PutRecordResponse>, Error> {
        let (until, alone) = (route.until, AtomicBool::new(false));
        let mut fetched = false;
        loop {
            let sealed = Box::pin(self.sealed_put(request, until)).await?;
            let put = |to: Gateway, request| to.put(request, until, &alone);
            match self.attempts(&*sealed, route.clone(), put).await {
                // It was sealed to a key from before: once more, to that of now.
                Err(error) if self.forgets_keys(&error) && !fetched => fetched = true,
                answer => {
                    let (answer, once) = answer?;
                    let proof = check_put(request, &answer, self.known(once && !fetched))?;
                    return Ok(Written { answer, proof });
                }
            }
        }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, request: &api::GetRecordRequest) -> Result<api::Record, Error> {
        let route = self.question();
        let until = route.until;
        match Box::pin(self.get_once(request, route)).await {
            Err(error) => {
                let Moved { request, route } = self.moved(request, error, until)?;
                Box::pin(self.get_once(&request, route)).await
            }
            answer => answer,
        }
    }

    async fn get_once(
        &self,
        request: &api::GetRecordRequest,
        route: Route,
    ) -> Result<api::Record, Error> {
        let get = |mut to: Gateway, request| async move { to.records.get(request).await };
        let mut fetched = false;
        loop {
            let (sealed, secret) = Box::pin(self.sealed_get(request, route.until)).await?;
            match self.attempts(&*sealed, route.clone(), get).await {
                Err(error) if self.forgets_keys(&error) && !fetched => fetched = true,
                answer => {
                    let record = self.opened(answer?.0, secret.as_ref())?;
                    return self.decrypted_of(request, record);
                }
            }
        }
    }

    /// Deletes a record, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn delete(
        &self,
        request: &api::DeleteRecordRequest,
    ) -> Result<Written<api::DeleteRecordResponse>, Error> {
        let route = self.write();
        let until = route.until;
        match Box::pin(self.delete_once(request, route)).await {
            Err(error) => {
                let Moved { request, route } = self.moved(request, error, until)?;
                Box::pin(self.delete_once(&request, route)).await
            }
            answer => answer,
        }
    }

    async fn delete_once(
        &self,
        request: &api::DeleteRecordRequest,
        route: Route,
    ) -> Result<Written<api::DeleteRecordResponse>, Error> {
        let delete = |mut to: Gateway, request| async move { to.records.delete(request).await };
        let (answer, once) = self.attempts(request, route, delete).await?;
        let proof = check_delete(request, &answer, self.known(once))?;
        Ok(Written { answer, proof })
    }

    /// Sets when a record expires, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn touch(
        &self,
        request: &api::TouchRecordRequest,
    ) -> Result<Written<api::TouchRecordResponse>, Error> {
        let route = self.write();
        let until = route.until;
        match Box::pin(self.touch_once(request, route)).await {
            Err(error) => {
                let Moved { request, route } = self.moved(request, error, until)?;
                Box::pin(self.touch_once(&request, route)).await
            }
            answer => answer,
        }
    }

    async fn touch_once(
        &self,
        request: &api::TouchRecordRequest,
        route: Route,
    ) -> Result<Written<api::TouchRecordResponse>, Error> {
        let touch = |mut to: Gateway, request| async move { to.records.touch(request).await };
        let (answer, once) = self.attempts(request, route, touch).await?;
        let proof = check_touch(request, &answer, self.known(once))?;
        Ok(Written { answer, proof })
    }

    /// Changes the body of a record or some of its attributes, and checks the answer and its receipt.
    /// A new body follows a law to the gateway that must take it, as that of [`Client::put`] does.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn patch(
        &self,
        request: &api::PatchRecordRequest,
    ) -> Result<Written<api::PatchRecordResponse>, Error> {
        let (request, route) = (self.encrypted_patch(request)?, self.write());
        let until = route.until;
        match self.patch_once(&request, route).await {
            Err(error) => {
                let Moved { request, route } = self.moved(&*request, error, until)?;
                self.patch_once(&request, route).await
            }
            answer => answer,
        }
    }

    async fn patch_once(
        &self,
        request: &api::PatchRecordRequest,
        route: Route,
    ) -> Result<Written<api::PatchRecordResponse>, Error> {
        let patch = |mut to: Gateway, request| async move { to.records.patch(request).await };
        let mut fetched = false;
        loop {
            let sealed = Box::pin(self.sealed_patch(request, route.until)).await?;
            match self.attempts(&*sealed, route.clone(), patch).await {
                Err(error) if self.forgets_keys(&error) && !fetched => fetched = true,
                answer => {
                    let (answer, once) = answer?;
                    let proof = check_patch(request, &answer, self.known(once && !fetched))?;
                    return Ok(Written { answer, proof });
                }
            }
        }
    }

    /// The request for the region to which its subject has moved, if a refusal says so and the caller
    /// lists that region. Otherwise the error.
    fn moved<M: OfSubject>(
        &self,
        request: &M,
        error: Error,
        until: Instant,
    ) -> Result<Moved<M>, Error> {
        let refused = error.refused().filter(|it| it.known() == Some(Reason::SubjectMoved));
        let Some(region) = refused.and_then(|it| it.region()).map(str::to_owned) else {
            return Err(error);
        };
        let (mut request, home) = (request.clone(), self.gateways.home(&region)?);
        match (home, request.subject()) {
            (Some(gateway), Some(subject)) if subject.domicile != region => {
                subject.domicile = region;
                // It is not followed again: neither to another home nor to another gateway.
                let route = Route { gateway, until, follow: false, named: true };
                Ok(Moved { request, route })
            }
            _ => Err(error),
        }
    }
}
