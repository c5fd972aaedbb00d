//! Two processes of one shard over one database: the one that writes is killed or stopped, again and
//! again, and the other takes over.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::postgres::{REGION, audit, options};
use crate::support::Deployment;
use crate::support::load::{PATIENT, Writers, get};
use crate::support::maps::text;
use crate::support::postgres::Server;
use crate::support::process::{Server as Process, free_port, get as page, run, wait_until};
use crate::support::search::copy;
use client::Client;
use rustix::process::Signal;
use tokio::runtime::Runtime;

/// Takeovers in one run; `TAKEOVERS` says otherwise.
const TAKEOVERS: usize = 4;
/// Time from the end of a writer until the next one must be ready. On a quiet machine it takes below three
/// seconds; tests share theirs.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(60);

/// Another process of the same shard, on a host of its own: its keys and its last checkpoint are
/// copies. The annex names both.
fn second(deployment: &Deployment) -> Process {
    let root = deployment.root();
    let home = root.join("second");
    copy(&root.join(REGION), &home);
    for folder in ["anchor", "keys"] {
        use std::os::unix::fs::PermissionsExt as _;
        let closed = fs::Permissions::from_mode(0o700);
        fs::set_permissions(home.join(folder), closed).expect("chmod");
    }
    let (port, admin, audit) = (free_port(), free_port(), free_port());
    let annex = root.join(format!("annex-{REGION}.toml"));
    let text = fs::read_to_string(&annex).expect("an annex");
    let standbys = format!("standbys = [\"http://127.0.0.1:{port}\"]\naudit = ");
    fs::write(&annex, text.replace("audit = ", &standbys)).expect("it can be written");
    let first = fs::read_to_string(root.join(format!("shard-{REGION}.toml"))).expect("a file");
    let lines = first.lines().map(|line| match line.split_once(" = ") {
        Some(("listen", _)) => format!("listen = \"127.0.0.1:{port}\""),
        Some(("admin_listen", _)) => format!("admin_listen = \"127.0.0.1:{admin}\""),
        Some(("audit_listen", _)) => format!("audit_listen = \"127.0.0.1:{audit}\""),
        Some((key @ ("anchor" | "keys"), _)) => format!("{key} = \"{}/{key}\"", home.display()),
        _ => line.to_owned(),
    });
    let config = root.join("shard-second.toml");
    fs::write(&config, lines.collect::<Vec<_>>().join("\n")).expect("it can be written");
    Process::new("shard", "second", &config, admin)
}

/// The server notes each change of the head of the store, in their order: the row is locked until its
/// transaction ends. The shard cannot see or change the notes.
const NOTE_HEADS: &str = "
create schema notes;
create table notes.heads (n bigserial primary key, term bigint, size bigint, writer text);
create function notes.note() returns trigger language plpgsql security definer as $$
begin
    insert into notes.heads (term, size, writer) values (new.term, new.size, new.writer);
    return null;
end $$;
create trigger note after update on bailiwick.store for each row execute function notes.note()";

/// Checks the notes: each term has one writer, and nothing is written under an earlier term once
/// another writer has taken a later one. Returns how many terms were taken.
fn one_writer_at_a_time(server: &Server) -> usize {
    let notes = server.sql(
        "people",
        "select n || ' ' || term || ' ' || size || ' ' || writer from notes.heads order by n",
    );
    let mut writers = BTreeMap::new();
    let (mut last, mut commits) = ((0, 0), 0);
    for note in notes.lines() {
        let mut fields = note.split(' ').skip(1);
        let mut next = || fields.next().expect("a note has four fields");
        let (term, size, writer) = (next(), next(), next());
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let head = (number(term), number(size));
        assert!(last.0 <= head.0 && last.1 <= head.1, "{head:?} was written after {last:?}");
        let first = *writers.entry(head.0).or_insert(writer);
        assert_eq!(first, writer, "term {} has two writers", head.0);
        last = head;
        commits += 1;
    }
    assert!(commits > writers.len(), "there were commits, and not terms alone");
    writers.len()
}

fn is_ready(process: &Process) -> bool {
    page(process.admin(), "/readyz").is_some_and(|(status, _)| status == 200)
}

/// Starts a process that must wait, and waits until it does.
fn start_waiting(process: &mut Process) {
    process.start();
    let waits = |(status, text): (u16, String)| status != 200 && text.contains("waits for");
    wait_until("it waits", Duration::from_secs(30), || {
        page(process.admin(), "/readyz").is_some_and(waits)
    });
    assert!(page(process.admin(), "/livez").is_some_and(|(status, _)| status == 200));
}

/// The writer is killed or stopped under load, the other takes over and the gateway follows; one
/// that is woken does nothing and ends. No write is lost, none is there twice, and every term has
/// one writer.
#[test]
#[expect(clippy::disallowed_methods, reason = "a switch of this test, and time between processes")]
fn another_process_takes_over_from_one_that_is_killed_or_stopped() {
    let rounds = std::env::var("TAKEOVERS").ok().and_then(|text| text.parse().ok());
    let rounds: usize = rounds.unwrap_or(TAKEOVERS);
    let server = Server::start();
    let mut deployment = Deployment::configure(&options(&server));
    let mut other = second(&deployment);
    server.sql("people", NOTE_HEADS);
    deployment.serve(&[REGION]);
    start_waiting(&mut other);
    let runtime = Runtime::new().expect("a runtime");
    let writers = Writers::start(&runtime, &deployment.gateway_url(), 16);
    let mut took = Vec::new();
    for round in 0..rounds {
        writers.wait_acked(50);
        let writer = deployment.shard(REGION);
        let began = Instant::now();
        let stopped = round % 4 >= 2;
        if stopped {
            writer.signal(Signal::STOP);
        } else {
            writer.kill();
        }
        wait_until("the other has taken over", TAKEN_OVER_WITHIN, || is_ready(&other));
        took.push(began.elapsed());
        writers.wait_acked(50);
        if stopped {
            writer.signal(Signal::CONT);
            assert_eq!(writer.wait_end(), 75, "a writer that was replaced ends");
        }
        // The next round ends the one that writes now.
        std::mem::swap(writer, &mut other);
        start_waiting(&mut other);
    }
    let slowest = took.iter().max().copied().unwrap_or_default();
    report(&took, slowest);
    let acked = writers.stop(&runtime);
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let status = run(&["shard", "status", "--config", text(&config), "--json"]);
    let status: serde_json::Value = serde_json::from_str(&status.stdout).expect("JSON");
    assert_eq!(status["state"], "writes");
    // One by `shard init`, one by the first start, and one by each takeover.
    assert!(status["term"].as_u64().expect("a number") >= rounds as u64 + 2);
    other.kill();
    // One by the first start, and one by each takeover.
    assert!(one_writer_at_a_time(&server) > rounds);
    let client = runtime.block_on(Client::connect(&deployment.gateway_url(), PATIENT));
    let client = client.expect("a gateway");
    runtime.block_on(async {
        for write in &acked {
            let record = get(&client, &write.subject, REGION, &write.key).await;
            assert!(record.expect("an acknowledged record").body == write.body);
        }
    });
    if rounds.is_multiple_of(2) {
        audit(&deployment, &deployment.root().join("mirror"));
    }
    assert!(acked.len() >= 100 * rounds, "{} were acknowledged", acked.len());
}

#[expect(clippy::print_stdout, reason = "the long run shows it")]
fn report(took: &[Duration], slowest: Duration) {
    let sum: Duration = took.iter().sum();
    let count = u32::try_from(took.len().max(1)).expect("few");
    println!("{} takeovers: {:?} on average, {slowest:?} at the most", took.len(), sum / count);
}
