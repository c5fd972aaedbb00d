//! The documentation is true: the README's Rust program runs, and the page of metrics has what
//! servers show.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::process::get;
use crate::support::{Deployment, Options, file};
use client::{Client, Settings, api};
use tokio::runtime::Runtime;
use uuid::Uuid;

/// The block of the README that starts with this fence.
pub(crate) fn block(fence: &str) -> String {
    let readme = fs::read_to_string(file("README.md")).expect("a README");
    let (_, rest) = readme.split_once(fence).expect("the README has the block");
    rest.split_once("```").expect("a block ends").0.to_owned()
}

async fn put_and_get(gateway: &str) -> Result<api::Record, client::Error> {
    let client = Client::connect(gateway, Settings::DEFAULT).await?;
    let request = api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: "p-2".into(), domicile: String::new() }),
        collection: "profiles".into(),
        key: "main".into(),
        body: "hello".into(),
        evidence: vec![api::Evidence {
            kind: api::EvidenceKind::Residence.into(),
            value: "DE".into(),
            observe_time: None,
        }],
        create_subject: true,
        request_id: Uuid::new_v4().into(),
        ..api::PutRecordRequest::default()
    };
    let subject = client.put(&request).await?.answer.subject;
    let (collection, key) = (request.collection, request.key);
    client.get(&api::GetRecordRequest { subject, collection, key, ..Default::default() }).await
}

#[test]
fn the_rust_program_of_the_readme_is_this_one_and_runs() {
    let shown = block("```rust\n");
    assert!(include_str!("docs.rs").contains(&shown), "the README shows another program:\n{shown}");
    let deployment = Deployment::start(&Options { regions: vec!["eu-fra"], ..Options::default() });
    let runtime = Runtime::new().expect("a runtime");
    let record = runtime.block_on(put_and_get(&deployment.gateway_url())).expect("a record");
    assert_eq!(record.body, "hello");
    assert_eq!(record.subject.expect("a subject").domicile, "eu-fra");
}

/// The Rust files below a folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let below = |path: PathBuf| if path.is_dir() { sources(&path) } else { vec![path] };
    let all = entries.flat_map(below);
    all.filter(|path| path.extension().is_some_and(|end| end == "rs")).collect()
}

/// The names in the first column of the tables of metrics.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(file("docs/metrics.md")).expect("a page");
    let rows = page.lines().filter(|line| line.starts_with("| `bailiwick_"));
    let names = |row: &str| -> Vec<String> {
        let column = row.split('|').nth(1).unwrap_or_default();
        column.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.flat_map(names).collect()
}

/// The names that a server shows, as Prometheus stores them.
fn shown(page: &str) -> Vec<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .map(|line| match line.split_once(' ').expect("a name and a type") {
            (name, "counter") => format!("{name}_total"),
            (name, _) => name.to_owned(),
        })
        .collect()
}

#[test]
fn the_page_of_metrics_has_what_servers_show_and_nothing_else() {
    let documented = documented();
    let options = Options { regions: vec!["eu-fra"], tls: true, ..Options::default() };
    let mut deployment = Deployment::start(&options);
    for admin in [deployment.gateway().admin(), deployment.shard("eu-fra").admin()] {
        let (_, page) = get(admin, "/metrics").expect("it answers");
        let shown = shown(&page);
        assert!(shown.len() > 20, "only {} metrics", shown.len());
        let missing: Vec<_> = shown.iter().filter(|name| !documented.contains(*name)).collect();
        assert!(missing.is_empty(), "docs/metrics.md lacks {missing:?}");
    }
    let code: String = ["src", "crates"]
        .iter()
        .flat_map(|folder| sources(&file(folder)))
        .map(|path| fs::read_to_string(path).expect("a source file"))
        .collect();
    for name in &documented {
        let bare = name.trim_start_matches("bailiwick_").trim_start_matches("audit_");
        let there = |name: &str| code.contains(&format!("\"{name}\""));
        let known = there(bare) || there(bare.trim_end_matches("_total"));
        assert!(known, "docs/metrics.md has {name}, which no code registers");
    }
}
