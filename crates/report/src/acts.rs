//! What an entry says was done: how a read is noted, what was refused, what an erasure is part of.

use ledger::entry::Role;
use ledger::{Entry, Kind};
use terms::Reason;

/// How a read is noted, and how many it counts: each of a record, or of a page of them; many by a count; of a
/// caller who asks how many records there are, so many; and a question about one subject as one.
pub(crate) fn noted(entry: &Entry, many: u64) -> (&'static str, u64) {
    match (entry.kind == Kind::Read, entry.is_question(), entry.collection.is_some()) {
        (true, ..) => ("logged", many),
        (false, false, _) => ("counted", many),
        (false, true, true) => ("numbered", many),
        (false, true, false) => ("asked", 1),
    }
}

/// Whether an ERASE entry is of one collection of a subject that is erased: that of a collection alone says
/// why.
pub(crate) fn is_part_of_another(entry: &Entry) -> bool {
    entry.collection.is_some() && entry.reason().is_none()
}

/// What was refused: what rules refuse is a write, what a border refuses a read; where the reason
/// does not tell, the caller's role does.
pub(crate) fn refused_act(reason: &str, role: Option<Role>) -> &'static str {
    match (Reason::parse(reason), role) {
        (Some(Reason::EgressNotCovered), _) => "read",
        (Some(Reason::NotPermitted | Reason::WrongDomicile), Some(Role::Reader)) => "read",
        (Some(Reason::NotPermitted | Reason::WrongDomicile), Some(Role::Writer)) => "write",
        (None | Some(Reason::NotPermitted | Reason::WrongDomicile), _) => "other",
        _ => "write",
    }
}
