//! Copies lie in their mirror's region, and in no third one.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use atlas::RegionMap;
use client::{Client, GetBuilder, api};
use tokio::runtime::Runtime;

use super::{RESERVE, Shards, Signed};
use crate::support::load::{PATIENT, put};
use crate::support::process::wait_until;
use crate::support::{Deployment, Options, search};

const REGIONS: [&str; 3] = ["eu-fra", "kz-ala", "ru-msk"];
const MARKER: &[u8] = b"a marker that stands nowhere else: 7c1f0b96";

fn has_marker(folder: &Path) -> bool {
    let mut found = false;
    search::files(folder, &mut |_, bytes| {
        found |= bytes.windows(MARKER.len()).any(|part| part == MARKER);
    });
    found
}

#[test]
fn a_copy_lies_in_its_mirrors_region_and_in_no_third_one() {
    let options = Options { regions: REGIONS.to_vec(), ..Options::default() };
    let mut deployment = Deployment::configure(&Options { regions: vec![], ..options });
    let text = fs::read_to_string(deployment.root().join("map.toml")).expect("a map");
    let mut shards = Shards {
        engine: engine::Kind::Sled,
        map: Arc::new(RegionMap::parse(&text).expect("a valid map")),
        signed: Signed::default(),
        running: BTreeMap::new(),
        peers: REGIONS.to_vec(),
    };
    for region in REGIONS {
        shards.make(&deployment, region);
        shards.serve(&deployment, region, RESERVE);
    }
    deployment.serve(&REGIONS);
    let runtime = Runtime::new().expect("a runtime");
    let url = deployment.gateway_url();
    let client = runtime.block_on(Client::connect(&url, PATIENT)).expect("a gateway");
    let of = [(api::EvidenceKind::Citizenship, "RU"), (api::EvidenceKind::Residence, "KZ")];
    let evidence = of.map(|(kind, value)| api::Evidence {
        kind: kind.into(),
        value: value.to_owned(),
        observe_time: None,
    });
    runtime.block_on(client.put(&put("anna", "k", MARKER, &evidence))).expect("a put");
    wait_until("the copy is there", Duration::from_secs(120), || {
        let get = GetBuilder::new("anna", "ru-msk", "profiles", "k").copy_in("kz-ala").build();
        runtime.block_on(client.get(&get)).is_ok_and(|found| *found.body == *MARKER)
    });
    assert_eq!(deployment.gateway().stop(), 0);
    shards.stop();
    for region in REGIONS {
        let found = has_marker(&deployment.root().join(region));
        assert_eq!(found, region != "eu-fra", "{region}");
    }
}
