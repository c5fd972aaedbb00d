//! From TOML to a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use terms::RegionId;

use crate::law::builtin::{Packs, packs};
use crate::limits::MAP_BYTES_MAX;
use crate::map::disputed::{self, Areas};
use crate::map::draft::{Draft, Places, sorted};
use crate::map::model::Source;
use crate::map::names::{Names, digest};
use crate::map::schema::MAP;
use crate::map::{Epoch, RegionMap, check, clause, index, parts, statute};
use crate::toml::{File, Section, SizeLimit};
use crate::{Diagnostic, StatutePack};

/// Bytes of a trust domain, by the SPIFFE specification.
const DOMAIN_BYTES_MAX: usize = 255;
/// The size limit of a map.
pub(crate) const MAP_SIZE: SizeLimit =
    SizeLimit { code: "MAP_TOO_LARGE", bytes_max: MAP_BYTES_MAX };

impl RegionMap {
    /// Reads and checks a map whose statutes are built-in packs.
    ///
    /// # Errors
    /// Every diagnostic, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_carrying(text, &[])
    }

    /// Reads and checks a map that came with these packs: its statutes are among them and the
    /// built-in ones. Where two have the same id, the digest that the map states decides, so that a
    /// map still works with a program that has a newer text of a law.
    ///
    /// # Errors
    /// Every diagnostic, in the order of the file.
    pub fn parse_carrying(
        text: &str,
        carried: &[Arc<StatutePack>],
    ) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let map = read(&file, text, &Packs::new(packs().iter().chain(carried)));
        file.finish(map.map(|(map, _)| map))
    }
}

/// Reads a map, and where each of its parts stands. The findings stay in the file.
pub(crate) fn read(file: &File<'_>, text: &str, packs: &Packs) -> Option<(RegionMap, Places)> {
    let document = file.document(MAP_SIZE)?;
    let root = Section::root(file, &document, &MAP);
    let name = root.text("name");
    let deployment = root.parse("deployment", |text| {
        RegionId::parse(text).ok().map(|name| name.as_str().to_owned())
    });
    let trust_domain = root.parse("trust_domain", domain);
    let number = root.number("version");
    let predecessors =
        root.distinct("predecessor", "NAME_DUPLICATE", RegionMap::PREDECESSORS_MAX, digest);
    let valid_until = root.date("valid_until");
    let mut draft = draft(&root, packs);
    check::draft(file, &draft);
    let places = sorted(&mut draft, valid_until.map(|date| date.at));
    let epoch = Epoch { number: number?.it, digest: Sha256::digest(text).into() };
    let deployment = deployment?.it;
    let mut map = RegionMap {
        epoch,
        text: Source(text.into()),
        name: name?.it.to_owned(),
        trust_domain: trust_domain.map_or_else(|| deployment.clone(), |domain| domain.it),
        deployment,
        predecessors,
        valid_until: valid_until.map(|date| date.it),
        tenants: draft.tenants.into_iter().map(|t| (t.it.name.clone(), t.it)).collect(),
        collections: draft.collections.into_iter().map(|c| (c.it.name.clone(), c.it)).collect(),
        regions: draft.regions.into_iter().map(|region| region.it).collect(),
        homes: draft.homes.into_iter().map(|home| home.it).collect(),
        statutes: draft.statutes.into_iter().map(|statute| statute.it).collect(),
        clauses: draft.clauses.into_iter().map(|clause| clause.it).collect(),
        disputed: Areas::new(file, draft.disputed),
        leads: Vec::new(),
        clauses_from: BTreeMap::new(),
    };
    index::make(&mut map);
    Some((map, places))
}

fn draft(root: &Section<'_>, packs: &Packs) -> Draft {
    let map_limit = root.section("limits").and_then(|limits| parts::body_limit(&limits));
    let (collections, regions) = (root.sections("collections"), root.sections("regions"));
    let mut names = Names::default();
    let known = |sections: &[Section<'_>]| {
        let names = sections.iter().filter_map(|section| section.known_text("name"));
        names.map(str::to_owned).collect()
    };
    Draft {
        known_regions: known(&regions),
        known_collections: known(&collections),
        tenants: root.sections("tenants").iter().filter_map(parts::tenant).collect(),
        collections: collections
            .iter()
            .filter_map(|section| parts::collection(section, &mut names, map_limit))
            .collect(),
        regions: regions.iter().filter_map(parts::region).collect(),
        homes: root
            .sections("homes")
            .iter()
            .filter_map(|section| parts::home(section, &mut names))
            .collect(),
        statutes: root
            .sections("statutes")
            .iter()
            .filter_map(|section| statute::read(section, &mut names, packs))
            .collect(),
        clauses: root
            .sections("clauses")
            .iter()
            .filter_map(|section| clause::read(section, &mut names))
            .collect(),
        disputed: root.sections("disputed").iter().filter_map(disputed::read).collect(),
        names,
    }
}

/// A SPIFFE trust domain: the characters and length of its specification.
fn domain(text: &str) -> Option<String> {
    let form = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
    let good = (1..=DOMAIN_BYTES_MAX).contains(&text.len()) && text.bytes().all(form);
    good.then(|| text.to_owned())
}
