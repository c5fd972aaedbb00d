//! Receipts whose parts belong together, and others.

use super::*;
use crate::entry::Kind;
use crate::hash::{Hash, leaf_hash};
use crate::note::Signer;
use crate::testing::{Log, flips, leaves, signer};
use crate::{TlogProof, proof};

const ORIGIN: &str = "sample/ru/s1/2026a";
const BODY: &[u8] = b"{\"name\":\"x\"}";

fn statement(collection: &str, opening: &[u8; 32]) -> Vec<u8> {
    let digest = content_digest(opening, BODY);
    let (tenant, subject, key) = ("sample", "p-00001", "main");
    Statement { tenant, subject, collection, key, version: 1, digest }.encode()
}

fn receipt_of(collection: &str, statement: Vec<u8>) -> Receipt {
    let opening = [5; 32];
    let mut entry = Entry::new(Kind::Place, 29_748_896);
    entry.collection = Some(collection.into());
    entry.commitment = Some(commitment(&opening, &statement));
    let entry = entry.encode().unwrap();
    Receipt { origin: ORIGIN.into(), index: 300, entry, opening, statement }
}

fn receipt() -> Receipt {
    receipt_of("profile", statement("profile", &[5; 32]))
}

/// A proof for `receipt`, made by the log of that key.
fn proof_of(receipt: &Receipt, signer: &Signer) -> String {
    let mut log = Log::of(&leaves(receipt.index));
    log.extend(&[leaf_hash(&receipt.entry), Hash([1; 32])]);
    let (size, root) = (log.edge.size(), log.edge.root());
    let checkpoint = Checkpoint { origin: signer.name().into(), size, root };
    let checkpoint = checkpoint.sign(signer).unwrap();
    let path = proof::inclusion(receipt.index, size, &mut log).unwrap();
    TlogProof { extra: None, index: receipt.index, path, checkpoint }.to_text()
}

#[test]
fn a_receipt_holds() {
    let receipt = receipt();
    let key = signer(ORIGIN);
    assert_eq!(receipt.check(None).unwrap().kind, Kind::Place);
    assert!(receipt.check(Some(BODY)).is_ok());
    let proof = proof_of(&receipt, &key);
    let (entry, checkpoint) = receipt.verify(&proof, &key.verifier(), Some(BODY)).unwrap();
    assert_eq!((entry.collection.as_deref(), checkpoint.size), (Some("profile"), 302));
}

#[test]
fn every_flipped_bit_is_rejected() {
    let receipt = receipt();
    let key = signer(ORIGIN).verifier();
    let proof = proof_of(&receipt, &signer(ORIGIN));
    for body in flips(BODY) {
        assert_eq!(receipt.check(Some(&body)), Err(Error::Content));
    }
    for opening in flips(&receipt.opening) {
        let opening = opening.try_into().unwrap();
        let wrong = Receipt { opening, ..receipt.clone() };
        assert_eq!(wrong.check(None), Err(Error::Commitment));
    }
    for statement in flips(&receipt.statement) {
        let wrong = Receipt { statement, ..receipt.clone() };
        assert!(matches!(wrong.check(None), Err(Error::Commitment | Error::Statement(_))));
    }
    for entry in flips(&receipt.entry) {
        let wrong = Receipt { entry, ..receipt.clone() };
        assert!(wrong.verify(&proof, &key, None).is_err());
    }
    for index in [0, 299, 301, u64::MAX] {
        let wrong = Receipt { index, ..receipt.clone() };
        assert_eq!(wrong.verify(&proof, &key, None), Err(Error::Position));
    }
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let receipt = receipt();
    let key = signer(ORIGIN);
    let elsewhere = signer("sample/de/s1/2026a");
    // Another log has the same entry at the same place: its proof is not this receipt's.
    let foreign = proof_of(&receipt, &elsewhere);
    assert!(matches!(receipt.verify(&foreign, &key.verifier(), None), Err(Error::Proof(_))));
    assert_eq!(receipt.verify(&foreign, &elsewhere.verifier(), None), Err(Error::Position));
    let mut silent = Entry::new(Kind::Read, 1);
    let wrong = Receipt { entry: silent.encode().unwrap(), ..receipt.clone() };
    assert_eq!(wrong.check(None), Err(Error::NoCommitment));
    silent.commitment = Some([0; 32]);
    let wrong = Receipt { entry: silent.encode().unwrap(), ..receipt };
    assert_eq!(wrong.check(None), Err(Error::Commitment));
    let mixed = receipt_of("profile", statement("events", &[5; 32]));
    assert_eq!(mixed.check(None), Err(Error::Collection));
    let garbage = receipt_of("profile", b"no statement".to_vec());
    assert!(matches!(garbage.check(None), Err(Error::Statement(_))));
}

#[test]
fn debug_shows_nothing_of_the_person() {
    let shown = format!("{:?}", receipt());
    assert_eq!(shown, "Receipt { origin: \"sample/ru/s1/2026a\", index: 300, .. }");
}
