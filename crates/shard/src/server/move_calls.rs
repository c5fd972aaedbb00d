//! The calls of a session that ask what has become of moves to other regions.

use std::sync::Arc;

use terms::{Reason, Rejection};
use wire::session::moves::Of;

use crate::policy::asker::Asker;
use crate::read::reader::Reader;
use crate::relocate::show;
use crate::reply::{Outcome, ReplySlot};
use crate::server::decode;

/// Reads and answers, on a thread that may block.
pub(crate) fn serve(reader: &Reader, reply: ReplySlot, asker: Asker, of: &Of) {
    let node = Arc::clone(&reader.node);
    let subject = match of {
        Of::Subject(subject) => match decode::moves::owner(&node, &asker, subject) {
            Ok(owner) => Some(owner),
            Err(fault) => return reply.send(fault.into()),
        },
        Of::All(_) => None,
        Of::Cancel(_) => return reply.send(Rejection::new(Reason::Internal).into()),
    };
    tokio::task::spawn_blocking(move || {
        let found = match subject {
            Some(owner) => show::of_subject(&node, &owner).map(|found| (vec![found], false)),
            None => show::of_tenant(&node, &asker.tenant),
        };
        match found {
            Ok((moves, more)) => reply.send(Outcome::Moves(moves, more)),
            Err(fault) => {
                node.report(&fault);
                reply.send(fault.into());
            }
        }
    });
}
