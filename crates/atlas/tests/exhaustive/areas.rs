//! Disputed areas: which prefix holds an address or a number, the naive way, by writing both out
//! and comparing the beginnings.

use std::net::IpAddr;

use toml::{Table, Value};

/// An area by its name, with the countries for which it is decided.
type Area = (String, Vec<String>);

/// The prefixes of a map, each written out, with its area.
pub(crate) struct Areas {
    bits: Vec<(String, Area)>,
    digits: Vec<(String, Area)>,
}

/// An address as its family and bits. One of IPv4 in the clothes of IPv6 is one of IPv4.
fn written(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("4:{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => written(v4.into()),
            None => format!("6:{:0128b}", u128::from(v6)),
        },
    }
}

/// The addresses around a prefix: its first and its last, and those beside them.
fn around(prefix: &str) -> Vec<IpAddr> {
    let (address, length) = prefix.split_once('/').expect("a prefix");
    let length: u32 = length.parse().expect("a length");
    let mut found = Vec::new();
    match address.parse().expect("an address") {
        IpAddr::V4(first) => {
            let first = u32::from(first);
            let last = first | u32::MAX.checked_shr(length).unwrap_or(0);
            for one in [first - 1, first, last, last + 1] {
                let v4 = std::net::Ipv4Addr::from(one);
                found.extend([IpAddr::V4(v4), IpAddr::V6(v4.to_ipv6_mapped())]);
                found.push(IpAddr::V6(v4.to_ipv6_compatible()));
            }
        }
        IpAddr::V6(first) => {
            let first = u128::from(first);
            let last = first | u128::MAX.checked_shr(length).unwrap_or(0);
            let all = [first - 1, first, last, last + 1];
            found.extend(all.map(|one| IpAddr::V6(one.into())));
        }
    }
    found
}

fn texts(of: &Table, key: &str) -> Vec<String> {
    let list = of.get(key).and_then(Value::as_array).into_iter().flatten();
    list.map(|one| one.as_str().expect("a text").to_owned()).collect()
}

impl Areas {
    /// Reads them, and gives the addresses and numbers that are worth asking for.
    pub(crate) fn read(map: &str) -> (Self, Vec<IpAddr>, Vec<String>) {
        let root: Table = map.parse().expect("TOML");
        let mut areas = Self { bits: Vec::new(), digits: Vec::new() };
        let (mut addresses, mut numbers) = (Vec::new(), Vec::new());
        for own in root.get("disputed").and_then(Value::as_array).into_iter().flatten() {
            let own = own.as_table().expect("a table");
            let name = own["name"].as_str().expect("a name").to_owned();
            let area = (name, texts(own, "decided"));
            for prefix in texts(own, "addresses") {
                let (address, length) = prefix.split_once('/').expect("a prefix");
                let mut bits = written(address.parse().expect("an address"));
                bits.truncate(2 + length.parse::<usize>().expect("a length"));
                areas.bits.push((bits, area.clone()));
                addresses.extend(around(&prefix));
            }
            for prefix in texts(own, "numbers") {
                numbers.extend((0..10).map(|digit| format!("{prefix}{digit}0000000")));
                numbers.push(prefix[..prefix.len() - 1].to_owned());
                numbers.push(prefix.clone());
                areas.digits.push((prefix, area.clone()));
            }
        }
        (areas, addresses, numbers)
    }

    fn longest<'a>(prefixes: &'a [(String, Area)], whole: &str) -> Option<&'a Area> {
        let holding = prefixes.iter().filter(|(prefix, _)| whole.starts_with(prefix));
        holding.max_by_key(|(prefix, _)| prefix.len()).map(|(_, area)| area)
    }

    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Area> {
        Self::longest(&self.bits, &written(address))
    }

    pub(crate) fn of_number(&self, number: &str) -> Option<&Area> {
        Self::longest(&self.digits, number)
    }
}
