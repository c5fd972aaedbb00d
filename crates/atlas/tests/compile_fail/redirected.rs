//! A placement for one region gives none for another.

use atlas::Placement;

fn redirected(like: Placement, region: terms::RegionId) -> Placement {
    Placement { region, ..like }
}

fn main() {
    let _redirected = redirected;
}
