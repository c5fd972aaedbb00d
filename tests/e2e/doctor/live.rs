//! `bailiwick doctor --live`: a deployment that is well, and with a part missing.

use serde_json::Value;

use super::{findings, text_of};
use crate::support::process::{Finished, run};
use crate::support::{Deployment, Options};

/// Runs it against the deployment's gateway.
fn live(deployment: &Deployment, more: &[&str]) -> Finished {
    let url = deployment.gateway_url();
    run(&[&["doctor", "--json", "--live", "--gateway", &url], more].concat())
}

/// All findings of one check in this state.
fn of(finished: &Finished, check: &str, state: &str) -> Vec<String> {
    let found = findings(finished).into_iter();
    found.filter(|(name, at, _)| name == check && at == state).map(|(_, _, text)| text).collect()
}

#[test]
fn a_deployment_is_walked_through_and_nothing_is_stored_unless_told() {
    let mut deployment =
        Deployment::start(&Options { engine: "fjall", geoip: false, ..Options::default() });
    let finished = live(&deployment, &[]);
    assert_eq!(finished.code, 0, "{finished:?}");
    assert_eq!(of(&finished, "shards", "ok").len(), 5, "{finished:?}");
    assert_eq!(of(&finished, "auditors", "ok").len(), 5, "{finished:?}");
    // The gateway's, and those of five auditor listeners.
    assert_eq!(of(&finished, "clocks", "ok").len(), 6, "{finished:?}");
    let placements = of(&finished, "placements", "ok");
    for (home, region) in
        [("RU", "ru-msk"), ("EEA", "eu-fra"), ("GB", "eu-fra"), ("KZ", "kz-ala"), ("*", "us-iad")]
    {
        let says = |line: &String| {
            line.contains(&format!("(home `{home}`)"))
                && line.contains(&format!("stored in {region}"))
        };
        assert!(placements.iter().any(says), "{home}: {placements:?}");
    }
    assert!(of(&finished, "round trip", "ok").is_empty());
    let stored = |url: &str| {
        let same = ["--subject", "bailiwick-doctor-eu-fra", "--collection", "profiles"];
        let more = ["--key", "bailiwick-doctor", "--domicile", "eu-fra", "--json"];
        run(&[&["record", "get", "--gateway", url], &same[..], &more[..]].concat())
    };
    let none = stored(&deployment.gateway_url());
    assert!(none.stderr.contains("SUBJECT_UNKNOWN"), "{none:?}");

    let finished = live(&deployment, &["--test-collection", "profiles"]);
    assert_eq!(finished.code, 0, "{finished:?}");
    let regions = ["ru-msk", "eu-fra", "kz-ala", "in-bom", "us-iad"];
    for check in ["round trip", "log proof"] {
        let found = of(&finished, check, "ok");
        assert_eq!(found.len(), regions.len(), "{check}: {found:?}");
        for region in regions {
            assert!(found.iter().any(|line| line.starts_with(region)), "{region}: {found:?}");
        }
    }
    // The record is deleted; the subject and what the log says of it stay.
    let gone = stored(&deployment.gateway_url());
    assert!(gone.stderr.contains("NOT_FOUND"), "{gone:?}");

    deployment.shard("ru-msk").stop();
    deployment.wait_session("ru-msk", false);
    let finished = live(&deployment, &["--test-collection", "profiles"]);
    assert_eq!(finished.code, 1, "{finished:?}");
    let bad = of(&finished, "shards", "bad");
    assert!(bad.len() == 1 && bad.concat().starts_with("ru-msk/s1"), "{bad:?}");
    assert!(of(&finished, "placements", "bad").concat().contains("RU"), "{finished:?}");
    // The others are walked through all the same.
    assert_eq!(of(&finished, "round trip", "ok").len(), 4, "{finished:?}");
    // For people, a table of the same.
    let text = run(&["doctor", "--live", "--gateway", &deployment.gateway_url()]);
    let cells = |line: &str| {
        let cells = line.split(['│', '┆']).map(|cell| cell.trim().to_owned());
        cells.filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    };
    let rows: Vec<_> = text.stdout.lines().map(cells).filter(|cells| cells.len() > 1).collect();
    assert_eq!(rows[0], ["state", "check", "what", "what to do"], "{text:?}");
    let of = |state| rows.iter().filter(move |row| row[..2] == [state, "shards"]);
    assert_eq!((of("bad").count(), of("ok").count()), (1, 4), "{rows:?}");
    assert!(of("bad").all(|row| row[2].starts_with("ru-msk/s1") && !row[3].is_empty()));
}

#[test]
fn who_is_not_known_is_told_so() {
    let mut options = Options { tls: true, ..Options::default() };
    options.grant.insert("roles", serde_json::json!(["writer", "reader", "operator"]));
    let deployment = super::deployment(options);
    let secured = deployment.secured();
    let ca = deployment.root().join("tls/authorities.pem");
    let folder = secured.folder("backend");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let ca = ["--ca", text_of(&ca)];
    let own = ["--certificate", text_of(&certificate), "--key-file", text_of(&key)];

    let finished = live(&deployment, &[&ca[..], &own[..]].concat());
    let state = |check: &str| {
        let found = findings(&finished);
        found.iter().find(|(name, _, _)| name == check).map(|(_, state, _)| state.clone())
    };
    assert_eq!(state("gateway").as_deref(), Some("ok"), "{finished:?}");
    assert_eq!(state("identity").as_deref(), Some("ok"), "{finished:?}");
    // A caller is no auditor: a warning, and no failure.
    assert_eq!(of(&finished, "auditors", "bad").len(), 0, "{finished:?}");

    let nobody = live(&deployment, &ca);
    assert_eq!(nobody.code, 1);
    let bad = of(&nobody, "identity", "bad");
    assert!(bad.concat().contains("IDENTITY_MISSING"), "{nobody:?}");
    let stranger =
        live(&deployment, &["--ca", text_of(&secured.authority("callers").join("authority.pem"))]);
    assert!(!of(&stranger, "gateway", "bad").is_empty(), "{stranger:?}");
    let away = run(&["doctor", "--live", "--gateway", "http://127.0.0.1:1", "--json"]);
    let found: Value = serde_json::from_str(away.stdout.trim()).expect("one line");
    assert_eq!((away.code, found.get("state").and_then(Value::as_str)), (1, Some("bad")));
}
