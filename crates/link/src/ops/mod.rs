//! What operators see: health, metrics and the program's log. `net::admin_http` serves it.

pub mod health;
pub mod log_throttle;
pub mod logging;
pub mod metrics;
