//! The pages of the built-in packs say what the packs say.

use atlas::{StatutePack, packs, statute_index};

#[test]
fn every_page_says_what_its_pack_says() {
    let index = statute_index(packs());
    for pack in packs() {
        let page = pack.page();
        assert!(index.contains(&format!("[{0}]({0}.md)", pack.id())));
        assert!(page.contains("not legal advice"), "{}", pack.id());
        assert!(page.contains(&format!("id = \"{}\"", pack.id())));
        for rule in pack.rules() {
            assert!(page.contains(&rule.says), "{}: {}", pack.id(), rule.says);
        }
        for ground in pack.exemptions() {
            assert!(page.contains(&format!("{}/{}", pack.id(), ground.id)), "{}", pack.id());
        }
        for term in pack.erasures() {
            assert!(page.contains(&term.says), "{}: {}", pack.id(), term.says);
        }
        assert!(pack.draft().is_none_or(|because| page.contains(because)));
        // The snippet leaves the operator's decisions open.
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

#[test]
fn terms_of_erasure_are_read_strictly() {
    let pack = packs().iter().find(|pack| pack.id().as_str() == "ru-152fz").expect("shipped");
    assert_eq!(pack.erasures().len(), 4);
    for (from, to, code) in [
        ("ground = \"unlawful\"", "ground = \"demand\"", "NAME_DUPLICATE"),
        ("within = 30", "within = 0", "LIMIT_RANGE"),
        ("source = \"klerk.ru/blogs/data-sec/681468/\"\n", "", "SOURCE_MISSING"),
    ] {
        assert!(pack.text().contains(from), "{from}");
        let wrong = StatutePack::parse(&pack.text().replacen(from, to, 1)).expect_err("a mistake");
        assert!(wrong.iter().any(|one| one.code == code), "{code}: {wrong:?}");
    }
}
