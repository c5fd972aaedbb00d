//! Connections: listeners, their quotas, and the HTTPS client.

pub(crate) mod connection;
pub mod grpc_only;
pub(crate) mod http2_preface;
pub mod https_client;
pub mod listener;
pub(crate) mod quotas;
