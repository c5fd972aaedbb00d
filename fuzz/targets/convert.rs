//! The requests of the public API, from their bytes to what a gateway makes of them. The first
//! byte chooses the request.

#![no_main]

use std::sync::LazyLock;

use gateway::fuzzing::Requests;
use libfuzzer_sys::fuzz_target;

const SAMPLE: &str = include_str!("../../deploy/sample/map.toml");
static REQUESTS: LazyLock<Option<Requests>> = LazyLock::new(|| Requests::of_map(SAMPLE));

fuzz_target!(|data: &[u8]| {
    let Some((which, message)) = data.split_first() else { return };
    REQUESTS.as_ref().expect("the sample map is valid").read(*which, message);
});
