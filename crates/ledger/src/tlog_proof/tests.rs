//! Offline proofs: their text, what they show, and what is refused.

use super::*;
use crate::note;
use crate::testing::{Log, entry, flips, leaves, signer};
use crate::{proof as proofs, tree};

const ORIGIN: &str = "sample/ru/s1/2026a";

/// The proof for entry `index` of a log of `size`, signed by that log's key.
fn made(index: u64, size: u64, extra: Option<Vec<u8>>) -> TlogProof {
    let mut log = Log::of(&leaves(size));
    let root = log.edge.root();
    let path = proofs::inclusion(index, size, &mut log).unwrap();
    assert_eq!(tree::root_at(size, &mut log), Ok(root));
    let checkpoint = Checkpoint { origin: ORIGIN.into(), size, root };
    let checkpoint = checkpoint.sign(&signer(ORIGIN)).unwrap();
    TlogProof { extra, index, path, checkpoint }
}

#[test]
fn a_proof_is_written_as_specified() {
    let proof = made(2, 3, Some(b"more".to_vec()));
    let [sibling] = &proof.path[..] else { panic!("one hash") };
    let expected = format!(
        "c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 2\n{}\n\n{}",
        sibling.to_base64(),
        proof.checkpoint
    );
    assert_eq!(proof.to_text(), expected);
    assert_eq!(TlogProof::parse(&expected), Ok(proof));
    let alone = made(0, 1, None);
    assert_eq!(alone.to_text(), format!("c2sp.org/tlog-proof@v1\nindex 0\n\n{}", alone.checkpoint));
    assert_eq!(TlogProof::parse(&alone.to_text()), Ok(alone));
    let empty = made(0, 1, Some(Vec::new()));
    assert_eq!(TlogProof::parse(&empty.to_text()), Ok(empty));
}

#[test]
fn a_proof_verifies_for_its_entry_only() {
    let key = signer(ORIGIN).verifier();
    for (index, size) in [(0, 1), (2, 3), (0, 300), (255, 300), (299, 300)] {
        let text = made(index, size, None).to_text();
        let included = verify_receipt(&text, &key, &entry(index)).unwrap();
        assert_eq!((included.index, included.checkpoint.size), (index, size));
        let other = verify_receipt(&text, &key, &entry(index + 1));
        assert_eq!(other, Err(Error::Path(proofs::Error::Root)));
    }
}

#[test]
fn a_proof_under_a_root_that_nobody_signed_is_refused() {
    let proof = made(2, 3, None);
    let root = Hash([7; 32]);
    let forged = Checkpoint { origin: ORIGIN.into(), size: 1, root };
    let unsigned = TlogProof { checkpoint: forged.to_text(), ..proof.clone() };
    let key = signer(ORIGIN).verifier();
    let refused = |proof: &TlogProof| verify_receipt(&proof.to_text(), &key, &entry(2));
    let error = |e| Err(Error::Checkpoint(checkpoint::Error::Note(e)));
    assert_eq!(refused(&unsigned), error(note::Error::Malformed));
    let stranger = note::sign(&forged.to_text(), &[&signer("stranger")]).unwrap();
    let stranger = TlogProof { checkpoint: stranger, ..proof };
    assert_eq!(refused(&stranger), error(note::Error::Unverified));
}

/// A proof in a log of 70,000 entries has 1,007 bytes with the name of the published vectors.
#[test]
fn the_size_of_a_proof() {
    let name = "placement.example/eu-de/2026a";
    let root = Hash([1; 32]);
    let checkpoint = Checkpoint { origin: name.into(), size: 70_000, root };
    let checkpoint = checkpoint.sign(&signer(name)).unwrap();
    let proof = TlogProof { extra: None, index: 42, path: vec![root; 17], checkpoint };
    assert_eq!(proof.to_text().len(), 1_007);
}

#[test]
fn every_flipped_bit_is_rejected() {
    let key = signer(ORIGIN).verifier();
    let proof = made(200, 300, None);
    for wrong in flips(proof.to_text().as_bytes()) {
        if let Ok(wrong) = String::from_utf8(wrong) {
            assert!(verify_receipt(&wrong, &key, &entry(200)).is_err(), "{wrong}");
        }
    }
}

#[test]
fn other_forms_are_refused() {
    let proof = made(2, 3, None);
    let hash = proof.path[0].to_base64();
    let note = &proof.checkpoint;
    let header = "c2sp.org/tlog-proof@v1";
    for bad in [
        String::new(),
        format!("{header}\n"),
        format!("{header}\n\n{note}"),
        format!("{header}\nindex 2\n{hash}\n\n"),
        format!("{header}\nindex 2\n{hash}\n{note}"),
        format!("{header}\r\nindex 2\n{hash}\n\n{note}"),
        format!("c2sp.org/tlog-proof@v2\nindex 2\n{hash}\n\n{note}"),
        format!(" {header}\nindex 2\n{hash}\n\n{note}"),
        format!("{header}\nindex 02\n{hash}\n\n{note}"),
        format!("{header}\nindex -2\n{hash}\n\n{note}"),
        format!("{header}\nindex  2\n{hash}\n\n{note}"),
        format!("{header}\nindex\n{hash}\n\n{note}"),
        format!("{header}\n{hash}\n\n{note}"),
        format!("{header}\nindex 2\nextra AA==\n{hash}\n\n{note}"),
        format!("{header}\nextra AA==\nextra AA==\nindex 2\n{hash}\n\n{note}"),
        format!("{header}\nextra AA\nindex 2\n{hash}\n\n{note}"),
        format!("{header}\nindex 2\n{}\n\n{note}", &hash[..40]),
        format!("{header}\nindex 2\n {hash}\n\n{note}"),
        format!("{header}\nindex 2{}\n\n{note}", format!("\n{hash}").repeat(65)),
        format!("{header}\nextra {}\nindex 2\n\n{note}", "A".repeat(4 * EXTRA_BYTES_MAX)),
    ] {
        assert_eq!(TlogProof::parse(&bad), Err(Error::Malformed), "{bad:.120?}");
    }
    assert!(TlogProof::parse(&format!("{header}\nindex 2\n{hash}\n\n{note}")).is_ok());
}

#[test]
fn debug_shows_no_extra() {
    let shown = format!("{:?}", made(2, 3, Some(b"opening".to_vec())));
    assert_eq!(shown, "TlogProof { index: 2, path: 1, .. }");
}
