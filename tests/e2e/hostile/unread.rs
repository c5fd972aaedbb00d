//! Whoever has no name and asks for health, and whoever asks for records and does not read them.

use std::time::Duration;

use bytes::Bytes;
use client::{Client, api};
use prost::Message as _;
use tokio::runtime::Runtime;

use super::calls::{Unread, begin, connect, connect_taking, prefix};
use super::{RESOURCE_EXHAUSTED, Target, runtime};
use crate::support::load::{ONCE, evidence, put};

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const GET: &str = "/bailiwick.v1.Records/Get";

/// Whether somebody who balances load is told that the gateway serves.
async fn is_healthy(port: u16) -> bool {
    let sender = connect(port).await;
    let mut call = begin(&sender, CHECK).await.expect("a call can begin");
    assert!(call.send(prefix(0)).await);
    call.end();
    call.status().await == Some(0)
}

#[test]
fn a_flood_of_looks_at_health_takes_nothing_from_others() {
    let mut target = Target::start();
    let port = target.port();
    let flood: Runtime = runtime();
    flood.block_on(async {
        let mut refused = 0;
        for n in 0..12 {
            let sender = connect(port).await;
            let path = if n % 4 == 3 { REFLECTION } else { CHECK };
            let mut calls = Vec::new();
            for _ in 0..4_000 {
                let Some(mut call) = begin(&sender, path).await else { break };
                // All but its last byte: whoever makes room for what is declared has 16 KiB less.
                drop(call.body.send_data(prefix(16 << 10), false));
                calls.push(call);
            }
            assert!(is_healthy(port).await, "after {n} connections");
            for call in calls {
                tokio::spawn(async move { call.status().await });
            }
            let sender = connect(port).await;
            let mut calls = Vec::new();
            for _ in 0..32 {
                calls.extend(begin(&sender, CHECK).await);
            }
            for call in calls.split_off(8) {
                refused += usize::from(call.status().await == Some(RESOURCE_EXHAUSTED));
            }
        }
        // Some may see no more than that they are over.
        assert!(refused >= 12 * 12, "{refused}: a connection has a few looks at health, no more");
    });
    target.stands("looks at health");
    drop(flood);
    target.stands("looks at health, after their end");
}

#[test]
fn watching_and_reflection_count_among_a_tenants_calls() {
    let mut target = Target::start();
    let port = target.port();
    runtime().block_on(async {
        let sender = connect_taking(port, 0).await;
        let (mut open, mut refused) = (Vec::new(), 0);
        for n in 0..2_000 {
            let path = if n % 2 == 0 { WATCH } else { REFLECTION };
            let Some(mut call) = begin(&sender, path).await else { break };
            // It may be refused before it has said this.
            if path == WATCH {
                call.send(prefix(0)).await;
                call.end();
            } else {
                call.send(prefix(5)).await;
            }
            match call.head().await {
                Some(Ok(code)) => {
                    assert_eq!(code, RESOURCE_EXHAUSTED);
                    refused += 1;
                    if refused > 20 {
                        break;
                    }
                }
                Some(Err(unread)) => open.push(unread),
                None => break,
            }
        }
        assert!(open.len() <= 1_024 && refused > 0, "{} open, {refused} refused", open.len());
        assert!(is_healthy(port).await);
    });
    target.stands("watches");
}

/// A record of 1 MiB, as the request that reads it.
async fn large_record(url: &str) -> Bytes {
    let client = Client::connect(url, ONCE).await.expect("a gateway");
    let body = vec![7; 1 << 20];
    client.put(&put("large", "main", &body, &evidence("US"))).await.expect("a put");
    let subject = api::SubjectRef { id: "large".to_owned(), domicile: "us-iad".to_owned() };
    let get = api::GetRecordRequest {
        subject: Some(subject),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
    };
    get.encode_to_vec().into()
}

#[test]
fn records_that_nobody_reads_are_let_go() {
    let mut target = Target::start();
    let (port, url) = (target.port(), target.0.gateway_url());
    let reader = runtime();
    let mut unread = reader.block_on(async {
        let get = large_record(&url).await;
        let (mut unread, mut refused): (Vec<Unread>, _) = (Vec::new(), 0);
        for window in [0, 1, 0, 1 << 14] {
            let sender = connect_taking(port, window).await;
            for _ in 0..500 {
                // One after another: none is in flight when the next is asked for.
                let Some(mut call) = begin(&sender, GET).await else { break };
                assert!(call.send([prefix(get.len()), get.clone()].concat().into()).await);
                call.end();
                match call.head().await {
                    Some(Ok(code)) => {
                        assert_eq!(code, RESOURCE_EXHAUSTED);
                        refused += 1;
                    }
                    Some(Err(answer)) => unread.push(answer),
                    None => break,
                }
            }
        }
        assert!(refused > 1_000, "{} records lie unread, {refused} were refused", unread.len());
        assert!(is_healthy(port).await);
        unread
    });
    target.stands("unread records");
    // Who does not read loses what it does not read, and then its connection.
    target.wait_seats_free(Duration::from_secs(90));
    reader.block_on(async {
        for answer in &mut unread {
            assert!(answer.cut_off().await, "an answer that nobody reads is kept");
        }
        large_record(&url).await;
    });
    target.stands("unread records, after their end");
}
