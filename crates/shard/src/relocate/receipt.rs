//! The proof of a move, as the region gives it to which the subject has moved: the entries of both logs,
//! each with the path to a checkpoint that its own region has signed. And the check of the second of them
//! at the region that has given the subject away, before it erases what it has.

use ledger::entry::{Entry, Kind};
use ledger::note::Verifier;
use ledger::tlog_proof;
use terms::{Reason, Rejection};
use wire::session as proto;

use crate::Error;
use crate::log::access_counters::AccessCounters;
use crate::log::view::LogViews;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::policy::egress::crosses_no_border;
use crate::policy::subject_status;
use crate::relocate::peers::PeerShard;
use crate::reply::{MoveProven, ProvenEntry};
use crate::store::damage::read_rows;
use crate::store::keys::Owner;
use crate::store::move_proof::{GaveAway, MoveProof};
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::write::entries::subject_statement;

/// The proof of the last move of a subject to here. Blocks its thread.
///
/// # Errors
/// `SUBJECT_UNKNOWN`, `SUBJECT_ERASED`, `SUBJECT_MOVED`; `RECORD_NOT_FOUND` if it did not come by a move;
/// `SHARD_BUSY` while the entry is not signed yet; those of [`crosses_no_border`].
pub(crate) fn of_arrival(
    node: &Node,
    counts: &AccessCounters,
    views: &LogViews,
    asker: &Asker,
    owner: &Owner,
) -> Result<MoveProven, Rejection> {
    let rows = read_rows(&*node.engine, &[owner.row(), owner.move_proof()]);
    let mut rows = rows.map_err(Error::from)?.into_iter();
    let mut next = || rows.next().unwrap_or(Ok(None));
    let (row, proof) = (next()?, next()?);
    let row = row.map(|row| node.open_subject(owner, &row)).transpose()?;
    let kept = match &row {
        Some(SubjectRow::Kept(subject)) => Some(subject),
        Some(SubjectRow::Erased(_)) | None => None,
    };
    crosses_no_border(node, counts, asker, kept)?;
    let subject = match row {
        Some(SubjectRow::Kept(subject)) if !matches!(subject.status, Status::Arriving(_)) => {
            subject
        }
        Some(SubjectRow::Erased(stone)) => return Err(subject_status::gone(&stone)),
        Some(SubjectRow::Kept(_)) | None => {
            return Err(Rejection::new(Reason::SubjectUnknown).field("subject.id"));
        }
    };
    let proof = proof.ok_or_else(|| {
        let fault = Rejection::new(Reason::RecordNotFound).field("subject.id");
        fault.problem("the subject has not come here by a move").cure(
            "its receipts are in the region to which it moved last, and go when it is erased there",
        )
    })?;
    proven(node, views, owner, &subject, &proof)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "all others are treated alike")]
fn proven(
    node: &Node,
    views: &LogViews,
    owner: &Owner,
    subject: &Subject,
    row: &[u8],
) -> Result<MoveProven, Rejection> {
    let proof = MoveProof::open(row, owner, subject.incarnation, &node.region, subject.key())?;
    let MoveProof { digest, source, entry: at, opening } = proof;
    let origin = node.origin_of(at.log)?;
    let view = views.of(&origin).map_err(|fault| match fault.reason {
        Reason::LogUnknown => log_lost(),
        _ => fault,
    })?;
    if view.size() <= at.index.0 {
        // The next checkpoint has it.
        return Err(Reason::ShardBusy.into());
    }
    let (entry, path) = view.proof(at.index.0)?;
    let statement = |opening: &[u8; 32]| {
        subject_statement(owner, None, ledger::statement::content_digest(opening, &digest))
    };
    let GaveAway { origin: theirs, index, entry: gave, opening: opened, proof } = source;
    let out = ProvenEntry {
        origin: theirs,
        index,
        entry: gave,
        opening: opened,
        statement: statement(&opened),
        proof,
    };
    let into = ProvenEntry {
        origin,
        index: at.index.0,
        entry,
        opening,
        statement: statement(&opening),
        proof: path.to_text(),
    };
    Ok(MoveProven { digest, out, into })
}

/// The log with the entry has ended without a last checkpoint, by a restore or a recovery.
fn log_lost() -> Rejection {
    let fault = Rejection::new(Reason::LogUnknown).field("subject.id");
    fault.problem("came here by a move whose log was lost since").cure(
        "no receipt of that move can be given; an auditor's mirror of the lost log has its entry, and the \
         log that serves now says it again",
    )
}

/// Whether that names a log of that shard.
pub(super) fn is_log_of(node: &Node, shard: &PeerShard, origin: &str) -> bool {
    let prefix = format!("{}/{}/{}/", node.deployment, shard.region, shard.shard);
    let period = origin.strip_prefix(&prefix);
    period.is_some_and(|period| period.len() <= 10 && period.parse::<u32>().is_ok())
}

/// Whether the log of that shard has taken what `own` has given away: its MOVE_IN entry is about a whole
/// subject, names the entry `own`, and commits to the same.
pub(super) fn takes(
    node: &Node,
    shard: &PeerShard,
    own: &proto::ArrivalEnd,
    taken: &proto::ArrivalEnd,
) -> bool {
    let Ok(log) = Verifier::from_vkey(&taken.vkey) else { return false };
    if !is_log_of(node, shard, &taken.origin) || log.name() != taken.origin {
        return false;
    }
    let Ok(included) = tlog_proof::verify_receipt(&taken.proof, &log, &taken.entry) else {
        return false;
    };
    let (Ok(gave), Ok(took)) = (Entry::decode(&own.entry), Entry::decode(&taken.entry)) else {
        return false;
    };
    included.index == taken.index
        && included.checkpoint.origin == taken.origin
        && took.kind == Kind::MoveIn
        && took.collection.is_none()
        && took.peer() == Some((own.origin.as_str(), own.index))
        && took.commitment.is_some()
        && took.commitment == gave.commitment
}

#[cfg(test)]
mod tests {
    use engine::Disk;
    use ledger::entry::{Call, Caller, Detail, MapRef, Role};
    use ledger::hash::leaf_hash;
    use ledger::note::Signer;
    use ledger::{Checkpoint, TlogProof};
    use terms::{RegionId, ShardId};

    use super::*;
    use crate::testing;

    /// A MOVE_OUT or MOVE_IN entry about a whole subject.
    fn of_move(kind: Kind, peer: (&str, u64), commitment: [u8; 32]) -> Entry {
        let caller = Caller { role: Role::Shard, tag: [4; 16], territory: None };
        let map = MapRef { epoch: 1, digest: [9; 32] };
        let tenant_tag = Some([3; 16]);
        let call = Call { tenant_tag, caller: Some(&caller), collection: None, map };
        let mut entry = Entry::of_call(kind, 7, call);
        entry.say(Detail::Peer { origin: peer.0.to_owned(), index: peer.1 });
        entry.commitment = Some(commitment);
        entry
    }

    /// The entry, as the only one of a log, and the proof of it.
    fn proven_by(origin: &str, entry: &Entry) -> proto::ArrivalEnd {
        let signer = Signer::from_seed(origin, &[7; 32]).unwrap();
        let entry = entry.encode().unwrap();
        let root = leaf_hash(&entry);
        let signed = Checkpoint { origin: origin.to_owned(), size: 1, root }.sign(&signer).unwrap();
        let proof = TlogProof { extra: None, index: 0, path: Vec::new(), checkpoint: signed };
        proto::ArrivalEnd {
            origin: origin.to_owned(),
            index: 0,
            entry: entry.into(),
            proof: proof.to_text(),
            vkey: signer.vkey(),
            ..Default::default()
        }
    }

    #[test]
    fn a_later_log_of_the_other_shard_proves_by_saying_it_again_that_it_took_the_subject() {
        let folder = tempfile::tempdir().unwrap();
        let node = testing::node(folder.path(), &Disk::new(1));
        let log = |shard: &str| format!("{}/{shard}", node.deployment);
        let (own, later) = (log("ru-msk/s1/1"), log("eu-fra/s1/2"));
        let shard = PeerShard {
            region: RegionId::parse("eu-fra").unwrap(),
            shard: ShardId::parse("s1").unwrap(),
            addresses: Vec::new(),
        };
        let out = of_move(Kind::MoveOut, (&log("eu-fra/s1/1"), 4), [7; 32]);
        let gave = proven_by(&own, &out);
        let said = |origin: &str, peer, commitment| {
            let mut entry = of_move(Kind::MoveIn, peer, commitment);
            entry.say(Detail::Reason("the log that said it has ended".to_owned()));
            proven_by(origin, &entry)
        };
        let again = said(&later, (&own, 0), [7; 32]);
        assert!(takes(&node, &shard, &gave, &again));
        // Not another shard's log, another move, other records, or a proof of something else.
        let mut changed = again;
        changed.entry = said(&later, (&own, 0), [8; 32]).entry;
        let others = [
            said(&log("eu-fra/s2/2"), (&own, 0), [7; 32]),
            said(&later, (&own, 1), [7; 32]),
            said(&later, (&own, 0), [8; 32]),
            changed,
        ];
        assert!(others.iter().all(|other| !takes(&node, &shard, &gave, other)));
    }
}
