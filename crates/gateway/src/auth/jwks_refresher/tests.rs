//! Keys that change, go and come back, in a file and at an address.

#![expect(clippy::disallowed_methods, reason = "a test changes the file with the keys")]

use std::collections::HashMap;
use std::fs;
use std::sync::Mutex;

use jsonwebtoken::Algorithm;
use link::testing::HttpsServer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use terms::{Clock, Reason};
use tokio::time::Instant;

use super::*;
use crate::auth::authenticate::Known;
use crate::auth::jwt::TokenRules;
use crate::auth::jwt::signer::{At, NOW, Signer, document, with};
use crate::tests::rig;

const AGE_MAX: Duration = Duration::from_secs(3_600);
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

struct Rig {
    refresher: JwksRefresher,
    clock: Arc<At>,
    health: Health,
}

impl Rig {
    /// A ready gateway's refresher; with `others`, it knows a caller by its certificate, too.
    fn open(source: KeySource, others: bool) -> Self {
        let rules = TokenRules {
            issuer: "https://issuer.example".to_owned(),
            audience: "bailiwick".to_owned(),
            keys_age_max: AGE_MAX,
        };
        let own = ("spiffe://sample/caller/one".to_owned(), rig::caller());
        let certificates = others.then_some(own).into_iter().collect::<HashMap<_, _>>();
        let callers = Callers::Known(Known { certificates, tokens: Some((rules, source)) });
        let clock = Arc::new(At(Mutex::new(NOW * 1_000)));
        let known = Arc::clone(&clock) as Arc<dyn Clock>;
        let identity = Identity::new(callers.clone(), None, known);
        let (mut registry, health) = (Registry::new(), Health::new());
        health.set_ready(true);
        let refresher =
            JwksRefresher::open(&identity, &callers, &mut registry, &health).unwrap().unwrap();
        Self { refresher, clock, health }
    }

    /// Why the token of that key is refused, if it is.
    fn refused(&self, signer: &Signer) -> Option<Reason> {
        let token = signer.sign(&with(&json!({ "exp": NOW * 2 })));
        self.refresher.tokens.verify(token.as_bytes()).err().map(|rejection| rejection.reason)
    }

    fn pass(&self, time: Duration) {
        *self.clock.0.lock().unwrap() += u64::try_from(time.as_millis()).unwrap();
    }

    /// Waits until something holds.
    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let latest = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < latest, "not in time: {what}");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

fn pair() -> (Signer, Signer) {
    (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::EdDSA, "k2"))
}

#[test]
fn what_a_file_says_holds_and_what_it_does_not_say_changes_nothing_until_keys_are_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let (old, new) = pair();
    fs::write(&path, document(&[&old])).unwrap();
    let rig = Rig::open(KeySource::File(path.clone()), false);
    assert_eq!((rig.refused(&old), rig.health.is_ready()), (None, true));
    let mut seen = Seen::default();
    let mut look = || {
        rig.refresher.read_file(&path, &mut seen);
        (rig.refused(&old), rig.refused(&new), rig.refresher.usable.get())
    };
    let invalid = Some(Reason::IdentityInvalid);
    assert_eq!(look(), (None, invalid, 1));
    fs::write(&path, document(&[&new])).unwrap();
    assert_eq!(look(), (invalid, None, 1));
    for broken in ["", "{\"keys\":", "[]", &" ".repeat(DOCUMENT_BYTES_MAX + 1)] {
        fs::write(&path, broken).unwrap();
        assert_eq!(look(), (invalid, None, 1), "a document that cannot be read");
    }
    fs::write(&path, "{\"keys\":[]}").unwrap();
    assert_eq!(look(), (invalid, invalid, 0), "the issuer has taken its key back");
    assert!(rig.health.is_ready(), "that is an answer, too");

    fs::write(&path, document(&[&old, &new])).unwrap();
    assert_eq!(look(), (None, None, 2));
    rig.pass(AGE_MAX);
    assert_eq!(look(), (None, None, 2), "it was read again just now");
    fs::remove_file(&path).unwrap();
    rig.pass(AGE_MAX - Duration::from_millis(1));
    assert_eq!((look(), rig.health.is_ready()), ((None, None, 2), true));
    rig.pass(Duration::from_millis(1));
    let again = Some(Reason::KeysUnavailable);
    assert_eq!((look(), rig.health.is_ready()), ((again, again, 0), false));
    fs::write(&path, "{").unwrap();
    assert_eq!(look(), (again, again, 0));
    fs::write(&path, document(&[&old, &new])).unwrap();
    assert_eq!((look(), rig.health.is_ready()), ((None, None, 2), true));
    assert_eq!(u64::try_from(rig.refresher.read_at.get()).unwrap(), NOW + 2 * AGE_MAX.as_secs());
}

#[test]
fn a_file_that_cannot_be_read_at_the_start_is_a_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let open = || {
        let rules =
            TokenRules { issuer: "i".to_owned(), audience: "a".to_owned(), keys_age_max: AGE_MAX };
        let tokens = Some((rules, KeySource::File(path.clone())));
        let callers = Callers::Known(Known { tokens, ..Known::default() });
        let clock = Arc::new(link::host::clock::SystemClock);
        let identity = Identity::new(callers.clone(), None, clock);
        JwksRefresher::open(&identity, &callers, &mut Registry::new(), &Health::new()).err()
    };
    assert!(matches!(open(), Some(KeysError::Unread(_))));
    fs::write(&path, "{}").unwrap();
    assert!(matches!(open(), Some(KeysError::Refused(JwksRefused::Malformed))));
    // An empty set is the issuer's word: a gateway that is started again takes it as before.
    fs::write(&path, "{\"keys\":[]}").unwrap();
    assert!(open().is_none());
}

#[tokio::test]
async fn a_file_is_looked_at_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let (old, new) = pair();
    fs::write(&path, document(&[&old])).unwrap();
    let rig = Rig::open(KeySource::File(path.clone()), false);
    let keeping = tokio::spawn(rig.refresher.clone().run());
    for (signers, good, bad) in [([&new], &new, &old), ([&old], &old, &new)] {
        fs::write(path.with_extension("next"), document(&signers)).unwrap();
        fs::rename(path.with_extension("next"), &path).unwrap();
        rig.until("the keys are read", || rig.refused(good).is_none()).await;
        assert_eq!(rig.refused(bad), Some(Reason::IdentityInvalid));
    }
    keeping.abort();
}

#[test]
fn without_keys_a_gateway_is_ready_only_for_callers_who_need_none() {
    let address = Address::parse("https://issuer.example/keys").unwrap();
    for others in [false, true] {
        let source = KeySource::Url { address: address.clone(), authorities: None };
        let rig = Rig::open(source, others);
        assert!(!rig.health.is_ready(), "the issuer has not been asked");
        rig.refresher.report(true);
        assert_eq!(rig.health.is_ready(), others);
        let (signer, _) = pair();
        assert_eq!(rig.refused(&signer), Some(Reason::KeysUnavailable));
        rig.refresher.take(&document(&[&signer])).unwrap();
        rig.refresher.report(true);
        assert_eq!((rig.health.is_ready(), rig.refused(&signer)), (true, None));
    }
}

/// What an issuer's address gives.
type Given = Arc<Mutex<Option<Vec<u8>>>>;

/// An issuer on loopback; gives its authority in PEM.
async fn issuer(given: &Given) -> (HttpsServer, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().pem();
    let (given, pem) = (Arc::clone(given), key.serialize_pem());
    let document = move || given.lock().unwrap().clone();
    let server = HttpsServer::start(leaf.as_bytes(), pem.as_bytes(), document).await.unwrap();
    (server, authority)
}

#[tokio::test]
async fn an_address_is_asked_again_when_a_token_names_a_key_that_is_not_known() {
    let pace = Pace { every: AGE_MAX, again: Duration::from_millis(100), within: PATIENCE };
    let given = Given::default();
    let give = |signers: Option<&[&Signer]>| *given.lock().unwrap() = signers.map(document);
    let (server, authority) = issuer(&given).await;
    let url = format!("https://127.0.0.1:{}/keys", server.port());
    let address = Address::parse(&url).unwrap();
    let authorities = Some(authority.into_bytes());
    let source = KeySource::Url { address: address.clone(), authorities: authorities.clone() };
    let rig = Rig::open(source, false);
    let refresher = rig.refresher.clone();
    let keeping = tokio::spawn(async move {
        refresher.fetch(&address, authorities.as_deref(), pace).await;
    });
    let (old, new) = pair();

    // The issuer is down, then up.
    rig.until("it is asked twice", || server.asked() >= 2).await;
    assert_eq!(rig.refused(&old), Some(Reason::KeysUnavailable));
    assert!(!rig.health.is_ready());
    give(Some(&[&old]));
    rig.until("the keys are read", || rig.refused(&old).is_none()).await;
    rig.until("it is ready", || rig.health.is_ready()).await;

    // A token of a known key asks for nothing; one of another does, though not at its pace.
    let asked = server.asked();
    sleep(pace.again * 4).await;
    assert_eq!((rig.refused(&old), server.asked()), (None, asked));
    give(Some(&[&new]));
    assert_eq!(rig.refused(&new), Some(Reason::IdentityInvalid), "not known yet");
    rig.until("the new key is read", || rig.refused(&new).is_none()).await;
    assert_eq!(rig.refused(&old), Some(Reason::IdentityInvalid));
    let (start, asked) = (Instant::now(), server.asked());
    rig.until("it is asked three more times", || {
        assert_eq!(rig.refused(&old), Some(Reason::IdentityInvalid));
        server.asked() >= asked + 3
    })
    .await;
    assert!(start.elapsed() >= pace.again * 2, "strangers set the pace");

    // The issuer is down for too long.
    give(None);
    let asked = server.asked();
    rig.until("a fetch has failed", || {
        assert_eq!(rig.refused(&old), Some(Reason::IdentityInvalid));
        server.asked() >= asked + 2
    })
    .await;
    assert_eq!(rig.refused(&new), None, "the key stays for a while");
    rig.pass(AGE_MAX);
    assert_eq!(rig.refused(&new), Some(Reason::KeysUnavailable));
    rig.until("it is not ready", || !rig.health.is_ready()).await;
    give(Some(&[&new]));
    rig.until("the key is back", || rig.refused(&new).is_none() && rig.health.is_ready()).await;
    keeping.abort();
}
