//! The operators' pages of a process behind `[metrics]`, and those who ask for them by its
//! configuration.

use std::fs;
use std::path::Path;
use std::time::Duration;

use link::net::admin_probe::Probe;

use crate::support::maps::text;
use crate::support::process::{Server, get, run, wait_until};
use crate::support::secure::{AUDITOR, DOMAIN};
use crate::support::{Deployment, Options};

const WITHIN: Duration = Duration::from_secs(120);

/// Adds lines to the end of a configuration, and starts its server again.
fn with(server: &mut Server, config: &Path, lines: &str) {
    let old = fs::read_to_string(config).expect("a configuration");
    fs::write(config, format!("{old}{lines}")).expect("it can be written");
    server.kill();
    server.start();
    let health = ["health", "--config", text(config)];
    wait_until("it is healthy", WITHIN, || run(&health).code == 0);
}

#[test]
fn pages_behind_a_token_are_over_tls_and_health_and_doctor_find_them() {
    let regions = vec!["eu-fra"];
    let mut deployment = Deployment::start(&Options { tls: true, regions, ..Options::default() });
    let root = deployment.root().to_owned();
    let token = root.join("token");
    fs::write(&token, "a token of some length\n").expect("a file");
    let guard = format!(
        "[metrics]\ntoken_file = \"token\"\nauthorities = \"pki/callers/authority.pem\"\n\
         revoked = \"pki/callers/revoked.pem\"\nuris = [\"spiffe://{DOMAIN}/caller/{AUDITOR}\"]\n"
    );
    for name in ["gateway", "eu-fra"] {
        let file = if name == "gateway" { "gateway.toml" } else { "shard-eu-fra.toml" };
        let config = root.join(file);
        let server = match name {
            "gateway" => deployment.gateway(),
            region => deployment.shard(region),
        };
        let port = server.admin();
        assert!(get(port, "/metrics").is_some_and(|(status, _)| status == 200));
        with(server, &config, &guard);
        // Without TLS there is no page any more.
        assert!(get(port, "/readyz").is_none(), "{name}");
        let probe = Probe {
            admin: ([127, 0, 0, 1], port).into(),
            certificate: Some(root.join(format!("tls/{name}/certificate.pem"))),
            token: None,
        };
        let page = probe.ready_page().expect("a page");
        assert!(page.starts_with("HTTP/1.1 200") && page.ends_with("\r\n\r\nready\n"), "{page}");
        let all = Probe { token: Some(token.clone()), ..probe };
        let page = all.ready_page().expect("a page");
        assert!(page.contains("sandbox: "), "{name}: {page}");
        // Those who work by the configuration present the token that it names.
        let health = run(&["health", "--config", text(&config)]);
        assert!(health.stdout.contains("sandbox: "), "{health:?}");
        let doctor = run(&["doctor", "--json", "--config", text(&config)]);
        let line = doctor.stdout.lines().find(|line| line.contains("\"check\":\"server\""));
        assert!(line.is_some_and(|line| line.contains("it runs; sandbox: ")), "{doctor:?}");
        assert!(doctor.stdout.contains("readers of metrics see"), "{doctor:?}");
    }
}

#[test]
fn plaintext_pages_for_others_ask_for_the_token_too() {
    let regions = vec!["eu-fra"];
    let mut deployment = Deployment::start(&Options { regions, ..Options::default() });
    let root = deployment.root().to_owned();
    fs::write(root.join("token"), "a token of some length\n").expect("a file");
    let config = root.join("gateway.toml");
    // Keys of the whole file stand before its tables.
    let old = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, format!("plaintext_metrics = true\n{old}")).expect("it can be written");
    let port = deployment.gateway().admin();
    with(deployment.gateway(), &config, "[metrics]\ntoken_file = \"token\"\n");
    assert!(get(port, "/metrics").is_some_and(|(status, _)| status == 401));
    assert_eq!(get(port, "/readyz"), Some((200, "ready\n".to_owned())));
    assert!(run(&["health", "--config", text(&config)]).stdout.contains("sandbox: "));
}
