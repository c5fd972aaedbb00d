//! Callers that do not read their answers, over loopback.

use terms::Reason;
use tonic::transport::Channel;
use wire::session::{self as proto, reply::Outcome};
use wire::v1::records_client::RecordsClient;

use super::rig::*;

/// A client that gives no room for answers until it is asked to.
async fn deaf(rig: &Rig) -> RecordsClient<Channel> {
    let endpoint = Channel::from_shared(format!("http://{}", rig.addr)).unwrap();
    RecordsClient::new(endpoint.initial_stream_window_size(0).connect().await.unwrap())
}

fn found(bytes: usize) -> Outcome {
    Outcome::Found(proto::Found { body: vec![7; bytes].into(), version: 1, ..Default::default() })
}

#[tokio::test]
async fn a_call_whose_answer_is_not_read_keeps_its_permit() {
    let mut shard = Shard::start(welcome("us-iad", "US")).await;
    let rig = Rig::with(&[("us-iad", &shard.address)], 2).await;
    let mut conn = shard.conn().await;
    rig.until_up("us-iad").await;
    let mut reading = Vec::new();
    for _ in 0..2 {
        let mut client = deaf(&rig).await;
        reading.push(tokio::spawn(async move { client.get(get_in("us-iad")).await }));
        let call = conn.call().await;
        conn.reply(call.id, found(100)).await;
    }
    // Nothing is in flight on the session, and the permits are taken: the answers that are not read
    // are made, and there was time to give the permits back.
    let mut client = rig.client().await;
    for _ in 0..20 {
        let status = refused(client.get(get_in("us-iad")).await);
        assert_eq!(reason(&status), Reason::GatewayBusy);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    reading.iter().for_each(|task| task.abort());
    rig.until_idle().await;
    let serve = async {
        let call = conn.call().await;
        conn.reply(call.id, found(1 << 20)).await;
    };
    let (answer, ()) = tokio::join!(client.get(get_in("us-iad")), serve);
    assert_eq!(answer.unwrap().into_inner().body.len(), 1 << 20);
    rig.until_idle().await;
}

#[tokio::test]
async fn records_that_are_not_read_are_bounded_by_their_bytes() {
    let (rig, _shard, mut conn) = Rig::with_shard("us-iad", "US").await;
    let mut reading = Vec::new();
    let mut client = deaf(&rig).await;
    // The gateway has room for 128 MiB: eight records of 16 MiB.
    for _ in 0..8 {
        let mut client = client.clone();
        reading.push(tokio::spawn(async move { client.get(get_in("us-iad")).await }));
        let call = conn.call().await;
        conn.reply(call.id, found(16 << 20)).await;
    }
    let refused_one = async {
        let status = refused(client.get(get_in("us-iad")).await);
        assert_eq!(reason(&status), Reason::TenantBusy);
    };
    let serve = async {
        loop {
            let call = conn.call().await;
            conn.reply(call.id, found(16 << 20)).await;
        }
    };
    tokio::select! {
        () = within(refused_one) => {}
        () = serve => {}
    }
    reading.iter().for_each(|task| task.abort());
    rig.until_idle().await;
}
