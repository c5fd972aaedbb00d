//! The canary search: bodies that keep their bytes at rest, so that a byte in the wrong place can
//! be seen. Built with the feature `visible-bodies` alone; `tests/run` does so.

#[expect(dead_code, reason = "each test file uses its own part")]
#[path = "e2e/support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;

use support::evidence::{PEOPLE, people};
use support::process::run;
use support::{Deployment, Options, file, search};

#[test]
fn no_body_lies_in_another_regions_files() {
    let people = people();
    for engine in ["sled", "fjall"] {
        let options = Options { engine, ..Options::default() };
        let regions = options.regions.clone();
        let mut deployment = Deployment::start(&options);
        let url = deployment.gateway_url();
        let rows = file(PEOPLE);
        let rows = rows.to_str().expect("a path that is text");
        let done = run(&["import", "--gateway", &url, "--json", rows]);
        assert_eq!(done.code, 0, "{}", done.stderr);
        assert_eq!(deployment.gateway().stop(), 0);
        for region in &regions {
            assert_eq!(deployment.shard(region).stop(), 0);
            let said = deployment.stderr(region);
            assert!(said.contains("not sealed"), "a shard of this build says so: {said}");
        }

        // Exactly the region's own: data, checkpoints, keys.
        for region in &regions {
            let own: BTreeSet<String> = people
                .iter()
                .filter(|person| person.expected.as_deref() == Ok(*region))
                .map(|person| person.id.clone())
                .collect();
            let home = deployment.data_dir(region);
            let home = home.parent().expect("a home");
            assert_eq!(search::ids(home), own, "{region} on {engine}");
        }
        // Nothing at all in what else the processes write: the gateway's and the shards' logs.
        let logs = deployment.root().join("logs");
        fs::create_dir(&logs).expect("a folder");
        for entry in fs::read_dir(deployment.root()).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let name = path.file_name().expect("a name");
                fs::copy(&path, logs.join(name)).expect("a copy");
            }
        }
        assert_eq!(search::ids(&logs), BTreeSet::new(), "logs and configs on {engine}");

        // The search sees one that is planted, in the middle of a file.
        let home = deployment.data_dir("kz-ala");
        let stranger = people.iter().find(|p| p.expected.as_deref() == Ok("ru-msk"));
        let stranger = &stranger.expect("a Russian").id;
        let planted = home.join("planted");
        fs::write(&planted, format!("{}{stranger}{}", "x".repeat(5000), "y".repeat(5000)))
            .expect("a file can be written");
        assert!(search::ids(&home).contains(stranger));
    }
}
