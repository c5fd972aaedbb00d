//! etcd, one member, called over gRPC as the load generator calls Bailiwick.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::{OfPeer, in_folders, program};
use crate::load::{CONNECTIONS, Load};
use crate::processes::{Running, wait_for};
use crate::system::{cpu_of, free_port};

/// `etcdserverpb.PutRequest`, the two fields that are used.
#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// `etcdserverpb.PutResponse`, whose header is not read.
#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

pub(crate) struct Etcd {
    process: Running,
    url: String,
}

impl Etcd {
    pub(super) fn start(folder: &Path) -> Result<Self> {
        let etcd = program(|| in_folders(&["/usr/bin", "/usr/local/bin"], "etcd"), "etcd-server")?;
        let (port, peer) = (free_port()?, free_port()?);
        let (url, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        let data = folder.join("etcd");
        let data = data.to_str().context("the folder's name is not UTF-8")?;
        let args = [
            "--data-dir",
            data,
            "--listen-client-urls",
            &url,
            "--advertise-client-urls",
            &url,
            "--listen-peer-urls",
            &peer,
            "--initial-advertise-peer-urls",
            &peer,
            "--initial-cluster",
            &format!("default={peer}"),
            "--log-level",
            "error",
        ];
        let process = Running::start(&etcd, &args, Stdio::null())?;
        wait_for(port)?;
        Ok(Self { process, url })
    }

    pub(super) async fn measure(&self, load: &Load, in_flight: usize) -> Result<OfPeer> {
        let mut clients = Vec::new();
        for _ in 0..CONNECTIONS {
            let endpoint = Endpoint::from_shared(self.url.clone())?.tcp_nodelay(true);
            clients.push(endpoint.connect().await.context("etcd does not answer")?);
        }
        let (own, its) = (cpu_of("self"), self.process.cpu());
        let of = load.clone();
        let measured = load
            .unary(clients, in_flight, move |channel, n| {
                let value = Bytes::from(of.body_of(n));
                put(channel, PutRequest { key: format!("bench-{n}").into(), value })
            })
            .await?;
        let us = |spent: std::time::Duration| {
            let calls = u32::try_from(measured.done + measured.failed).unwrap_or(u32::MAX).max(1);
            spent.as_secs_f64() * 1e6 / f64::from(calls)
        };
        let cpu = [us(cpu_of("self") - own), us(self.process.cpu() - its), 0.0];
        Ok(("etcd: put".to_owned(), measured, Some(cpu)))
    }
}

async fn put(channel: Channel, put: PutRequest) -> Result<()> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await?;
    let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
    let codec = ProstCodec::<PutRequest, PutResponse>::default();
    grpc.unary(Request::new(put), path, codec).await?;
    Ok(())
}
