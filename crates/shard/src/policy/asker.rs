//! Who asks, as the log knows them, and where they stand.

use std::sync::Arc;

use atlas::Country;
use ledger::entry::Caller;
use terms::TenantId;

use crate::store::types::TenantTag;

/// Who asks.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) tenant: TenantId,
    pub(crate) tenant_tag: TenantTag,
    pub(crate) caller: Arc<Caller>,
    pub(crate) stands: Stands,
}

/// Where those stand who see a body on its way. The caller's country may not be known: then it is
/// outside of every territory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stands {
    pub(crate) gateway: Country,
    pub(crate) caller: Option<Country>,
}
