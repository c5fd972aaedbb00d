//! Tokens that an attacker, or an issuer's mistake, might send; and those that are good.

use std::sync::Mutex;

use http::HeaderValue;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use super::*;
use crate::auth::jwt::signer::{At, NOW, Signer, base64url, claims, document, with};

/// How old keys may be in these tests.
const AGE_MAX: Duration = Duration::from_secs(3_600);

fn tokens(signers: &[&Signer]) -> (Tokens, Arc<At>) {
    let rules = TokenRules {
        issuer: "https://issuer.example".to_owned(),
        audience: "bailiwick".to_owned(),
        keys_age_max: AGE_MAX,
    };
    let clock = Arc::new(At(Mutex::new(NOW * 1_000)));
    let tokens = Tokens::new(rules, Arc::clone(&clock) as Arc<dyn Clock>);
    assert_eq!(tokens.take(&document(signers)), Ok(Some(signers.len())));
    (tokens, clock)
}

/// Why a token is refused. Nothing of it is in the answer.
#[track_caller]
fn refused(tokens: &Tokens, token: &str) -> String {
    let Err(rejection) = tokens.verify(token.as_bytes()) else { panic!("it was taken") };
    assert_eq!(rejection.reason, Reason::IdentityInvalid);
    let seen = format!("{rejection:?}{rejection}");
    assert!(!seen.contains("signup") && !seen.contains("sample") && !seen.contains("eyJ"));
    rejection.problem.unwrap().into_owned()
}

#[test]
fn a_good_token_of_each_algorithm_names_its_caller() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let signer = Signer::new(algorithm, "k1");
        let (tokens, _) = tokens(&[&signer]);
        let good = tokens.verify(signer.sign(&claims()).as_bytes());
        let caller = good.map(|good| Arc::clone(&good.caller)).unwrap();
        let want = Caller {
            tenant: TenantId::parse("sample").unwrap(),
            name: "signup".to_owned(),
            // A role that is none of ours grants nothing.
            roles: vec![Role::Writer],
            location: CallerLocation::In(Country::parse("DE").unwrap()),
            collections: Scope::Only(vec![Collection::parse("profiles").unwrap()]),
            regions: Scope::All,
        };
        assert_eq!(*caller, want, "{algorithm:?}");
    }
}

#[test]
fn what_a_token_does_not_say_it_does_not_grant() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let (tokens, _) = tokens(&[&signer]);
    let left_out = ["roles", "territory", "collections", "regions", "nbf"];
    let change = left_out.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
    let token = signer.sign(&with(&Value::Object(change)));
    let good = tokens.verify(token.as_bytes()).map_err(|f| f.reason).ok().unwrap();
    assert!(good.caller.roles.is_empty());
    assert_eq!(good.caller.location, CallerLocation::Unknown);
    assert_eq!(good.caller.collections, Scope::Only(vec![]));
    assert_eq!(good.caller.regions, Scope::Only(vec![]));
    // A shard's role is no caller's.
    let token = signer.sign(&with(&json!({ "roles": ["shard", "*"] })));
    assert!(tokens.verify(token.as_bytes()).is_ok_and(|good| good.caller.roles.is_empty()));
}

#[test]
fn claims_that_do_not_fit_are_refused() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let (tokens, _) = tokens(&[&signer]);
    let check = |change: Value, want: &str| {
        let why = refused(&tokens, &signer.sign(&with(&change)));
        assert_eq!(why, want, "{change}");
    };
    for issuer in ["https://issuer.example/", "https://evil.example", ""] {
        check(json!({ "iss": issuer }), "the token is another issuer's");
    }
    for audience in [json!("other"), json!([]), json!(["other", "bailiwick2"])] {
        check(json!({ "aud": audience }), "the token is for another audience");
    }
    check(json!({ "exp": NOW }), "the token has expired");
    check(json!({ "exp": NOW - 1 }), "the token has expired");
    check(json!({ "nbf": NOW + 61 }), "the token is not valid yet");
    let unreadable = "signature or claims are not good";
    for key in ["iss", "aud", "sub", "exp", "tenant"] {
        check(json!({ key: null }), unreadable);
    }
    check(json!({ "iss": ["https://issuer.example"] }), unreadable);
    check(json!({ "exp": "1900000000" }), unreadable);
    check(json!({ "exp": -1 }), unreadable);
    check(json!({ "nbf": "soon" }), unreadable);
    check(json!({ "roles": "writer" }), unreadable);
    check(json!({ "collections": "*" }), unreadable);
    check(json!({ "tenant": "a/b" }), "the claim tenant is no tenant's name");
    check(json!({ "territory": "EU" }), "the claim territory is no country's code");
    check(json!({ "territory": "de" }), "the claim territory is no country's code");
    for sub in ["", "a\nb", &"x".repeat(257)] {
        check(json!({ "sub": sub }), "the claim sub is empty, over 256 bytes, or no plain text");
    }
    let fits = with(&json!({ "aud": ["other", "bailiwick"], "nbf": NOW + 60 }));
    assert!(tokens.verify(signer.sign(&fits).as_bytes()).is_ok());
}

/// A token of two parts as they are given, and a third.
fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let (header, claims) = (header.to_string(), claims.to_string());
    format!("{}.{}.{signature}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

#[test]
fn a_token_cannot_choose_how_it_is_verified() {
    let rsa = Signer::new(Algorithm::RS256, "rsa");
    let curve = Signer::new(Algorithm::ES256, "ec");
    let (tokens, _) = tokens(&[&rsa, &curve]);
    for none in ["none", "None", "NONE", ""] {
        for signature in ["", "AAAA"] {
            let token = raw(&json!({ "alg": none, "kid": "rsa" }), &claims(), signature);
            assert_eq!(refused(&tokens, &token), "the token cannot be read");
        }
    }
    // The public key as the secret of an HMAC, in each form in which an attacker may have it.
    let n = rsa.jwk["n"].as_str().unwrap();
    for secret in [n.as_bytes().to_vec(), document(&[&rsa]), rsa.jwk.to_string().into_bytes()] {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("rsa".to_owned());
        let token = encode(&header, &claims(), &EncodingKey::from_secret(&secret)).unwrap();
        assert_eq!(refused(&tokens, &token), "the token's algorithm is not its key's");
    }
    // The right key by another algorithm of its kind, and the id of a key of another kind.
    for algorithm in [Algorithm::RS384, Algorithm::RS512, Algorithm::PS256] {
        let header = Header { alg: algorithm, ..rsa.header() };
        let token = encode(&header, &claims(), &rsa.key).unwrap();
        assert_eq!(refused(&tokens, &token), "the token's algorithm is not its key's");
    }
    let mut header = curve.header();
    header.kid = Some("rsa".to_owned());
    let token = encode(&header, &claims(), &curve.key).unwrap();
    assert_eq!(refused(&tokens, &token), "the token's algorithm is not its key's");
}

#[test]
fn a_token_cannot_bring_its_key() {
    let ours = Signer::new(Algorithm::ES256, "k1");
    let theirs = Signer::new(Algorithm::ES256, "k1");
    let (tokens, _) = tokens(&[&ours]);
    let bad = "signature or claims are not good";
    assert_eq!(refused(&tokens, &theirs.sign(&claims())), bad);
    let mut header = theirs.header();
    header.jwk = Some(serde_json::from_value(theirs.jwk.clone()).unwrap());
    header.jku = Some("https://evil.example/jwks".to_owned());
    assert_eq!(refused(&tokens, &encode(&header, &claims(), &theirs.key).unwrap()), bad);
    header.kid = None;
    let token = encode(&header, &claims(), &theirs.key).unwrap();
    assert_eq!(refused(&tokens, &token), "the token names no key");
    header.kid = Some("k2".to_owned());
    let token = encode(&header, &claims(), &theirs.key).unwrap();
    assert_eq!(refused(&tokens, &token), "the token's key is not one of the issuer's");
    let mut header = ours.header();
    header.crit = Some(vec!["b64".to_owned()]);
    let token = encode(&header, &claims(), &ours.key).unwrap();
    assert_eq!(refused(&tokens, &token), "the token asks for an extension");
    // Other claims under a good signature.
    let good = ours.sign(&claims());
    let signature = good.rsplit('.').next().unwrap();
    let header = json!({ "alg": "ES256", "kid": "k1" });
    let token = raw(&header, &with(&json!({ "tenant": "other" })), signature);
    assert_eq!(refused(&tokens, &token), bad);
}

#[test]
fn garbage_is_refused() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let (tokens, _) = tokens(&[&signer]);
    let good = signer.sign(&claims());
    let mut bad = vec!["x".to_owned(), "..".to_owned(), "a.b.c".to_owned(), format!("{good}.x")];
    bad.extend((0..good.len()).step_by(7).map(|end| good[..end].to_owned()));
    let twice = base64url(br#"{"alg":"EdDSA","kid":"k1","alg":"EdDSA"}"#);
    bad.push(format!("{twice}.{}", good.split_once('.').unwrap().1));
    for token in &bad {
        refused(&tokens, token);
    }
    assert!(tokens.verify(&[0xff, 0xfe, b'.', b'.']).is_err());
    assert!(tokens.verify(good.as_bytes()).is_ok());
}

#[test]
fn a_header_carries_one_bearer_token_of_limited_size() {
    let headers = |values: &[&str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    };
    let read = |values: &[&str]| {
        bearer(&headers(values)).map(|token| token.map(<[u8]>::to_vec)).map_err(|f| f.reason)
    };
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&["Bearer abc"]), Ok(Some(b"abc".to_vec())));
    assert_eq!(read(&["bEARER abc"]), Ok(Some(b"abc".to_vec())));
    let largest = format!("Bearer {}", "a".repeat(8_192));
    assert!(read(&[&largest]).is_ok());
    let bad = Err(Reason::IdentityInvalid);
    assert_eq!(read(&[&format!("{largest}a")]), bad);
    for one in ["", "Bearer", "Bearer ", "Basic YTpi", "abc", "Bearerabc"] {
        assert_eq!(read(&[one]), bad, "{one}");
    }
    assert_eq!(read(&["Bearer abc", "Bearer abc"]), bad);
}

#[test]
fn nothing_outlives_its_time_or_its_key() {
    let (old, new) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::EdDSA, "k2"));
    let (tokens, clock) = tokens(&[&old]);
    let token = old.sign(&claims());
    let good = tokens.verify(token.as_bytes()).ok().unwrap();
    // Remembered: the same answer without looking again.
    assert!(Arc::ptr_eq(&good, &tokens.verify(token.as_bytes()).ok().unwrap()));
    *clock.0.lock().unwrap() = (NOW + 300) * 1_000 - 1;
    assert!(tokens.verify(token.as_bytes()).is_ok() && tokens.still(&good).is_ok());
    *clock.0.lock().unwrap() += 1;
    assert_eq!(refused(&tokens, &token), "the token has expired");
    assert!(tokens.still(&good).is_err());
    *clock.0.lock().unwrap() = NOW * 1_000;
    assert!(tokens.still(&good).is_ok());

    // The same keys change nothing; one more leaves the old one good; without it, it is gone.
    assert_eq!(tokens.take(&document(&[&old])), Ok(None));
    assert_eq!(tokens.take(&document(&[&old, &new])), Ok(Some(2)));
    assert!(tokens.verify(token.as_bytes()).is_ok() && tokens.still(&good).is_ok());
    assert_eq!(tokens.take(&document(&[&new])), Ok(Some(1)));
    assert_eq!(refused(&tokens, &token), "the token's key is not one of the issuer's");
    assert!(tokens.still(&good).is_err());
    assert!(tokens.verify(new.sign(&claims()).as_bytes()).is_ok());
    // Another key under the old id does not make the old token good again.
    let imposter = Signer::new(Algorithm::ES256, "k1");
    assert_eq!(tokens.take(&document(&[&imposter, &new])), Ok(Some(2)));
    assert_eq!(refused(&tokens, &token), "signature or claims are not good");
    assert!(tokens.still(&good).is_err());
    // A document that cannot be read leaves what was.
    assert!(tokens.take(b"{}").is_err());
    assert!(tokens.verify(new.sign(&claims()).as_bytes()).is_ok());
}

#[test]
fn an_issuer_takes_back_its_keys_by_a_document_without_them() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let other = Signer::new(Algorithm::EdDSA, "k1");
    let secret = json!({ "kty": "oct", "kid": "k2", "k": "c2VjcmV0" });
    let twice = [signer.jwk.clone(), other.jwk];
    for keys in [json!([]), json!([secret]), json!(twice), json!([{ "kty": "AKP", "kid": "k1" }])] {
        let (tokens, _) = tokens(&[&signer]);
        let token = signer.sign(&claims());
        let good = tokens.verify(token.as_bytes()).ok().unwrap();
        let emptied = json!({ "keys": keys }).to_string();
        assert_eq!(tokens.take(emptied.as_bytes()), Ok(Some(0)), "{keys}");
        assert_eq!(refused(&tokens, &token), "the token's key is not one of the issuer's");
        assert!(tokens.still(&good).is_err(), "{keys}");
        let left_out = keys.as_array().unwrap().len();
        assert_eq!(tokens.keys(), Some((0, left_out)), "there is a key set, and it is empty");
    }
}

#[test]
fn without_keys_that_are_young_enough_a_caller_is_asked_to_try_again() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let (tokens, clock) = tokens(&[&signer]);
    let rules = tokens.rules.clone();
    let unread = Tokens::new(rules, Arc::clone(&clock) as Arc<dyn Clock>);
    let token = signer.sign(&with(&json!({ "exp": NOW * 2 })));
    let again = |tokens: &Tokens| {
        let rejection = tokens.verify(token.as_bytes()).err().unwrap();
        assert_eq!(rejection.reason, Reason::KeysUnavailable);
        assert_eq!(rejection.reason.code(), terms::Code::Unavailable);
        assert_eq!((tokens.keys(), rejection.reason.retry()), (None, terms::Retry::SameRequestId));
    };
    again(&unread);
    assert_eq!(unread.take(b"{\"keys\":[]}"), Ok(Some(0)), "the first document is new");
    refused(&unread, &token);

    let good = tokens.verify(token.as_bytes()).ok().unwrap();
    let age = u64::try_from(AGE_MAX.as_millis()).unwrap();
    *clock.0.lock().unwrap() += age - 1;
    assert!(tokens.verify(token.as_bytes()).is_ok() && tokens.still(&good).is_ok());
    *clock.0.lock().unwrap() += 1;
    again(&tokens);
    let rejection = tokens.still(&good).err().unwrap();
    assert_eq!(rejection.reason, Reason::KeysUnavailable);
    // What cannot be used makes nothing younger; what can does.
    assert!(tokens.take(b"{}").is_err());
    again(&tokens);
    assert_eq!(tokens.take(&document(&[&signer])), Ok(None));
    assert!(tokens.verify(token.as_bytes()).is_ok() && tokens.still(&good).is_ok());
}

#[test]
fn only_public_keys_of_our_algorithms_are_taken() {
    let signer = Signer::new(Algorithm::ES256, "k1");
    let changed = |change: Value| {
        let mut jwk = signer.jwk.clone();
        for (key, value) in change.as_object().unwrap() {
            jwk[key] = value.clone();
        }
        json!({ "keys": [jwk] }).to_string()
    };
    let count = |text: &str| KeySet::parse(text.as_bytes()).map(|keys| keys.len());
    for good in [json!({}), json!({ "use": "sig", "alg": "ES256" }), json!({ "x5t": "abc" })] {
        assert_eq!(count(&changed(good)), Ok(1));
    }
    for bad in [
        json!({ "use": "enc" }),
        json!({ "key_ops": ["encrypt"] }),
        json!({ "alg": "ES384" }),
        json!({ "alg": "HS256" }),
        json!({ "crv": "P-384" }),
        json!({ "d": "AAAA" }),
        json!({ "kid": "" }),
        json!({ "kid": "k".repeat(257) }),
        json!({ "x": "%" }),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
    ] {
        assert_eq!(count(&changed(bad.clone())), Ok(0), "{bad}");
    }
    let short =
        json!({ "keys": [{ "kty": "RSA", "kid": "r", "e": "AQAB", "n": "A".repeat(171) }] });
    assert_eq!(count(&short.to_string()), Ok(0));
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    let mixed = json!({ "keys": [secret, signer.jwk, { "kty": "new" }, 7] });
    assert_eq!(count(&mixed.to_string()), Ok(1));
    // A byte order mark before the document changes nothing.
    let marked = format!("\u{feff}{}", json!({ "keys": [signer.jwk] }));
    assert_eq!(count(&marked), Ok(1));
    let (_, why) =
        crate::auth::jwks::usable_keys(changed(json!({ "use": "enc" })).as_bytes()).unwrap();
    assert_eq!(why, ["its `use` is not `sig`"]);
    // The same key again is one; another of its name leaves neither, and all the others.
    let twice = json!({ "keys": [signer.jwk, signer.jwk] });
    assert_eq!(count(&twice.to_string()), Ok(1));
    let (other, third) = (Signer::new(Algorithm::ES256, "k1"), Signer::new(Algorithm::EdDSA, "k3"));
    let twice = json!({ "keys": [signer.jwk, other.jwk, signer.jwk, third.jwk] });
    assert_eq!(count(&twice.to_string()), Ok(1));
    for malformed in ["", "[]", "{}", "{\"keys\":{}}", "\u{0}"] {
        assert_eq!(count(malformed), Err(JwksRefused::Malformed));
    }
    let many = json!({ "keys": vec![&secret; 65] });
    assert_eq!(count(&many.to_string()), Err(JwksRefused::TooLarge));
    assert_eq!(count(&" ".repeat(DOCUMENT_BYTES)), Err(JwksRefused::TooLarge));
}

const DOCUMENT_BYTES: usize = crate::auth::jwks::DOCUMENT_BYTES_MAX + 1;

#[test]
fn times_may_have_fractions() {
    let signer = Signer::new(Algorithm::EdDSA, "k1");
    let (tokens, clock) = tokens(&[&signer]);
    let at = |milliseconds: u64| *clock.0.lock().unwrap() = NOW * 1_000 + milliseconds;
    let seconds = |text: &str| {
        let whole: u64 = NOW;
        serde_json::from_str::<Value>(&format!("{whole}.{text}")).unwrap()
    };
    let token = signer.sign(&with(&json!({ "exp": seconds("5"), "nbf": seconds("25e0") })));
    assert!(tokens.verify(token.as_bytes()).is_ok());
    at(499);
    assert!(tokens.verify(token.as_bytes()).is_ok());
    at(500);
    assert_eq!(refused(&tokens, &token), "the token has expired");
    at(249);
    let early = signer.sign(&with(&json!({ "nbf": seconds("25").as_f64().unwrap() + 60.0 })));
    assert_eq!(refused(&tokens, &early), "the token is not valid yet");
    at(250);
    assert!(tokens.verify(early.as_bytes()).is_ok());
    // In whatever form a number has; and however far ahead.
    for exp in [json!(2e9), json!(1e300), json!(u64::MAX)] {
        at(0);
        let token = signer.sign(&with(&json!({ "exp": exp })));
        assert!(tokens.verify(token.as_bytes()).is_ok(), "{exp}");
    }
    for exp in [json!(-0.5), json!("1.5"), json!(true)] {
        let token = signer.sign(&with(&json!({ "exp": exp })));
        assert_eq!(refused(&tokens, &token), "signature or claims are not good", "{exp}");
    }
}

#[test]
fn one_id_may_name_a_key_of_each_algorithm() {
    let one = Signer::new(Algorithm::ES256, "k1");
    let other = Signer::new(Algorithm::EdDSA, "k1");
    let (tokens, _) = tokens(&[&one, &other]);
    for signer in [&one, &other] {
        let token = signer.sign(&claims());
        let good = tokens.verify(token.as_bytes()).ok().unwrap();
        assert!(tokens.still(&good).is_ok());
    }
    // Each verifies by its own alone.
    let header = Header { alg: Algorithm::ES256, ..other.header() };
    let stranger = Signer::new(Algorithm::ES256, "k1");
    let token = encode(&header, &claims(), &stranger.key).unwrap();
    assert_eq!(refused(&tokens, &token), "signature or claims are not good");
    assert_eq!(tokens.take(&document(&[&one])), Ok(Some(1)));
    assert_eq!(refused(&tokens, &other.sign(&claims())), "the token's algorithm is not its key's");
}
