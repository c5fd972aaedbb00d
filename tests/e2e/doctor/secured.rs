//! `bailiwick doctor` on a deployment with TLS: certificates, revocations, token keys, and files
//! that somebody else could change.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use tokio::runtime::Runtime;

use super::{bad, config, deployment, doctor, findings, set};
use crate::support::process::{free_port, get, run, wait_until};
use crate::support::rogue::{Fake, forge};
use crate::support::secure::{now, replace};
use crate::support::{Deployment, Options};

const SHARD: &str = "spiffe://sample/region/eu-fra/shard/s1";
/// Regions of the map whose shards do not run here.
const AWAY: &[&str] = &["shards"];

fn secured() -> Deployment {
    deployment(Options { tls: true, ..Options::default() })
}

/// Expects a finding of this check and state that says all of these.
#[track_caller]
fn found(config: &Path, check: &str, expected: &str, says: &[&str]) {
    let finished = doctor(config);
    let found = findings(&finished);
    let fits = |(name, state, text): &(String, String, String)| {
        name == check && state == expected && says.iter().all(|part| text.contains(part))
    };
    assert!(found.iter().any(fits), "{check} {expected} {says:?}: {found:#?}");
}

/// Changes a file for as long as `look` looks.
fn with(path: &Path, change: impl FnOnce(&str) -> String, look: impl FnOnce()) {
    let before = fs::read_to_string(path).expect("a file");
    let after = change(&before);
    assert_ne!(after, before, "nothing is changed");
    replace(path, after.as_bytes());
    look();
    replace(path, before.as_bytes());
}

/// Puts that certificate into the shard's place for as long as `look` looks.
fn presenting(deployment: &Deployment, (chain, key): (String, String), look: impl FnOnce()) {
    let folder = deployment.secured().folder("eu-fra");
    with(
        &folder.join("key.pem"),
        |_| key,
        || {
            with(&folder.join("certificate.pem"), |_| chain, look);
        },
    );
}

/// The list of an authority that was stolen, which ended a minute ago.
fn ended_list(authority: &Path) -> String {
    let read = |file| fs::read_to_string(authority.join(file)).expect("a file");
    let key = KeyPair::from_pem(&read("authority.key")).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read("authority.pem"), key).expect("an authority");
    let at = |seconds| date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
    let list = CertificateRevocationListParams {
        this_update: at(now() - 120),
        next_update: at(now() - 60),
        crl_number: SerialNumber::from(9_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&issuer).expect("a list").pem().expect("PEM")
}

#[test]
fn all_is_well_with_certificates() {
    let deployment = secured();
    let (gateway, shard) = (config(&deployment, "gateway"), config(&deployment, "shard-eu-fra"));
    let finished = doctor(&shard);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert!(findings(&finished).iter().all(|(_, state, _)| state != "bad"), "{finished:?}");
    // Map, annex, four files of TLS, two of auditors.
    found(&shard, "configuration", "ok", &["and the 8 files"]);
    found(&shard, "certificates", "ok", &["auditors see"]);
    found(&shard, "certificates", "ok", &[SHARD, " days left"]);
    found(&shard, "revocations", "ok", &["5 lists", "tls/revoked.pem", ", 89 days left or more"]);
    // Map, five annexes, four files of TLS, two of callers, and the keys of tokens.
    found(&gateway, "configuration", "ok", &["and the 13 files"]);
    found(&gateway, "certificates", "ok", &["gateway/gateway-1", " days left"]);
    found(&gateway, "certificates", "ok", &["callers see"]);
    found(&gateway, "revocations", "ok", &["1 lists", "pki/callers/revoked.pem"]);
    found(&gateway, "token keys", "ok", &["tls/jwks.json has one usable key"]);
    found(&gateway, "shards", "ok", &["eu-fra/s1 at ", "is the shard that the annex names"]);
}

#[test]
fn certificates_that_others_would_refuse_are_bad() {
    let deployment = secured();
    let shard = config(&deployment, "shard-eu-fra");
    let secured = deployment.secured();
    let (own, foreign) = (secured.authority("eu-fra"), secured.authority("ru-msk"));
    let other = "spiffe://sample/region/eu-fra/shard/s2";
    for (authority, uri, ends_in, says) in [
        (Some(&own), SHARD, -60, &["not valid at this time"][..]),
        (Some(&foreign), SHARD, 3_600, &["no authority that may speak"]),
        (None, SHARD, 3_600, &["no authority that may speak"]),
        (Some(&own), other, 3_600, &["shard/s2", "not of the shard s1 of eu-fra"]),
    ] {
        let pair = forge(authority.map(PathBuf::as_path), uri, ends_in);
        presenting(&deployment, pair, || bad(&shard, "certificates", says, &[]));
    }
    // It ends within a day.
    presenting(&deployment, forge(Some(&own), SHARD, 80_000), || {
        found(&shard, "certificates", "warn", &[SHARD, "0 days left", "renew it"]);
    });

    // An authority that the map does not pin speaks for nobody, and lies in the bundle for nothing.
    let show = ["pki", "show", &*own.join("authority.pem").to_string_lossy()].map(str::to_owned);
    let shown = run(&show.each_ref().map(String::as_str)).stdout;
    let pin = shown.split('"').nth(1).expect("a pin").to_owned();
    let strange = format!("sha256:{}", "0".repeat(64));
    with(
        &deployment.root().join("map.toml"),
        |map| map.replace(&pin, &strange),
        || {
            bad(&shard, "certificates", &["no authority that may speak"], &[]);
            found(&shard, "certificates", "warn", &[&pin, "pinned by no region"]);
        },
    );

    // Revoked: last, as the list is not put back.
    secured.revoke("eu-fra", "eu-fra");
    bad(&shard, "certificates", &["is revoked"], &[]);
    assert_eq!(doctor(&shard).code, 1);
}

#[test]
fn a_gateway_that_is_not_who_its_certificate_says_is_bad() {
    let deployment = secured();
    let gateway = config(&deployment, "gateway");
    let (name, region) = ("name = \"gateway-1\"", "region = \"eu-fra\"");
    with(
        &gateway,
        |text| text.replace(name, "name = \"gateway-2\""),
        || {
            bad(&gateway, "certificates", &["gateway/gateway-1", "gateway-2 of eu-fra"], AWAY);
        },
    );
    with(
        &gateway,
        |text| text.replace(region, "region = \"ru-msk\""),
        || {
            bad(&gateway, "certificates", &["gateway-1 of ru-msk", "names another process"], AWAY);
        },
    );
}

#[test]
fn lists_that_end_are_said_in_time() {
    let deployment = secured();
    let shard = config(&deployment, "shard-eu-fra");
    let authority = deployment.secured().authority("eu-fra");
    let lists = deployment.root().join("tls/revoked.pem");
    let days = |days: &str| {
        let authority = authority.to_str().expect("text");
        let done = run(&["pki", "revoke", "--authority", authority, "--days", days]);
        assert_eq!(done.code, 0, "{done:?}");
        fs::read_to_string(Path::new(authority).join("revoked.pem")).expect("a list")
    };
    // The later of two lists holds, wherever it stands, and were it made in the same second.
    let (short, long) = (days("10"), days("15"));
    with(
        &lists,
        |old| format!("{short}{old}"),
        || {
            found(
                &shard,
                "revocations",
                "warn",
                &["region eu-fra", "ends in 9 days", "pki revoke"],
            );
        },
    );
    with(&lists, |_| long, || found(&shard, "revocations", "ok", &["14 days left or more"]));
    let ended = ended_list(&authority);
    with(
        &lists,
        |_| ended.clone(),
        || {
            bad(
                &shard,
                "revocations",
                &["region eu-fra", "ended", "pki revoke"],
                &["certificates"],
            );
        },
    );
    // The list of an authority that is in nobody's bundle does no harm.
    let next = ended_list(&deployment.secured().authority("eu-fra-next"));
    with(&lists, |old| format!("{old}{next}"), || assert_eq!(doctor(&shard).code, 0));
}

#[test]
fn files_that_others_can_change_or_read_are_bad() {
    let deployment = secured();
    let gateway = config(&deployment, "gateway");
    let root = deployment.root();
    for name in [
        "map.toml",
        "annex-ru-msk.toml",
        "tls/authorities.pem",
        "tls/revoked.pem",
        "tls/gateway/certificate.pem",
        "tls/jwks.json",
        "pki/callers/authority.pem",
    ] {
        set(&root.join(name), 0o666);
        bad(&gateway, "configuration", &[name, "chmod go-w "], AWAY);
        set(&root.join(name), 0o644);
    }
    // Whoever can change a folder replaces what lies in it, however deep.
    for (folder, restored) in [("tls/gateway", 0o700), ("tls", 0o755), ("", 0o700)] {
        set(&root.join(folder), 0o777);
        bad(&gateway, "configuration", &["can replace files in ", "chmod go-w "], AWAY);
        // Into one that is as a machine's folder of temporary files, others put only their own.
        set(&root.join(folder), 0o1777);
        found(&gateway, "configuration", "ok", &["only their owners can change"]);
        set(&root.join(folder), restored);
    }
    let key = root.join("tls/gateway/key.pem");
    for mode in [0o644, 0o640, 0o604] {
        set(&key, mode);
        // The gateway would not read it.
        let also = ["shards", "certificates"];
        bad(&gateway, "secrets", &["tls/gateway/key.pem", "chmod 600"], &also);
    }
    set(&key, 0o600);
    found(&gateway, "secrets", "ok", &["readable by their owner only"]);
}

#[test]
fn keys_of_tokens_that_cannot_be_had_are_bad() {
    let deployment = secured();
    let gateway = config(&deployment, "gateway");
    let jwks = deployment.root().join("tls/jwks.json");
    for (text, says) in [
        (r#"{"keys":[]}"#, "has no usable key"),
        (r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"}]}"#, "has no usable key"),
        ("<html>", "not a JSON object"),
    ] {
        with(
            &jwks,
            |_| text.to_owned(),
            || {
                bad(&gateway, "token keys", &["tls/jwks.json", says], AWAY);
            },
        );
    }
    let address = format!("https://127.0.0.1:{}/keys", free_port());
    with(
        &gateway,
        |text| text.replace("tls/jwks.json", &address),
        || {
            let ca = "jwks_ca = \"tls/authorities.pem\"\naudience = ";
            with(
                &gateway,
                |text| text.replace("audience = ", ca),
                || {
                    bad(&gateway, "token keys", &[&address, "nothing answers"], AWAY);
                },
            );
        },
    );
}

#[test]
fn a_shard_that_is_another_is_bad() {
    let mut deployment = secured();
    deployment.shard("eu-fra").stop();
    let runtime = Runtime::new().expect("a runtime");
    let gateway = config(&deployment, "gateway");
    let secured = deployment.secured();
    let of_shard = |region: &str| secured.pair(region);
    let forged = forge(Some(&secured.authority("ru-msk")), SHARD, 3_600);
    for (pair, says) in [
        (of_shard("ru-msk"), "ApplicationVerificationFailure"),
        (forged, "UnknownIssuer"),
        (of_shard("eu-fra"), ""),
    ] {
        let fake = runtime.block_on(async { Fake::start(deployment.port("eu-fra"), &pair) });
        // Tried until it listens.
        let finished = (0..50).map(|_| doctor(&gateway)).find(|finished| {
            let found = findings(finished);
            let own = found.iter().find(|(_, _, text)| text.starts_with("eu-fra/s1 at "));
            own.is_some_and(|(_, _, text)| !text.contains("Connection refused"))
        });
        let found = findings(&finished.expect("it listens"));
        let own = found.iter().find(|(_, _, text)| text.starts_with("eu-fra/s1 at "));
        let (check, state, text) = own.expect("a finding");
        let expected = if says.is_empty() { "ok" } else { "bad" };
        assert_eq!((check.as_str(), state.as_str()), ("shards", expected), "{text}");
        assert!(text.contains(says), "{says}: {text}");
        runtime.block_on(fake.stop());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_said_while_what_was_read_before_holds() {
    let deployment = secured();
    let gateway = config(&deployment, "gateway");
    let port = super::admin_port(&gateway);
    let page = |path| get(port, path).map(|(_, page)| page).unwrap_or_default();
    let lists = deployment.root().join("tls/revoked.pem");
    assert!(page("/readyz").contains("\ntls_files: in use"), "{}", page("/readyz"));
    // Two lists without a line feed between them: other readers pass over the second.
    let joined = |old: &str| old.replacen("-----\n-----BEGIN", "----------BEGIN", 1);
    with(&lists, joined, || {
        wait_until("it is said", Duration::from_secs(60), || {
            page("/readyz").contains("\ntls_files: refused, and the old ones stay in use: ")
        });
        let (ready, metrics) = (page("/readyz"), page("/metrics"));
        assert!(ready.starts_with("ready\n") && ready.contains("revoked.pem, line "), "{ready}");
        assert!(metrics.contains("bailiwick_tls_files_refused 1"), "{metrics}");
        let also = &["certificates", "server", "shards"];
        bad(&gateway, "revocations", &["revoked.pem", "line ", "no -----END line"], also);
    });
    wait_until("it is read again", Duration::from_secs(60), || {
        page("/readyz").contains("\ntls_files: in use")
            && page("/metrics").contains("bailiwick_tls_files_refused 0")
    });
}
