//! The calls of a session that ask what has become of moves to other regions.

use terms::{Reason, Rejection};
use wire::session::moves::Of;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::relocate::show;
use crate::reply::{Outcome, ReplySlot};
use crate::server::decode;
use crate::store::keys::Owner;

/// A question for moves.
pub(crate) struct AskMoves {
    pub(crate) reply: ReplySlot,
    pub(crate) asker: Asker,
    /// Of this subject. None: all of the tenant that have not ended.
    pub(crate) owner: Option<Owner>,
}

impl AskMoves {
    /// Checks its names. None: it was refused.
    pub(crate) fn read(node: &Node, reply: ReplySlot, asker: Asker, of: &Of) -> Option<Self> {
        let owner = match of {
            Of::All(_) => Ok(None),
            Of::Subject(subject) => decode::moves::owner(node, &asker, subject).map(Some),
            Of::Cancel(_) => Err(Rejection::new(Reason::Internal)),
        };
        match owner {
            Ok(owner) => Some(Self { reply, asker, owner }),
            Err(fault) => {
                reply.send(fault.into());
                None
            }
        }
    }

    /// Reads and answers. Blocks its thread.
    pub(crate) fn serve(self, reader: &Reader) {
        let Self { reply, asker, owner } = self;
        let (node, counts) = (&reader.node, &reader.counts);
        let found = match owner {
            Some(owner) => show::of_subject(node, counts, &asker, &owner),
            None => show::of_tenant(node, counts, &asker),
        };
        match found {
            Ok((moves, more)) => reply.send(Outcome::Moves(moves, more)),
            Err(fault) => {
                node.report(&fault);
                reply.send(fault.into());
            }
        }
    }
}
