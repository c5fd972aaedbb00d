//! From a placement or a domicile to the one shard that may store the record: the one that has said
//! that its store owns the subject's slot. The annex says where shards are, and which of them is asked
//! as long as none has said so. One that owns what the annex gives to another shard is asked once that
//! one has said what it owns. Of a slot that several shards own, none is asked: which of them has a
//! subject is not known, and another one would create it once more. A region with such slots is not
//! listed or watched as a whole.
//!
//! A [`Route`] is made from a placement that the rules gave, or from the domicile that the caller
//! sent (which the shard checks). Sending consumes it, so nothing can be sent to a second region.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use atlas::{Annex, Country, Placement, Region, RegionMap};
use bytes::Bytes;
use terms::{Detail, Entropy, Reason, RegionId, Rejection};
use terms::{ShardId, Slot, SlotSet, SubjectId, TenantId};
use tokio::time::Instant;

use crate::shards::region_slots::{ShardSlots, Unserved};
use crate::shards::session::{Session, ShardAnswer, ShardCall, ShardPuts, ShardTarget};

/// Why map and annexes do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// Two annexes are for one region.
    #[error("there are two annexes for region {0}")]
    AnnexTwice(RegionId),
    /// None of the operators that the map names for it has signed an annex.
    #[error("the annex for region {0} is not signed by one of its operators")]
    AnnexUnsigned(RegionId),
    /// An annex is for a region that the map does not name.
    #[error("the map has no region {0}, for which there is an annex")]
    AnnexOfNoRegion(RegionId),
    /// Nothing could be stored in a region.
    #[error("there is no annex for region {0}")]
    RegionWithoutAnnex(RegionId),
    /// The gateway's own certificate names a region that the map does not.
    #[error("the map does not name the region of the gateway's own certificate")]
    OwnRegionUnknown,
}

/// One map and the shards of its regions. It never changes: a call that holds it has one map from
/// its first check to its answer.
pub(crate) struct Routing {
    map: Arc<RegionMap>,
    regions: HashMap<RegionId, Shards>,
    location: Location,
}

/// Where the gateway is, by its map.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    /// It has no TLS, so it reaches shards on its own machine only, and is where they are.
    WithShards,
    /// In the region of its certificate; in no country if the map no longer has that region.
    In(RegionId, Option<Country>),
}

struct Shards {
    annex: Annex,
    sessions: Vec<Arc<Session>>,
}

/// The route to the one shard that holds a subject in one region, for one call.
pub(crate) struct Route<'a> {
    session: &'a Session,
    /// The map under which it was found.
    map_epoch: u64,
}

impl Routing {
    /// The first routing. Every region of the map needs its annex, and no annex may be left over.
    pub(crate) fn new(
        map: Arc<RegionMap>,
        annexes: &[Annex],
        own: Option<&RegionId>,
    ) -> Result<Self, RoutingError> {
        let own = match own {
            None => Location::WithShards,
            Some(name) => {
                let region = map.region(name).ok_or(RoutingError::OwnRegionUnknown)?;
                Location::In(name.clone(), Some(region.territory()))
            }
        };
        for (n, annex) in annexes.iter().enumerate() {
            let name = annex.region();
            if map.region(name).is_none() {
                return Err(RoutingError::AnnexOfNoRegion(name.clone()));
            }
            if annex.vouched(&map, ledger::said_by).is_err() {
                return Err(RoutingError::AnnexUnsigned(name.clone()));
            }
            if annexes.iter().take(n).any(|other| other.region() == name) {
                return Err(RoutingError::AnnexTwice(name.clone()));
            }
        }
        let first = Self { map, regions: HashMap::new(), location: own };
        let routing = first.next(Arc::clone(&first.map), annexes);
        match routing.map.regions().iter().find(|r| !routing.regions.contains_key(r.name())) {
            Some(region) => Err(RoutingError::RegionWithoutAnnex(region.name().clone())),
            None => Ok(routing),
        }
    }

    /// The routing for another map, or other annexes. Sessions with shards whose address is the same
    /// go on. A region without an annex is out of reach, which is no reason to keep an old map. An
    /// annex is not used if the map no longer has its region, or if none of the operators that the
    /// map names has signed it.
    pub(crate) fn next(&self, map: Arc<RegionMap>, annexes: &[Annex]) -> Self {
        let mut regions = HashMap::new();
        for annex in annexes {
            let Some(region) = map.region(annex.region()) else { continue };
            if let Err(unsigned) = annex.vouched(&map, ledger::said_by) {
                tracing::error!(%unsigned, "a region is out of reach");
                continue;
            }
            let session = |shard: &atlas::Shard| {
                let target = ShardTarget {
                    region: region.name().clone(),
                    shard: shard.name().clone(),
                    territory: region.territory().as_str(),
                    address: shard.address().to_owned(),
                    standbys: shard.standbys().to_vec(),
                };
                let kept = self.sessions().find(|session| session.target == target);
                kept.map_or_else(|| Arc::new(Session::new(target)), Arc::clone)
            };
            let sessions = annex.shards().iter().map(session).collect();
            regions.insert(region.name().clone(), Shards { annex: annex.clone(), sessions });
        }
        let location = match &self.location {
            Location::WithShards => Location::WithShards,
            Location::In(own, _) => {
                Location::In(own.clone(), map.region(own).map(Region::territory))
            }
        };
        Self { map, regions, location }
    }

    /// The country that the gateway is in, for a record of that region: `None` is outside of every
    /// territory.
    pub(crate) fn country(&self, region: &RegionId) -> Option<Country> {
        match self.location {
            Location::WithShards => self.map.region(region).map(Region::territory),
            Location::In(_, country) => country,
        }
    }

    /// The map.
    pub(crate) fn map(&self) -> &Arc<RegionMap> {
        &self.map
    }

    /// The address of a gateway inside of a region, if its annex names one.
    pub(crate) fn ingress(&self, region: &RegionId) -> Option<&str> {
        self.regions.get(region)?.annex.ingress()
    }

    /// Where auditors reach a shard, if its region's annex says.
    pub(crate) fn audit(&self, shard: &ShardTarget) -> Option<&str> {
        self.regions.get(&shard.region)?.annex.shard(&shard.shard)?.audit()
    }

    /// The slots that the annex gives a shard.
    pub(crate) fn wished(&self, shard: &ShardTarget) -> SlotSet {
        let region = self.regions.get(&shard.region);
        let found = region.and_then(|region| region.annex.shard(&shard.shard));
        found.into_iter().flat_map(atlas::Shard::slots).collect()
    }

    /// Of each region, by name, the slots whose calls are refused now.
    pub(crate) fn unserved(&self) -> BTreeMap<&RegionId, Unserved> {
        let all = self.regions.iter().map(|(region, shards)| (region, self.unserved_of(shards)));
        let none = self.without_annex().map(|region| (region, Unserved::of([].iter())));
        all.chain(none).filter(|(_, unserved)| !unserved.is_none()).collect()
    }

    /// Regions of the map of which no annex counts: they are out of reach, and have no sessions.
    pub(crate) fn without_annex(&self) -> impl Iterator<Item = &RegionId> {
        let all = self.map.regions().iter().map(Region::name);
        all.filter(move |region| !self.regions.contains_key(*region))
    }

    /// Whether several shards of the region own the same slots. Which of them has a person of these is not
    /// known, so what goes over all people of the region has no answer.
    pub(crate) fn is_contested(&self, region: &RegionId) -> bool {
        let shards = self.regions.get(region);
        shards.is_some_and(|shards| !self.unserved_of(shards).contested.is_empty())
    }

    fn unserved_of(&self, shards: &Shards) -> Unserved {
        let slots = shards.sessions.iter().map(|session| ShardSlots {
            up: session.is_up(),
            wished: self.wished(&session.target),
            owned: session.slots().as_deref().cloned(),
        });
        let slots: Vec<ShardSlots> = slots.collect();
        Unserved::of(slots.iter())
    }

    /// All sessions.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.regions.values().flat_map(|shards| &shards.sessions)
    }

    /// The route that a placement allows.
    pub(crate) fn placed(
        &self,
        placement: &Placement,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Route<'_>, Rejection> {
        // A placement names a region of its map; what may be missing is its annex.
        self.route(placement.region(), tenant, subject)?.ok_or_else(|| {
            let region = placement.region().as_str();
            Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region)
        })
    }

    /// The route to the domicile that the caller named.
    pub(crate) fn domicile(
        &self,
        region: &RegionId,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Route<'_>, Rejection> {
        self.route(region, tenant, subject)?.ok_or_else(|| {
            // The map has the region, without an annex: it may come back.
            if self.map.region(region).is_some() {
                return Rejection::new(Reason::RegionUnavailable)
                    .with(Detail::Region, region.as_str());
            }
            Rejection::new(Reason::DomicileUnknown).field("subject.domicile")
        })
    }

    /// The routes to all shards of a region, by name. None: the map has no such region, or its annex
    /// is missing.
    pub(crate) fn shards(&self, region: &RegionId) -> Vec<Route<'_>> {
        let sessions = self.regions.get(region).into_iter().flat_map(|shards| &shards.sessions);
        let map_epoch = self.map.epoch().number;
        let mut routes: Vec<Route<'_>> =
            sessions.map(|session| Route { session, map_epoch }).collect();
        routes.sort_by(|a, b| a.shard().cmp(b.shard()));
        routes
    }

    fn route(
        &self,
        region: &RegionId,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Option<Route<'_>>, Rejection> {
        let Some(shards) = self.regions.get(region) else { return Ok(None) };
        let slot = Slot::of(tenant, subject);
        let wished = shards.annex.shard_of(slot).name();
        let wished = shards.sessions.iter().find(|session| session.target.shard == *wished);
        let mut owners = shards.sessions.iter().filter(|session| session.owns(slot));
        let session = match (owners.next(), owners.next()) {
            // It owns what the annex gives to a shard that has not said what it owns: that one may have it.
            (Some(_), None) if wished.is_some_and(|wished| wished.slots().is_none()) => {
                let fault = Rejection::new(Reason::RegionUnavailable);
                let fault = fault.problem(
                    "the shard to which the annex gives the subject's slot has not been reached yet, \
                     and another one says that it owns the slot",
                );
                return Err(fault.with(Detail::Region, region.as_str()));
            }
            (Some(owner), None) => Some(owner),
            (Some(_), Some(_)) => {
                let fault = Rejection::new(Reason::SlotNotOwned);
                let fault = fault.problem("several shards of the region own the subject's slot");
                return Err(fault.with(Detail::Region, region.as_str()));
            }
            (None, _) => wished,
        };
        let map_epoch = self.map.epoch().number;
        Ok(session.map(|session| Route { session, map_epoch }))
    }
}

impl<'a> Route<'a> {
    /// The region that it leads to.
    pub(crate) fn region(&self) -> &RegionId {
        &self.session.target.region
    }

    /// The shard that it leads to.
    pub(crate) fn shard(&self) -> &ShardId {
        &self.session.target.shard
    }

    /// Sends puts of which all are done or none. A rejection names the region.
    pub(crate) async fn put_all(self, puts: ShardPuts<'_>) -> Result<Vec<ShardAnswer>, Rejection> {
        let answers = self.session.put_all(puts, self.map_epoch).await;
        answers.map_err(|rejection| rejection.with(Detail::Region, self.region().as_str()))
    }

    /// Whether it leads to the same shard.
    pub(crate) fn is_that_of(&self, other: &Self) -> bool {
        self.session.target == other.session.target
    }

    /// The question for a subject that this shard understands.
    ///
    /// # Errors
    /// As [`Session::question`]. A rejection names the region.
    pub(crate) async fn question(
        &self,
        tenant: &TenantId,
        subject: &SubjectId,
        entropy: &dyn Entropy,
        deadline: Instant,
    ) -> Result<Bytes, Rejection> {
        let question = self.session.question(tenant, subject, entropy, deadline).await;
        question.map_err(|rejection| rejection.with(Detail::Region, self.region().as_str()))
    }

    /// Sends one call and waits for its answer. A rejection names the region.
    pub(crate) fn send(
        self,
        call: ShardCall<'_>,
    ) -> impl Future<Output = Result<ShardAnswer, Rejection>> + use<'a> {
        let answer = self.session.call(call, self.map_epoch);
        let named =
            move |rejection: Rejection| rejection.with(Detail::Region, self.region().as_str());
        async move { answer.await.map_err(named) }
    }
}
