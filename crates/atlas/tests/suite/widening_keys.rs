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

/// Words replaced in [`FIRST`], and the widening that follows; none if it is empty.
const STEPS: &[(&str, &str, &str)] = &[
    ("sectors = [\"bank\"]", "", "tenant `acme`: sectors was [bank], is []"),
    ("sectors = [\"bank\"]", "sectors = [\"bank\", \"mill\"]", ""),
    ("locate = false", "locate = true", "tenant `acme`: locate was false, is true"),
    ("unique = \"no\"", "unique = \"reachable\"", "tenant `acme`: unique was no, is reachable"),
    ("exempt = [\"ru-152fz/6-1-2\"]", "", "collection `one`: exempt was [ru-152fz/6-1-2], is []"),
    (
        "exempt = [\"ru-152fz/6-1-2\"]",
        "exempt = [\"ru-152fz/6-1-2\", \"ru-152fz/6-1-3\"]",
        "collection `one`: exempt was",
    ),
    ("register = \"r\"", "", "region `ru-msk`: site.register was"),
    ("\"primary-first\"", "\"exclusive\"", ""),
    // Whoever answers for a pack changes nothing of what it does.
    (
        "ingress = \"in-territory\"",
        "ingress = \"in-territory\"\nreviewed = { by = \"a\", on = 2026-01-01, digest = \"@ru-152fz\" }",
        "",
    ),
    ("on = 2026-01-02,", "on = 2026-01-01,", ""),
    ("reviewed = { by = \"b\", on = 2026-01-02, digest = \"@made-tr\" }", "", ""),
    (
        "notified = 2025-06-01",
        "notified = 2025-06-02",
        "clause `ru-de`: notified was 2025-06-01, is 2025-06-02",
    ),
    ("decided = [\"RU\"]", "", ""),
    ("decided = [\"RU\"]", "decided = [\"UA\"]", "disputed area `area`: decided was [RU], is [UA]"),
    (
        "decided = [\"RU\"]",
        "decided = [\"RU\", \"UA\"]",
        "disputed area `area`: decided was [RU], is [RU, UA]",
    ),
    (
        "claims = [\"RU\", \"UA\"]",
        "claims = [\"RU\", \"UA\", \"TR\"]",
        "disputed area `area`: claims was",
    ),
    (
        "203.0.113.0/24",
        "203.0.112.0/23",
        "disputed area `area`: addresses was [203.0.113.0/24], is [203.0.112.0/23]",
    ),
    ("+7978", "+797", "disputed area `area`: numbers was [+7978], is [+797]"),
    (
        "name = \"area\"",
        "name = \"other\"",
        "disputed area `area` is taken away & disputed area `other` is added",
    ),
    ("name = \"first\"", "name = \"other\"", "map `other`: name was \"first\", is \"other\""),
    ("deployment = \"first\"", "deployment = \"x\"", "map `first`: deployment was"),
    ("first.example", "x.example", "map `first`: trust_domain was \"first.example\""),
    (
        "valid_until = 2027-01-01",
        "valid_until = 2027-01-02",
        "map `first`: valid_until was 2027-01-01, is 2027-01-02",
    ),
    ("valid_until = 2027-01-01", "", "map `first`: valid_until was 2027-01-01, is none"),
    ("valid_until = 2027-01-01", "valid_until = 2026-12-31", ""),
    ("version = 1", "version = 2", ""),
    ("\"TR\", \"DE\"", "\"TR\"", "tenant `acme`: establishments was [DE, TR], is [TR]"),
    ("\"TR\", \"DE\"", "\"TR\", \"DE\", \"US\"", ""),
    ("[[collections]]", "[[tenants]]\nname = \"beta\"\n[[collections]]", "tenant `beta` is added"),
    (
        "[[tenants]]\nname = \"acme\"",
        "[[tenants]]\nname = \"beta\"",
        "tenant `acme` is taken away & tenant `beta` is added",
    ),
    ("category = \"some\"", "category = \"other\"", "collection `one`: category was"),
    ("grounds = \"contract\"", "", "collection `one`: grounds was \"contract\", is none"),
    ("reads = \"logged\"", "reads = \"counted\"", "collection `one`: reads was logged, is counted"),
    ("reads = \"counted\"", "reads = \"logged\"", ""),
    (
        "body_bytes_max = 1000",
        "body_bytes_max = 1001",
        "collection `one`: body_bytes_max was 1000, is 1001",
    ),
    ("body_bytes_max = 1000", "body_bytes_max = 999", ""),
    ("life_max = \"30d\"", "life_max = \"721h\"", "collection `one`: life_max was 30d, is 721h"),
    ("life_max = \"30d\"", "", "collection `one`: life_max was 30d, is none"),
    ("life_max = \"30d\"", "life_max = \"720h\"", ""),
    ("life_max = \"30d\"", "life_max = \"29d\"", ""),
    ("reads = \"counted\"", "reads = \"counted\"\nlife_max = \"1m\"", ""),
    ("feed = \"7d\"", "feed = \"8d\"", "collection `one`: feed was 7d, is 8d"),
    ("feed = \"7d\"", "", ""),
    (
        "reads = \"counted\"",
        "reads = \"counted\"\nfeed = \"1m\"",
        "collection `two`: feed was none, is 1m",
    ),
    ("territory = \"DE\"", "territory = \"FR\"", "region `de-fra`: territory was DE, is FR"),
    (
        "authorities = [",
        "authorities = [\"sha256:2222222222222222222222222222222222222222222222222222222222222222\", ",
        "region `ru-msk`: authorities was",
    ),
    ("authorities = ", "# ", "region `ru-msk`: authorities was"),
    (
        "annex_signers = [",
        "annex_signers = [\"oscar+a9cfd496+AQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ\", ",
        "region `ru-msk`: annex_signers was",
    ),
    ("annex_signers = ", "# ", "region `ru-msk`: annex_signers was"),
    (
        "territory = \"DE\"",
        "territory = \"DE\"\nannex_signers = \"oscar+a9cfd496+AQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJ\"",
        "",
    ),
    (
        "backup_endpoints = [",
        "backup_endpoints = [\"https://s3.spb.example:9000\", ",
        "region `ru-msk`: backup_endpoints was",
    ),
    (
        "territory = \"DE\"",
        "territory = \"DE\"\nbackup_endpoints = \"https://s3.fra.example\"",
        "region `de-fra`: backup_endpoints was none",
    ),
    ("backup_endpoints = ", "# ", ""),
    ("s3.msk.example\"", "s3.msk.example:443\"", ""),
    ("address = \"here\"", "address = \"there\"", "region `ru-msk`: site.address was"),
    ("operator = \"they\"", "", "region `ru-msk`: site.operator was"),
    ("contract = \"c\"", "contract = \"d\"", "region `ru-msk`: site.contract was"),
    ("attestation = \"a\"", "attestation = \"b\"", "region `ru-msk`: site.attestation was"),
    (
        "attestation_expires = 2027-01-01",
        "attestation_expires = 2028-01-01",
        "region `ru-msk`: site.attestation_expires was 2027-01-01, is 2028-01-01",
    ),
    (
        "attestation_expires = 2027-01-01",
        "",
        "region `ru-msk`: site.attestation_expires was 2027-01-01, is none",
    ),
    ("attestation_expires = 2027-01-01", "attestation_expires = 2026-12-31", ""),
    // Exclusions: fewer of them, another list of a site, and those that send people elsewhere.
    ("exclude.regions = [\"ru-spb\"]", "", "collection `two`: exclude was regions [ru-spb]"),
    ("exclude.regions = [\"ru-spb\"]", "exclude.regions = [\"ru-spb\", \"ru-msk\"]", ""),
    (
        "exclude.regions = [\"ru-spb\"]",
        "exclude.regions = [\"ru-spb\", \"de-fra\"]",
        "collection `two`: exclude was",
    ),
    ("exclude.controlled_from = [\"FR\"]", "", "collection `two`: exclude was"),
    (
        "grounds = \"contract\"",
        "grounds = \"contract\"\nexclude.operators = [\"They\"]",
        "collection `one`: exclude was none, is",
    ),
    ("grounds = \"contract\"", "grounds = \"contract\"\nexclude.regions = [\"ru-msk\"]", ""),
    ("exclude.operators = [\"gone\"]", "", "clause `ru-de`: exclude was"),
    ("exclude.operators = [\"gone\"]", "exclude.operators = [\"GONE\", \"they\"]", ""),
    (
        "[\"DE\", \"US\"]\n[[",
        "[\"DE\"]\n[[",
        "region `de-fra`: site.controlled_from was [DE, US], is [DE]",
    ),
    (
        "[\"DE\", \"US\"]\n[[",
        "[\"DE\", \"FR\", \"US\"]\n[[",
        "region `de-fra`: site.controlled_from was [DE, US], is [DE, FR, US]",
    ),
    ("[\"DE\", \"US\"]\n[[", "[\"DE\", \"GB\", \"US\"]\n[[", ""),
    (
        "site.controlled_from = [\"DE\", \"US\"]\n",
        "",
        "region `de-fra`: site.controlled_from was [DE, US], is none",
    ),
    (
        "name = \"ru-spb\"\nterritory = \"RU\"",
        "name = \"ru-spb\"\nterritory = \"RU\"\nsite.controlled_from = [\"RU\"]",
        "",
    ),
    (
        "operator = \"they\"",
        "operator = \"they\"\ncontrolled_from = [\"RU\"]",
        "region `ru-msk`: site.controlled_from was none, is [RU]",
    ),
    ("region = \"ru-msk\"", "region = \"ru-spb\"", "home `RU`: region was ru-msk, is ru-spb"),
    ("lead = false", "", "home `RU`: lead was false, is true"),
    (
        "region = \"de-fra\"",
        "region = \"de-fra\"\nlead = false",
        "home `DE`: lead was true, is false",
    ),
    ("[[homes]]\nfor = \"DE\"\nregion = \"de-fra\"\n", "", ""),
    ("[[homes]]\nfor = \"*\"\nregion = \"de-fra\"\n", "", "home `*` is taken away"),
    (
        "[[statutes]]\nid = \"made-tr\"\ndigest = \"@made-tr\"\ncollections = [\"one\", \"two\"]\n",
        "",
        "statute `made-tr` is taken away",
    ),
    (
        "[[clauses]]",
        "[[statutes]]\nid = \"made-ae\"\ndigest = \"@made-ae\"\n[[clauses]]",
        "statute `made-ae` is added",
    ),
    ("\"territory\"", "\"never\"", "statute `ru-152fz`: unknown was territory, is never"),
    ("\"territory\"", "\"any-hint\"", "statute `ru-152fz`: unknown was territory, is any-hint"),
    ("\"attach\"", "\"ignore\"", "statute `ru-152fz`: citizens_abroad was attach, is ignore"),
    ("\"attach\"", "\"refuse\"", ""),
    (
        "\"in-territory\"",
        "\"anywhere\"",
        "statute `ru-152fz`: ingress was in-territory, is anywhere",
    ),
    (
        "transit = \"sealed\"\n[[statutes]]",
        "transit = \"any\"\n[[statutes]]",
        "statute `ru-152fz`: transit was sealed, is any",
    ),
    ("id = \"made-tr\"", "id = \"made-tr\"\ntransit = \"sealed\"", ""),
    ("transit = \"sealed\" # own", "", "collection `one`: transit was sealed, is any"),
    ("reads = \"counted\"", "reads = \"counted\"\ntransit = \"sealed\"", ""),
    (
        "collections = [\"one\", \"two\"]\nreviewed",
        "collections = [\"one\"]\nreviewed",
        "statute `made-tr`: collections was [one, two], is [one]",
    ),
    (
        "collections = [\"one\", \"two\"]\nreviewed",
        "reviewed",
        "statute `made-tr`: collections was [one, two], is *",
    ),
    ("to = \"DE\"", "to = \"EEA\"", "clause `ru-de`: to was DE, is EEA"),
    ("from = \"RU\"", "from = \"TR\"", "clause `ru-de`: from was RU, is TR"),
    ("collections = [\"one\", \"two\"]\nlegal", "collections = [\"two\"]\nlegal", ""),
    (
        "collections = [\"one\", \"two\"]\nlegal",
        "collections = \"*\"\nlegal",
        "clause `ru-de`: collections was [one, two], is *",
    ),
    ("legal_basis = \"b\"", "legal_basis = \"c\"", "clause `ru-de`: legal_basis was"),
    ("importer = \"i\"", "importer = \"j\"", "clause `ru-de`: importer was"),
    ("reference = \"r\"", "reference = \"s\"", "clause `ru-de`: reference was"),
    (
        "not_before = 2026-01-01",
        "not_before = 2025-12-31",
        "clause `ru-de`: not_before was 2026-01-01, is 2025-12-31",
    ),
    ("not_before = 2026-01-01", "not_before = 2026-01-02", ""),
    (
        "\nexpires = 2027-01-01",
        "\nexpires = 2027-01-02",
        "clause `ru-de`: expires was 2027-01-01, is 2027-01-02",
    ),
    ("\nexpires = 2027-01-01", "\nexpires = 2026-12-31", ""),
    ("[[clauses]]\nid = \"ru-de\"", "[[clauses]]\nid = \"ru-fr\"", "clause `ru-fr` is added"),
];

fn parse(text: &str) -> RegionMap {
    RegionMap::parse_carrying(&with_digests(text), &PACKS)
        .unwrap_or_else(|wrong| panic!("{wrong:#?}"))
}

#[test]
fn every_key_is_judged() {
    let old = parse(FIRST);
    assert_eq!(widening(Some(&old), &old), []);
    assert_eq!(widening(None, &old).len(), 1);
    for (was, is, expected) in STEPS {
        assert!(FIRST.contains(was), "{was}");
        let found = widening(Some(&old), &parse(&FIRST.replacen(was, is, 1)));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        let expected: Vec<&str> = expected.split(" & ").filter(|text| !text.is_empty()).collect();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, start)| found.starts_with(start));
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
