//! The codecs of the placement log: whatever is accepted is written again as the very same bytes.

use ledger::{Entry, Statement};

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    if let Ok(entry) = Entry::decode(data) {
        assert!(entry.encode().is_ok_and(|bytes| bytes == data), "an entry has one form");
    }
    if let Ok(statement) = Statement::decode(data) {
        assert!(statement.encode() == data, "a statement has one form");
    }
}
