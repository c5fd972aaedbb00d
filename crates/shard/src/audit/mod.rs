//! What auditors are served: the `Ledger` service, the pages of tlog-tiles, reconciliation.

pub(crate) mod access;
pub(crate) mod listener;
pub(crate) mod reconcile;
pub(crate) mod service;
pub(crate) mod tiles_http;
