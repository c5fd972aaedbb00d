//! Slots of regions, as an answer about maps has them, in words and in JSON.

use client::api;
use serde_json::{Value, json as object};

/// Ranges as text, such as `0-511, 600`.
pub(crate) fn ranges(ranges: &[api::SlotRange]) -> String {
    let range = |api::SlotRange { first, last }: &api::SlotRange| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// A line for each thing that is wrong with the slots of a region.
pub(crate) fn said(unserved: &api::UnservedSlots) -> Vec<String> {
    let api::UnservedSlots { region, missing, contested } = unserved;
    let mut lines = Vec::new();
    if !missing.is_empty() {
        lines.push(format!("{region}: no shard within reach serves slots {}", ranges(missing)));
    }
    if !contested.is_empty() {
        lines.push(format!("{region}: several shards own slots {}", ranges(contested)));
    }
    lines
}

/// The same as an object.
pub(crate) fn json(unserved: &api::UnservedSlots) -> Value {
    let api::UnservedSlots { region, missing, contested } = unserved;
    object!({ "region": region, "missing": ranges(missing), "contested": ranges(contested) })
}
