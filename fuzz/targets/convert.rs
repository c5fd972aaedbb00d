//! The requests of the public API, from their bytes to what a gateway makes of them. The first
//! byte chooses the request.

use std::sync::LazyLock;

use gateway::fuzzing::Requests;

/// With an area that nobody has decided, which the corpus asks for in each form of its addresses
/// and numbers.
const MAP: &str = concat!(
    include_str!("../../tests/evidence/map.toml"),
    r#"
[[disputed]]
name = "area"
addresses = ["203.0.113.0/24", "2001:db8::/32"]
numbers = ["+7978", "+38069", "+99544"]
claims = ["RU", "UA"]
"#
);
static REQUESTS: LazyLock<Option<Requests>> = LazyLock::new(|| Requests::of_map(MAP));

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    let Some((which, message)) = data.split_first() else { return };
    REQUESTS.as_ref().expect("the map is valid").read(*which, message);
}
