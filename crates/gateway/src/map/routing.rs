//! From a placement or a domicile to the one shard that may store the record.
//!
//! A [`Way`] is made from a placement that the rules gave, or from the domicile that the caller
//! holds (and which the shard judges). It is used up by sending: with what is left in hand nothing
//! can be sent to another region.

use std::collections::HashMap;
use std::sync::Arc;

use atlas::{Annex, Country, Placement, Region, RegionMap};
use terms::{Detail, Reason, RegionId, Rejection, Slot, SubjectId, TenantId};

use crate::Error;
use crate::shards::session::{Answered, Ask, Peer, Session};

/// One map and the shards of its regions. Never changed: a call that holds it has one map from
/// its first check to its answer.
pub(crate) struct Routing {
    map: Arc<RegionMap>,
    regions: HashMap<RegionId, Shards>,
    /// Where the gateway stands by this map.
    stands: Own,
}

/// Where a gateway stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Own {
    /// It has no TLS, so it reaches shards on its own machine only, and stands where they do.
    BesideShards,
    /// In the region of its certificate; in no country, if the map has no such region any more.
    In(RegionId, Option<Country>),
}

struct Shards {
    annex: Annex,
    sessions: Vec<Arc<Session>>,
}

/// The way to the one shard that holds a subject in one region. Good for one call.
pub(crate) struct Way<'a> {
    session: &'a Session,
    /// The map under which it was found.
    map_epoch: u64,
}

impl Routing {
    /// The first one. Every region of the map needs its annex, and no annex may be left over.
    pub(crate) fn new(
        map: Arc<RegionMap>,
        annexes: &[Annex],
        own: Option<&RegionId>,
    ) -> Result<Self, Error> {
        let own = match own {
            None => Own::BesideShards,
            Some(name) => {
                let region = map.region(name).ok_or(Error::OwnRegionUnknown)?;
                Own::In(name.clone(), Some(region.territory()))
            }
        };
        for (n, annex) in annexes.iter().enumerate() {
            let name = annex.region();
            if map.region(name).is_none() {
                return Err(Error::AnnexOfNoRegion(name.clone()));
            }
            if annex.vouched(&map, ledger::said_by).is_err() {
                return Err(Error::AnnexUnsigned(name.clone()));
            }
            if annexes.iter().take(n).any(|other| other.region() == name) {
                return Err(Error::AnnexTwice(name.clone()));
            }
        }
        let first = Self { map, regions: HashMap::new(), stands: own };
        let routing = first.next(Arc::clone(&first.map), annexes);
        match routing.map.regions().iter().find(|r| !routing.regions.contains_key(r.name())) {
            Some(region) => Err(Error::RegionWithoutAnnex(region.name().clone())),
            None => Ok(routing),
        }
    }

    /// The one for another map, or other annexes. Sessions go on with shards that are where they
    /// were. A region without an annex is not within reach, and no reason to stay with an old map;
    /// an annex of a region that the map has no more leads nowhere, and neither does one that
    /// nobody signed whom the map names for that.
    pub(crate) fn next(&self, map: Arc<RegionMap>, annexes: &[Annex]) -> Self {
        let mut regions = HashMap::new();
        for annex in annexes {
            let Some(region) = map.region(annex.region()) else { continue };
            if let Err(unsigned) = annex.vouched(&map, ledger::said_by) {
                tracing::error!(%unsigned, "a region is out of reach");
                continue;
            }
            let session = |shard: &atlas::Shard| {
                let peer = Peer {
                    region: region.name().clone(),
                    shard: shard.name().clone(),
                    territory: region.territory().as_str(),
                    address: shard.address().to_owned(),
                };
                let kept = self.sessions().find(|session| session.peer == peer);
                kept.map_or_else(|| Arc::new(Session::new(peer)), Arc::clone)
            };
            let sessions = annex.shards().iter().map(session).collect();
            regions.insert(region.name().clone(), Shards { annex: annex.clone(), sessions });
        }
        let stands = match &self.stands {
            Own::BesideShards => Own::BesideShards,
            Own::In(own, _) => Own::In(own.clone(), map.region(own).map(Region::territory)),
        };
        Self { map, regions, stands }
    }

    /// Where the gateway stands, as seen from a region: `None` is outside of every territory.
    pub(crate) fn stands(&self, region: &RegionId) -> Option<Country> {
        match self.stands {
            Own::BesideShards => self.map.region(region).map(Region::territory),
            Own::In(_, country) => country,
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
    pub(crate) fn audit(&self, peer: &Peer) -> Option<&str> {
        self.regions.get(&peer.region)?.annex.shard(&peer.shard)?.audit()
    }

    /// All sessions, for those who keep them up.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.regions.values().flat_map(|shards| &shards.sessions)
    }

    /// The way that a placement allows.
    pub(crate) fn placed(
        &self,
        placement: &Placement,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Way<'_>, Rejection> {
        // A placement names a region of its map; what may be missing is its annex.
        self.way(placement.region(), tenant, subject).ok_or_else(|| {
            let region = placement.region().as_str();
            Rejection::new(Reason::RegionUnavailable).with(Detail::Region, region)
        })
    }

    /// The way to the domicile that the caller named.
    pub(crate) fn domicile(
        &self,
        region: &RegionId,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Way<'_>, Rejection> {
        self.way(region, tenant, subject).ok_or_else(|| {
            // Of the map and without an annex: it may come back.
            if self.map.region(region).is_some() {
                return Rejection::new(Reason::RegionUnavailable)
                    .with(Detail::Region, region.as_str());
            }
            Rejection::new(Reason::DomicileUnknown).field("subject.domicile")
        })
    }

    fn way(&self, region: &RegionId, tenant: &TenantId, subject: &SubjectId) -> Option<Way<'_>> {
        let shards = self.regions.get(region)?;
        let owner = shards.annex.shard_of(Slot::of(tenant, subject)).name();
        let session = shards.sessions.iter().find(|session| session.peer.shard == *owner)?;
        Some(Way { session, map_epoch: self.map.epoch().number })
    }
}

impl Way<'_> {
    /// Where it leads.
    pub(crate) fn region(&self) -> &RegionId {
        &self.session.peer.region
    }

    /// Sends one call and waits for its answer. What goes wrong on this way names its region.
    pub(crate) async fn send(self, ask: Ask<'_>) -> Result<Answered, Rejection> {
        let answered = self.session.call(ask, self.map_epoch).await;
        answered.map_err(|fault| fault.with(Detail::Region, self.region().as_str()))
    }
}
