//! The region map, a region's annex, and what a shard keeps of findings: what is read is valid,
//! and nothing panics.

#![no_main]

use std::sync::LazyLock;

use atlas::{Annex, Findings, RegionMap};
use libfuzzer_sys::fuzz_target;

const SAMPLE: &str = include_str!("../../deploy/sample/map.toml");
static MAP: LazyLock<Option<RegionMap>> = LazyLock::new(|| RegionMap::parse(SAMPLE).ok());

fuzz_target!(|data: &[u8]| {
    if let Ok(findings) = Findings::decode(data) {
        assert!(findings.encode() == data, "findings have one form");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(found) = RegionMap::parse(text) {
        assert!(!found.is_empty(), "a refusal says what is wrong");
        found.iter().for_each(|diagnostic| drop(diagnostic.to_string()));
    }
    let map = MAP.as_ref().expect("the sample map is valid");
    if let Err(found) = Annex::parse(text, map) {
        assert!(!found.is_empty(), "a refusal says what is wrong");
    }
});
