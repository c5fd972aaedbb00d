//! What operators see: the admin page, metrics, the program's log.

pub mod admin_http;
pub mod log_throttle;
pub mod logging;
pub mod metrics;
