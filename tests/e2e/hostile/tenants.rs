//! A tenant that fills its part of the gateway beside one that does not, over TLS.

use std::time::Duration;

use client::{Client, api};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

use super::{PUT, Target, runtime};
use crate::support::load::{ONCE, evidence, put};
use crate::support::{Deployment, Options};

/// Messages as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        bytes::Buf::advance(buffer, bytes::Buf::remaining(buffer));
        Ok(Some(()))
    }
}

async fn channel(deployment: &Deployment) -> Channel {
    let authorities = Certificate::from_pem(deployment.secured().authorities());
    let tls = ClientTlsConfig::new().ca_certificate(authorities);
    let endpoint = Endpoint::from_shared(deployment.gateway_url()).expect("an address");
    endpoint.tls_config(tls).expect("a bundle").connect().await.expect("a gateway")
}

/// A put that is whole and never ends: what has come of it is held until it does.
async fn unended(channel: Channel, token: &str, bytes: usize) -> Code {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.expect("a connection");
    let message = api::PutRecordRequest { body: vec![7; bytes].into(), ..Default::default() };
    let (sender, messages) = mpsc::channel(1);
    sender.send(message.encode_to_vec()).await.expect("room");
    let mut request = Request::new(tokio_stream::wrappers::ReceiverStream::new(messages));
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", bearer);
    let path = http::uri::PathAndQuery::from_static(PUT);
    let answer = client.client_streaming(request, path, Raw).await;
    drop(sender);
    answer.map(drop).err().map_or(Code::Ok, |status| status.code())
}

async fn client(deployment: &Deployment, claims: &Value) -> Client {
    let secured = deployment.secured();
    let access = secured.with_token(&secured.token(claims));
    Client::connect_with(&deployment.gateway_url(), ONCE, access).await.expect("a gateway")
}

#[test]
fn a_tenant_that_fills_its_room_leaves_the_others_theirs() {
    let mut options = Options { tls: true, regions: vec!["eu-fra"], ..Options::default() };
    let tenant = "[[tenants]]\nname = \"sample\"\n";
    let both = format!("{tenant}\n[[tenants]]\nname = \"other\"\n");
    options.map = options.map.replace(tenant, &both);
    let mut target = Target(Deployment::start(&options));
    let runtime = runtime();
    runtime.block_on(async {
        let token = target.0.secured().token(&json!({}));
        let mut filling = Vec::new();
        // All of the room there is for everybody, to the last 64 KiB.
        let sizes = [(10 << 20, 14), (1 << 20, 20), (100 << 10, 30), (32 << 10, 20)];
        for (bytes, number) in sizes {
            for _ in 0..number {
                let (channel, token) = (channel(&target.0).await, token.clone());
                filling.push(tokio::spawn(async move { unended(channel, &token, bytes).await }));
            }
        }
        let other = client(&target.0, &json!({ "tenant": "other" })).await;
        let mut refused = 0;
        let body = vec![7; 64 << 10];
        let latest = Instant::now() + Duration::from_secs(120);
        while refused < 20 && Instant::now() < latest {
            let done = other.put(&put("quiet", "main", &body, &evidence("DE"))).await;
            done.expect("another tenant is served");
            refused = filling.iter().filter(|call| call.is_finished()).count();
        }
        assert!(refused >= 20, "{refused} calls of the first tenant were refused for want of room");
        for call in &filling {
            call.abort();
        }
        for call in filling {
            // One that was refused while it still sent may see nothing but its end.
            assert_ne!(call.await.ok(), Some(Code::Ok));
        }
        // And it is served again once it lets go.
        let sample = client(&target.0, &json!({})).await;
        let latest = Instant::now() + Duration::from_secs(120);
        while sample.put(&put("loud", "main", &body, &evidence("DE"))).await.is_err() {
            assert!(Instant::now() < latest, "the room is not given back");
            sleep(Duration::from_millis(50)).await;
        }
    });
    let high = target.memory_kib("gateway");
    assert!(high <= super::MEMORY_KIB_MAX, "the gateway had {high} KiB");
}
