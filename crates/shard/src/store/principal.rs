//! Who asks: by name, and by the tags under which one log knows the name.
//!
//! A call may wait while a period of the log ends. Its entry then lies in the next log, and must bear
//! the tags of that one: the writer of an entry takes them with [`Principal::in_log`].

use std::sync::Arc;

use ledger::entry::{Caller, Role};
use terms::TenantId;

use crate::store::growing_log::GrowingLog;
use crate::store::types::{Period, TenantTag};

/// Who asks.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Principal {
    /// None: an auditor, who has no tenant.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: Box<str>,
    /// The period of the log whose tags these are.
    pub(crate) period: Period,
    pub(crate) tenant_tag: Option<TenantTag>,
    pub(crate) caller: Caller,
}

impl Principal {
    pub(crate) fn new(
        log: &GrowingLog,
        tenant: Option<TenantId>,
        name: &str,
        role: Role,
        territory: Option<String>,
    ) -> Self {
        let tag = log.caller_tag(name).0;
        Self {
            tenant_tag: tenant.as_ref().map(|tenant| log.tenant_tag(tenant.as_str())),
            tenant,
            name: name.into(),
            period: log.name.period,
            caller: Caller { role, tag, territory },
        }
    }

    /// The same, with the tags of that log.
    pub(crate) fn in_log(self: &Arc<Self>, log: &GrowingLog) -> Arc<Self> {
        if self.period == log.name.period {
            return Arc::clone(self);
        }
        let Self { tenant, name, caller, .. } = &**self;
        let territory = caller.territory.clone();
        Arc::new(Self::new(log, tenant.clone(), name, caller.role, territory))
    }
}
