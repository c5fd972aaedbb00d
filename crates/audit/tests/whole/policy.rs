//! Policies: what they may say, and what they ask of a checkpoint.

use audit::policy::{Error, Uncosigned, Wrong};
use audit::{Against, Policy, verify};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest, Sha256};

use crate::support::{Log, ORIGIN, signer};

/// A witness: its key, and the id that its name gives it.
struct Witness {
    name: String,
    key: SigningKey,
}

impl Witness {
    fn new(name: &str, seed: u8) -> Self {
        Self { name: name.to_owned(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    fn typed(&self) -> Vec<u8> {
        [vec![4], self.key.verifying_key().as_bytes().to_vec()].concat()
    }

    fn id(&self) -> [u8; 4] {
        let digest = Sha256::new()
            .chain_update(&self.name)
            .chain_update(b"\n")
            .chain_update(self.typed())
            .finalize();
        [digest[0], digest[1], digest[2], digest[3]]
    }

    fn vkey(&self) -> String {
        let id = hex::encode(self.id());
        format!("{}+{id}+{}", self.name, BASE64_STANDARD.encode(self.typed()))
    }

    /// The note with this witness's line.
    fn cosign(&self, note: &str, time: u64) -> String {
        let text = note.split_once("\n\n").expect("a note").0;
        let message = format!("cosignature/v1\ntime {time}\n{text}\n");
        let mut payload = self.id().to_vec();
        payload.extend_from_slice(&time.to_be_bytes());
        payload.extend_from_slice(&self.key.sign(message.as_bytes()).to_bytes());
        format!("{note}\u{2014} {} {}\n", self.name, BASE64_STANDARD.encode(payload))
    }
}

fn witnesses() -> [Witness; 3] {
    [Witness::new("w1.example", 1), Witness::new("w2.example", 2), Witness::new("w3.example", 3)]
}

/// A policy of three witnesses that ends with these lines.
fn policy(end: &str) -> Result<Policy, Error> {
    let [a, b, c] = witnesses().map(|witness| witness.vkey());
    let log = signer(ORIGIN).vkey();
    Policy::parse(&format!(
        "# whom we believe\n\nlog {log} https://example.org\nwitness a {a}\n\
         witness b {b} https://b.example\nwitness c {c}\n{end}\n"
    ))
}

#[test]
fn a_quorum_is_counted_through_its_groups() {
    let [a, b, c] = witnesses();
    let bare = Log::new(ORIGIN, 10, "a").note(10);
    let by_a = a.cosign(&bare, 1_780_000_000);
    let by_ab = b.cosign(&by_a, 1_780_000_001);
    let by_c = c.cosign(&bare, 1);
    for (end, by) in [
        ("quorum none", vec![true, true, true, true]),
        ("quorum a", vec![false, true, true, false]),
        ("group g all a b c\nquorum g", vec![false, false, false, false]),
        ("group g any a b c\nquorum g", vec![false, true, true, true]),
        ("group g 2 a b c\nquorum g", vec![false, false, true, false]),
        ("group ab all a b\ngroup g any ab c\nquorum g", vec![false, false, true, true]),
    ] {
        let policy = policy(end).unwrap_or_else(|error| panic!("{end}: {error}"));
        for (note, held) in [&bare, &by_a, &by_ab, &by_c].into_iter().zip(by) {
            assert_eq!(policy.cosigned(note).is_ok(), held, "{end}");
        }
    }
    let strict = policy("group g 2 a b c\nquorum g").expect("a policy");
    let by = vec!["a".to_owned()];
    assert_eq!(strict.cosigned(&by_a), Err(Uncosigned::Quorum { quorum: "g".to_owned(), by }));
    assert_eq!(strict.cosigned(&by_ab), Ok(vec!["a".to_owned(), "b".to_owned()]));
    // A line that names a witness and is not by it spoils the whole.
    let other = Log::new(ORIGIN, 11, "a").note(11);
    let line = a.cosign(&other, 1).lines().last().expect("a line").to_owned();
    let spoilt = format!("{by_ab}{line}\n");
    assert!(matches!(strict.cosigned(&spoilt), Err(Uncosigned::Bad { .. })));
}

#[test]
fn a_quorum_is_as_old_as_the_oldest_that_it_needs() {
    let note = Log::new(ORIGIN, 3, "a").note(3);
    let [a, b, c] = witnesses();
    let note = c.cosign(&b.cosign(&a.cosign(&note, 100), 300), 200);
    for (end, time) in [
        ("quorum none", None),
        ("quorum a", Some(100)),
        ("group g 2 a b c\nquorum g", Some(200)),
        ("group g all a b c\nquorum g", Some(100)),
        ("group g any a c\ngroup h all g b\nquorum h", Some(200)),
    ] {
        assert_eq!(policy(end).expect("a policy").cosigned_at(&note), Ok(time), "{end}");
    }
}

#[test]
fn a_policy_that_cannot_be_meant_is_refused() {
    let wrong = |end: &str| match policy(end) {
        Err(Error::Line { line, what }) => (line, what),
        other => panic!("{end}: {other:?}"),
    };
    let twice = witnesses()[0].vkey();
    assert_eq!(policy(""), Err(Error::NoQuorum));
    assert_eq!(wrong("quorum none\nquorum a"), (8, Wrong::Twice));
    assert_eq!(wrong("quorum g"), (7, Wrong::Unknown("g".to_owned())));
    assert_eq!(wrong("group g 3 a b\nquorum g"), (7, Wrong::Threshold));
    assert_eq!(wrong("group g 0 a b\nquorum g"), (7, Wrong::Threshold));
    assert_eq!(wrong("group g most a b\nquorum g"), (7, Wrong::Threshold));
    assert_eq!(wrong("group g all\nquorum g"), (7, Wrong::Words));
    assert_eq!(wrong("group g any a a\nquorum g"), (7, Wrong::Twice));
    assert_eq!(wrong("group a any b c\nquorum a"), (7, Wrong::Twice));
    assert_eq!(wrong(&format!("witness d {twice}\nquorum d")), (7, Wrong::Twice));
    assert_eq!(wrong(&format!("log {}", signer(ORIGIN).vkey())), (7, Wrong::Twice));
    assert_eq!(wrong("trust everybody"), (7, Wrong::Word));
    assert!(matches!(wrong("log nonsense"), (7, Wrong::Key(_))));
    assert!(matches!(wrong(&format!("log {twice}")), (7, Wrong::Key(_))));
    assert_eq!(Policy::parse(&"#\n".repeat(5000)), Err(Error::TooLong));
}

#[test]
fn a_folder_is_verified_under_a_policy() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = Log::new(ORIGIN, 300, "a");
    let folder = log.write(dir.path());
    let check = |policy: &Policy| {
        verify(&folder, Against { policy: Some(policy), maps: None }, &mut |_, _| {})
    };
    let quorum = policy("group g 2 a b c\nquorum g").expect("a policy");
    let found = check(&quorum).expect_err("no cosignature").to_string();
    assert_eq!(found, "checkpoint: too few witnesses have cosigned it for the quorum g: none");
    let [a, b, _] = witnesses();
    let note = b.cosign(&a.cosign(&log.note(300), 7), 8);
    std::fs::write(dir.path().join("checkpoint"), note).expect("room");
    let verified = check(&quorum).expect("two witnesses");
    assert_eq!(verified.witnesses, ["a", "b"]);
    assert_eq!(verified.cosigned_at, Some(7));
    assert!(verified.key_by_policy);
    let other = Policy::parse(&format!("log {}\nquorum none", signer("x/y/z/1").vkey()));
    let found = check(&other.expect("a policy")).expect_err("another log").to_string();
    assert_eq!(found, "vkey: the policy does not name this log");
    let foreign = ledger::note::Signer::from_seed(ORIGIN, &[1; 32]).expect("a name");
    let other = Policy::parse(&format!("log {}\nquorum none", foreign.vkey()));
    let found = check(&other.expect("a policy")).expect_err("another key").to_string();
    assert_eq!(found, "vkey: is another key than the policy's for this log");
}
