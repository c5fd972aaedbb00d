//! Who may call the auditors' listener, and what one call of an auditor may take: a permit, a turn to
//! read the store, the only walk through it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use ledger::entry::Role;
use link::net::listener::ConnectionInfo;
use link::tls::CallerTls;
use terms::{CallId, Reason, Rejection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::lifecycle::Life;
use crate::log::view::LogViews;
use crate::node::Node;
use crate::store::principal::Principal;
use crate::write::committer::Queue;

/// Calls and pages in flight.
const CALLS_MAX: usize = 64;
/// Of them, such as one auditor may have: one who takes more keeps no other away.
const CALLS_OF_ONE_MAX: usize = 12;
/// Of them, such as read the store.
const READING_MAX: usize = 4;

/// Who comes to the auditor's listener.
#[derive(Debug, Clone)]
pub enum AuditorEntrance {
    /// Every process of this machine.
    Loopback,
    /// Holders of a certificate with one of these URIs.
    Certificates {
        /// Verifies them.
        tls: CallerTls,
        /// The URIs.
        uris: Vec<String>,
    },
}

/// What serves auditors. Clones are the same.
#[derive(Clone)]
pub(crate) struct AuditContext(Arc<Inner>);

struct Inner {
    node: Arc<Node>,
    logs: LogViews,
    queue: Queue,
    entrance: AuditorEntrance,
    calls: Arc<Semaphore>,
    /// Calls in flight of each auditor.
    of_one: Arc<Mutex<HashMap<String, usize>>>,
    reading: Arc<Semaphore>,
    /// One walk through the store at a time.
    walking: Arc<Semaphore>,
    life: watch::Receiver<Life>,
}

/// An auditor who was admitted, and the permit that the call has.
#[derive(Clone)]
pub(crate) struct Auditor {
    pub(crate) who: Arc<Principal>,
    pub(crate) call: CallId,
    arrived: Option<ConnectionInfo>,
    _permit: Arc<CallPermit>,
}

/// One call in flight, of all and of those of one auditor.
struct CallPermit {
    _of_all: OwnedSemaphorePermit,
    name: String,
    of_one: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        let mut of_one = self.of_one.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = of_one.get_mut(&self.name) {
            *calls -= 1;
            if *calls == 0 {
                of_one.remove(&self.name);
            }
        }
    }
}

impl AuditContext {
    pub(crate) fn new(
        node: Arc<Node>,
        logs: LogViews,
        queue: Queue,
        entrance: AuditorEntrance,
        life: watch::Receiver<Life>,
    ) -> Self {
        Self(Arc::new(Inner {
            node,
            logs,
            queue,
            entrance,
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            of_one: Arc::default(),
            reading: Arc::new(Semaphore::new(READING_MAX)),
            walking: Arc::new(Semaphore::new(1)),
            life,
        }))
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    pub(crate) fn logs(&self) -> &LogViews {
        &self.0.logs
    }

    pub(super) fn entrance(&self) -> &AuditorEntrance {
        &self.0.entrance
    }

    pub(crate) fn queue(&self) -> &Queue {
        &self.0.queue
    }

    /// A turn to walk through the store, if no other walk is under way.
    pub(crate) fn walk(&self) -> Result<OwnedSemaphorePermit, Rejection> {
        let turn = Arc::clone(&self.0.walking).try_acquire_owned();
        turn.map_err(|_| Rejection::new(Reason::ShardBusy))
    }

    /// Does something that reads the store, on a thread that may block, when its turn has come.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Rejection> + Send + 'static,
    ) -> Result<T, Rejection> {
        let busy = || Rejection::new(Reason::ShardBusy);
        let turn = Arc::clone(&self.0.reading).acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            let done = work();
            drop(turn);
            done
        });
        done.await.unwrap_or_else(|_| Err(Rejection::new(Reason::Internal)))
    }

    /// Done when the shard goes down.
    pub(crate) async fn over(&self) {
        let mut life = self.0.life.clone();
        // Also when the sender is gone.
        drop(life.wait_for(|life| *life != Life::Serving).await);
    }

    /// Who it is, if it is an auditor of this shard, and there is a permit.
    pub(super) fn admit(&self, arrived: Option<&ConnectionInfo>) -> Result<Auditor, Rejection> {
        let name = self.name(arrived)?;
        if let Some(arrived) = arrived {
            arrived.authenticated();
        }
        let node = self.node();
        let who = Principal::new(&node.growing.load(), None, &name, Role::Auditor, None);
        let call = CallId(u128::from_be_bytes(node.random()?));
        let (arrived, permit) = (arrived.cloned(), Arc::new(self.permit(name)?));
        Ok(Auditor { who: Arc::new(who), call, arrived, _permit: permit })
    }

    fn permit(&self, name: String) -> Result<CallPermit, Rejection> {
        let busy = || Rejection::new(Reason::ShardBusy);
        let of_all = Arc::clone(&self.0.calls).try_acquire_owned().map_err(|_| busy())?;
        let of_one = Arc::clone(&self.0.of_one);
        let mut calls = of_one.lock().unwrap_or_else(PoisonError::into_inner);
        let own = calls.entry(name.clone()).or_default();
        if *own >= CALLS_OF_ONE_MAX {
            return Err(busy());
        }
        *own += 1;
        drop(calls);
        Ok(CallPermit { _of_all: of_all, name, of_one })
    }

    /// Whether an auditor whose call goes on would be let in now. Asked before anything more is
    /// given: a certificate may have been revoked, or have ended.
    ///
    /// # Errors
    /// As for a call.
    pub(crate) fn still(&self, auditor: &Auditor) -> Result<(), Rejection> {
        self.name(auditor.arrived.as_ref()).map(drop)
    }

    fn name(&self, arrived: Option<&ConnectionInfo>) -> Result<String, Rejection> {
        let denied = |problem: &'static str| Rejection::new(Reason::NotPermitted).problem(problem);
        match &self.0.entrance {
            AuditorEntrance::Loopback => match arrived {
                Some(arrived) if arrived.plaintext => Ok("an auditor on this machine".to_owned()),
                _ => Err(denied("this listener is for this machine alone")),
            },
            AuditorEntrance::Certificates { tls, uris } => {
                let certificate = arrived.and_then(|arrived| arrived.caller.as_ref());
                let certificate =
                    certificate.ok_or_else(|| Rejection::new(Reason::IdentityMissing))?;
                if !tls.trusts(certificate) {
                    return Err(Rejection::new(Reason::IdentityInvalid));
                }
                let known = certificate.uris.iter().find(|uri| uris.contains(uri));
                let problem = "the certificate is not of an auditor that this shard knows";
                known.cloned().ok_or_else(|| denied(problem))
            }
        }
    }
}
