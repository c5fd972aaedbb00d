//! Receipts and their proofs. The input is cut into entry, statement, body and proof by the
//! lengths in its first six bytes.

use std::sync::LazyLock;

use ledger::note::Signer;
use ledger::statement::commitment;
use ledger::{Entry, Receipt};

static SIGNER: LazyLock<Option<Signer>> =
    LazyLock::new(|| Signer::from_seed("example.org/log", &[7; 32]).ok());

/// Cuts off a part, by a length of two bytes or by what is left.
fn cut<'a>(rest: &mut &'a [u8], length: &[u8]) -> &'a [u8] {
    let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let (part, left) = rest.split_at(length.min(rest.len()));
    *rest = left;
    part
}

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let Some((lengths, mut rest)) = data.split_at_checked(6) else { return };
    let entry = cut(&mut rest, &lengths[..2]).to_vec();
    let statement = cut(&mut rest, &lengths[2..4]).to_vec();
    let body = cut(&mut rest, &lengths[4..]);
    let Ok(proof) = std::str::from_utf8(rest) else { return };
    let opening = [3; 32];
    let origin = "example.org/log".to_owned();
    let mut receipt = Receipt { origin, index: 1, entry, opening, statement };
    let log = SIGNER.as_ref().expect("the name is a key's name").verifier();
    assert!(receipt.verify(proof, &log, Some(body)).is_err(), "nobody has signed that");
    // With a commitment that fits, so that what comes after it is reached.
    let Ok(mut entry) = Entry::decode(&receipt.entry) else { return };
    entry.commitment = Some(commitment(&opening, &receipt.statement));
    let Ok(bytes) = entry.encode() else { return };
    receipt.entry = bytes;
    if let Ok(checked) = receipt.check(None) {
        assert!(checked == entry);
    }
    drop(receipt.check(Some(body)));
    assert!(receipt.verify(proof, &log, None).is_err(), "nobody has signed that");
}
