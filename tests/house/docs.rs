//! The documentation is true: links lead somewhere, every page is in the index, and the API
//! reference is that of the protos.

mod api;
mod links;
mod shown_by;

use std::fs;

use prost::Message as _;

#[test]
fn the_api_reference_is_that_of_the_protos() {
    let set = prost_types::FileDescriptorSet::decode(wire::DESCRIPTORS).expect("descriptors");
    let page = api::render(&set);
    let path = crate::root().join("docs/api.md");
    #[expect(clippy::disallowed_methods, reason = "how golden files are rewritten")]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    if update {
        fs::write(&path, &page).expect("the page can be written");
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/api.md is out of date: UPDATE_EXPECT=1 rewrites it");
    for wanted in ["## Records", "### PutRecordRequest", "| `request_id` | string | required |"] {
        assert!(page.contains(wanted), "{wanted}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let pages = links::pages();
    assert!(pages.len() > 20, "only {} pages were found", pages.len());
    let broken: Vec<String> = pages.iter().flat_map(|page| links::broken(page, &pages)).collect();
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let index = fs::read_to_string(crate::root().join("docs/README.md")).expect("an index");
    for entry in fs::read_dir(crate::root().join("docs")).expect("a folder") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        if name.ends_with(".md") && name != "README.md" {
            assert!(index.contains(&format!("({name})")), "docs/README.md does not list {name}");
        }
    }
}

#[test]
fn every_test_that_the_comparison_names_exists() {
    let page = fs::read_to_string(crate::root().join("docs/comparison.md")).expect("a page");
    let named = shown_by::named(&page);
    assert!(named.len() > 25, "only {} tests are named", named.len());
    let missing: Vec<String> = named.iter().filter_map(shown_by::missing).collect();
    assert!(missing.is_empty(), "tests that do not exist:\n{}", missing.join("\n"));
}
