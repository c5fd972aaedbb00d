//! The region map, a region's annex, a statute pack, a file of people, and what a shard keeps of
//! findings: what is read is valid, what is written anew says the same, and nothing panics.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use atlas::{Annex, Date, MapTests, Findings, RegionMap, StatutePack};

const SAMPLE: &str = include_str!("../../deploy/sample/map.toml");
static MAP: LazyLock<Option<RegionMap>> = LazyLock::new(|| RegionMap::parse(SAMPLE).ok());

/// An IPv4 address lies in one disputed area, in whichever form it is written.
fn forms_agree(map: &RegionMap, data: &[u8]) {
    for four in data.windows(4).take(64) {
        let v4 = Ipv4Addr::from(<[u8; 4]>::try_from(four).expect("four bytes"));
        let area = map.disputed_address(v4.into()).map(atlas::Disputed::name);
        for form in ["::ffff:", "::ffff:0:", "64:ff9b::"] {
            let other: IpAddr = format!("{form}{v4}").parse().expect("an address");
            assert_eq!(map.disputed_address(other).map(atlas::Disputed::name), area, "{other}");
        }
        for hidden in [[0x2002, 0], [0x2001, 0]] {
            let [a, b] = hidden;
            let other: IpAddr = [a, b, 0, 0, 0, 0, 0, u16::from(four[0])].into();
            assert!(map.disputed_address(other).is_none(), "{other}");
        }
    }
}

/// Tries one input. A panic is a finding.
pub fn run(data: &[u8]) {
    if let Ok(findings) = Findings::decode(data) {
        assert!(findings.encode() == data, "findings have one form");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let sample = MAP.as_ref().expect("the sample map is valid");
    match RegionMap::parse(text) {
        Err(found) => {
            assert!(!found.is_empty(), "a refusal says what is wrong");
            found.iter().for_each(|diagnostic| drop(diagnostic.render("map.toml", text)));
        }
        Ok(map) => {
            forms_agree(&map, data);
            let formatted = atlas::format(text).expect("a map that reads can be laid out");
            let again = RegionMap::parse(&formatted).expect("and reads again");
            let changes = atlas::widening(Some(&map), &again);
            assert!(changes.is_empty(), "and says the same");
            assert_eq!(atlas::format(&formatted).as_deref(), Ok(&*formatted), "and stays so");
            drop(atlas::widening(Some(sample), &map));
        }
    }
    let checked = atlas::check(text, &[("annex.toml", text)], Date::from_day(20_000), &[]);
    assert!(checked.map.is_some() || !checked.diagnostics.is_empty(), "a refusal says why");
    if let Err(found) = StatutePack::parse(text) {
        assert!(!found.is_empty(), "a refusal says what is wrong");
    }
    if let Ok(people) = MapTests::parse(text) {
        for person in people.people() {
            if let Some(findings) = person.findings() {
                drop(person.judge(sample, Ok(&findings), Date::from_day(20_000)));
            }
        }
    }
    if let Ok(next) = atlas::renumber(text, 7, "sha256:0") {
        assert!(next.contains("sha256:0"));
    }
    if let Err(found) = Annex::parse(text, sample) {
        assert!(!found.is_empty(), "a refusal says what is wrong");
    }
}
