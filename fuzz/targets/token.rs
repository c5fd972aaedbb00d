//! Bearer tokens: a token whole, its claims as if somebody had signed them, and the issuer's keys.

#![no_main]

use std::sync::LazyLock;

use gateway::fuzzing::Bearers;
use libfuzzer_sys::fuzz_target;

static BEARERS: LazyLock<Bearers> = LazyLock::new(Bearers::new);

fuzz_target!(|data: &[u8]| {
    BEARERS.token(data);
    BEARERS.claims(data);
    BEARERS.keys(data);
});
