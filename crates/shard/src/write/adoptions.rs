//! The commit that serves a subject from another region, once the source has proven that its log has given
//! it away.

use ledger::entry::{Detail as Said, Kind};
use ledger::statement::{commitment, content_digest};
use terms::Rejection;

use crate::log::erasure_file;
use crate::policy::asker::Asker;
use crate::store::block::Blocked;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::move_proof::MoveProof;
use crate::store::moving::{Arriving, Taken};
use crate::store::subject::{Status, Subject};
use crate::write::arrivals::adopted;
use crate::write::arriving_chunks::Arrival;
use crate::write::entries::subject_statement;
use crate::write::move_command::{Adoption, Ended};
use crate::write::transaction::{Done, Transaction};

/// Why a subject is blocked from its arrival on, for the log.
const CAME_BLOCKED: &str = "the subject was blocked before it moved here";

/// Why the log says of a subject once more that it was adopted.
const TAKEN_AGAIN: &str = "a restore or a recovery had lost the subject";

impl Transaction<'_> {
    /// Serves the subject from now on.
    pub(super) fn adopt_subject(
        &mut self,
        of: Arrival<'_>,
        adoption: Adoption,
    ) -> Result<Done, Rejection> {
        let Arrival { asker, owner, subject, here } = of;
        if here != adoption.here {
            // It was checked before more came.
            return self.staging(&here);
        }
        let lost = self.lost(owner, &here)?;
        if let Some(lost) = &lost
            && let Some(erased) = lost.next_erased(subject)
        {
            return self.erase_arrived(owner, subject, here, adoption.digest, erased);
        }
        let Adoption { digest, source, vkey, mut accesses, .. } = adoption;
        let mut entry = self.entries.about_subject(Kind::MoveIn, asker);
        entry.say(Said::Count(here.live));
        if let Some(lost) = &lost {
            // An auditor has seen the entry that said it first.
            entry.say(Said::Reason(TAKEN_AGAIN.to_owned()));
            accesses.0.retain(|line| !lost.has_erased(&line.collection));
        }
        entry.say(Said::Peer { origin: source.origin.clone(), index: source.index });
        // It came over the session: an auditor who knows the other log's key sees whether it is that one.
        entry.say(Said::LogKey(vkey));
        // The opening of the source: both entries commit to the same, so an auditor with both logs sees
        // that they are of one move.
        let opening = source.opening;
        let statement = subject_statement(owner, None, content_digest(&opening, &digest));
        let commitment = commitment(&opening, &statement);
        entry.commitment = Some(commitment);
        let at = self.entries.next();
        let (region, key, nonce) = (&self.node.region, subject.key(), self.node.random()?);
        let proof = MoveProof { digest, source, entry: at, opening };
        let proof = proof.seal(owner, subject.incarnation, region, key, nonce);
        self.batch.put(owner.move_proof(), proof);
        self.entries.append(&entry.in_order())?;
        if !accesses.0.is_empty() {
            let nonce = self.node.random()?;
            let row = accesses.seal(owner, subject.incarnation, region, key, nonce);
            self.batch.put(owner.accesses(), row);
        }
        let mut after = Subject::clone(subject);
        after.status = here.blocked.map_or(Status::Live, Status::Blocked);
        if let Some(blocked) = here.blocked {
            self.block_arrived(asker, owner, blocked)?;
        }
        self.node.moves.arrived(owner.tag);
        self.batch.delete(keys::arriving(&owner.row()));
        self.keep(owner, after)?;
        let Arriving { from, move_id, live, before, .. } = here;
        self.note_ended(owner, &from, move_id, Ended::Adopted(at))?;
        // A restore must know what came before whatever is done to it. Of one that had moved away from here, it
        // must not take it away once more.
        let taken = Taken { from, move_id, live, commitment, returned: before.is_some() };
        let place = self.entries.place(at);
        erasure_file::list_taken(&mut self.batch, place, &owner.row(), &taken);
        self.erased.push(owner.tag);
        Ok(adopted())
    }

    /// The block of a subject goes on here, with an entry of its own.
    fn block_arrived(
        &mut self,
        asker: &Asker,
        owner: &Owner,
        blocked: Blocked,
    ) -> Result<(), Rejection> {
        let opening = self.node.random()?;
        let mut entry = self.entries.about_subject(Kind::Block, asker);
        entry.say(Said::Reason(CAME_BLOCKED.to_owned()));
        entry.say(Said::Deadline(blocked.until.0));
        self.append_about(owner, None, &opening, entry)?;
        self.change_due(owner, None, Some(blocked.until));
        Ok(())
    }
}
