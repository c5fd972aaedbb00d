//! The services: each method from its request to its answer.

pub(crate) mod context;
pub(crate) mod health;
pub(crate) mod put;
pub(crate) mod put_stream;
pub(crate) mod records;
pub(crate) mod region_maps;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod subjects;
