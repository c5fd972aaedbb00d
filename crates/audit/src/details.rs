//! What an entry says beside its fields. Each kind of detail stands in an entry once at the most:
//! the codec takes no other (ledger-format, `Error::Order`).

use ledger::Entry;
use ledger::entry::Detail;

use crate::rules::OldHead;

/// The first detail of which `of` makes something.
fn first<'a, T>(entry: &'a Entry, of: impl FnMut(&'a Detail) -> Option<T>) -> Option<T> {
    entry.details.iter().find_map(of)
}

/// Origin and index of the peer that an entry names.
pub(crate) fn peer(entry: &Entry) -> Option<(&str, u64)> {
    first(entry, |detail| {
        let Detail::Peer { origin, index } = detail else { return None };
        Some((origin.as_str(), *index))
    })
}

/// The number that an entry gives.
pub(crate) fn count(entry: &Entry) -> Option<u64> {
    first(entry, |detail| if let Detail::Count(count) = detail { Some(*count) } else { None })
}

/// The reason, or the stated purpose, that an entry gives.
pub(crate) fn reason(entry: &Entry) -> Option<&str> {
    first(
        entry,
        |detail| {
            if let Detail::Reason(reason) = detail { Some(reason.as_str()) } else { None }
        },
    )
}

/// The minute by which an erasure had to be done.
pub(crate) fn deadline(entry: &Entry) -> Option<u32> {
    first(entry, |detail| if let Detail::Deadline(minute) = detail { Some(*minute) } else { None })
}

/// The log's key, as a GENESIS gives it.
pub(crate) fn log_key(entry: &Entry) -> Option<&str> {
    first(
        entry,
        |detail| {
            if let Detail::LogKey(vkey) = detail { Some(vkey.as_str()) } else { None }
        },
    )
}

/// Who signed the map that an entry is about.
pub(crate) fn signers(entry: &Entry) -> Option<&str> {
    first(
        entry,
        |detail| {
            if let Detail::Signers(names) = detail { Some(names.as_str()) } else { None }
        },
    )
}

/// The head of the log before, as an entry names it.
pub(crate) fn old_head(entry: &Entry) -> Option<OldHead> {
    first(entry, |detail| {
        let Detail::OldHead { origin, size, root } = detail else { return None };
        Some(OldHead { origin: origin.clone(), size: *size, root: *root })
    })
}
