//! What calls hold beside their share: bytes on their way in, to a shard, and out; a place among
//! the calls that are none of the API's. Each is given back when dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use terms::{Detail, Reason, RegionId, Rejection, TenantId};

use crate::http::connection::Line;
use crate::limits::regions::OnItsWay;
use crate::limits::{Account, Common, FREE_BYTES, Share, Shares, busy};

// === to a shard ===

/// The share of a call that is on its way to a shard, with the bytes of its body.
pub(crate) struct Load {
    share: Arc<Share>,
    bytes: usize,
    /// Among those of the gateway and those of the tenant.
    _on_its_way: (OnItsWay, OnItsWay),
}

impl Share {
    /// Adds the bytes of a body, for as long as they are on their way to that region, when so many
    /// seats of the gateway are free.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant's other bodies leave no room. One may always go. `SHARD_BUSY`
    /// when so much is on its way to that region that others would find no place.
    pub(crate) fn carry(
        self: &Arc<Self>,
        bytes: usize,
        (region, seats_free): (&RegionId, usize),
    ) -> Result<Load, Rejection> {
        let Account { calls, to, common, .. } = &*self.account;
        let places_free = calls.max.saturating_sub(calls.taken());
        let on_its_way = common.to.take(region, seats_free).zip(to.take(region, places_free));
        let Some(on_its_way) = on_its_way else {
            return Err(Rejection::new(Reason::ShardBusy).with(Detail::Region, region.as_str()));
        };
        if self.account.bytes.take(bytes, Some(0)).is_none() {
            return Err(busy());
        }
        Ok(Load { share: Arc::clone(self), bytes, _on_its_way: on_its_way })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.share.account.bytes.give_back(self.bytes);
    }
}

// === in ===

/// What has come of one call's messages.
pub(crate) struct Coming {
    /// None: nobody is known, and nothing large is taken.
    share: Option<Arc<Share>>,
    bytes: AtomicUsize,
}

impl Coming {
    pub(crate) const fn new(share: Option<Arc<Share>>) -> Self {
        Self { share, bytes: AtomicUsize::new(0) }
    }

    /// Takes, or gives back, what there is a difference for `held` bytes. Only one task calls
    /// this.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant's other messages leave no room (one may always come),
    /// `GATEWAY_BUSY` when everybody's do. Then nothing has changed.
    pub(crate) fn hold(&self, held: usize) -> Result<(), Rejection> {
        let want = held.saturating_sub(FREE_BYTES);
        let have = self.bytes.load(Ordering::Relaxed);
        if want == have {
            return Ok(());
        }
        let Some(share) = &self.share else { return Err(Reason::GatewayBusy.into()) };
        let (part, pool) = (&share.account.intake, &share.account.common.intake);
        match have.checked_sub(want) {
            Some(less) => part.give_back(pool, less),
            None => part.take(pool, want - have, Some(have))?,
        }
        self.bytes.store(want, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        if let Some(share) = &self.share {
            let bytes = *self.bytes.get_mut();
            share.account.intake.give_back(&share.account.common.intake, bytes);
        }
    }
}

// === out ===

/// The bytes of a record on its way out.
pub(crate) struct Kept {
    share: Arc<Share>,
    bytes: usize,
}

impl Share {
    /// Whether a record may be asked for: not while those before it are not read.
    ///
    /// # Errors
    /// `TENANT_BUSY`.
    pub(crate) fn may_ask(&self) -> Result<(), Rejection> {
        let room = &self.account.outgoing.room;
        if room.taken() < room.max { Ok(()) } else { Err(busy()) }
    }

    /// Room for a record of that length, until it has gone out.
    ///
    /// # Errors
    /// `TENANT_BUSY` when the tenant's other records leave none (one may always go),
    /// `GATEWAY_BUSY` when everybody's do.
    pub(crate) fn keep(self: &Arc<Self>, bytes: usize) -> Result<Kept, Rejection> {
        let bytes = bytes.saturating_sub(FREE_BYTES);
        if bytes > 0 {
            self.account.outgoing.take(&self.account.common.outgoing, bytes, Some(0))?;
        }
        Ok(Kept { share: Arc::clone(self), bytes })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let account = &self.share.account;
        account.outgoing.give_back(&account.common.outgoing, self.bytes);
    }
}

// === health and reflection ===

/// A place among the calls of health and reflection.
pub(crate) struct Slot {
    common: Arc<Common>,
    place: Place,
}

enum Place {
    /// By a caller who is known.
    Other(Arc<Share>),
    /// A look at health, by anybody; `counted`: it is not the only one of its connection.
    Check { line: Option<Arc<Line>>, counted: bool },
}

impl Shares {
    /// A place for health or reflection, for a caller of that tenant.
    ///
    /// # Errors
    /// As for a share, which it has, too.
    pub(crate) fn other(&self, tenant: &TenantId) -> Result<Slot, Rejection> {
        let share = self.account(tenant)?.enter()?;
        share.account.pace()?;
        share.account.others.take(&self.common.others, 1, None)?;
        Ok(Slot { common: Arc::clone(&self.common), place: Place::Other(share) })
    }

    /// A place for a look at health on that connection. The first always has one, so that nobody
    /// can take them all from whoever balances load.
    ///
    /// # Errors
    /// `GATEWAY_BUSY`.
    pub(crate) fn check(&self, line: Option<&Arc<Line>>) -> Result<Slot, Rejection> {
        let before = match line {
            None => 1,
            Some(line) => line.begin_check().ok_or(Reason::GatewayBusy)?,
        };
        let mut place = Place::Check { line: line.cloned(), counted: false };
        if before > 0 {
            if self.common.checks.take(1, None).is_none() {
                if let Some(line) = line {
                    line.end_check();
                }
                return Err(Reason::GatewayBusy.into());
            }
            place = Place::Check { line: line.cloned(), counted: true };
        }
        Ok(Slot { common: Arc::clone(&self.common), place })
    }
}

impl Slot {
    /// The tenant's share, if somebody is known.
    pub(crate) const fn share(&self) -> Option<&Arc<Share>> {
        match &self.place {
            Place::Other(share) => Some(share),
            Place::Check { .. } => None,
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        match &self.place {
            Place::Other(share) => share.account.others.give_back(&self.common.others, 1),
            Place::Check { line, counted } => {
                if *counted {
                    self.common.checks.give_back(1);
                }
                if let Some(line) = line {
                    line.end_check();
                }
            }
        }
    }
}
