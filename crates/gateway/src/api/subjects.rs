//! The service `Subjects`: each method from its request to its answer.

use std::pin::Pin;
use std::sync::Arc;

use atlas::Outcome;
use bytes::Bytes;
use terms::{Detail, Reason, Rejection};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op};
use wire::v1;
use wire::v1::subjects_server::Subjects;

use crate::api::context::{Call, CallContext};
use crate::api::unique::Creation;
use crate::api::{adjudicate, erase, export, held, locate, operations, reassess, response};

/// The parts of an export.
type Exported = Pin<Box<dyn Stream<Item = Result<v1::ExportSubjectResponse, Status>> + Send>>;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct SubjectsService(pub(crate) Arc<CallContext>);

#[tonic::async_trait]
impl Subjects for SubjectsService {
    async fn create(
        &self,
        request: Request<v1::CreateSubjectRequest>,
    ) -> Result<Response<v1::CreateSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = create(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn resolve_placement(
        &self,
        request: Request<v1::ResolvePlacementRequest>,
    ) -> Result<Response<v1::Ruling>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = resolve(&self.0, &call, &request);
        call.answer(answer)
    }

    async fn get(
        &self,
        request: Request<v1::GetSubjectRequest>,
    ) -> Result<Response<v1::Subject>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = held::get(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn locate(
        &self,
        request: Request<v1::LocateSubjectRequest>,
    ) -> Result<Response<v1::LocateSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = locate::locate(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn reassess(
        &self,
        request: Request<v1::ReassessSubjectRequest>,
    ) -> Result<Response<v1::ReassessSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = reassess::reassess(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn adjudicate(
        &self,
        request: Request<v1::AdjudicateSubjectRequest>,
    ) -> Result<Response<v1::AdjudicateSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = adjudicate::adjudicate(&self.0, &call, request, false).await;
        call.answer(answer)
    }

    async fn confirm_adjudication(
        &self,
        request: Request<v1::AdjudicateSubjectRequest>,
    ) -> Result<Response<v1::AdjudicateSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = adjudicate::adjudicate(&self.0, &call, request, true).await;
        call.answer(answer)
    }

    async fn relocate(
        &self,
        request: Request<v1::RelocateSubjectRequest>,
    ) -> Result<Response<v1::Operation>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = operations::relocate(&self.0, &call, request).await;
        call.answer(answer)
    }

    type ExportStream = Exported;

    async fn export(
        &self,
        request: Request<v1::ExportSubjectRequest>,
    ) -> Result<Response<Exported>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let parts = export::export(&self.0, call, request).await?;
        Ok(Response::new(Box::pin(parts)))
    }

    async fn erase(
        &self,
        request: Request<v1::EraseSubjectRequest>,
    ) -> Result<Response<v1::EraseSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = erase::erase(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn rotate_key(
        &self,
        request: Request<v1::RotateSubjectKeyRequest>,
    ) -> Result<Response<v1::RotateSubjectKeyResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = erase::rotate_key(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn block(
        &self,
        request: Request<v1::BlockSubjectRequest>,
    ) -> Result<Response<v1::BlockSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = erase::block(&self.0, &call, request).await;
        call.answer(answer)
    }

    async fn unblock(
        &self,
        request: Request<v1::UnblockSubjectRequest>,
    ) -> Result<Response<v1::UnblockSubjectResponse>, Status> {
        let (call, request) = Call::open(&self.0, request)?;
        let answer = erase::unblock(&self.0, &call, request).await;
        call.answer(answer)
    }
}

async fn create(
    ctx: &CallContext,
    call: &Call,
    request: v1::CreateSubjectRequest,
) -> Result<v1::CreateSubjectResponse, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let tenant = &caller.tenant;
    let pinned = ctx.pin();
    let create = pinned.reader(caller).create(request)?;
    let ruling = pinned.rule(tenant, &create.collection, &create.given)?;
    let route = match (ruling.outcome(), &create.domicile) {
        (Outcome::Refused(refusal), _) => return Err(refusal.into()),
        (Outcome::Placed(placement), Some(domicile)) if placement.region() != domicile => {
            // An unknown domicile is refused as such, whatever the rules give.
            pinned.routing.domicile(domicile, tenant, &create.subject)?;
            return Err(Rejection::new(Reason::WrongDomicile)
                .field("subject.domicile")
                .problem("the rules give another region")
                .cure("leave subject.domicile empty, or use the region in the metadata")
                .with(Detail::Region, placement.region().as_str()));
        }
        (Outcome::Placed(placement), _) => {
            caller.may_reach(placement.region())?;
            pinned.check_ingress(&ruling, placement)?;
            pinned.routing.placed(placement, tenant, &create.subject)?
        }
    };
    let subject = Some(response::subject(&create.subject, route.region()));
    let validate_only = create.validate_only;
    let op = Op::Create(proto::Create {
        subject: create.subject.expose().to_owned(),
        collection: create.collection.as_str().to_owned(),
        request_id: Bytes::copy_from_slice(create.request_id.bytes()),
        findings: create.given.encode(),
        validate_only,
        phone_data: pinned.phone_data(&create.given),
        ip_data: pinned.ip_data(&create.given),
        prove: create.prove,
        asked: Bytes::new(),
    });
    let (admitted, deadline) = (&call.admitted, call.deadline.of_call());
    let (pinned_map, id) = (&pinned, &create.subject);
    let creation =
        Creation { ctx, pinned: pinned_map, admitted, subject: id, deadline, validate_only };
    let (answer, unreachable) = creation.send(route, op, 0).await?;
    let (mut written, receipt) = response::written(answer, validate_only)?;
    Ok(v1::CreateSubjectResponse {
        subject,
        ruling: response::standing(&mut written, create.given.any, &pinned.data),
        replayed: written.replayed,
        receipt,
        unreachable,
    })
}

/// Answers where a record would go. A refusal is an answer here, not an error.
fn resolve(
    ctx: &CallContext,
    call: &Call,
    request: &v1::ResolvePlacementRequest,
) -> Result<v1::Ruling, Rejection> {
    let caller = &*call.admitted.acting.caller;
    let pinned = ctx.pin();
    let resolve = pinned.reader(caller).resolve(request)?;
    let ruling = pinned.rule(&caller.tenant, &resolve.collection, &resolve.given)?;
    let mut answer = response::ruling(&ruling, &pinned.data);
    if let Outcome::Placed(placement) = ruling.outcome() {
        caller.may_reach(placement.region())?;
        let address = pinned.routing.ingress(placement.region());
        let elsewhere = pinned.check_ingress(&ruling, placement).is_err();
        response::set_ingress(&mut answer, address, elsewhere);
    }
    answer.findings = response::findings(&resolve.given.findings);
    Ok(answer)
}
