//! Signed notes, keys, checkpoints and proofs. An input that is a text is signed too: what we sign
//! opens, and with one byte changed it does not.

use std::sync::LazyLock;

use ledger::note::{open, sign, Signer, Verifier};
use ledger::{Checkpoint, TlogProof};

static SIGNER: LazyLock<Option<Signer>> =
    LazyLock::new(|| Signer::from_seed("example.org/log", &[7; 32]).ok());

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let signer = SIGNER.as_ref().expect("the name is a key's name");
    let known = signer.verifier();
    if let Ok(opened) = open(text, std::slice::from_ref(&known)) {
        assert!(text.starts_with(&opened.text) && opened.verified.contains(signer.key()));
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert!(checkpoint.to_text() == text, "a checkpoint has one form");
    }
    if let Ok(proof) = TlogProof::parse(text) {
        assert!(proof.to_text() == text, "a proof has one form");
        drop(proof.verify(&known, b"entry"));
    }
    if let Ok(key) = Verifier::from_vkey(text) {
        assert!(key.vkey() == text, "a key has one form");
    }
    let Ok(note) = sign(text, &[signer]) else { return };
    let opened = open(&note, std::slice::from_ref(&known));
    assert!(opened.is_ok_and(|opened| opened.text == text), "what we sign opens");
    let at = note.len() - 10;
    let other = if note.as_bytes().get(at) == Some(&b'A') { "B" } else { "A" };
    let mut changed = note;
    changed.replace_range(at..=at, other);
    assert!(open(&changed, &[known]).is_err(), "a changed signature does not open");
}
