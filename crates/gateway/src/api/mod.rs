//! The services: each method from its request to its answer.

mod attributes;
mod batch;
mod batch_atomic;
pub(crate) mod context;
mod delete;
mod erase;
mod export;
mod get;
mod held;
mod list;
mod list_merge;
mod list_request;
mod page_token;
mod patch;
mod pinned_map;
pub(crate) mod put;
mod put_stream;
pub(crate) mod records;
pub(crate) mod refusal;
pub(crate) mod region_maps;
pub(crate) mod request;
mod response;
mod scan;
mod subject_request;
pub(crate) mod subjects;
mod touch;
mod watch;
