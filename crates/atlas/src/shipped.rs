//! The packs that travel with this program.

use std::sync::LazyLock;

use crate::StatutePack;

/// Their files, by id.
const FILES: &[&str] = &[
    include_str!("../statutes/eu-gdpr.toml"),
    include_str!("../statutes/in-rbi.toml"),
    include_str!("../statutes/kz-94v.toml"),
    include_str!("../statutes/ru-152fz.toml"),
    include_str!("../statutes/ru-152fz-12.toml"),
    include_str!("../statutes/ru-152fz-2015.toml"),
    include_str!("../statutes/uk-gdpr.toml"),
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
