//! Who asks, as the log knows them, and where they stand.

use std::sync::Arc;

use atlas::Country;
use ledger::entry::Role;
use terms::{Reason, TenantId};

use crate::node::Node;
use crate::store::growing_log::GrowingLog;
use crate::store::principal::Principal;

/// Who asks.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) tenant: TenantId,
    pub(crate) who: Arc<Principal>,
    pub(crate) stands: Stands,
}

/// Where those stand who see a body on its way. The caller's country may not be known: then it is
/// outside of every territory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) gateway: Country,
    pub(crate) caller: Option<Country>,
}

impl Asker {
    /// A shard, about a slot with the people of all tenants. Nothing of a tenant is asked for so.
    pub(crate) fn of_shards(log: &GrowingLog, name: &str, territory: Country) -> Self {
        let who = Principal::new(log, None, name, Role::Shard, None);
        let tenant = TenantId::parse("shards").expect("a name");
        let stands = Stands { gateway: territory, caller: Some(territory) };
        Self { tenant, who: Arc::new(who), stands }
    }
}

impl Stands {
    /// Whether both stand in that territory. An unknown place is outside.
    pub(crate) fn at_home(self, territory: Country) -> bool {
        self.gateway == territory && self.caller == Some(territory)
    }

    /// Notes a refusal: where gateway and caller stood, never who asked, or for whose record.
    pub(crate) fn refused(self, node: &Node, reason: Reason) {
        node.metrics.refused(reason);
        if let Some(unsaid) = node.refusals.allow(node.clock.now()) {
            tracing::warn!(
                reason = reason.as_str(),
                region = node.region.as_str(),
                gateway_territory = self.gateway.as_str(),
                caller_territory = self.caller.map_or("unknown", Country::as_str),
                unsaid,
                "a call was refused at a border"
            );
        }
    }
}
