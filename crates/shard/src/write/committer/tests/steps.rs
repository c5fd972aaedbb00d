//! Commands one after the other, and what they leave in the store.

use super::*;
use crate::write::command::Erase;

impl Stage {
    /// Does one command in a group of its own; what the answer says.
    pub(super) fn does(&mut self, action: Action) -> &'static str {
        let mut ops = VecDeque::from([self.op(0, action)]);
        self.committer.commit(&mut ops, false).expect("a commit");
        said(&self.answers.recv().expect("an answer").1)
    }

    /// The map in force becomes that one.
    pub(super) fn under(&mut self, map: &str) {
        let map = Arc::new(atlas::RegionMap::parse(map).expect("a map"));
        self.committer.rules.set_map(map);
    }
}

/// A record of `anna`.
pub(super) fn record(node: &Node, collection: &str, key: &str) -> Address {
    let owner = address(node, "anna").owner;
    let collection = Collection::parse(collection).expect("a name");
    let key = terms::RecordKey::parse(key).expect("a key");
    let row = node.namer.record(&owner, &collection, &key);
    Address { owner, collection, key, row }
}

/// An erasure of `anna`, by the request of that number.
pub(super) fn erase(node: &Node, collection: Option<&str>, n: u8) -> Action {
    Action::Erase(Box::new(Erase {
        owner: address(node, "anna").owner,
        collection: collection.map(|name| Collection::parse(name).expect("a name")),
        request: Some(request(n)),
        reason: "the person asked".to_owned(),
        deadline: None,
        ground: None,
        arose: None,
        validate_only: false,
        again: false,
        moved: None,
        opening: [7; 32],
    }))
}

/// The rows that begin so.
pub(super) fn rows_of(node: &Node, prefix: u8) -> Vec<(engine::Key, engine::Value)> {
    let limit = engine::ScanLimit { rows: 9_999, bytes: 64 << 20 };
    let span = engine::Span::prefix(&[prefix]);
    node.engine.scan(&span, engine::Order::Ascending, limit).expect("a scan").rows
}
