//! A region is chosen for a person by two callers of the binary, each through a gateway that knows it in
//! one role, and the person is moved there. The log tells of both steps.

use std::fs;
use std::time::Duration;

use client::Client;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, evidence, get, put};
use crate::support::maps::text;
use crate::support::process::{Finished, Server, free_port, get as metrics, json, run, wait_until};
use crate::support::{Deployment, Options};

/// Time in which a gateway must reach a shard.
const SESSION_WITHIN: Duration = Duration::from_secs(120);

fn options() -> Options {
    let shard_tables = "peer_annexes = [\"annex-eu-fra.toml\", \"annex-us-iad.toml\"]\n".to_owned();
    Options { regions: vec!["eu-fra", "us-iad"], shard_tables, ..Options::default() }
}

/// One more gateway, whose callers have that name and these roles. Gives its address, too.
fn gateway(deployment: &mut Deployment, name: &str, roles: &[&str]) -> (Server, String) {
    let (port, admin) = (free_port(), free_port());
    let own_name = format!("gateway-{name}-{port}");
    let (url, first_admin) = (deployment.gateway_url(), deployment.gateway().admin());
    let (_, first) = url.rsplit_once(':').expect("a port");
    let config = fs::read_to_string(deployment.root().join("gateway.toml")).expect("a file");
    let own_roles = "roles = [\"writer\", \"reader\", \"eraser\", \"operator\"]";
    let mut own = config;
    for (from, to) in [
        ("name = \"gateway-1\"".to_owned(), format!("name = \"{own_name}\"")),
        (format!("127.0.0.1:{first}\""), format!("127.0.0.1:{port}\"")),
        (format!("127.0.0.1:{first_admin}\""), format!("127.0.0.1:{admin}\"")),
        ("name = \"test\"".to_owned(), format!("name = \"{name}\"")),
        (own_roles.to_owned(), format!("roles = {roles:?}")),
    ] {
        assert!(own.contains(&from), "{from}");
        own = own.replacen(&from, &to, 1);
    }
    let path = deployment.root().join(format!("{own_name}.toml"));
    fs::write(&path, own).expect("a file");
    let mut server = Server::new("gateway", &own_name, &path, admin);
    server.start();
    server.wait_ready();
    wait_until("a session with us-iad", SESSION_WITHIN, || {
        let Some((200, page)) = metrics(admin, "/metrics") else { return false };
        let mut own = page
            .lines()
            .filter(|line| line.contains("session_up{") && line.contains("region=\"us-iad\""));
        own.next().is_some_and(|line| line.ends_with(" 1"))
    });
    (server, format!("http://127.0.0.1:{port}"))
}

/// A step of the choice, or a relocation, of the person in us-iad.
fn command(url: &str, word: &str, more: &[&str]) -> Finished {
    let of = ["--gateway", url, "--subject", "joao", "--domicile", "us-iad", "--json"];
    let why = ["--reason", "the person asks for it"];
    run(&[&["subject", word], &of[..], &why, more].concat())
}

#[track_caller]
fn refused(done: &Finished, reason: &str) {
    assert!(done.code != 0 && done.stderr.contains(reason), "{reason}: {done:?}");
}

#[test]
fn two_callers_choose_a_region_and_the_person_moves_there() {
    let mut deployment = Deployment::start(&options());
    let url = deployment.gateway_url();
    let (_proposes, anne) = gateway(&mut deployment, "anne", &["adjudicator"]);
    let (_both, anne_too) = gateway(&mut deployment, "anne", &["adjudicator", "approver"]);
    let (_confirms, paul) = gateway(&mut deployment, "paul", &["approver"]);
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(&url, ONCE)).expect("a gateway");
    let person = put("joao", "k", b"body", &evidence("BR"));
    runtime.block_on(client.put(&person)).expect("a put");

    let dry = json(&command(&anne, "adjudicate", &["--validate-only"]));
    let open = ["eu-fra", "in-bom", "kz-ala", "us-iad"];
    assert_eq!(dry["open_regions"], Value::from(open.to_vec()));
    // Neither role is that of a writer, and each has its own step.
    let to = ["--to", "eu-fra"];
    let confirm = ["--to", "eu-fra", "--confirm"];
    refused(&command(&url, "adjudicate", &to), "NOT_PERMITTED");
    refused(&command(&paul, "adjudicate", &to), "NOT_PERMITTED");
    refused(&command(&anne, "adjudicate", &confirm), "NOT_PERMITTED");
    refused(&command(&anne, "adjudicate", &["--to", "ru-msk"]), "CHOICE_NOT_OPEN");
    refused(&command(&paul, "adjudicate", &confirm), "CHOICE_NOT_PROPOSED");
    refused(&command(&url, "relocate", &to), "WRONG_DOMICILE");

    let proposed = json(&command(&anne, "adjudicate", &to));
    assert_eq!(
        (&proposed["proposed_region"], &proposed["proof"]),
        (&"eu-fra".into(), &"receipt".into())
    );
    refused(&command(&anne_too, "adjudicate", &confirm), "NOT_PERMITTED");
    let receipt = deployment.root().join("receipt.json");
    let shown = [&confirm[..], &["--receipt", text(&receipt)]].concat();
    let confirmed = json(&command(&paul, "adjudicate", &shown));
    assert_eq!(confirmed["chosen_region"], "eu-fra");
    assert_eq!(confirmed["proposed_region"], "");
    assert!(receipt.exists());

    let moved = json(&command(&url, "relocate", &[&to[..], &["--watch"]].concat()));
    assert_eq!(moved["state"], "DONE");
    let found = runtime.block_on(get(&client, "joao", "eu-fra", "k")).expect("it is there");
    assert_eq!(&*found.body, b"body");

    // The choice has come along, and the person can see it.
    let of = ["--subject", "joao", "--domicile", "eu-fra", "--json"];
    let shown = json(&run(&[&["subject", "show", "--gateway", &url][..], &of].concat()));
    assert_eq!(shown["chosen_region"], "eu-fra");

    deployment.wait_signed("us-iad");
    let mirror = deployment.root().join("mirror");
    let shard = format!("http://127.0.0.1:{}", deployment.audit_port("us-iad"));
    let done = run(&["audit", "mirror", "--shard", &shard, text(&mirror)]);
    assert_eq!(done.code, 0, "{done:?}");
    let done = run(&["audit", "verify", text(&mirror)]);
    assert_eq!(done.code, 0, "{done:?}");
    let log = mirror.join("us-iad.s1.1");
    let done = run(&["audit", "entries", text(&log), "--kind", "ADJUDICATE", "--json"]);
    assert_eq!(done.code, 0, "{done:?}");
    let steps: Vec<&str> = done.stdout.lines().collect();
    assert_eq!(steps.len(), 2, "{steps:?}");
    for (step, role) in steps.iter().zip(["adjudicator", "approver"]) {
        assert!(step.contains(role) && step.contains("eu-fra: the person asks for it"), "{step}");
        assert!(!step.contains("joao"), "{step}");
    }
}
