//! The packs that travel with this program.

use std::sync::LazyLock;

use crate::StatutePack;

/// Their files, by id.
const FILES: &[&str] = &[
    include_str!("../../statutes/ae-health.toml"),
    include_str!("../../statutes/ae-pdpl.toml"),
    include_str!("../../statutes/au-mhr.toml"),
    include_str!("../../statutes/bd-pdpo.toml"),
    include_str!("../../statutes/br-lgpd.toml"),
    include_str!("../../statutes/by-99z.toml"),
    include_str!("../../statutes/by-decree60.toml"),
    include_str!("../../statutes/ca-bc-before-bill22.toml"),
    include_str!("../../statutes/ca-bc-fippa.toml"),
    include_str!("../../statutes/ca-ns-bill150.toml"),
    include_str!("../../statutes/ca-ns-piidpa.toml"),
    include_str!("../../statutes/ch-fadp.toml"),
    include_str!("../../statutes/cn-ciio.toml"),
    include_str!("../../statutes/cn-export.toml"),
    include_str!("../../statutes/cn-pipl-40.toml"),
    include_str!("../../statutes/cn-state-organs.toml"),
    include_str!("../../statutes/eu-gdpr.toml"),
    include_str!("../../statutes/id-private.toml"),
    include_str!("../../statutes/id-public.toml"),
    include_str!("../../statutes/in-dpdp.toml"),
    include_str!("../../statutes/in-dpdp-sdf.toml"),
    include_str!("../../statutes/in-rbi.toml"),
    include_str!("../../statutes/kg-transfer.toml"),
    include_str!("../../statutes/kr-maps.toml"),
    include_str!("../../statutes/kr-pipa.toml"),
    include_str!("../../statutes/kz-94v.toml"),
    include_str!("../../statutes/kz-94v-16.toml"),
    include_str!("../../statutes/ng-ndpa.toml"),
    include_str!("../../statutes/ng-nitda.toml"),
    include_str!("../../statutes/ng-payments.toml"),
    include_str!("../../statutes/ru-152fz.toml"),
    include_str!("../../statutes/ru-152fz-12.toml"),
    include_str!("../../statutes/ru-152fz-2015.toml"),
    include_str!("../../statutes/sa-pdpl.toml"),
    include_str!("../../statutes/tr-kvkk.toml"),
    include_str!("../../statutes/uk-gdpr.toml"),
    include_str!("../../statutes/us-28cfr202.toml"),
    include_str!("../../statutes/us-28cfr202-citizens.toml"),
    include_str!("../../statutes/uz-biometric.toml"),
    include_str!("../../statutes/uz-general.toml"),
    include_str!("../../statutes/uz-zru666.toml"),
    include_str!("../../statutes/vn-116-2025.toml"),
    include_str!("../../statutes/vn-storage.toml"),
    include_str!("../../statutes/vn-storage-foreign.toml"),
    include_str!("../../statutes/vn-transfer.toml"),
];

static PACKS: LazyLock<Vec<StatutePack>> = LazyLock::new(|| {
    let read = |file: &&str| StatutePack::parse(file).expect("a test reads every pack we ship");
    FILES.iter().map(read).collect()
});

/// The statute packs that this program has, by id.
pub fn packs() -> &'static [StatutePack] {
    &PACKS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pack_reads() {
        for file in FILES {
            let first = file.lines().find(|line| line.starts_with("id")).unwrap_or_default();
            let pack = StatutePack::parse(file);
            assert!(pack.is_ok(), "{first}: {pack:#?}");
        }
        assert!(packs().is_sorted_by_key(StatutePack::id));
        assert_eq!(packs().len(), FILES.len());
    }
}
