//! Every key of a map, changed one way and the other, and what `widening` says of it.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use crate::support::{PACKS, with_digests};
use atlas::{RegionMap, widening};

/// A map of which every key can be changed by replacing words.
const FIRST: &str = r#"
name = "first"
deployment = "first"
trust_domain = "first.example"
version = 1
valid_until = 2027-01-01
[[tenants]]
name = "acme"
establishments = ["TR", "DE"]
sectors = ["bank"]
locate = false
unique = "no"
[[collections]]
name = "one"
category = "some"
grounds = "contract"
reads = "logged"
body_bytes_max = 1000
life_max = "30d"
feed = "7d"
transit = "sealed" # own
exempt = ["ru-152fz/6-1-2"]
[[collections]]
name = "two"
category = "some"
reads = "counted"
exclude.regions = ["ru-spb"]
exclude.controlled_from = ["FR"]
[[regions]]
name = "ru-msk"
territory = "RU"
authorities = ["sha256:1111111111111111111111111111111111111111111111111111111111111111"]
annex_signers = ["olga+b3096361+AQcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"]
backup_endpoints = ["https://s3.msk.example"]
[regions.site]
address = "here"
operator = "they"
contract = "c"
register = "r"
attestation = "a"
attestation_expires = 2027-01-01
[[regions]]
name = "de-fra"
territory = "DE"
site.controlled_from = ["DE", "US"]
[[regions]]
name = "ru-spb"
territory = "RU"
[[homes]]
for = "RU"
region = "ru-msk"
lead = false
[[homes]]
for = "DE"
region = "de-fra"
[[homes]]
for = "EEA"
region = "de-fra"
[[homes]]
for = "*"
region = "de-fra"
[[statutes]]
id = "ru-152fz"
digest = "@ru-152fz"
reading = "primary-first"
unknown = "territory"
citizens_abroad = "attach"
ingress = "in-territory"
transit = "sealed"
[[statutes]]
id = "made-tr"
digest = "@made-tr"
collections = ["one", "two"]
reviewed = { by = "b", on = 2026-01-02, digest = "@made-tr" }
[[clauses]]
id = "ru-de"
from = "RU"
to = "DE"
collections = ["one", "two"]
legal_basis = "b"
importer = "i"
reference = "r"
notified = 2025-06-01
not_before = 2026-01-01
expires = 2027-01-01
exclude.operators = ["gone"]
[[disputed]]
name = "area"
addresses = ["203.0.113.0/24"]
numbers = ["+7978"]
claims = ["RU", "UA"]
decided = ["RU"]
"#;

/// Each step replaces words of [`FIRST`], and names below them how each widening that follows begins.
const STEPS: &str = include_str!("widening_keys.txt");

fn parse(text: &str) -> RegionMap {
    RegionMap::parse_carrying(&with_digests(text), &PACKS)
        .unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

#[test]
fn every_key_is_judged() {
    let old = parse(FIRST);
    assert_eq!(widening(Some(&old), &old), []);
    assert_eq!(widening(None, &old).len(), 1);
    let mut lines = STEPS.lines().filter(|line| !line.starts_with('#')).peekable();
    while let Some(step) = lines.next() {
        let step = step.replace("\\n", "\n");
        let words = step.strip_prefix('`').and_then(|step| step.strip_suffix('`'));
        let (was, is) = words.and_then(|words| words.split_once("` -> `")).expect("a step");
        assert!(FIRST.contains(was), "{was}");
        let expected: Vec<&str> =
            std::iter::from_fn(|| lines.next_if(|line| line.starts_with("  "))).collect();
        let found = widening(Some(&old), &parse(&FIRST.replacen(was, is, 1)));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, start)| found.starts_with(start.trim()));
        assert!(same, "{was} to {is}: {found:#?}");
    }
}

#[test]
fn ids_that_are_no_longer_unique_widen_and_a_locate_that_ends_does_not() {
    let with = |text: &str| parse(&FIRST.replacen("locate = false\nunique = \"no\"", text, 1));
    let on = with("locate = true\nunique = \"reachable\"");
    let found: Vec<String> =
        widening(Some(&on), &parse(FIRST)).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("tenant `acme`: unique was reachable, is no"), "{found:#?}");
}
