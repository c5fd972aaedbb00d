//! Packs that travel with a map, and what a map says with the newer keys.

use crate::support::{PACKS, golden, read, with_digests};
use std::sync::Arc;

use atlas::{Constraint, Date, RegionMap, StatutePack, packs};

fn modern() -> RegionMap {
    let text = with_digests(&read(&golden().join("maps/modern.toml")));
    RegionMap::parse(&text).expect("a sound map")
}

#[test]
fn of_two_texts_of_a_law_the_digest_decides() {
    let text = read(&golden().join("../../statutes/kz-94v.toml"));
    let older = StatutePack::parse(&format!("{text}# an older text\n")).expect("a pack");
    let older = Arc::new(older);
    let builtin = packs().iter().find(|pack| pack.id() == older.id()).expect("built in");
    assert_ne!(builtin.digest(), older.digest());
    let map = |pack: &StatutePack, carried: &[Arc<StatutePack>]| {
        let digest = hex::encode(pack.digest());
        let map = with_digests(&read(&golden().join("maps/modern.toml")));
        let (before, rest) = map.split_once("id = \"kz-94v\"\ndigest = \"").expect("the law");
        let (_, after) = rest.split_once('"').expect("its digest");
        let text = format!("{before}id = \"kz-94v\"\ndigest = \"sha256:{digest}\"{after}");
        RegionMap::parse_carrying(&text, carried)
    };
    let of = |map: RegionMap| *map.statute(older.id()).expect("in force").pack().digest();
    let carried = [Arc::clone(&older)];
    assert_eq!(map(&older, &carried).map(of).as_ref(), Ok(older.digest()));
    assert_eq!(map(builtin, &carried).map(of).as_ref(), Ok(builtin.digest()));
    assert_eq!(map(builtin, &[]).map(of).as_ref(), Ok(builtin.digest()));
    // A process without the pack refuses the map.
    let wrong = map(&older, &[]).expect_err("nobody has it");
    assert_eq!(wrong.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["STATUTE_DIGEST"]);
}

#[test]
fn packs_that_are_made_up_travel_as_well() {
    let text = with_digests(&read(&golden().join("maps/made.toml")));
    let made = PACKS.iter().filter(|pack| pack.id().as_str().starts_with("made-"));
    let carried: Vec<Arc<StatutePack>> = made.cloned().collect();
    assert!(RegionMap::parse(&text).is_err());
    let map = RegionMap::parse_carrying(&text, &carried).expect("a sound map");
    assert_eq!(map.statutes().len(), 7);
}

#[test]
fn a_map_says_what_its_newer_keys_say() {
    let map = modern();
    assert_eq!(map.predecessors(), [[0x11; 32], [0x22; 32]]);
    let statute = |id: &str| {
        map.statutes().iter().find(|statute| statute.id().as_str() == id).expect("in force")
    };
    let russia = statute("ru-152fz");
    assert!(russia.constraints().into_iter().eq([Constraint::Exclusive]));
    assert_eq!(russia.pack().readings(), [Constraint::PrimaryFirst, Constraint::Exclusive]);
    let name = |text: &str| terms::Collection::parse(text).expect("a name");
    assert!(russia.exempts(&name("court-files")) && !russia.covers(&name("court-files")));
    assert!(russia.covers(&name("profiles")));
    let exempt = map.collection(&name("court-files")).expect("a collection").exempt();
    assert_eq!(exempt.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ru-152fz/6-1-3"]);
    let mut tenants = map.tenants();
    let (acme, shop) = (tenants.next().expect("acme"), tenants.next().expect("shop"));
    let health = statute("ae-health");
    assert!(!health.pack().scopes().is_empty());
    for scope in health.pack().scopes() {
        let of = |tenant: &atlas::Tenant| scope.concerns(Some(tenant.sectors()));
        assert!(of(acme) && !of(shop) && scope.concerns(None));
    }
    assert_eq!(acme.sectors().len(), 2);
    let transfers = statute("ru-152fz-12").pack().transfers().expect("rules of transfers");
    assert_eq!(transfers.working_days(), 10);
    let clause = map.clauses().iter().find(|clause| clause.id().as_str() == "ru-de");
    let clause = clause.expect("a clause");
    assert_eq!(clause.notified(), Date::parse("2026-03-20"));
    let first = |to| transfers.first_day(clause.notified().expect("a day"), to);
    // A party to Convention 108 needs no wait, and so do the EEA's; others do.
    assert_eq!(Some(first(clause.to())), clause.notified());
    assert_eq!(Some(first(atlas::Territory::parse("EEA").expect("a group"))), clause.notified());
    let other = atlas::Territory::parse("US").expect("a country");
    assert_eq!(Some(first(other)), Date::parse("2026-04-04"));
    let register = map.regions().iter().find_map(|region| region.site().register.as_deref());
    assert_eq!(register, Some("made up: entry 7"));
    assert!(statute("us-28cfr202").pack().draft().is_some());
    assert_eq!(statute("us-28cfr202").pack().data().map(str::is_empty), Some(false));
}

#[test]
fn the_longest_prefix_finds_the_area() {
    let map = modern();
    let address = |text: &str| {
        map.disputed_address(text.parse().expect("an address")).map(atlas::Disputed::name)
    };
    for (text, area) in [
        ("203.0.113.1", Some("north")),
        ("203.0.113.127", Some("north")),
        ("203.0.113.128", Some("south")),
        ("::ffff:203.0.113.200", Some("south")),
        ("203.0.114.0", None),
        ("203.0.112.255", None),
        ("2001:db8:ffff::1", Some("north")),
        ("2001:db9::", None),
        // The bytes of 203.0.113.1, where IPv6 has them first.
        ("cb00:7101::", None),
    ] {
        assert_eq!(address(text), area, "{text}");
    }
    let number = |text: &str| map.disputed_number(text).map(atlas::Disputed::name);
    for (text, area) in [
        ("+79780000000", Some("north")),
        ("+79781234567", Some("south")),
        ("+7978", Some("north")),
        ("+797", None),
        ("79780000000", None),
        ("+é", None),
    ] {
        assert_eq!(number(text), area, "{text}");
    }
    let [north, south] = map.disputed() else { unreachable!("two areas") };
    assert_eq!(north.decided(), []);
    assert_eq!(format!("{:?} {:?}", south.claims(), south.decided()), "[RU, UA] [UA, RU]");
    assert!(north.addresses().eq(["203.0.113.0/24", "2001:db8::/32"]));
}
