//! Notes against another implementation, flipped bits and other forms.

use signed_note::{Note, StandardVerifier, VerifierList};

use super::*;
use crate::testing::{flips, signer};

const TEXT: &str = "one\ntwo\n";

fn known(names: &[&str]) -> Vec<Verifier> {
    names.iter().map(|name| signer(name).verifier()).collect()
}

fn line(note: &str) -> &str {
    note.rsplit_once("\n\n").unwrap().1
}

#[test]
fn what_is_signed_opens() {
    let (a, b) = (signer("a"), signer("b"));
    let note = sign(TEXT, &[&a, &b]).unwrap();
    let opened = open(&note, &known(&["b", "c", "a"])).unwrap();
    assert_eq!((opened.text.as_str(), opened.verified), (TEXT, vec![a.about, b.about]));
    assert_eq!(open(&note, &known(&["b"])).unwrap().verified.len(), 1);
    assert_eq!(open(&note, &known(&["c"])), Err(Error::Unverified));
    assert_eq!(open(&note, &[]), Err(Error::Unverified));
}

#[test]
fn the_last_blank_line_separates() {
    for text in ["\n", "a\n\nb\n", "a\n\n", "\n\n\n", "— x y\n", "ä ↯\n"] {
        let note = sign(text, &[&signer("a")]).unwrap();
        assert_eq!(open(&note, &known(&["a"])).unwrap().text, text);
    }
}

#[test]
fn another_implementation_agrees() {
    let (a, b) = (signer("example.org/a"), signer("example.org/b"));
    let note = sign(TEXT, &[&a, &b]).unwrap();
    let list = VerifierList::new(vec![Box::new(StandardVerifier::new(&a.vkey()).unwrap())]);
    let theirs = Note::from_bytes(note.as_bytes()).unwrap();
    let (good, unknown) = theirs.verify(&list).unwrap();
    assert_eq!((good.len(), unknown.len(), theirs.text()), (1, 1, TEXT.as_bytes()));
    assert_eq!((good[0].name(), good[0].id()), (a.name(), a.key().id));
    // And the other way round: what it signs, we open.
    let typed = [&[ED25519][..], &a.key.to_bytes()].concat();
    let private = format!("PRIVATE+KEY+{}+{:08x}+{}", a.name(), a.key().id, base64::encode(&typed));
    let standard = signed_note::StandardSigner::new(&private).unwrap();
    let mut made = Note::new(TEXT.as_bytes(), &[]).unwrap();
    made.add_sigs(&[&standard]).unwrap();
    let made = String::from_utf8(made.to_bytes()).unwrap();
    assert_eq!(made, sign(TEXT, &[&a]).unwrap());
    assert_eq!(open(&made, &[a.verifier()]).unwrap().text, TEXT);
}

#[test]
fn every_flipped_bit_is_rejected() {
    let note = sign(TEXT, &[&signer("a")]).unwrap();
    for wrong in flips(note.as_bytes()) {
        if let Ok(wrong) = String::from_utf8(wrong) {
            assert!(open(&wrong, &known(&["a"])).is_err(), "{wrong:?}");
        }
    }
}

#[test]
fn unknown_signatures_are_passed_over_and_bad_ones_by_known_keys_are_not() {
    let (a, b) = (signer("a"), signer("b"));
    let note = sign(TEXT, &[&a]).unwrap();
    let other = sign("other\n", &[&a]).unwrap();
    let both = |first: &str, second: &str| format!("{TEXT}\n{}{}", line(first), line(second));
    let keys = known(&["a"]);
    // Of another type and length, as a cosignature is; and of the same name with another id.
    let strange = format!("{TEXT}\n— a {}\n", base64::encode(&[9; 2_500]));
    assert_eq!(
        open(&both(&strange, &note), &keys).unwrap().verified,
        std::slice::from_ref(&a.about)
    );
    assert_eq!(open(&strange, &keys), Err(Error::Unverified));
    let b_note = sign("other\n", &[&b]).unwrap();
    assert!(open(&both(&b_note, &note), &keys).is_ok(), "b is not known, so not checked");
    assert_eq!(open(&both(&b_note, &note), &known(&["a", "b"])), Err(Error::BadSignature));
    // A valid one and a bad one by the same key, in either order.
    assert_eq!(open(&both(&note, &other), &keys), Err(Error::BadSignature));
    assert_eq!(open(&both(&other, &note), &keys), Err(Error::BadSignature));
    // A known key's signature of the wrong length.
    let mut short = a.about.id.to_be_bytes().to_vec();
    short.extend_from_slice(&[1; 63]);
    let short = format!("{TEXT}\n— a {}\n", base64::encode(&short));
    assert_eq!(open(&both(&note, &short), &keys), Err(Error::BadSignature));
    // The same valid one twice is one.
    assert_eq!(open(&both(&note, &note), &keys).unwrap().verified.len(), 1);
}

#[test]
fn a_hundred_signatures_are_accepted_and_no_more() {
    let (a, b) = (signer("a"), signer("b"));
    let note = |count: usize| {
        let mut signers = vec![&b; count - 1];
        signers.push(&a);
        sign(TEXT, &signers)
    };
    assert!(open(&note(16).unwrap(), &known(&["a"])).is_ok());
    assert!(open(&note(100).unwrap(), &known(&["a"])).is_ok());
    assert_eq!(note(101), Err(Error::Malformed));
    let more = format!("{}{}", note(100).unwrap(), line(&note(1).unwrap()));
    assert_eq!(open(&more, &known(&["a"])), Err(Error::Malformed));
}

#[test]
fn other_forms_are_refused() {
    let good = sign(TEXT, &[&signer("a")]).unwrap();
    let signature = line(&good).trim_end().to_owned();
    let payload = signature.strip_prefix("— a ").unwrap();
    for bad in [
        String::new(),
        "\n".into(),
        "\n\n".into(),
        TEXT.into(),
        format!("{TEXT}\n"),
        format!("{TEXT}\n\n"),
        format!("{TEXT}{signature}\n"),
        format!("{TEXT}\n{signature}"),
        format!("{TEXT}\n{signature}\n\n"),
        format!("{TEXT}\n{signature}\nmore\n"),
        format!("{TEXT}\n{signature} \n"),
        format!("{TEXT}\n {signature}\n"),
        format!("{TEXT}\n- a {payload}\n"),
        format!("{TEXT}\n—a {payload}\n"),
        format!("{TEXT}\n—\u{a0}a {payload}\n"),
        format!("{TEXT}\n—  {payload}\n"),
        format!("{TEXT}\n— a  {payload}\n"),
        format!("{TEXT}\n— a+ {payload}\n"),
        format!("{TEXT}\n— a\u{2003}b {payload}\n"),
        format!("{TEXT}\n— a {}\n", payload.trim_end_matches('=')),
        format!("{TEXT}\n— a \n"),
        format!("{TEXT}\n— a AAAAAA==\n"),
        format!("{TEXT}\n— a\n"),
        format!("a\tb\n\n{signature}\n"),
        format!("a\r\nb\n\n{signature}\n"),
        format!("a\0b\n\n{signature}\n"),
        good.replace('\n', "\r\n"),
        format!("{}{good}", "x".repeat(NOTE_BYTES_MAX)),
    ] {
        assert_eq!(open(&bad, &known(&["a"])), Err(Error::Malformed), "{bad:.80?}");
    }
    // A text before the blank line that does not end its line is part of no note.
    assert_eq!(open(&format!("\n{signature}\n"), &known(&["a"])), Err(Error::Malformed));
}

#[test]
fn only_whole_texts_are_signed() {
    let a = signer("a");
    for bad in ["", "a", "a\tb\n", "a\r\n", "a\0\n", &format!("{}\n", "x".repeat(NOTE_BYTES_MAX))] {
        assert_eq!(sign(bad, &[&a]), Err(Error::Text));
    }
    assert_eq!(sign(TEXT, &[]), Err(Error::Malformed));
}

#[test]
fn verifier_keys_are_read_strictly() {
    let vkey = signer("example.org/log").vkey();
    assert_eq!(Verifier::from_vkey(&vkey).unwrap(), signer("example.org/log").verifier());
    assert!(StandardVerifier::new(&vkey).is_ok());
    for wrong in flips(vkey.as_bytes()) {
        if let Ok(wrong) = String::from_utf8(wrong) {
            assert!(Verifier::from_vkey(&wrong).is_err(), "{wrong}");
        }
    }
    let (name, rest) = vkey.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let typed = |name: &str, bytes: &[u8]| {
        let id = KeyRef::new(name, bytes).id;
        format!("{name}+{id:08x}+{}", base64::encode(bytes))
    };
    let mut weak = [0; 33];
    (weak[0], weak[1]) = (ED25519, 1);
    for (bad, error) in [
        (String::new(), Error::VerifierKey),
        (name.to_owned(), Error::VerifierKey),
        (format!("{name}+{id}"), Error::VerifierKey),
        (format!("{name}+{id}+"), Error::VerifierKey),
        (format!("+{id}+{key}"), Error::KeyName),
        (format!("a b+{id}+{key}"), Error::KeyName),
        (format!("{name}+{}+{key}", id.to_uppercase()), Error::VerifierKey),
        (format!("{name}+0{id}+{key}"), Error::VerifierKey),
        (format!("{vkey}+"), Error::VerifierKey),
        (format!("{vkey}\n"), Error::VerifierKey),
        (typed(name, &[ED25519; 32]), Error::VerifierKey),
        (typed(name, &[ED25519; 34]), Error::VerifierKey),
        (typed(name, &[2; 33]), Error::KeyType),
        (typed(name, &[6; 1313]), Error::KeyType),
        (typed(name, &weak), Error::VerifierKey),
    ] {
        assert_eq!(Verifier::from_vkey(&bad), Err(error), "{bad}");
    }
}

#[test]
fn key_names_are_checked() {
    for bad in ["", "a b", "a+b", "a\n", "a\u{2003}", "a\u{7f}", &"x".repeat(256)] {
        assert_eq!(Signer::from_seed(bad, &[1; 32]).unwrap_err(), Error::KeyName, "{bad:?}");
    }
    assert!(Signer::from_seed("sample/ru/s1/2026a", &[1; 32]).is_ok());
    assert!(Signer::from_seed(&"x".repeat(255), &[1; 32]).is_ok());
}

#[test]
fn debug_shows_neither_seed_nor_text() {
    let seed = [0xab; 32];
    let signer = Signer::from_seed("a", &seed).unwrap();
    let shown = format!("{signer:?}");
    assert!(!shown.contains("171") && !shown.to_lowercase().contains("abab"), "{shown}");
    assert!(shown.starts_with("Signer { key: KeyRef { name: \"a\", id: "), "{shown}");
    let opened = Opened { text: "secret\n".into(), verified: Vec::new() };
    assert_eq!(format!("{opened:?}"), "Opened { bytes: 7, verified: [] }");
}
