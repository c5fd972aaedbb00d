//! A placement is made by `atlas::decide`, and by nothing else.

use atlas::Placement;

fn parts(like: &Placement) -> Placement {
    Placement {
        collection: like.collection().clone(),
        region: like.region().clone(),
        territory: like.territory(),
        epoch: like.epoch(),
    }
}

fn main() {
    let _nothing = Placement::default();
    let _parts = parts;
}
