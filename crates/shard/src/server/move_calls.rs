//! The calls of a session that ask what has become of moves to other regions.

use terms::{Reason, Rejection};
use wire::session::moves::Of;

use crate::log::view::LogViews;
use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::relocate::{receipt, show};
use crate::reply::{Outcome, ReplySlot};
use crate::server::decode;
use crate::store::keys::Owner;

/// A question for moves.
pub(crate) struct AskMoves {
    pub(crate) reply: ReplySlot,
    pub(crate) asker: Asker,
    pub(crate) of: MovesOf,
}

/// Which moves.
pub(crate) enum MovesOf {
    /// All of the tenant that have not ended.
    Tenant,
    /// That of this subject from here.
    Subject(Owner),
    /// The last one of this subject to here, with its proof.
    Arrived(Owner),
}

impl AskMoves {
    /// Checks its names. None: it was refused.
    pub(crate) fn read(node: &Node, reply: ReplySlot, asker: Asker, of: &Of) -> Option<Self> {
        let owner = |subject: &str| decode::moves::owner(node, &asker, subject);
        let of = match of {
            Of::All(_) => Ok(MovesOf::Tenant),
            Of::Subject(subject) => owner(subject).map(MovesOf::Subject),
            Of::Arrived(subject) => owner(subject).map(MovesOf::Arrived),
            Of::Cancel(_) => Err(Rejection::new(Reason::Internal)),
        };
        match of {
            Ok(of) => Some(Self { reply, asker, of }),
            Err(fault) => {
                reply.send(fault.into());
                None
            }
        }
    }

    /// Reads and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader, views: &LogViews) {
        let Self { reply, asker, of } = self;
        let (node, counts) = (&reader.node, &reader.counts);
        let moves = |(moves, more)| Outcome::Moves(moves, more);
        let found = match of {
            MovesOf::Tenant => show::of_tenant(node, counts, &asker).map(moves),
            MovesOf::Subject(owner) => show::of_subject(node, counts, &asker, &owner).map(moves),
            MovesOf::Arrived(owner) => receipt::of_arrival(node, counts, views, &asker, &owner)
                .map(|proven| Outcome::MoveProof(Box::new(proven))),
        };
        match found {
            Ok(outcome) => reply.send(outcome),
            Err(fault) => {
                node.report(&fault);
                reply.send(fault.into());
            }
        }
    }
}
