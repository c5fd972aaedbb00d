//! Bearer tokens: a token whole, its claims as if somebody had signed them, and the issuer's keys.

use std::sync::LazyLock;

use gateway::fuzzing::Bearers;

static BEARERS: LazyLock<Bearers> = LazyLock::new(Bearers::new);

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    BEARERS.token(data);
    BEARERS.claims(data);
    BEARERS.keys(data);
}
