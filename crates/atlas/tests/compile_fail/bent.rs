//! A placement stays what the ruling made it.

use atlas::{Outcome, Placement, Ruling};

fn elsewhere(mut placement: Placement, region: terms::RegionId) -> Placement {
    placement.region = region;
    placement
}

fn overruled(mut ruling: Ruling, outcome: Outcome) -> Ruling {
    ruling.outcome = outcome;
    ruling
}

fn main() {
    let _elsewhere = elsewhere;
    let _overruled = overruled;
}
