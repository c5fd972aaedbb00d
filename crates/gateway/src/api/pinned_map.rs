//! One map, one set of data and one date, which do not change during a call.

use std::sync::Arc;

use atlas::{Moment, Placement, Question, Ruling};
use terms::{Collection, Detail, Reason, RegionId, Rejection, TenantId, UnixMillis};

use crate::api::request::{Given, RequestReader, Target};
use crate::auth::caller::Caller;
use crate::map::evidence_data::EvidenceData;
use crate::map::routing::{Route, Routing};
use crate::map::state::MapState;

/// What a call is ruled by.
pub(crate) struct PinnedMap {
    pub(crate) routing: Arc<Routing>,
    pub(crate) data: Arc<EvidenceData>,
    now: UnixMillis,
}

impl PinnedMap {
    pub(crate) fn new(map: &MapState, now: UnixMillis) -> Self {
        Self { routing: map.pin(), data: map.data(), now }
    }

    /// Reads requests of a caller.
    pub(crate) fn reader<'a>(&'a self, caller: &'a Caller) -> RequestReader<'a> {
        RequestReader { map: self.routing.map(), sources: &self.data.sources, caller }
    }

    /// The route to the domicile, which reads and deletes must name.
    ///
    /// # Errors
    /// `DOMICILE_REQUIRED`, `DOMICILE_UNKNOWN`, `REGION_UNAVAILABLE`.
    pub(crate) fn domicile(
        &self,
        caller: &Caller,
        target: &Target,
    ) -> Result<Route<'_>, Rejection> {
        match &target.domicile {
            Some(region) => self.routing.domicile(region, &caller.tenant, &target.subject),
            None => Err(Rejection::new(Reason::DomicileRequired)
                .field("subject.domicile")
                .cure("set subject.domicile as returned by the first put")),
        }
    }

    /// The route to a region that has a copy.
    pub(crate) fn copy(
        &self,
        caller: &Caller,
        target: &Target,
        region: &RegionId,
    ) -> Result<Route<'_>, Rejection> {
        let route = self.routing.domicile(region, &caller.tenant, &target.subject);
        route.map_err(|fault| fault.field("copy_in"))
    }

    /// Rules on what was given, even if it is nothing.
    pub(crate) fn rule(
        &self,
        tenant: &TenantId,
        collection: &Collection,
        given: &Given,
    ) -> Result<Ruling, Rejection> {
        let date = Moment::of(self.now);
        let question = Question { tenant, collection, findings: &given.findings, date };
        Ok(atlas::decide(self.routing.map(), &question)?)
    }

    /// Checks that the laws that attach let a record enter through this gateway. The shard checks
    /// the same; this check keeps a body that may not enter from being passed on.
    ///
    /// # Errors
    /// `WRONG_INGRESS`, with the address of the gateway that may take it, if the annex has one.
    pub(crate) fn check_ingress(
        &self,
        ruling: &Ruling,
        placement: &Placement,
    ) -> Result<(), Rejection> {
        let region = placement.region();
        let country = self.routing.country(region);
        atlas::ingress(ruling.attachments(), country).map_err(|barred| {
            let rejection = barred.ingress_fault().with(Detail::Region, region.as_str());
            match self.routing.ingress(region) {
                Some(address) => rejection.with(Detail::Ingress, address),
                None => rejection,
            }
        })
    }

    /// The version of the numbering plans, if they were read for what was given: for the placement
    /// log.
    pub(crate) fn phone_data(&self, given: &Given) -> String {
        if given.by_phone { self.data.phone.clone() } else { String::new() }
    }

    /// The version of the IP database, if it was read for what was given: for the placement log.
    pub(crate) fn ip_data(&self, given: &Given) -> String {
        if given.by_ip { self.data.ip.clone() } else { String::new() }
    }
}
