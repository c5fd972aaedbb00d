//! The gateways that one client may speak to: its own, and those to which bodies may go.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use terms::limits::{FRAME_BYTES_MAX, REQUEST_BYTES_MAX};
use terms::{Detail, Reason};
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request, Response};
use tonic_health::pb::health_client::HealthClient;
use wire::status_check::Checked;
use wire::v1::attachments_client::AttachmentsClient;
use wire::v1::operations_client::OperationsClient;
use wire::v1::records_client::RecordsClient;
use wire::v1::region_maps_client::RegionMapsClient;
use wire::v1::ruling;
use wire::v1::stream_put_response::Outcome;
use wire::v1::subjects_client::SubjectsClient;
use wire::v1::transit_client::TransitClient;

use crate::access::{Ingresses, Target};
use crate::address::Address;
use crate::lanes::Lanes;
use crate::receipt::Unproven;
use crate::stream::records;
use crate::{Access, Error, NotFollowed, Refused, Token, api};

/// Gateways beside the own one to which connections are kept.
const OTHERS_MAX: usize = 64;

/// A connection to one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    target: Target,
    pub(crate) records: RecordsClient<Checked<Channel>>,
    pub(crate) attachments: AttachmentsClient<Checked<Channel>>,
    pub(crate) subjects: SubjectsClient<Checked<Channel>>,
    pub(crate) operations: OperationsClient<Checked<Channel>>,
    pub(crate) maps: RegionMapsClient<Checked<Channel>>,
    pub(crate) transit: TransitClient<Checked<Channel>>,
    pub(crate) health: HealthClient<Checked<Channel>>,
    lanes: Arc<Lanes>,
}

/// All connections of one client.
#[derive(Debug)]
pub(crate) struct Gateways {
    own: Gateway,
    token: Token,
    tenant: Option<String>,
    ingresses: Ingresses,
    /// Regions to which a call may go on when its subject has moved there.
    homes: Vec<String>,
    /// Lanes to each gateway.
    lanes: usize,
    /// By address and by the authorities trusted there: a gateway accepted under one rule is not
    /// used under a stricter one.
    others: Mutex<BTreeMap<Target, Gateway>>,
}

impl Gateway {
    fn new(target: Target, channel: Channel, lanes: usize) -> Self {
        let records = records(channel.clone());
        let channel = Checked::new(channel);
        let attachments = AttachmentsClient::new(channel.clone());
        let subjects =
            SubjectsClient::new(channel.clone()).max_decoding_message_size(FRAME_BYTES_MAX);
        let operations = OperationsClient::new(channel.clone());
        let maps = RegionMapsClient::new(channel.clone())
            .max_decoding_message_size(FRAME_BYTES_MAX)
            .max_encoding_message_size(REQUEST_BYTES_MAX);
        let transit = TransitClient::new(channel.clone());
        let lanes = Arc::new(Lanes::new(&target, lanes));
        let health = HealthClient::new(channel);
        Self { target, records, attachments, subjects, operations, maps, transit, health, lanes }
    }

    /// Puts a record, on a lane beside others or as a call. Once a lane has ended without an answer,
    /// `alone` is set: then the put goes as a call.
    pub(crate) async fn put(
        mut self,
        request: Request<api::PutRecordRequest>,
        until: Instant,
        alone: &AtomicBool,
    ) -> Result<Response<api::PutRecordResponse>, Error> {
        let _under_way = self.lanes.enter();
        let (metadata, extensions, mut put) = request.into_parts();
        if !alone.load(Ordering::Relaxed)
            && let Some(place) = self.lanes.place(&put, metadata.get("authorization")).await
        {
            match place.send(put, until) {
                Ok(sent) => {
                    let answer = sent.answer().await;
                    let answer = answer.inspect_err(|_| alone.store(true, Ordering::Relaxed));
                    return outcome(answer?).map(Response::new);
                }
                Err(unsent) => put = *unsent,
            }
        }
        Ok(self.records.put(Request::from_parts(metadata, extensions, put)).await?)
    }
}

impl Gateways {
    pub(crate) async fn connect(url: &str, access: Access, lanes: usize) -> Result<Self, Error> {
        let target = Target { address: Address::parse(url)?, tls: access.tls.clone() };
        let endpoint = target.tls.endpoint(&target.address)?;
        let channel = endpoint.connect().await.map_err(Error::of_connect)?;
        Self::new(Gateway::new(target, channel, lanes), access, lanes)
    }

    pub(crate) fn lazy(url: &str, access: Access, lanes: usize) -> Result<Self, Error> {
        let target = Target { address: Address::parse(url)?, tls: access.tls.clone() };
        let channel = target.lazy()?;
        Self::new(Gateway::new(target, channel, lanes), access, lanes)
    }

    fn new(own: Gateway, access: Access, lanes: usize) -> Result<Self, Error> {
        let ingresses = Ingresses::new(&access)?;
        let Access { token, tenant, homes, .. } = access;
        Ok(Self { own, token, tenant, ingresses, homes, lanes, others: Mutex::default() })
    }

    /// The client's own gateway.
    pub(crate) fn own(&self) -> Gateway {
        self.own.clone()
    }

    pub(crate) const fn token(&self) -> &Token {
        &self.token
    }

    /// The tenant that receipts must name.
    pub(crate) fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The gateway that the caller lists for a region.
    pub(crate) fn listed(&self, region: &str) -> Result<Option<Gateway>, Error> {
        let target = self.ingresses.of_region(region);
        target.map(|target| self.open(target.clone())).transpose()
    }

    /// The gateway by which a call goes on to a region to which its subject has moved. None: the caller
    /// does not list the region.
    pub(crate) fn home(&self, region: &str) -> Result<Option<Gateway>, Error> {
        let listed = self.listed(region)?;
        Ok(listed.or_else(|| self.homes.iter().any(|home| home == region).then(|| self.own())))
    }

    /// The gateway that must take a body placed like this. None: any may, so the own one does.
    pub(crate) fn placed(&self, given: &api::Ruling) -> Result<Option<Gateway>, Error> {
        let placement = match &given.outcome {
            Some(ruling::Outcome::Placement(placement)) => placement,
            Some(ruling::Outcome::Refusal(refusal)) => return Err(not_placed(refusal)),
            None => return Err(Error::NotBailiwick(Code::Ok)),
        };
        if !placement.ingress_required {
            return Ok(None);
        }
        let (region, named) = (placement.region.as_str(), placement.ingress.as_str());
        let target = self.ingresses.target(region, named).and_then(|target| {
            // The own one says that it is outside: it cannot be the one inside as well.
            let inside = target.address != self.own.target.address;
            if inside { Ok(target) } else { Err(NotFollowed::Again) }
        });
        let target = target.map_err(|why| {
            let metadata = [(Detail::Region, region), (Detail::Ingress, named)];
            let message = "a law that attaches wants the body taken inside the territory";
            let reason = Reason::WrongIngress;
            let refused = Refused {
                cure: Some(reason.cure().to_owned()),
                ..no(reason.as_str(), message, &metadata)
            };
            Error::NotFollowed { why, refused: Box::new(refused) }
        })?;
        self.open(target).map(Some)
    }

    /// The gateway that the refusal of `asked` names, unless that was the one that is named. The law of a
    /// participant does not decide where the body of the owner goes: such a refusal names none.
    pub(crate) fn named(
        &self,
        asked: &Gateway,
        was_named: bool,
        refused: Box<Refused>,
    ) -> Result<Gateway, Error> {
        if refused.field.as_deref().is_some_and(|field| field.starts_with("participants")) {
            return Err(Error::Refused(refused));
        }
        let region = refused.detail(Detail::Region).unwrap_or_default();
        let named = refused.detail(Detail::Ingress).unwrap_or_default();
        let target =
            if was_named { Err(NotFollowed::Again) } else { self.ingresses.target(region, named) };
        match target {
            Ok(target) if target.address == asked.target.address => {
                Err(Error::NotFollowed { why: NotFollowed::Again, refused })
            }
            Ok(target) => self.open(target),
            Err(why) => Err(Error::NotFollowed { why, refused }),
        }
    }

    /// The connection to a gateway, made when it is used.
    fn open(&self, target: Target) -> Result<Gateway, Error> {
        if target == self.own.target {
            return Ok(self.own());
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = others.get(&target) {
            return Ok(open.clone());
        }
        if others.len() >= OTHERS_MAX {
            // A client that follows to any address keeps no more than these at once.
            others.pop_first();
        }
        let channel = target.lazy()?;
        let gateway = Gateway::new(target.clone(), channel, self.lanes);
        others.insert(target, gateway.clone());
        Ok(gateway)
    }
}

/// What became of a put on a lane.
fn outcome(outcome: Outcome) -> Result<api::PutRecordResponse, Error> {
    match outcome {
        Outcome::Done(answer) => Ok(answer),
        Outcome::Error(status) => Err(match Refused::of_item(&status) {
            Some(refused) => Error::Refused(Box::new(refused)),
            None => Error::NotBailiwick(Code::from(status.code)),
        }),
        Outcome::Deleted(_) | Outcome::Patched(_) => Err(Unproven::OtherKind.into()),
    }
}

/// The refusal that a put would get too, after its body had been sent.
fn not_placed(refusal: &api::Refusal) -> Error {
    let conflicting = refusal.conflicting.join(",");
    let refused = no(&refusal.reason, "no placement", &[(Detail::Conflicting, &conflicting)]);
    let cure = Some(refusal.cure.clone()).filter(|cure| !cure.is_empty());
    Error::Refused(Box::new(Refused { cure, ..refused }))
}

/// A "no" that came inside an answer. It has no call id: the call itself was answered.
fn no(reason: &str, message: &str, metadata: &[(Detail, &str)]) -> Refused {
    let given = metadata.iter().filter(|(_, value)| !value.is_empty());
    let metadata = given.map(|(key, value)| (key.as_str().to_owned(), (*value).to_owned()));
    Refused {
        reason: reason.to_owned(),
        message: message.to_owned(),
        field: None,
        cure: None,
        call_id: None,
        metadata: metadata.collect(),
        retry_after: None,
        retryable: false,
    }
}
