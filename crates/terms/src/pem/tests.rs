//! What evaded other readers, and what is read as it is meant.

use super::*;

const ONE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
const LIST: &str = "-----BEGIN X509 CRL-----\nBAUG\n-----END X509 CRL-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nBwgJ\n-----END PRIVATE KEY-----\n";

#[track_caller]
fn refused(text: &[u8]) -> PemInvalid {
    blocks(text).map(|found| found.len()).expect_err("it was taken")
}

#[test]
fn what_means_the_same_is_read_the_same() {
    let long =
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----", "A".repeat(64));
    for text in [
        ONE.to_owned(),
        ONE.trim_end().to_owned(),
        ONE.replace('\n', "\r\n"),
        ONE.replace('\n', " \t\n"),
        ONE.replace("AQID", "AQ\nID"),
        ONE.replace("AQID", "AQID\n"),
        format!("\u{feff}{ONE}"),
        format!("subject=CN = front-end\n--- the first ---\n\n{ONE}\nafter\n"),
    ] {
        assert_eq!(certificates(text.as_bytes()), Ok(vec![vec![1, 2, 3]]), "{text:?}");
    }
    assert_eq!(certificates(long.as_bytes()).map(|all| all.len()), Ok(1));
    assert_eq!(certificates(format!("{ONE}{ONE}").as_bytes()).map(|all| all.len()), Ok(2));
    // Base64 may spell a word.
    let word = ONE.replace("AQID", "BEGINEND");
    assert_eq!(certificates(word.as_bytes()).map(|all| all.len()), Ok(1));
}

#[test]
fn no_block_is_passed_over() {
    for (text, line) in [
        // Two lists without a line feed between them.
        (format!("{}{LIST}", LIST.trim_end()), 1),
        (format!("{LIST}{}{LIST}", LIST.trim_end()), 4),
        (format!(" {LIST}"), 1),
        (format!("{LIST}\t{LIST}"), 4),
        (format!("{LIST}\u{feff}{LIST}"), 4),
        (format!("{LIST}\u{a0}{LIST}"), 4),
        (format!("x{LIST}"), 1),
        (LIST.replace('\n', "\r"), 1),
        (LIST.replace("-----BEGIN", "----BEGIN"), 1),
        (LIST.replace("-----BEGIN", "------BEGIN"), 1),
        (LIST.replace("-----BEGIN", "----- BEGIN"), 1),
        (LIST.replace("-----BEGIN", "-----Begin"), 1),
        (LIST.replace("-----BEGIN", "\u{2014}\u{2014}BEGIN"), 1),
        (LIST.replacen("CRL-----", "CRL----", 1), 1),
        (LIST.replacen("CRL-----", "CRL-----x", 1), 1),
        (LIST.replacen("X509 CRL", "X509  crl", 1), 1),
        (LIST.replace("-----END", " -----END"), 1),
        (LIST.replace("-----END", "-----end"), 1),
        (LIST.replace("END X509 CRL", "END CERTIFICATE"), 1),
        (LIST.replace("-----END X509 CRL-----\n", ""), 1),
        (LIST.replace("-----BEGIN X509 CRL-----\n", ""), 2),
        (format!("{}\n{ONE}", "QUJD".repeat(16)), 1),
        (LIST.replace("BAUG", "BA UG"), 2),
        (LIST.replace("BAUG", "\u{feff}BAUG"), 2),
        (LIST.replace("BAUG", "BAU"), 1),
        (LIST.replace("BAUG", "BAUG="), 1),
        (LIST.replace("BAUG", "BAUGx==="), 1),
        (LIST.replace("BAUG\n", ""), 1),
        (LIST.replace("BAUG", "BAUG\n-----BEGIN X509 CRL-----"), 1),
        (format!("a\0{LIST}"), 1),
    ] {
        assert_eq!(refused(text.as_bytes()).line, line, "{text:?}");
    }
    let wide: Vec<u8> = LIST.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refused(&wide).why.contains("UTF-16"));
}

#[test]
fn a_file_holds_what_it_is_named_for() {
    for (text, says) in [
        (String::new(), "no certificate"),
        ("no PEM\n".to_owned(), "no certificate"),
        (format!("{ONE}{KEY}"), "private key"),
        (format!("{ONE}{LIST}"), "revocation list"),
        (ONE.replace("CERTIFICATE", "TRUSTED CERTIFICATE"), "only blocks of `CERTIFICATE`"),
    ] {
        let problem = certificates(text.as_bytes()).unwrap_err();
        assert!(problem.why.contains(says), "{text:?}: {problem}");
    }
    assert!(revocation_lists(LIST.as_bytes()).is_ok());
    for text in [ONE.to_owned(), format!("{LIST}{ONE}"), String::new()] {
        assert!(revocation_lists(text.as_bytes()).is_err(), "{text:?}");
    }
}

#[test]
fn one_private_key_is_read_and_none_that_is_encrypted() {
    let curve = KEY.replace("PRIVATE KEY", "EC PRIVATE KEY");
    let parameters = ONE.replace("CERTIFICATE", "EC PARAMETERS");
    for (text, form) in [
        (KEY.to_owned(), KeyForm::Pkcs8),
        (KEY.replace("PRIVATE", "RSA PRIVATE"), KeyForm::Pkcs1),
        (format!("{parameters}{curve}"), KeyForm::Sec1),
    ] {
        let (found, der) = private_key(text.as_bytes()).unwrap();
        assert_eq!((found, der.as_slice()), (form, &[7, 8, 9][..]));
    }
    let old = KEY.replace("BwgJ", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nBwgJ");
    for (text, says) in [
        (KEY.replace("PRIVATE", "ENCRYPTED PRIVATE"), "is encrypted"),
        (old.replace("PRIVATE", "RSA PRIVATE"), "is encrypted"),
        (format!("{KEY}{KEY}"), "second"),
        (ONE.to_owned(), "only a private key"),
        (format!("{KEY}{ONE}"), "only a private key"),
        (String::new(), "no private key"),
    ] {
        let problem = private_key(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(problem.why.contains(says), "{text:?}: {problem}");
    }
}

#[test]
fn what_is_written_is_read() {
    for length in [1, 47, 48, 49, 96, 1000] {
        let der: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
        assert_eq!(certificates(encode(CERTIFICATE, &der).as_bytes()), Ok(vec![der]));
    }
}
