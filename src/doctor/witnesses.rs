//! Checks that a shard's witnesses answer, and verify against their authorities.

use std::time::Duration;

use link::net::https_client::{Error, https_get};
use terms::with_causes;

use crate::doctor::line::Line;
use crate::doctor::target::Target;

const CHECK: &str = "witnesses";
/// Time in which a witness must answer, and bytes of its answer: as shards have it.
const WITHIN: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// A line for each witness.
pub(super) async fn all(target: &Target) -> Vec<Line> {
    let mut lines = Vec::new();
    let Some(shard) = target.shard() else { return lines };
    for witness in &shard.log.witnesses {
        let who = format!("{} at {}", witness.key.name(), witness.address);
        let pem = witness.authorities.as_deref();
        // Nothing is submitted: whatever it answers to a question, it is there.
        let asked = https_get(&witness.address, pem, ANSWER_BYTES_MAX, WITHIN).await;
        lines.push(match asked {
            Ok(_) | Err(Error::Status(_) | Error::TooLarge) => {
                Line::ok(CHECK, format!("{who} answers"))
            }
            Err(error) => {
                let cure = "check the witness and the network, or correct `url` and `ca`";
                Line::warn(CHECK, format!("{who}: {}", with_causes(&error)), cure)
            }
        });
    }
    lines
}
