//! A client that seals, and a region that no longer knows the key or cannot give it now: the key is
//! fetched again, and the same request is sealed and sent again, as often as it should be.

use std::time::Duration;

use client::{Access, BulkEvent, BulkPut, Client, api};
use ledger::note::Signer;
use sealed::{RegionKey, identity_name};
use tonic::{Code, Request, Response, Status};
use wire::v1::transit_server::Transit;

use super::desk::{Desk, Say, client, put};
use super::no;

/// What a seal adds to the ten bytes of a body.
const SEALED_BYTES: usize = 58;

#[tonic::async_trait]
impl Transit for Desk {
    async fn get_key(
        &self,
        request: Request<api::GetTransitKeyRequest>,
    ) -> Result<Response<api::TransitKey>, Status> {
        let Say::Key(note) = self.note("key", &request, "", 0)? else {
            panic!("the script has another answer than a key");
        };
        Ok(Response::new(api::TransitKey { note }))
    }
}

fn signer() -> Signer {
    Signer::from_seed(&identity_name("sample", "ru-msk"), &[1; 32]).unwrap()
}

/// A key of the region, for as long as there is a clock.
fn key(seed: u8) -> Say {
    let key = RegionKey::derive("ru-msk", &[seed; 32]);
    Say::Key(key.publish("sample", &signer(), 0, u64::MAX).unwrap())
}

fn unknown() -> Say {
    no(Code::FailedPrecondition, "TRANSIT_KEY_UNKNOWN")
}

fn sealing(desk: &Desk) -> Client {
    let access = Access { tenant: Some("sample".to_owned()), ..Default::default() };
    client(desk, access).sealed([signer().vkey()]).unwrap()
}

#[tokio::test]
async fn a_key_that_is_no_longer_known_is_fetched_once_more_and_not_twice() {
    let put = put(false);
    let get = api::GetRecordRequest {
        subject: put.subject.clone(),
        collection: put.collection.clone(),
        key: put.key.clone(),
        ..Default::default()
    };
    let patch = api::PatchRecordRequest {
        subject: put.subject.clone(),
        collection: put.collection.clone(),
        key: put.key.clone(),
        request_id: put.request_id.clone(),
        body: Some(put.body.clone()),
        ..Default::default()
    };
    let list = api::ListRecordsRequest {
        subject: put.subject.clone(),
        collection: put.collection.clone(),
        view: api::RecordView::Whole.into(),
        ..Default::default()
    };
    let export = api::ExportSubjectRequest { subject: put.subject.clone(), ..Default::default() };
    for call in ["put", "get", "patch", "list", "export"] {
        for (code, last) in [
            (Code::FailedPrecondition, "TRANSIT_KEY_UNKNOWN"),
            (Code::PermissionDenied, "NOT_PERMITTED"),
        ] {
            let desk = Desk::start(None, vec![key(1), unknown(), key(2), no(code, last)]).await;
            let client = sealing(&desk);
            let answer = match call {
                "put" => client.put(&put).await.map(drop),
                "get" => client.get(&get).await.map(drop),
                "list" => client.list_page(&list).await.map(drop),
                "export" => client.export_subject(export.clone()).await.map(drop),
                _ => client.patch(&patch).await.map(drop),
            };
            let error = answer.unwrap_err();
            assert_eq!(error.refused().unwrap().reason, last, "{call}");
            assert_eq!(desk.calls(), ["key", call, "key", call]);
            if !["get", "list", "export"].contains(&call) {
                let asked = desk.asked();
                assert_eq!(asked[1], asked[3], "the same request");
                assert_eq!(asked[1].request_id, put.request_id);
                assert_eq!(asked[1].body, SEALED_BYTES);
            }
        }
    }
}

#[tokio::test]
async fn an_import_waits_for_a_key_and_sends_a_row_again_whose_key_is_no_longer_known() {
    // As often as one call is tried: the key cannot be had for now.
    let away = (0..4).map(|_| no(Code::Unavailable, "REGION_UNAVAILABLE"));
    let mut script = vec![Say::Done];
    script.extend(away);
    script.extend([key(1), unknown(), key(2), no(Code::PermissionDenied, "NOT_PERMITTED")]);
    let desk = Desk::start(None, script).await;
    let client = sealing(&desk);
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    sender.send(BulkPut { number: 7, request: Ok(put(false)) }).await.unwrap();
    drop(sender);
    let mut reasons = Vec::new();
    let mut report = |event: BulkEvent<'_>| match event {
        BulkEvent::Refused { number, reason, .. } => reasons.push((number, reason.to_owned())),
        BulkEvent::Stored { .. } | BulkEvent::Reopened(_) => panic!("no such answer was given"),
    };
    client.put_all(receiver, Duration::from_secs(600), &mut report).await.unwrap();
    assert_eq!(reasons, [(7, "NOT_PERMITTED".to_owned())]);
    let calls = desk.calls();
    assert_eq!(calls, ["stream_put", "key", "key", "key", "key", "key", "item", "key", "item"]);
}
