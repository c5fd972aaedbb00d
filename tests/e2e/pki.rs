//! `bailiwick pki`: what it makes is what it says, and nothing that exists is lost. Certificates
//! and lists are checked with a reader of their own, signatures included.

mod trust;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::process::{Finished, run};
use tempfile::TempDir;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

/// A folder in which commands work.
struct Bench(TempDir);

impl Bench {
    /// With an authority of `eu-fra` in `ca`.
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().expect("a temporary folder"));
        let done = bench.init(&["--region", "eu-fra"], "ca");
        assert_eq!(done.code, 0, "{done:?}");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `bailiwick pki`; arguments that start with `@` are paths in the folder.
    fn pki(&self, arguments: &[&str]) -> Finished {
        let path = |text: &str| self.path(text).to_str().expect("text").to_owned();
        let own = arguments.iter().map(|text| match text.strip_prefix('@') {
            Some(name) => path(name),
            None => (*text).to_owned(),
        });
        let all: Vec<String> = std::iter::once("pki".to_owned()).chain(own).collect();
        run(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn init(&self, scope: &[&str], out: &str) -> Finished {
        let out = format!("@{out}");
        self.pki(&[&["init"], scope, &["--trust-domain", "sample", "--out", &out]].concat())
    }

    fn issue(&self, arguments: &[&str], out: &str) -> Finished {
        let out = format!("@{out}");
        self.pki(&[&["issue", "--authority", "@ca"], arguments, &["--out", &out]].concat())
    }

    fn pem(&self, name: &str) -> Pem {
        let text = fs::read(self.path(name)).expect("a file");
        Pem::iter_from_buffer(&text).next().expect("a block").expect("PEM")
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").permissions().mode() & 0o777
}

fn uris(certificate: &X509Certificate<'_>) -> Vec<String> {
    let names = certificate.subject_alternative_name().expect("once").expect("it has names");
    let names = names.value.general_names.iter();
    let uri = |name: &GeneralName<'_>| {
        if let GeneralName::URI(uri) = name { Some((*uri).to_owned()) } else { None }
    };
    names.filter_map(uri).collect()
}

#[test]
fn an_authority_signs_certificates_and_lists_and_nothing_below_it_does() {
    let bench = Bench::new();
    let pem = bench.pem("ca/authority.pem");
    let (rest, ca) = X509Certificate::from_der(&pem.contents).expect("a certificate");
    assert!(rest.is_empty());
    ca.verify_signature(None).expect("it is signed by itself");
    let basic = ca.basic_constraints().expect("once").expect("it has them");
    assert!(basic.critical && basic.value.ca);
    assert_eq!(basic.value.path_len_constraint, Some(0));
    let usage = ca.key_usage().expect("once").expect("it has them");
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    let lasts = ca.validity().not_after.timestamp() - ca.validity().not_before.timestamp();
    assert_eq!(lasts / 86_400, 5 * 365);
    for (folder, expected) in [("ca", 0o700), ("ca/authority.key", 0o600)] {
        assert_eq!(mode(&bench.path(folder)), expected, "{folder}");
    }

    let pem = bench.pem("ca/revoked.pem");
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).expect("a list");
    list.verify_signature(ca.public_key()).expect("it is signed by the authority");
    assert_eq!(list.iter_revoked_certificates().count(), 0);
    assert!(list.next_update().is_some_and(|next| next > list.last_update()));
}

#[test]
fn certificates_say_who_their_holder_is_and_what_it_may_do() {
    let bench = Bench::new();
    let ca = bench.pem("ca/authority.pem");
    let ca = X509Certificate::from_der(&ca.contents).expect("a certificate").1;
    let cases = [
        ("--gateway", "gateway-1", "spiffe://sample/region/eu-fra/gateway/gateway-1", true),
        ("--shard", "s1", "spiffe://sample/region/eu-fra/shard/s1", true),
        ("--caller", "Billing.2", "spiffe://sample/caller/Billing.2", false),
    ];
    let mut serials = Vec::new();
    for (kind, name, uri, serves) in cases {
        let names = ["--dns", "gw.example", "--ip", "127.0.0.1", "--ip", "::1"];
        let done = bench.issue(&[&[kind, name], &names[..]].concat(), name);
        assert_eq!(done.code, 0, "{done:?}");
        assert!(done.stdout.starts_with(uri), "{done:?}");
        assert_eq!(mode(&bench.path(name)), 0o700);
        assert_eq!(mode(&bench.path(name).join("key.pem")), 0o600);
        let pem = bench.pem(&format!("{name}/certificate.pem"));
        let (_, issued) = X509Certificate::from_der(&pem.contents).expect("a certificate");
        issued.verify_signature(Some(ca.public_key())).expect("the authority signed it");
        assert_eq!(issued.issuer(), ca.subject());
        assert_eq!(uris(&issued), [uri]);
        let names = issued.subject_alternative_name().expect("once").expect("it has names");
        assert_eq!(names.value.general_names.len(), 4);
        let usage = issued.key_usage().expect("once").expect("it has them").value;
        assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
        let usage = issued.extended_key_usage().expect("once").expect("it has them").value;
        assert!(usage.client_auth && !usage.any);
        assert_eq!(usage.server_auth, serves, "{kind}");
        assert!(!issued.is_ca());
        let parsed = || issued.extensions().iter().map(|extension| extension.parsed_extension());
        assert!(parsed().any(|own| matches!(own, ParsedExtension::SubjectKeyIdentifier(_))));
        let signer = |own: &ParsedExtension<'_>| matches!(own, ParsedExtension::AuthorityKeyIdentifier(id) if id.key_identifier.is_some());
        assert!(parsed().any(signer), "{kind}");
        let lasts =
            issued.validity().not_after.timestamp() - issued.validity().not_before.timestamp();
        assert_eq!(lasts / 86_400, 30);
        serials.push(issued.raw_serial().to_vec());
    }
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), 3);
    assert!(serials.iter().all(|serial| serial.len() == 16), "{serials:?}");
}

#[test]
fn nothing_that_exists_is_overwritten() {
    let bench = Bench::new();
    let before = fs::read(bench.path("ca/authority.key")).expect("a key");
    let again = bench.init(&["--region", "eu-fra"], "ca");
    assert_eq!(again.code, 1, "{again:?}");
    assert_eq!(fs::read(bench.path("ca/authority.key")).expect("a key"), before);
    assert_eq!(bench.issue(&["--shard", "s1"], "s1").code, 0);
    for lost in ["certificate.pem", "key.pem"] {
        // One of the two is enough to refuse.
        fs::remove_file(bench.path("s1").join(lost)).expect("it was there");
        let again = bench.issue(&["--shard", "s1"], "s1");
        assert_eq!(again.code, 1, "{again:?}");
        assert!(!bench.path("s1").join(lost).exists(), "nothing new is left behind");
        fs::write(bench.path("s1").join(lost), "another's").expect("a file");
    }
}

#[test]
fn a_revoked_certificate_stays_on_the_list_and_is_not_renewed() {
    let bench = Bench::new();
    for name in ["s1", "s2"] {
        assert_eq!(bench.issue(&["--shard", name, "--days", "7"], name).code, 0);
    }
    let serial = |name: &str| {
        let pem = bench.pem(&format!("{name}/certificate.pem"));
        X509Certificate::from_der(&pem.contents).expect("a certificate").1.raw_serial().to_vec()
    };
    let revoke = |certificate: &str| {
        let certificate = format!("@{certificate}/certificate.pem");
        bench.pki(&["revoke", "--authority", "@ca", "--certificate", &certificate])
    };
    assert_eq!(revoke("s1").code, 0);
    assert_eq!(revoke("s1").code, 0, "twice is once");
    assert_eq!(bench.pki(&["revoke", "--authority", "@ca", "--days", "3"]).code, 0);
    assert_eq!(revoke("s2").code, 0);
    let pem = bench.pem("ca/revoked.pem");
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).expect("a list");
    let revoked: Vec<Vec<u8>> =
        list.iter_revoked_certificates().map(|one| one.raw_serial().to_vec()).collect();
    assert_eq!(revoked, [serial("s1"), serial("s2")]);
    assert_eq!(list.crl_number().map(ToString::to_string).as_deref(), Some("5"));
    let ca = bench.pem("ca/authority.pem");
    let ca = X509Certificate::from_der(&ca.contents).expect("a certificate").1;
    list.verify_signature(ca.public_key()).expect("the authority signed it");

    let renew = |certificate: &str| {
        let certificate = format!("@{certificate}/certificate.pem");
        let out = ["--out", "@new"];
        bench.pki(
            &[&["renew", "--authority", "@ca", "--certificate", &certificate], &out[..]].concat(),
        )
    };
    let refused = renew("s1");
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.stderr.contains("is revoked"), "{refused:?}");

    // A list that is lost or replaced is not begun anew: nobody on it may come back.
    fs::remove_file(bench.path("ca/revoked.pem")).expect("it was there");
    assert_eq!(revoke("s1").code, 64);
    assert_eq!(bench.init(&["--region", "eu-fra"], "other").code, 0);
    fs::copy(bench.path("other/revoked.pem"), bench.path("ca/revoked.pem")).expect("a copy");
    assert_eq!(revoke("s1").code, 64);
}

#[test]
fn a_renewed_certificate_is_the_same_but_for_its_key() {
    let bench = Bench::new();
    let names = ["--dns", "gw.example", "--ip", "127.0.0.1", "--days", "7"];
    assert_eq!(bench.issue(&[&["--gateway", "g"], &names[..]].concat(), "g").code, 0);
    // By the same authority, and by the next one of its region.
    assert_eq!(bench.init(&["--region", "eu-fra"], "next").code, 0);
    assert_eq!(bench.init(&["--region", "ru-msk"], "foreign").code, 0);
    let previous = &["--previous", "@ca"][..];
    for (authority, previous, out, code) in [
        ("@ca", &[][..], "g1", 0),
        ("@next", previous, "g2", 0),
        ("@next", &[], "g3", 64),
        ("@foreign", previous, "g3", 64),
        ("@foreign", &[], "g3", 64),
    ] {
        let (old, out) = ("@g/certificate.pem", format!("@{out}"));
        let renew = ["renew", "--authority", authority, "--certificate", old, "--out", &out];
        let done = bench.pki(&[&renew, previous].concat());
        assert_eq!(done.code, code, "{done:?}");
    }
    assert!(!bench.path("g3").exists());
    let old = bench.pem("g/certificate.pem");
    let old = X509Certificate::from_der(&old.contents).expect("a certificate").1;
    for folder in ["g1", "g2"] {
        let new = bench.pem(&format!("{folder}/certificate.pem"));
        let new = X509Certificate::from_der(&new.contents).expect("a certificate").1;
        assert_ne!(new.public_key().raw, old.public_key().raw);
        assert_ne!(new.raw_serial(), old.raw_serial());
        let names = |of: &X509Certificate<'_>| {
            let names = of.subject_alternative_name().expect("once").expect("it has names");
            format!("{:?}", names.value.general_names)
        };
        assert_eq!(names(&new), names(&old));
        let lasts = new.validity().not_after.timestamp() - new.validity().not_before.timestamp();
        assert_eq!(lasts / 86_400, 7);
    }
}

#[test]
fn who_may_not_issue_does_not() {
    let bench = Bench::new();
    // An authority of callers makes no process of a region.
    assert_eq!(bench.init(&["--callers"], "callers").code, 0);
    for (kind, code) in [("--gateway", 64), ("--shard", 64), ("--caller", 0)] {
        let out = format!("@{}", kind.trim_start_matches('-'));
        let done = bench.pki(&["issue", "--authority", "@callers", kind, "a", "--out", &out]);
        assert_eq!(done.code, code, "{done:?}");
    }
    // A key that others may read is not used.
    let key = bench.path("ca/authority.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let done = bench.issue(&["--shard", "s1"], "s1");
    assert_eq!(done.code, 64, "{done:?}");
    assert!(done.stderr.contains("chmod 600"), "{done:?}");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    // Another authority's key is none.
    fs::copy(bench.path("callers/authority.key"), &key).expect("a copy");
    assert_eq!(bench.issue(&["--shard", "s1"], "s1").code, 64);
    // And a certificate that is no authority of ours issues nothing.
    let done = bench.pki(&["issue", "--authority", "@caller", "--shard", "s1", "--out", "@x"]);
    assert_eq!(done.code, 64, "{done:?}");
}

#[test]
fn names_that_could_be_mistaken_are_refused() {
    let bench = Bench::new();
    for bad in ["a/b", "..", "", "A", "a b", "ä"] {
        assert_eq!(bench.issue(&["--shard", bad], "x").code, 2, "{bad}");
    }
    for bad in ["a/b", "..", "", "ä", "a?b"] {
        assert_eq!(bench.issue(&["--caller", bad], "x").code, 2, "{bad}");
    }
    for bad in ["*.example", "a b", ""] {
        assert_eq!(bench.issue(&["--caller", "a", "--dns", bad], "x").code, 64, "{bad}");
    }
    for domain in ["A", "a/b", "", "a b"] {
        let out = "@y";
        let done = bench.pki(&["init", "--callers", "--trust-domain", domain, "--out", out]);
        assert_eq!(done.code, 2, "{domain}");
    }
    assert!(!bench.path("x").exists() && !bench.path("y").exists());
}

#[test]
fn what_was_made_can_be_shown_but_no_key() {
    let bench = Bench::new();
    let shown = |name: &str| {
        let done = bench.pki(&["show", &format!("@{name}")]);
        assert_eq!(done.code, 0, "{done:?}");
        done.stdout
    };
    let authority = shown("ca/authority.pem");
    let pin = authority.split('"').nth(1).expect("a pin").to_owned();
    assert!(pin.starts_with("sha256:") && pin.len() == 71, "{authority}");
    // The pin is the digest of the certificate, as anybody's tools give it.
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&bench.pem("ca/authority.pem").contents);
    let hex = hex::encode(digest);
    assert_eq!(pin, format!("sha256:{hex}"));
    assert_eq!(bench.issue(&["--caller", "a", "--dns", "a.example"], "a").code, 0);
    let certificate = shown("a/certificate.pem");
    for part in ["spiffe://sample/caller/a", "a.example", " days left)", "client"] {
        assert!(certificate.contains(part), "{part}: {certificate}");
    }
    assert!(shown("ca/revoked.pem").contains(" days left)"));
    let key = shown("a/key.pem");
    assert_eq!(key, "private key: not shown\n");
    assert_eq!(bench.pki(&["show", "@ca"]).code, 64);
}
