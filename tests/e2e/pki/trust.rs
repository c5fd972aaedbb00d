//! For whom an authority vouches again, and whom it has revoked: nobody gets a certificate by a
//! file that anybody could write, and no revocation is lost.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::thread;

use rcgen::{CertificateParams, Issuer, KeyPair, SanType};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::Bench;
use crate::support::process::Finished;
use crate::support::rogue::forge;

const SHARD: &str = "spiffe://sample/region/eu-fra/shard/s1";

impl Bench {
    fn serial(&self, certificate: &str) -> Vec<u8> {
        let pem = self.pem(&format!("{certificate}/certificate.pem"));
        X509Certificate::from_der(&pem.contents).expect("a certificate").1.raw_serial().to_vec()
    }

    fn revoke(&self, authority: &str, certificate: &str) -> Finished {
        let certificate = format!("@{certificate}/certificate.pem");
        self.pki(&["revoke", "--authority", authority, "--certificate", &certificate])
    }

    /// Renews into a folder that is not there, and expects a refusal that says this.
    #[track_caller]
    fn refused(&self, authorities: &[&str], certificate: &str, says: &str) {
        let certificate = format!("@{certificate}");
        let renew = ["renew", "--certificate", &certificate, "--out", "@renewed", "--authority"];
        let done = self.pki(&[&renew, authorities].concat());
        assert_eq!(done.code, 64, "{done:?}");
        assert!(done.stderr.contains(says), "{done:?}");
        assert!(!self.path("renewed").exists());
    }
}

#[test]
fn no_revocation_is_lost_however_many_run_at_once() {
    const ALL: usize = 12;
    let bench = Bench::new();
    let names: Vec<String> = (0..ALL).map(|n| format!("s{n}")).collect();
    for name in &names {
        assert_eq!(bench.issue(&["--shard", name], name).code, 0);
    }
    thread::scope(|scope| {
        let runs = names.iter().map(|name| scope.spawn(|| bench.revoke("@ca", name)));
        for run in runs.collect::<Vec<_>>() {
            let done = run.join().expect("no panic");
            assert_eq!(done.code, 0, "{done:?}");
        }
    });
    let pem = bench.pem("ca/revoked.pem");
    let (_, list) = CertificateRevocationList::from_der(&pem.contents).expect("a list");
    let revoked = list.iter_revoked_certificates().map(|one| one.raw_serial().to_vec());
    let revoked: BTreeSet<Vec<u8>> = revoked.collect();
    let expected: BTreeSet<Vec<u8>> = names.iter().map(|name| bench.serial(name)).collect();
    assert_eq!(revoked, expected);
    // Each list had a number of its own: the first is 1, and every run made one more.
    let number = list.crl_number().map(ToString::to_string);
    assert_eq!(number, Some((ALL + 1).to_string()));
    let left = fs::read_dir(bench.path("ca")).expect("a folder");
    let left = left.map(|entry| entry.expect("an entry").file_name().into_string().expect("text"));
    assert!(!left.into_iter().any(|name| name.ends_with(".new")), "nothing is left over");
}

#[test]
fn who_is_revoked_is_not_renewed_by_the_next_authority() {
    let bench = Bench::new();
    assert_eq!(bench.issue(&["--shard", "s1"], "s1").code, 0);
    assert_eq!(bench.init(&["--region", "eu-fra"], "next").code, 0);
    assert_eq!(bench.revoke("@ca", "s1").code, 0);
    bench.refused(&["@next", "--previous", "@ca"], "s1/certificate.pem", "is revoked");
    // Without the list of the old one nobody could tell.
    bench.refused(&["@next"], "s1/certificate.pem", "--previous");
    // Nor by one that is called the one before and is not.
    assert_eq!(bench.init(&["--region", "eu-fra"], "other").code, 0);
    bench.refused(&["@next", "--previous", "@other"], "s1/certificate.pem", "neither");
    for scope in [&["--region", "ru-msk"][..], &["--callers"]] {
        let out = scope.join("");
        assert_eq!(bench.init(scope, &out).code, 0);
        let previous = format!("@{out}");
        let authorities = ["@next", "--previous", &previous];
        bench.refused(&authorities, "s1/certificate.pem", "--previous is the authority");
    }
}

#[test]
fn what_no_authority_signed_is_not_renewed() {
    let bench = Bench::new();
    fs::write(bench.path("self.pem"), forge(None, SHARD, 3_600).0).expect("a file");
    bench.refused(&["@ca"], "self.pem", "has not signed");
    bench.refused(&["@ca", "--previous", "@ca"], "self.pem", "neither");

    // One that bears the authority's name and its key's identifier, signed with another key.
    let authority = fs::read_to_string(bench.path("ca/authority.pem")).expect("an authority");
    let foreign = KeyPair::generate().expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&authority, foreign).expect("an authority");
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(SHARD.try_into().expect("a name"))];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key");
    let forged = params.signed_by(&key, &issuer).expect("a certificate").pem();
    fs::create_dir(bench.path("forged")).expect("a folder");
    fs::write(bench.path("forged/certificate.pem"), forged).expect("a file");
    bench.refused(&["@ca"], "forged/certificate.pem", "has not signed");
    let refused = bench.revoke("@ca", "forged");
    assert_eq!(refused.code, 64, "{refused:?}");
    assert!(refused.stderr.contains("issued by another authority"), "{refused:?}");
}

#[test]
fn what_has_ended_is_issued_anew_and_not_renewed() {
    let bench = Bench::new();
    let ended = forge(Some(&bench.path("ca")), SHARD, -60).0;
    fs::write(bench.path("ended.pem"), ended).expect("a file");
    bench.refused(&["@ca"], "ended.pem", "issue a new one by name");
    // The same one is renewed as long as it is valid.
    let valid = forge(Some(&bench.path("ca")), SHARD, 60).0;
    fs::write(bench.path("valid.pem"), valid).expect("a file");
    let renew = ["renew", "--authority", "@ca", "--certificate", "@valid.pem", "--out", "@s1"];
    let done = bench.pki(&renew);
    assert_eq!(done.code, 0, "{done:?}");
}

#[test]
fn memory_is_closed_before_an_authority_s_key_is_read() {
    let bench = Bench::new();
    let trace = bench.path("trace");
    let output = Command::new("strace")
        .args(["-f", "-e", "trace=prctl,prlimit64,openat", "-o"])
        .arg(&trace)
        .args([env!("CARGO_BIN_EXE_bailiwick"), "pki", "issue", "--shard", "s1", "--authority"])
        .args([bench.path("ca"), "--out".into(), bench.path("s1")])
        .output()
        .expect("strace is installed");
    assert!(output.status.success(), "{output:?}");
    let trace = fs::read_to_string(trace).expect("a trace");
    let at = |part: &str| trace.lines().position(|line| line.contains(part));
    let key = at("authority.key").expect("the key is read");
    for part in ["PR_SET_DUMPABLE", "RLIMIT_CORE, {rlim_cur=0"] {
        assert!(at(part).is_some_and(|closed| closed < key), "{part}: {trace}");
    }
}

#[test]
fn after_a_revocation_the_lists_of_all_authorities_are_asked_for() {
    let bench = Bench::new();
    let done = bench.pki(&["revoke", "--authority", "@ca"]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stdout.contains("lists of all authorities into one file"), "{done:?}");
}
