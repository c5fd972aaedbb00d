//! Entries for people and programs: which are wanted, and how they are shown.

use std::ops::Range;

use ledger::entry::{Caller, Detail, Entry, Kind, MapRef, Minute};
use serde_json::{Map, Value, json};

/// The headings of [`row`].
pub const HEADINGS: [&str; 7] =
    ["index", "time (UTC)", "kind", "collection", "jurisdictions", "caller", "what else"];

/// Which entries are wanted: those that fit all of it. The default is every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Of one of these kinds; empty: of any.
    pub kinds: Vec<Kind>,
    /// Of these minutes since 1970-01-01T00:00Z.
    pub minutes: Range<u64>,
    /// To which this jurisdiction attached.
    pub jurisdiction: Option<String>,
    /// Of this collection.
    pub collection: Option<String>,
    /// With these numbers.
    pub indexes: Range<u64>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            kinds: Vec::new(),
            minutes: 0..u64::MAX,
            jurisdiction: None,
            collection: None,
            indexes: 0..u64::MAX,
        }
    }
}

// === impl Filter ===

impl Filter {
    /// Whether an entry is wanted.
    pub fn fits(&self, index: u64, entry: &Entry) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&entry.kind))
            && self.indexes.contains(&index)
            && self.minutes.contains(&u64::from(entry.minute))
            && self.jurisdiction.as_ref().is_none_or(|it| entry.jurisdictions.contains(it))
            && self.collection.as_ref().is_none_or(|it| entry.collection.as_ref() == Some(it))
    }
}

/// An entry as a JSON object; what it does not say is left out.
pub fn json(index: u64, entry: &Entry) -> Value {
    let mut object = Map::new();
    let mut set = |name: &str, value: Value| {
        object.insert(name.to_owned(), value);
    };
    set("index", index.into());
    set("kind", entry.kind.as_str().into());
    set("time", Minute(entry.minute).to_string().into());
    if let Some(tag) = &entry.tenant_tag {
        set("tenant_tag", hex::encode(tag).into());
    }
    if let Some(collection) = &entry.collection {
        set("collection", collection.as_str().into());
    }
    for (name, list) in [
        ("jurisdictions", &entry.jurisdictions),
        ("statutes", &entry.statutes),
        ("clauses", &entry.clauses),
    ] {
        if !list.is_empty() {
            set(name, list.as_slice().into());
        }
    }
    if let Some(MapRef { epoch, digest }) = &entry.map {
        set("map", json!({"epoch": epoch, "digest": hex::encode(digest)}));
    }
    if !entry.evidence_kinds.is_empty() {
        set("evidence_kinds", entry.evidence_kinds.iter().map(|kind| kind.as_str()).collect());
    }
    if let Some(Caller { role, tag, territory }) = &entry.caller {
        set(
            "caller",
            json!({"role": role.as_str(), "tag": hex::encode(tag), "territory": territory}),
        );
    }
    if let Some(earlier) = entry.earlier {
        set("earlier", earlier.into());
    }
    for detail in &entry.details {
        let (name, value) = json_of(detail);
        set(name, value);
    }
    if let Some(commitment) = &entry.commitment {
        set("commitment", hex::encode(commitment).into());
    }
    Value::Object(object)
}

fn json_of(detail: &Detail) -> (&'static str, Value) {
    match detail {
        Detail::Count(count) => ("count", (*count).into()),
        Detail::Reason(text) => ("reason", text.as_str().into()),
        Detail::OldHead { origin, size, root } => {
            ("old_head", json!({"origin": origin, "size": size, "root": root.to_base64()}))
        }
        Detail::Peer { origin, index } => ("peer", json!({"origin": origin, "index": index})),
        Detail::Deadline(minute) => ("deadline", Minute(*minute).to_string().into()),
        Detail::LogKey(vkey) => ("log_key", vkey.as_str().into()),
        Detail::PhoneData(version) => ("phone_data", version.as_str().into()),
        Detail::IpData(version) => ("ip_data", version.as_str().into()),
        Detail::Signers(names) => ("signers", names.as_str().into()),
        Detail::Region(name) => ("region", name.as_str().into()),
        Detail::References(all) => ("references", all.as_str().into()),
    }
}

/// An entry as a row of a table, under [`HEADINGS`]. Digests and commitments are left out: JSON has
/// them.
pub fn row(index: u64, entry: &Entry) -> [String; 7] {
    let caller = entry.caller.as_ref().map_or_else(String::new, |caller| {
        let territory = caller.territory.as_deref();
        territory.map_or_else(|| caller.role.to_string(), |at| format!("{}@{at}", caller.role))
    });
    let mut else_said = Vec::new();
    for (name, list) in [("statutes", &entry.statutes), ("clauses", &entry.clauses)] {
        if !list.is_empty() {
            else_said.push(format!("{name}={}", list.join(",")));
        }
    }
    else_said.extend(entry.map.map(|map| format!("map={}", map.epoch)));
    else_said.extend(entry.earlier.map(|earlier| format!("earlier={earlier}")));
    else_said.extend(entry.details.iter().map(ToString::to_string));
    [
        index.to_string(),
        Minute(entry.minute).to_string(),
        entry.kind.to_string(),
        entry.collection.clone().unwrap_or_default(),
        entry.jurisdictions.join(","),
        caller,
        else_said.join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use ledger::entry::Role;

    use super::*;

    fn place() -> Entry {
        let mut entry = Entry::new(Kind::Place, 29_000_000);
        entry.collection = Some("profile".to_owned());
        entry.jurisdictions = vec!["RU".to_owned()];
        entry.caller = Some(Caller { role: Role::Writer, tag: [1; 16], territory: None });
        entry.details.push(Detail::Reason("support case".to_owned()));
        entry
    }

    #[test]
    fn a_filter_lets_through_what_fits_all_of_it() {
        let fits = |filter: Filter| filter.fits(7, &place());
        assert!(fits(Filter::default()));
        assert!(fits(Filter { kinds: vec![Kind::Map, Kind::Place], ..Filter::default() }));
        assert!(!fits(Filter { kinds: vec![Kind::Map], ..Filter::default() }));
        assert!(!fits(Filter { indexes: 8..9, ..Filter::default() }));
        assert!(fits(Filter { indexes: 7..8, ..Filter::default() }));
        assert!(!fits(Filter { minutes: 0..29_000_000, ..Filter::default() }));
        assert!(fits(Filter { minutes: 29_000_000..29_000_001, ..Filter::default() }));
        let of = |text: &str| Some(text.to_owned());
        assert!(!fits(Filter { jurisdiction: of("KZ"), ..Filter::default() }));
        assert!(fits(Filter { jurisdiction: of("RU"), ..Filter::default() }));
        assert!(!fits(Filter { collection: of("orders"), ..Filter::default() }));
    }

    #[test]
    fn an_entry_has_one_object_and_one_row() {
        let object = json(7, &place());
        assert_eq!(object["kind"], "PLACE");
        assert_eq!(object["time"], "2025-02-19T21:20Z");
        assert_eq!(object["reason"], "support case");
        assert_eq!(object.get("commitment"), None);
        let row = row(7, &place());
        assert_eq!(row[0], "7");
        assert_eq!(row[5..], ["writer", "reason=\"support case\""]);
    }
}
