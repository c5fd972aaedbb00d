//! Disputed areas: prefixes of addresses and numbers that several countries claim, and what the
//! operator has decided about them. Whose they are is not decided here, and there is no default.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::Country;
use crate::toml::{At, File, Section};

/// An area that several countries claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disputed {
    pub(super) name: String,
    pub(super) addresses: Vec<Prefix>,
    pub(super) numbers: Vec<String>,
    pub(super) claims: Vec<Country>,
    pub(super) decided: Vec<Country>,
}

/// A prefix of addresses. IPv4 and IPv6 are apart: the first is four bytes, the second sixteen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Prefix {
    is_v6: bool,
    length: u8,
    /// The network, its bits from the highest on, whatever the family.
    bits: u128,
}

/// The areas of a map, to look up by prefix.
#[derive(Debug, Clone, Default)]
pub(super) struct Areas {
    pub(super) all: Vec<Disputed>,
    addresses: BTreeMap<Prefix, usize>,
    /// Whether there is any prefix of that family and length: longest first.
    lengths: Vec<(bool, u8)>,
    numbers: BTreeMap<String, usize>,
}

/// Digits of a telephone number at most (E.164).
const DIGITS_MAX: usize = 15;

impl Disputed {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The countries that claim it, as in the file; at least two.
    pub fn claims(&self) -> &[Country] {
        &self.claims
    }

    /// The countries that evidence from there points to, by the operator's decision: some of
    /// [`Disputed::claims`]. None: there is no decision, and such evidence is refused.
    pub fn decided(&self) -> &[Country] {
        &self.decided
    }

    /// The prefixes of its addresses.
    pub fn addresses(&self) -> impl Iterator<Item = String> {
        self.addresses.iter().map(Prefix::text)
    }

    /// The prefixes of its numbers, as in the file.
    pub fn numbers(&self) -> &[String] {
        &self.numbers
    }
}

impl Prefix {
    /// Reads `203.0.113.0/24` or `2001:db8::/32`. The bits behind the prefix must be zero, and a
    /// prefix of addresses that [`client_address`] turns into others would never be met.
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        let plain = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
        let length = plain.then(|| length.parse::<u8>().ok()).flatten()?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv6() { 128 } else { 32 };
        if client_address(address) != Some(address) || !(1..=most).contains(&length) {
            return None;
        }
        let whole = Self::of(address, length);
        (whole == Self::of(address, most).cut(length)).then_some(whole)
    }

    /// The first bits of an address, with all others zero.
    fn of(address: IpAddr, length: u8) -> Self {
        let (is_v6, bits) = match address {
            IpAddr::V4(v4) => (false, u128::from(v4.to_bits()) << 96),
            IpAddr::V6(v6) => (true, v6.to_bits()),
        };
        Self { is_v6, length, bits }
    }

    fn cut(self, length: u8) -> Self {
        let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
        Self { length, bits: self.bits & mask, ..self }
    }

    pub(super) fn text(&self) -> String {
        let address = if self.is_v6 {
            IpAddr::V6(self.bits.into())
        } else {
            IpAddr::V4(u32::try_from(self.bits >> 96).unwrap_or_default().into())
        };
        format!("{address}/{}", self.length)
    }
}

impl Areas {
    /// Reports each prefix that is there already, and makes the rest ready to look up.
    pub(super) fn new(file: &File<'_>, areas: Vec<At<Disputed>>) -> Self {
        let mut new = Self::default();
        for (place, area) in areas.into_iter().enumerate() {
            let twice = |what: String| {
                let problem = format!("{what} belongs to another disputed area already");
                file.wrong(area.at, "DISPUTED_TWICE", problem, "keep it in one of them");
            };
            for prefix in &area.it.addresses {
                if new.addresses.insert(*prefix, place).is_some() {
                    twice(prefix.text());
                }
                new.lengths.push((prefix.is_v6, prefix.length));
            }
            for prefix in &area.it.numbers {
                if new.numbers.insert(prefix.clone(), place).is_some() {
                    twice(prefix.clone());
                }
            }
            new.all.push(area.it);
        }
        new.lengths.sort_by(|a, b| b.cmp(a));
        new.lengths.dedup();
        new
    }

    /// The area of the longest prefix of that address.
    pub(super) fn address(&self, address: IpAddr) -> Option<&Disputed> {
        let whole = Prefix::of(client_address(address)?, 128);
        let lengths = self.lengths.iter().filter(|(is_v6, _)| *is_v6 == whole.is_v6);
        let mut found = lengths.filter_map(|(_, length)| self.addresses.get(&whole.cut(*length)));
        found.next().and_then(|place| self.all.get(*place))
    }

    /// The area of the longest prefix of that number.
    pub(super) fn number(&self, e164: &str) -> Option<&Disputed> {
        let lengths = (1..=e164.len().min(DIGITS_MAX + 1)).rev();
        let mut found = lengths.filter_map(|n| self.numbers.get(e164.get(..n)?));
        found.next().and_then(|place| self.all.get(*place))
    }
}

/// The address that tells where a client is: an IPv4 address that IPv6 writes in another form is
/// that IPv4 address (mapped, compatible and translated ones, and those of the well-known NAT64
/// prefix). None for a transition address that hides its client behind a relay or a translator:
/// Teredo, 6to4, and NAT64 under a local prefix.
pub fn client_address(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return Some(address) };
    let [.., a, b, c, d] = v6.octets();
    match v6.segments() {
        // These are addresses of their own.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Some(address),
        [0, 0, 0, 0, 0, 0 | 0xffff, ..]
        | [0, 0, 0, 0, 0xffff, 0, ..]
        | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(IpAddr::from([a, b, c, d])),
        [0x2001, 0, ..] | [0x2002, ..] | [0x64, 0xff9b, 1, ..] => None,
        _ => Some(address),
    }
}

/// Reads a disputed area.
pub(super) fn read(section: &Section<'_>) -> Option<At<Disputed>> {
    let named = |text: &str| terms::RegionId::parse(text).ok().map(|name| name.as_str().to_owned());
    let name = section.parse("name", named);
    let addresses: Vec<Prefix> =
        section.list("addresses", Prefix::parse).iter().map(|prefix| prefix.it).collect();
    let numbers: Vec<String> =
        section.list("numbers", number).into_iter().map(|prefix| prefix.it).collect();
    let given = |key| section.texts(key).is_some_and(|texts| !texts.is_empty());
    if !given("addresses") && !given("numbers") {
        let problem = "this disputed area has neither `addresses` nor `numbers`";
        section.wrong(section.at(), "KEY_MISSING", problem, "add the prefixes that are in it");
    }
    let claims = countries(section, "claims");
    if section.place("claims").is_some() && claims.len() < 2 {
        let problem = "`claims` does not name two countries";
        let help = "list every country that claims it; what one country claims is not disputed";
        section.wrong(section.at(), "DISPUTED_CLAIMS", problem, help);
    }
    let decided = countries(section, "decided");
    for country in decided.iter().filter(|country| !claims.contains(country)) {
        let problem = format!("`decided` names {country}, which is not among `claims`");
        let help = "decide for countries that claim it";
        section.wrong(section.at(), "DISPUTED_CLAIMS", problem, help);
    }
    let name = name?;
    let area = Disputed { name: name.it.clone(), addresses, numbers, claims, decided };
    Some(name.with(area))
}

/// `+` and digits: the beginning of a number.
fn number(text: &str) -> Option<String> {
    let digits = text.strip_prefix('+')?;
    let good =
        (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_digit());
    good.then(|| text.to_owned())
}

/// A list of countries, each once.
fn countries(section: &Section<'_>, key: &str) -> Vec<Country> {
    let mut countries = Vec::new();
    for country in section.list(key, Country::parse) {
        if !countries.contains(&country.it) {
            countries.push(country.it);
        }
    }
    countries
}
