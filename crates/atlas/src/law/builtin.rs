//! The built-in packs: those that are compiled into this program.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use crate::toml::one_of;
use crate::{StatuteId, StatutePack};

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

static PACKS: LazyLock<Vec<Arc<StatutePack>>> = LazyLock::new(|| {
    let read =
        |file: &&str| Arc::new(StatutePack::parse(file).expect("a test reads every built-in pack"));
    FILES.iter().map(read).collect()
});

/// The built-in statute packs, by id.
pub fn packs() -> &'static [Arc<StatutePack>] {
    &PACKS
}

/// The packs that a map can name.
#[derive(Debug)]
pub(crate) struct Packs(BTreeMap<StatuteId, Vec<Arc<StatutePack>>>);

impl Packs {
    pub(crate) fn new<'a>(packs: impl IntoIterator<Item = &'a Arc<StatutePack>>) -> Self {
        let mut all = BTreeMap::<_, Vec<_>>::new();
        for pack in packs {
            all.entry(pack.id().clone()).or_default().push(Arc::clone(pack));
        }
        Self(all)
    }

    /// The pack of that id: the one with that digest if there is one, else the first.
    pub(crate) fn find(
        &self,
        id: &StatuteId,
        digest: Option<[u8; 32]>,
    ) -> Option<&Arc<StatutePack>> {
        let packs = self.0.get(id)?;
        packs.iter().find(|pack| Some(*pack.digest()) == digest).or_else(|| packs.first())
    }

    /// Advice to use one of them.
    pub(crate) fn ids(&self) -> String {
        one_of(self.0.keys())
    }
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
        assert!(packs().is_sorted_by_key(|pack| pack.id()));
        assert_eq!(packs().len(), FILES.len());
    }
}
