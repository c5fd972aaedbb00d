//! Callers without identity that flood health, and callers that do not read their answers.

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

/// Whether a health check is answered that the gateway serves.
async fn is_healthy(port: u16) -> bool {
    let sender = connect(port).await;
    let mut call = begin(&sender, CHECK).await.expect("a call can begin");
    assert!(call.send(prefix(0)).await);
    call.end();
    call.status().await == Some(0)
}

#[test]
fn a_flood_of_health_checks_takes_nothing_from_others() {
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
                // A message that never comes: a server that reserves what is declared has 4 KiB less.
                drop(call.body.send_data(prefix(4 << 10), false));
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
        assert!(refused >= 12 * 12, "{refused}: a connection has a few health calls, no more");
    });
    target.stands("health checks");
    drop(flood);
    target.stands("health checks, after their end");
}

#[test]
fn a_connection_has_few_calls_of_health_and_reflection() {
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
        assert!(open.len() <= 8 && refused > 0, "{} open, {refused} refused", open.len());
        assert!(is_healthy(port).await);
    });
    target.stands("watches");
}

/// Stores a record of 1 MiB; gives the request that reads it.
async fn large_record(url: &str) -> Bytes {
    let client = Client::connect(url, ONCE).await.expect("a gateway");
    let body = vec![7; 1 << 20];
    client.put(&put("large", "main", &body, &evidence("US"))).await.expect("a put");
    let subject = api::SubjectRef { id: "large".to_owned(), domicile: "us-iad".to_owned() };
    let get = api::GetRecordRequest {
        subject: Some(subject),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        ..Default::default()
    };
    get.encode_to_vec().into()
}

#[test]
fn records_that_are_not_read_are_given_up_with_their_connection() {
    let mut target = Target::start();
    let (port, url) = (target.port(), target.0.gateway_url());
    let reader = runtime();
    let mut unread = reader.block_on(async {
        let get = large_record(&url).await;
        let (mut unread, mut refused): (Vec<Unread>, _) = (Vec::new(), 0);
        for window in [0, 1, 0, 1 << 14] {
            let sender = connect_taking(port, window).await;
            for _ in 0..150 {
                // One after another: none is in flight when the next begins.
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
        assert!(refused > 300, "{} records lie unread, {refused} were refused", unread.len());
        assert!(is_healthy(port).await);
        unread
    });
    target.stands("unread records");
    // A caller that does not read loses its connection.
    target.wait_seats_free(Duration::from_secs(180));
    reader.block_on(async {
        for answer in &mut unread {
            assert!(answer.cut_off().await, "an answer that is not read is kept");
        }
        large_record(&url).await;
    });
    target.stands("unread records, after their end");
}
