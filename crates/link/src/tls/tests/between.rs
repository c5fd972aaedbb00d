//! What may stand between a certificate and its authority: nothing of another region's.

use rustls::pki_types::CertificateDer;

use super::*;
use crate::tls::Cause;
use crate::tls::certificate::Authority;
use crate::tls::chain::Trust;

const NAMED: &str = "spiffe://sample/region/eu-fra/gateway/g1";

/// An authority that allows others below it.
struct Root {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

fn of_authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2030, 1, 1);
    params
}

impl Root {
    fn new(name: &str) -> Self {
        let (params, key) = (of_authority(name), KeyPair::generate().unwrap());
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn below(&self, name: &str) -> Self {
        let (params, key) = (of_authority(name), KeyPair::generate().unwrap());
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    fn leaf(&self) -> CertificateDer<'static> {
        let (params, key, _serial) = params(&[NAMED], 2026..2027, true);
        params.signed_by(&key, &self.issuer).unwrap().der().clone()
    }
}

fn trust(regions: &[(&str, &Root)]) -> Trust {
    let mut trust = Trust { trust_domain: "sample".to_owned(), ..Trust::default() };
    for (name, root) in regions {
        trust.regions.insert(region(name), vec![Authority::new(&root.der).unwrap()]);
    }
    trust
}

fn member(trust: &Trust, leaf: &CertificateDer<'_>, between: &[&Root]) -> Result<PeerId, Cause> {
    let between: Vec<_> = between.iter().map(|one| one.der.clone()).collect();
    let now = crate::tls::config::unix_time(&*clock());
    let usage = webpki::KeyUsage::client_auth();
    trust.member((leaf, &between), now, usage).map(|(id, _)| id)
}

#[test]
fn an_intermediate_of_ones_own_is_taken() {
    let root = Root::new("eu");
    let between = root.below("eu, this month");
    let (leaf, trust) = (between.leaf(), trust(&[("eu-fra", &root)]));
    assert_eq!(member(&trust, &leaf, &[&between]).unwrap().to_string(), NAMED);
    assert_eq!(member(&trust, &leaf, &[]), Err(Cause::Authority));
}

#[test]
fn one_regions_authority_below_anothers_speaks_for_itself_alone() {
    // One house's root is pinned for eu-fra; for ru-msk an authority that the same root has
    // issued. By chains alone, ru-msk's could name any process of eu-fra.
    let root = Root::new("of the house");
    let ru = root.below("ru");
    let below_ru = ru.below("ru, this month");
    let trust = trust(&[("eu-fra", &root), ("ru-msk", &ru)]);
    assert_eq!(member(&trust, &ru.leaf(), &[&ru]), Err(Cause::Authority));
    assert_eq!(member(&trust, &below_ru.leaf(), &[&below_ru, &ru]), Err(Cause::Authority));
    assert!(member(&trust, &root.leaf(), &[]).is_ok());
}

#[test]
fn a_certificate_that_is_no_authority_pins_nothing() {
    let leaf = Root::new("eu").leaf();
    assert_eq!(Authority::new(&leaf).err(), Some(Cause::Authority));
}

#[test]
fn one_key_is_the_authority_of_one_region() {
    let (eu, folder) = (Ca::new("eu"), tempfile::tempdir().unwrap());
    // The same key in another certificate.
    let again = of_authority("eu, again").self_signed(eu.issuer.key()).unwrap();
    let other = Ca {
        digest: Sha256::digest(again.der()).into(),
        pem: again.pem(),
        issuer: Issuer::new(of_authority("eu, again"), KeyPair::generate().unwrap()),
    };
    let files = files(folder.path(), &eu.leaf(&[GATEWAY]), &[&eu, &other], &[]);
    let both = pins(&[("eu-fra", &[&eu]), ("ru-msk", &[&other])]);
    let refused = open(&files, &both, PeerKind::Gateway, "eu-fra").err().unwrap();
    assert!(refused.to_string().contains("two regions"), "{refused}");
    let one = pins(&[("eu-fra", &[&eu, &other])]);
    assert!(open(&files, &one, PeerKind::Gateway, "eu-fra").is_ok());
}

#[test]
fn an_authority_that_is_not_valid_speaks_for_nobody() {
    for years in [2027..2040, 2020..2026] {
        let eu = Ca::changed("eu", |params| {
            params.not_before = date_time_ymd(years.start, 1, 1);
            params.not_after = date_time_ymd(years.end, 1, 1);
        });
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), &eu.leaf(&[GATEWAY]), &[&eu], &[]);
        let pins = pins(&[("eu-fra", &[&eu])]);
        let refused = open(&files, &pins, PeerKind::Gateway, "eu-fra").unwrap_err();
        let expected = matches!(refused, Error::Own { cause: Cause::AuthorityExpired, .. });
        assert!(expected, "{years:?}: {refused}");
    }
}

#[test]
fn a_name_constraint_that_cannot_be_judged_is_refused_when_it_is_read() {
    use rcgen::{CustomExtension, DistinguishedName, GeneralSubtree, NameConstraints};
    // Permitted: the URI `sample`.
    let uri = [&[0x30, 0x0c, 0xa0, 0x0a, 0x30, 0x08, 0x86, 0x06], &b"sample"[..]].concat();
    let of_uri = Ca::changed("eu", |params| {
        let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], uri.clone());
        extension.set_criticality(true);
        params.custom_extensions.push(extension);
    });
    let of = |subtree: GeneralSubtree| {
        Ca::changed("eu", |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![subtree],
                excluded_subtrees: Vec::new(),
            });
        })
    };
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "sample");
    let folder = tempfile::tempdir().unwrap();
    let check = |eu: &Ca| {
        let files = files(folder.path(), &eu.leaf(&[GATEWAY]), &[eu], &[]);
        open(&files, &pins(&[("eu-fra", &[eu])]), PeerKind::Gateway, "eu-fra")
    };
    for eu in [of_uri, of(GeneralSubtree::DirectoryName(name))] {
        let refused = check(&eu).unwrap_err().to_string();
        assert!(
            refused.contains("authorities.pem: ") && refused.contains("constraint"),
            "{refused}"
        );
    }
    // One of names that we have not is none.
    assert!(check(&of(GeneralSubtree::DnsName("example".to_owned()))).is_ok());
}

#[test]
fn what_a_certificate_may_not_be_used_for_is_said() {
    let (eu, folder) = (Ca::new("eu"), tempfile::tempdir().unwrap());
    // For clients alone.
    let leaf = eu.leaf_of(&[GATEWAY], 2026..2027, false);
    let files = files(folder.path(), &leaf, &[&eu], &[]);
    let refused = open(&files, &pins(&[("eu-fra", &[&eu])]), PeerKind::Gateway, "eu-fra");
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("serverAuth"), "{refused}");
}

#[test]
fn a_key_is_read_only_if_nobody_else_may_read_it() {
    let (eu, folder) = (Ca::new("eu"), tempfile::tempdir().unwrap());
    let files = files(folder.path(), &eu.leaf(&[GATEWAY]), &[&eu], &[]);
    let pins = pins(&[("eu-fra", &[&eu])]);
    for mode in [0o640, 0o644, 0o604] {
        set_mode(&files.key, mode);
        let refused = open(&files, &pins, PeerKind::Gateway, "eu-fra").unwrap_err().to_string();
        assert!(refused.contains("key.pem") && refused.contains("chmod 600"), "{refused}");
    }
    set_mode(&files.key, 0o400);
    assert!(open(&files, &pins, PeerKind::Gateway, "eu-fra").is_ok());
}
