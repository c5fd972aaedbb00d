//! Bytes from somebody who means harm, against real processes: a gateway and a shard. Whatever
//! comes, both stay up, answer others, and stay within 512 MiB.

mod calls;
mod raw;
mod tenants;
mod unread;

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::support::process::{get, pause, run, wait_until};
use crate::support::{Deployment, Options};
use bytes::Bytes;
use calls::{Call, begin, begin_with, connect, prefix};
use raw::{CONTINUATION, END_HEADERS, HEADERS, PING, RST_STREAM, Raw, frame, headers, literal};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;

const PUT: &str = "/bailiwick.v1.Records/Put";
const STREAM_PUT: &str = "/bailiwick.v1.Records/StreamPut";
const OPEN: &str = "/bailiwick.internal.v1.Session/Open";
/// Resident memory that a process may ever have had.
const MEMORY_KIB_MAX: u64 = 512 << 10;
/// Calls in flight that a gateway allows on one connection.
const STREAMS_MAX: usize = 256;
/// Status codes of gRPC.
const INVALID_ARGUMENT: i32 = 3;
const DEADLINE_EXCEEDED: i32 = 4;
const RESOURCE_EXHAUSTED: i32 = 8;

/// A gateway and a shard under attack.
struct Target(Deployment);

impl Target {
    fn start() -> Self {
        // Thousands of connections from one process.
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).expect("a limit");
        let options = Options { regions: vec!["us-iad"], geoip: false, ..Options::default() };
        Self(Deployment::start(&options))
    }

    /// The gateway's port.
    fn port(&self) -> u16 {
        port_of(&self.0.gateway_url())
    }

    /// The shard's.
    fn shard_port(&self) -> u16 {
        let config = fs::read_to_string(self.0.root().join("shard-us-iad.toml"));
        let config: toml::Table = config.expect("a file").parse().expect("TOML");
        port_of(config.get("listen").and_then(toml::Value::as_str).expect("an address"))
    }

    /// Asserts that somebody else is answered.
    #[track_caller]
    fn answers_others(&self) {
        let put = run(&[
            "record",
            "put",
            "--gateway",
            &self.0.gateway_url(),
            "--subject",
            "u-1",
            "--collection",
            "profiles",
            "--key",
            "main",
            "--body",
            "x",
            "--evidence",
            "residence=US",
            "--create-subject",
        ]);
        assert_eq!(put.code, 0, "{}", put.stderr);
    }

    /// Asserts that both processes run, and how much memory they ever had.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "the figure is worth knowing")]
    fn stands(&mut self, attack: &str) {
        self.answers_others();
        for name in ["gateway", "shard"] {
            let high = self.memory_kib(name);
            eprintln!("{attack}: {name} had {} MiB at most", high >> 10);
            assert!(high <= MEMORY_KIB_MAX, "{attack}: {name} had {high} KiB");
        }
    }

    /// The most memory that a process ever had resident; it must still run.
    #[track_caller]
    fn memory_kib(&mut self, name: &str) -> u64 {
        let server = if name == "gateway" { self.0.gateway() } else { self.0.shard("us-iad") };
        assert!(server.runs(), "{name} ended");
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid()));
        let status = status.expect("a process has a status");
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let high = high.and_then(|line| line.trim().strip_suffix(" kB"));
        high.and_then(|kib| kib.parse().ok()).expect("a number")
    }

    /// Waits until no call holds a seat.
    #[track_caller]
    fn wait_seats_free(&mut self, within: Duration) {
        let admin = self.0.gateway().admin();
        wait_until("no call in flight", within, || {
            let page = get(admin, "/metrics").map(|(_, page)| page).unwrap_or_default();
            page.lines().any(|line| line == "bailiwick_calls_in_flight 0")
        });
    }
}

fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime")
}

async fn calls(port: u16, path: &str, number: usize) -> Vec<Call> {
    let mut all = Vec::new();
    while all.len() < number {
        let sender = connect(port).await;
        for _ in 0..(number - all.len()).min(STREAMS_MAX) {
            all.push(begin(&sender, path).await.expect("a call can begin"));
        }
    }
    all
}

#[test]
fn headers_that_trickle_are_not_waited_for() {
    let mut target = Target::start();
    let mut attackers: Vec<Raw> = (0..300).map(|_| Raw::open(target.port())).collect();
    let block = headers(PUT);
    for (n, attacker) in attackers.iter_mut().enumerate() {
        let whole = frame(HEADERS, END_HEADERS, 1, &block);
        // Cut within the frame's own head, and within its payload.
        let (part, _) = whole.split_at(if n % 2 == 0 { 5 } else { 20 });
        assert!(attacker.send(part));
    }
    target.answers_others();
    let mut left = attackers;
    for _ in 0..50 {
        left.retain_mut(|attacker| attacker.send(&[0x20]) && !attacker.is_closed());
        if left.is_empty() {
            break;
        }
        pause(Duration::from_secs(1));
    }
    assert_eq!(left.len(), 0, "connections that send a byte now and then are kept");
    target.stands("trickled headers");
}

#[test]
fn a_body_that_trickles_holds_no_seat() {
    let mut target = Target::start();
    let port = target.port();
    runtime().block_on(async {
        let sender = connect(port).await;
        let mut trickling = Vec::new();
        for n in 0..200 {
            let named: &[(&str, &str)] = if n % 2 == 0 { &[("grpc-timeout", "5S")] } else { &[] };
            let mut call = begin_with(&sender, PUT, named).await.expect("a call can begin");
            trickling.push(tokio::spawn(async move {
                assert!(call.send(prefix(1 << 20)).await);
                let Call { mut body, .. } = call;
                // Until the server has had enough.
                let mut sent = 0;
                while body.send_data(Bytes::from_static(&[0]), false).is_ok() {
                    sent += 1;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    assert!(sent < 400, "a byte now and then keeps a call alive");
                }
            }));
        }
        // The same, and whoever waits for its answer reads why.
        let mut call = begin_with(&sender, PUT, &[("grpc-timeout", "5S")]).await.expect("a call");
        assert!(call.send(prefix(1 << 20)).await);
        assert_eq!(call.status().await, Some(DEADLINE_EXCEEDED));
        for task in trickling {
            task.await.expect("it ends");
        }
    });
    target.wait_seats_free(Duration::from_secs(120));
    target.stands("trickled bodies");
}

#[test]
fn ten_thousand_idle_streams_are_borne_and_idle_strangers_are_few() {
    let mut target = Target::start();
    let port = target.port();
    let runtime = runtime();
    let streams = runtime.block_on(calls(port, STREAM_PUT, 10_000));
    // They come from one address and never show who they are. Others are not kept out by them.
    let address = Ipv4Addr::new(127, 0, 0, 2);
    let mut strangers = runtime.block_on(Raw::many_from(address, port, 3_000));
    target.answers_others();
    let most = link::net::listener::UNAUTHENTICATED_OF_ONE_ADDRESS_MAX;
    wait_until("all strangers but a few are closed", Duration::from_secs(120), || {
        let open =
            strangers.iter_mut().filter_map(|stranger| (!stranger.is_closed()).then_some(()));
        open.count() <= most
    });
    let seats = get(target.0.gateway().admin(), "/metrics").map(|(_, page)| page);
    let seats = seats.expect("a page");
    assert!(seats.contains("bailiwick_calls_in_flight 10000"), "all of them are open: {seats}");
    drop((streams, strangers, runtime));
    target.wait_seats_free(Duration::from_secs(120));
    target.stands("idle streams");
}

#[test]
fn calls_that_are_reset_at_once_end_their_connection() {
    let mut target = Target::start();
    let port = target.port();
    let block = headers(PUT);
    let mut cut = 0;
    for _ in 0..40 {
        let mut attacker = Raw::open(port);
        let mut stream = 1;
        for _ in 0..200 {
            let mut burst = Vec::new();
            for _ in 0..100 {
                burst.extend(frame(HEADERS, END_HEADERS, stream, &block));
                burst.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
                stream += 2;
            }
            if !attacker.send(&burst) {
                break;
            }
        }
        cut += usize::from(attacker.wait_closed(Duration::from_secs(8)).is_some());
    }
    assert!(cut >= 20, "{cut} of 40 connections were cut");
    target.wait_seats_free(Duration::from_secs(120));
    target.stands("rapid reset");
}

#[test]
fn a_message_that_grows_in_memory_is_not_decoded() {
    let mut target = Target::start();
    // PutRecordRequest.evidence = 10, .findings = 11; ToShard.calls = 2: two bytes each.
    let (port, shard) = (target.port(), target.shard_port());
    runtime().block_on(async {
        for (port, path, tag) in
            [(port, PUT, 0x52), (port, PUT, 0x5a), (port, STREAM_PUT, 0x52), (shard, OPEN, 0x12)]
        {
            let message = Bytes::from([tag, 0].repeat((17 << 19) - 1));
            let mut under_way = Vec::new();
            for _ in 0..3 {
                let message = message.clone();
                under_way.push(tokio::spawn(async move {
                    let sender = connect(port).await;
                    let mut call = begin(&sender, path).await.expect("a call can begin");
                    // Refused before its end, on the way to a shard: its frames are smaller.
                    if call.send(prefix(message.len())).await && call.send(message).await {
                        call.end();
                    }
                    call.status().await
                }));
            }
            for call in under_way {
                let code = call.await.expect("it ends");
                assert!(code.is_none_or(|code| code != 0), "{path}: {code:?}");
                assert!(port == shard || code == Some(INVALID_ARGUMENT), "{path}: {code:?}");
            }
        }
    });
    target.stands("amplification");
}

#[test]
fn messages_that_lack_their_last_byte_do_not_fill_the_memory() {
    let mut target = Target::start();
    let port = target.port();
    let kept = runtime();
    let held = kept.block_on(async {
        let mut held = Vec::new();
        for n in 0..60 {
            let sender = connect(port).await;
            let path = if n % 2 == 0 { PUT } else { STREAM_PUT };
            // As long as a caller may make it.
            let slow = [("grpc-timeout", "600S")];
            let mut call = begin_with(&sender, path, &slow).await.expect("a call can begin");
            let part = Bytes::from(vec![0; 16 << 20]);
            let all = call.send(prefix(part.len() + 1)).await && call.send(part).await;
            held.push((all, call));
        }
        held
    });
    // Whoever sends little is served, all the same.
    target.answers_others();
    kept.block_on(async {
        let mut refused = 0;
        for (_, call) in held {
            match call.status().await {
                Some(RESOURCE_EXHAUSTED) | None => refused += 1,
                Some(code) => assert_eq!(code, DEADLINE_EXCEEDED),
            }
        }
        assert!(refused >= 20, "{refused} of 60 were refused for want of room");
    });
    target.wait_seats_free(Duration::from_secs(120));
    target.stands("last bytes kept back");
}

#[test]
fn headers_without_end_are_cut_off() {
    let mut target = Target::start();
    let port = target.port();
    // One block of 16 MiB in endless continuations; very many small fields; one large field.
    for part in [vec![b'x'; 16_000], literal("a", "b").repeat(3_000)] {
        let mut attacker = Raw::open(port);
        assert!(attacker.send(&frame(HEADERS, 0, 1, &headers(PUT))));
        let mut sent = 0;
        while sent < 1_024 && attacker.send(&frame(CONTINUATION, 0, 1, &part)) {
            sent += 1;
        }
        let closed = attacker.wait_closed(Duration::from_secs(90));
        assert!(sent < 1_024 || closed.is_some(), "a block of headers may be without end");
    }
    runtime().block_on(async {
        let large = "x".repeat(12 << 10);
        for headers in [vec![("a", &*large), ("b", &large)], vec![("c", &large); 10]] {
            let sender = connect(port).await;
            if let Some(call) = begin_with(&sender, PUT, &headers).await {
                assert!(call.status().await.is_none_or(|code| code != 0));
            }
        }
    });
    target.stands("oversized headers");
}

#[test]
fn what_is_no_http2_is_closed() {
    let mut target = Target::start();
    let ports = [target.port(), target.shard_port()];
    let bad_ping = [raw::PREFACE, &frame(4, 0, 0, &[]), &frame(PING, 0, 7, &[1; 3])].concat();
    let large =
        [raw::PREFACE, &frame(4, 0, 0, &[]), &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat();
    let hello = [0x16, 3, 1, 0x02, 0, 1, 0, 1, 0xfc, 3, 3].repeat(40);
    let garbage = (0..10_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes());
    let garbage: Vec<u8> = garbage.collect();
    for port in ports {
        for bytes in [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".as_slice(),
            &[0; 64],
            &hello,
            &garbage,
            &bad_ping,
            &large,
        ] {
            let mut attacker = Raw::connect(port);
            attacker.send(bytes);
            let closed = attacker.wait_closed(Duration::from_secs(60));
            assert!(closed.is_some(), "{port} keeps {:?}", bytes.get(..16));
        }
    }
    target.stands("garbage");
}

#[test]
fn a_connection_that_does_not_begin_is_closed() {
    let mut target = Target::start();
    let ports = [target.port(), target.shard_port()];
    let begun = [&[][..], &raw::PREFACE[..1], &raw::PREFACE[..23]];
    let mut attackers = Vec::new();
    for port in ports {
        for part in begun {
            let mut attacker = Raw::connect(port);
            assert!(attacker.send(part));
            attackers.push((port, part.len(), attacker));
        }
    }
    for (port, sent, attacker) in &mut attackers {
        let closed = attacker.wait_closed(Duration::from_secs(90));
        assert!(closed.is_some(), "{port} waits for ever after {sent} bytes");
    }
    target.stands("connections that do not begin");
}
