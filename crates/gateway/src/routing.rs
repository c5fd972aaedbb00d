//! From a placement or a domicile to the one shard that may store the record.
//!
//! A [`Way`] is made from a placement that the rules gave, or from the domicile that the caller
//! holds (and which the shard judges). It is used up by sending: with what is left in hand nothing
//! can be sent to another region.

use std::collections::HashMap;
use std::sync::Arc;

use atlas::{Annex, Placement, RegionMap};
use terms::{Fault, Reason, RegionId, Slot, SubjectId, TenantId};

use crate::Error;
use crate::session::{Answered, Ask, Peer, Session};

/// One map and the shards of its regions. Never changed: a call that holds it has one map from
/// its first check to its answer.
pub(crate) struct Routing {
    map: Arc<RegionMap>,
    regions: HashMap<RegionId, Shards>,
}

struct Shards {
    annex: Annex,
    sessions: Vec<Arc<Session>>,
}

/// The way to the one shard that holds a subject in one region. Good for one call.
pub(crate) struct Way<'a> {
    session: &'a Session,
}

impl Routing {
    /// Every region of the map needs its annex, and no annex may be left over.
    pub(crate) fn new(map: Arc<RegionMap>, annexes: Vec<Annex>) -> Result<Self, Error> {
        let mut regions = HashMap::new();
        for annex in annexes {
            let name = annex.region().clone();
            let region = map.region(&name).ok_or_else(|| Error::AnnexOfNoRegion(name.clone()))?;
            let session = |shard: &atlas::Shard| {
                Arc::new(Session::new(Peer {
                    region: name.clone(),
                    shard: shard.name().clone(),
                    territory: region.territory().as_str(),
                    address: shard.address().to_owned(),
                }))
            };
            let sessions = annex.shards().iter().map(session).collect();
            if regions.insert(name.clone(), Shards { annex, sessions }).is_some() {
                return Err(Error::AnnexTwice(name));
            }
        }
        match map.regions().iter().find(|region| !regions.contains_key(region.name())) {
            Some(region) => Err(Error::RegionWithoutAnnex(region.name().clone())),
            None => Ok(Self { map, regions }),
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
    ) -> Result<Way<'_>, Fault> {
        // A placement names a region of its map, and every one of those has shards.
        self.way(placement.region(), tenant, subject).ok_or_else(|| Reason::Internal.into())
    }

    /// The way to the domicile that the caller named.
    pub(crate) fn domicile(
        &self,
        region: &RegionId,
        tenant: &TenantId,
        subject: &SubjectId,
    ) -> Result<Way<'_>, Fault> {
        self.way(region, tenant, subject)
            .ok_or_else(|| Fault::new(Reason::DomicileUnknown).field("subject.domicile"))
    }

    fn way(&self, region: &RegionId, tenant: &TenantId, subject: &SubjectId) -> Option<Way<'_>> {
        let shards = self.regions.get(region)?;
        let owner = shards.annex.shard_of(Slot::of(tenant, subject)).name();
        let session = shards.sessions.iter().find(|session| session.peer.shard == *owner)?;
        Some(Way { session })
    }
}

impl Way<'_> {
    /// Where it leads.
    pub(crate) fn region(&self) -> &RegionId {
        &self.session.peer.region
    }

    /// Sends one call and waits for its answer.
    pub(crate) async fn send(self, ask: Ask<'_>) -> Result<Answered, Fault> {
        self.session.call(ask).await
    }
}
