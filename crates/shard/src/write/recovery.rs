//! After a commit that failed: what has become of it, and whether the shard can go on.
//!
//! When an outcome is not known, the store must be opened again and read. An engine that does so in
//! the process ([`engine::Engine::reopen`]) takes a new term first, so that whatever is still on its
//! way changes nothing; then the size of its head, and the right edge of its log, say what was done.
//! With any other engine the process must end, and the next start reads.

use engine::{Batch, Head};
use ledger::Edge;
use terms::{Reason, Rejection};

use crate::Error;
use crate::error::IntoRejection as _;
use crate::log::{EdgeRow, Log};
use crate::reply::ReplySlot;
use crate::store::damage::is_over;
use crate::write::committer::Committer;
use crate::write::list_numbers::{ListChanges, ListNumbers};
use crate::write::transaction::Done;

/// What readiness is held back for, and the name of a fact on the operators' page.
const STORE: &str = "store_reopened";

impl Committer {
    /// What has become of a commit that would have led to `edge` and a head of `size`, and has
    /// failed. `None`: it stands after all. `Some`: it has changed nothing, and this is the answer.
    ///
    /// # Errors
    /// The outcome is not known, or another writer has come: the process must end.
    pub(super) fn settle(
        &mut self,
        error: engine::Error,
        edge: &Edge,
        size: u64,
    ) -> Result<Option<Rejection>, Error> {
        if !is_over(&error) {
            if let Some(unsaid) = self.node.troubles.allow(self.node.clock.now()) {
                tracing::error!(%error, unsaid, "a commit was refused; nothing was changed");
            }
            return Ok(Some(error.into_rejection()));
        }
        let (head, found) = self.reopen(error)?;
        let is = |size: u64, edge: &Edge| head.size == size && found == edge.peaks();
        let (stands, unchanged) = (is(size, edge), is(self.head.size, &self.log.edge));
        if !stands && !unchanged {
            let what = format!(
                "its log had {} entries, or {size} with the last commit, and has {} that are not \
                 those",
                self.head.size, head.size
            );
            return Err(Error::DataLost { what });
        }
        self.head.term = head.term;
        self.node.metrics.store_reopened.inc();
        self.node.health.hold(STORE, false);
        self.node.health.set_fact(STORE, "opened again after a commit of unknown outcome");
        tracing::warn!(term = head.term, stands, "the store was opened again");
        Ok((!stands).then(|| Rejection::new(Reason::RegionUnavailable)))
    }

    /// Commits rows with the numbers of the lists that they change.
    pub(super) fn commit_rows(
        &mut self,
        mut batch: Batch,
        listed: &ListChanges,
        size: u64,
    ) -> Result<(), engine::Error> {
        let engine = &*self.node.engine;
        let changed = self.lists.change(engine, listed, &mut batch);
        let done = changed.and_then(|()| engine.commit(batch, self.head, size));
        if done.is_err() {
            // Whatever has become of it, the store says.
            self.lists = ListNumbers::default();
        }
        done
    }

    /// Commits what has no entry: steps of uploads, of which nothing can be read. If it fails, what
    /// was done is what the upload's row says. False: it has failed.
    pub(super) fn commit_unlogged(
        &mut self,
        batch: Batch,
        listed: &ListChanges,
        answers: &mut [(ReplySlot, Done)],
    ) -> Result<bool, Error> {
        if batch.is_empty() {
            return Ok(true);
        }
        let (edge, size) = (self.log.edge.clone(), self.head.size);
        self.node.metrics.commits.inc();
        let Err(error) = self.commit_rows(batch, listed, size) else { return Ok(true) };
        let fault = self.settle(error, &edge, size)?;
        let fault = fault.unwrap_or_else(|| Rejection::new(Reason::RegionUnavailable));
        answers.iter_mut().for_each(|(_, done)| *done = fault.clone().into());
        Ok(false)
    }

    /// Opens the store again if `error` says that it answers no more.
    pub(super) fn recover(&mut self, error: Error) -> Result<(), Error> {
        let Error::Engine(error) = error else { return Err(error) };
        // No commit is in hand: the log must be the one that was committed last.
        let (edge, size) = (self.log.edge.clone(), self.head.size);
        self.settle(error, &edge, size).map(drop)
    }

    /// Looks whether the store still answers, and opens it again if it does not.
    pub(super) fn check_store(&mut self) -> Result<(), Error> {
        match self.node.engine.head() {
            Ok(_) => Ok(()),
            Err(error) => self.recover(error.into()),
        }
    }

    /// Opens the store again, in the process: its new head, and the right edge of its log.
    fn reopen(&self, error: engine::Error) -> Result<(Head, Vec<ledger::hash::Hash>), Error> {
        if matches!(error, engine::Error::HeadMoved { .. }) {
            // Another writer has taken the store: it is not taken back.
            return Err(error.into());
        }
        self.node.health.hold(STORE, true);
        let engine = &*self.node.engine;
        let head = match engine.reopen() {
            // It needs a new process: then the first error says more.
            Err(engine::Error::Poisoned) => return Err(error.into()),
            reopened => reopened?,
        };
        let row = EdgeRow::read(engine)?;
        let log = Log::restore(engine, &row)?;
        if row.period != self.log.period || log.head_size() != head.size {
            return Err(Error::Damaged("placement log"));
        }
        Ok((head, log.edge.peaks().to_vec()))
    }
}
