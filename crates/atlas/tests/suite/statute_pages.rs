//! The pages of `docs/statutes` are those that the packs give.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::expect::{expect, updating};
use atlas::{StatutePack, packs, statute_index};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/statutes")
}

#[test]
fn every_page_is_as_its_pack_says() {
    if updating() {
        std::fs::create_dir_all(folder()).expect("a folder");
    }
    for pack in packs() {
        expect(&folder().join(format!("{}.md", pack.id())), &pack.page());
    }
    expect(&folder().join("README.md"), &statute_index(packs()));
}

#[test]
fn no_page_is_left_over() {
    let ids = packs().iter().map(|pack| format!("{}.md", pack.id()));
    let mut known: BTreeSet<String> = ids.collect();
    known.insert("README.md".to_owned());
    for entry in std::fs::read_dir(folder()).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if !known.contains(&name) && updating() {
            std::fs::remove_file(&path).expect("a file");
        } else {
            assert!(known.contains(&name), "{name} is of no pack");
        }
    }
}

#[test]
fn every_page_keeps_to_what_it_can_know() {
    for pack in packs() {
        let page = pack.page();
        assert!(page.contains("not legal advice"), "{}", pack.id());
        assert!(page.contains(&format!("id = \"{}\"", pack.id())));
        for rule in pack.rules() {
            assert!(page.contains(&rule.says), "{}: {}", pack.id(), rule.says);
        }
        assert!(pack.draft().is_none_or(|because| page.contains(because)));
        // Nobody pastes a decision that they did not take.
        assert_eq!(page.contains("citizens_abroad = \"?\""), pack.asks_citizenship());
        assert_eq!(page.contains("reading = \"?\""), !pack.readings().is_empty());
        assert_eq!(page.contains("collections = [\"?\"]"), pack.data().is_some());
    }
}

#[test]
fn each_source_has_its_own_day_and_kind() {
    let pack = packs().iter().find(|pack| pack.id().as_str() == "ru-152fz-12").expect("shipped");
    let (page, text) = (pack.page(), pack.text());
    assert!(page.contains("| `roedl.com/insights/russia-data-transfer-cross-border` |"));
    assert!(page.contains("| kind of source | not official |"));
    assert!(page.contains("/news74664.htm`, official |"));
    let dated = text.replacen("official = true", "official = true\nlooked_at = 2026-11-28", 1);
    let page = StatutePack::parse(&dated).expect("a pack").page();
    assert_eq!(page.matches("/news74664.htm`, official, looked at 2026-11-28 |").count(), 1);
    // Neither says anything without a source.
    for key in ["official = true", "looked_at = 2026-11-28"] {
        let of_none =
            text.replacen("verified = \"memory\"", &format!("verified = \"memory\"\n{key}"), 1);
        let wrong = StatutePack::parse(&of_none).expect_err("of no source");
        assert!(wrong.iter().any(|one| one.code == "SETTING_UNUSED"), "{key}: {wrong:?}");
    }
}
