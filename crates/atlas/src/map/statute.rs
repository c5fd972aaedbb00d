//! A statute in force: a pack, and the map's settings for it.

use std::collections::BTreeSet;

use terms::Collection;

use super::law::{DIGEST, Packs, collections, digest};
use super::parse::Names;
use super::{Tenant, digest_text};
use crate::pack::NAME;
use crate::read::{At, File, Section};
use crate::{
    CitizensAbroad, Constraint, Ingress, Jurisdiction, StatuteId, StatutePack, Trigger,
    UnknownCitizenship,
};

/// A statute pack in force, with the map's settings for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statute {
    pub(super) pack: &'static StatutePack,
    pub(super) constraint: Constraint,
    pub(super) unknown: UnknownCitizenship,
    pub(super) citizens_abroad: CitizensAbroad,
    pub(super) ingress: Ingress,
    pub(super) collections: Option<Vec<Collection>>,
    /// The collections that declare a ground on which this law does not attach to them.
    pub(super) exempt: BTreeSet<Collection>,
}

impl Statute {
    /// The law.
    pub fn pack(&self) -> &'static StatutePack {
        self.pack
    }

    /// Its id.
    pub fn id(&self) -> &'static StatuteId {
        self.pack.id()
    }

    /// Whose law it is.
    pub fn jurisdiction(&self) -> Jurisdiction {
        self.pack.jurisdiction()
    }

    /// What it demands: by the reading that the map chose, where readings are in dispute.
    pub fn constraint(&self) -> Constraint {
        self.constraint
    }

    /// When it attaches to those of unknown citizenship; of no effect unless its trigger is
    /// citizenship.
    pub fn unknown(&self) -> UnknownCitizenship {
        self.unknown
    }

    /// What happens to citizens who live elsewhere; of no effect unless its trigger is citizenship.
    pub fn citizens_abroad(&self) -> CitizensAbroad {
        self.citizens_abroad
    }

    /// Through which gateways records may come in to which it attaches.
    pub fn ingress(&self) -> Ingress {
        self.ingress
    }

    /// The collections that the map lists for it, by name. None: all of them.
    pub fn collections(&self) -> Option<&[Collection]> {
        self.collections.as_deref()
    }

    /// Whether that collection declares a ground on which this law does not attach to it.
    pub fn exempts(&self, collection: &Collection) -> bool {
        self.exempt.contains(collection)
    }

    /// Whether it applies to that collection: the map lists it, or lists none, and the collection
    /// declares no ground to be outside of the law.
    pub fn covers(&self, collection: &Collection) -> bool {
        let listed =
            self.collections.as_ref().is_none_or(|all| all.binary_search(collection).is_ok());
        listed && !self.exempts(collection)
    }

    /// Whether it is for a tenant: one that works in one of the law's sectors, or any if the law
    /// has none. A tenant that the map does not know is taken to work in all of them.
    pub fn concerns(&self, tenant: Option<&Tenant>) -> bool {
        let sectors = self.pack.sectors();
        sectors.is_empty()
            || tenant.is_none_or(|tenant| sectors.iter().any(|s| tenant.sectors().contains(s)))
    }
}

/// Reads a statute in force: an id of one of the packs, its digest, and settings.
pub(super) fn read(
    file: &File<'_>,
    section: &Section<'_>,
    names: &mut Names,
    packs: &Packs,
) -> Option<At<Statute>> {
    let id = section.needed("id", "NAME_INVALID", NAME, StatuteId::parse);
    let stated = section.needed("digest", "VALUE_INVALID", DIGEST, digest);
    let collections = collections(file, section, names);
    let ingress = section.text("ingress").and_then(|text| {
        file.parsed(text, "VALUE_INVALID", "anywhere or in-territory", Ingress::parse)
    });
    let ingress = ingress.map_or(Ingress::Anywhere, |ingress| ingress.it);
    let id = id?;
    let Some(pack) = packs.find(&id.it, stated.map(|stated| stated.it)) else {
        let problem = format!("this program has no statute pack `{}`", id.it);
        file.wrong(id.at, "STATUTE_UNKNOWN", problem, packs.ids());
        return None;
    };
    if let Some(stated) = stated
        && stated.it != *pack.digest()
    {
        let problem = format!("the digest is not that of the pack `{}`", id.it);
        let cure = format!("read the pack, then write {}", digest_text(pack.digest()));
        file.wrong(stated.at, "STATUTE_DIGEST", problem, cure);
    }
    let (unknown, citizens_abroad) = settings(file, section, pack);
    let constraint = reading(file, section, pack);
    draft(file, section, pack);
    if let Some(data) = pack.data()
        && collections.is_none()
    {
        let problem = format!("`{}` is about {data}, and no collections are listed", id.it);
        let cure = format!("list the collections that hold {data}; \"*\" does not do");
        file.wrong(section.at, "COLLECTIONS_NEEDED", problem, cure);
    }
    let exempt = BTreeSet::new();
    let settings =
        Statute { pack, constraint, unknown, citizens_abroad, ingress, collections, exempt };
    Some(id.with(settings))
}

/// What the law demands: by the reading that the map chooses, where readings are in dispute.
fn reading(file: &File<'_>, section: &Section<'_>, pack: &StatutePack) -> Constraint {
    let stated = section.text("reading");
    let words: Vec<&str> = pack.readings().iter().map(|reading| reading.as_str()).collect();
    let all = words.join(" or ");
    match stated {
        None if words.is_empty() => {}
        None => {
            let problem = format!("how `{}` is to be read is in dispute", pack.id());
            let cure = format!("choose the `reading`: {all}; there is no default");
            file.wrong(section.at, "SETTING_MISSING", problem, cure);
        }
        Some(text) if words.is_empty() => {
            let problem = format!("`{}` has one reading only", pack.id());
            file.wrong(text.at, "SETTING_UNUSED", problem, "leave this setting out");
        }
        Some(text) => {
            let among = |word: &str| {
                Constraint::parse(word).filter(|reading| pack.readings().contains(reading))
            };
            if let Some(reading) = file.parsed(text, "VALUE_INVALID", &all, among) {
                return reading.it;
            }
        }
    }
    pack.constraint()
}

/// Notes a draft that the map does not accept as one.
fn draft(file: &File<'_>, section: &Section<'_>, pack: &StatutePack) {
    let accepted = section.flag("accept_draft");
    match (pack.draft(), accepted) {
        (Some(because), None | Some(false)) => {
            let problem = format!("`{}` is a draft: {because}", pack.id());
            let cure = "leave it out, or write accept_draft = true if you have checked it";
            file.wrong(section.at, "STATUTE_DRAFT", problem, cure);
        }
        (None, Some(_)) => {
            let problem = format!("`{}` is no draft", pack.id());
            file.wrong(section.at, "SETTING_UNUSED", problem, "leave `accept_draft` out");
        }
        (Some(_), Some(true)) | (None, None) => {}
    }
}

/// The two settings of a law of citizens. Other laws have none.
fn settings(
    file: &File<'_>,
    section: &Section<'_>,
    pack: &StatutePack,
) -> (UnknownCitizenship, CitizensAbroad) {
    let (unknown, abroad) = (section.text("unknown"), section.text("citizens_abroad"));
    let citizen = pack.trigger() == Trigger::Citizen;
    if citizen && abroad.is_none() {
        let problem = format!("`{}` attaches to citizens and has no `citizens_abroad`", pack.id());
        let cure = "decide it: attach, ignore or refuse; there is no default";
        file.wrong(section.at, "SETTING_MISSING", problem, cure);
    }
    for text in [unknown, abroad].into_iter().flatten().filter(|_| !citizen) {
        let problem = format!("`{}` does not ask for citizenship", pack.id());
        file.wrong(text.at, "SETTING_UNUSED", problem, "leave this setting out");
    }
    let unknown = unknown.and_then(|text| {
        let wanted = "any-hint, territory or never";
        file.parsed(text, "VALUE_INVALID", wanted, UnknownCitizenship::parse)
    });
    let abroad = abroad.and_then(|text| {
        let wanted = "attach, ignore or refuse";
        file.parsed(text, "VALUE_INVALID", wanted, CitizensAbroad::parse)
    });
    // A map without the second is refused above, and for other laws neither has an effect.
    (
        unknown.map_or_else(|| pack.unknown(), |unknown| unknown.it),
        abroad.map_or(CitizensAbroad::Refuse, |abroad| abroad.it),
    )
}
