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

/// An address as its family and bits. The forms in which IPv6 writes an address of IPv4 are that
/// address; one that hides its client begins like no prefix.
fn written(address: IpAddr) -> String {
    let v6 = match address {
        IpAddr::V4(v4) => return format!("4:{:032b}", u32::from(v4)),
        IpAddr::V6(v6) => v6,
    };
    let hex: String = v6.segments().iter().map(|segment| format!("{segment:04x}")).collect();
    let (head, tail) = hex.split_at(24);
    let ipv4 = [
        "000000000000000000000000",
        "00000000000000000000ffff",
        "0000000000000000ffff0000",
        "0064ff9b0000000000000000",
    ];
    let own = hex.ends_with("00000000") || hex.ends_with("00000001");
    if ipv4.contains(&head) && !(own && head == ipv4[0]) {
        let v4 = u32::from_str_radix(tail, 16).expect("eight digits");
        return format!("4:{v4:032b}");
    }
    if hex.starts_with("20010000") || hex.starts_with("2002") || hex.starts_with("0064ff9b0001") {
        return "hidden".to_owned();
    }
    format!("6:{:0128b}", u128::from(v6))
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
                found.push(IpAddr::V4(v4));
                let forms = ["::", "::ffff:", "::ffff:0:", "64:ff9b::"];
                found.extend(
                    forms.map(|form| format!("{form}{v4}").parse::<IpAddr>().expect("IPv6")),
                );
                let [a, b] = [one >> 16, one & 0xffff];
                for hidden in ["2002:A:B::1", "2001:0:A:B::1", "64:ff9b:1::A:B"] {
                    let text =
                        hidden.replace('A', &format!("{a:x}")).replace('B', &format!("{b:x}"));
                    found.push(text.parse().expect("IPv6"));
                }
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
