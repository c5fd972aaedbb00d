//! Connections: listeners and their quotas, the operators' pages, and the HTTPS client.

pub mod admin_http;
pub mod admin_probe;
pub mod coalesce;
pub(crate) mod connection;
pub mod grpc_only;
pub(crate) mod http2_preface;
pub mod https_client;
pub mod listener;
pub mod object_store;
pub(crate) mod quotas;
