//! The service `Subjects`: each method from its request to its answer.

use std::sync::Arc;

use atlas::Outcome;
use bytes::Bytes;
use terms::{Reason, Rejection};
use tonic::{Request, Response, Status};
use wire::session::{self as proto, call::Op};
use wire::v1;
use wire::v1::subjects_server::Subjects;

use crate::Shared;
use crate::api::context::{Asked, Turn};
use crate::api::put::effect;
use crate::api::response;
use crate::shards::session::Ask;

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Subjects for Service {
    async fn create(
        &self,
        request: Request<v1::CreateSubjectRequest>,
    ) -> Result<Response<v1::CreateSubjectResponse>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = create(&self.0, &asked, request).await;
        asked.answer(answer)
    }

    async fn resolve_placement(
        &self,
        request: Request<v1::ResolvePlacementRequest>,
    ) -> Result<Response<v1::Ruling>, Status> {
        let (asked, request) = Asked::open(&self.0.desk, request)?;
        let answer = resolve(&self.0, &asked, &request);
        asked.answer(answer)
    }
}

async fn create(
    shared: &Shared,
    asked: &Asked,
    request: v1::CreateSubjectRequest,
) -> Result<v1::CreateSubjectResponse, Rejection> {
    let Turn { acting, share } = &asked.turn;
    let caller = &*acting.caller;
    let tenant = &caller.tenant;
    let pinned = shared.pin();
    let create = pinned.reader(caller).create(request)?;
    let ruling = pinned.rule(tenant, &create.collection, &create.given)?;
    let way = match (ruling.outcome(), &create.domicile) {
        (Outcome::Refused(refusal), _) => return Err(refusal.into()),
        (Outcome::Placed(placement), Some(domicile)) if placement.region() != domicile => {
            // An unknown one is said to be that, whatever the rules give.
            pinned.routing.domicile(domicile, tenant, &create.subject)?;
            return Err(Rejection::new(Reason::WrongDomicile)
                .field("subject.domicile")
                .problem("the rules give another region"));
        }
        (Outcome::Placed(placement), _) => {
            caller.may_reach(placement.region())?;
            pinned.entry(&ruling, placement)?;
            pinned.routing.placed(placement, tenant, &create.subject)?
        }
    };
    let subject = Some(response::subject(&create.subject, way.region()));
    let validate_only = create.validate_only;
    let ask = Ask {
        acting,
        deadline: asked.deadline.of_call(),
        effect: effect(validate_only),
        body: 0,
        load: share.carry(0, (way.region(), shared.desk.seats.free()))?,
        op: Op::Create(proto::Create {
            subject: create.subject.expose().to_owned(),
            collection: create.collection.as_str().to_owned(),
            request_id: Bytes::copy_from_slice(create.request_id.bytes()),
            findings: create.given.encode(),
            validate_only,
            phone_data: pinned.data.phone(&create.given),
            ip_data: pinned.data.ip(&create.given),
            prove: create.prove,
        }),
    };
    let (mut written, receipt) = response::written(way.send(ask).await?, validate_only)?;
    Ok(v1::CreateSubjectResponse {
        subject,
        ruling: response::standing(&mut written, create.given.any, &pinned.data),
        replayed: written.replayed,
        receipt,
    })
}

/// Says where a record would go. A refusal is an answer here, not an error.
fn resolve(
    shared: &Shared,
    asked: &Asked,
    request: &v1::ResolvePlacementRequest,
) -> Result<v1::Ruling, Rejection> {
    let caller = &*asked.turn.acting.caller;
    let pinned = shared.pin();
    let resolve = pinned.reader(caller).resolve(request)?;
    let ruling = pinned.rule(&caller.tenant, &resolve.collection, &resolve.given)?;
    let mut answer = response::ruling(&ruling, &pinned.data);
    if let Outcome::Placed(placement) = ruling.outcome() {
        caller.may_reach(placement.region())?;
        let address = pinned.routing.ingress(placement.region());
        let elsewhere = pinned.entry(&ruling, placement).is_err();
        response::direct(&mut answer, address, elsewhere);
    }
    answer.findings = response::findings(&resolve.given.findings);
    Ok(answer)
}
