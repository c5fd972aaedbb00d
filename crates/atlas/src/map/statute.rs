//! A statute in force: a pack, and the map's settings for it.

use std::collections::BTreeSet;

use terms::Collection;

use crate::law::pack::NAME;
use crate::map::digest_text;
use crate::map::law::{DIGEST, Packs, collections, digest};
use crate::map::reader::Names;
use crate::toml::reader::{At, File, Section};
use crate::{
    CitizensAbroad, Constraint, Date, Ingress, Jurisdiction, Moment, Scope, StatuteId, StatutePack,
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
    pub(super) reviewed: Option<Review>,
}

/// That somebody has read a law itself beside its pack. It changes no ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Who.
    pub by: String,
    /// The day from which on they answer for what the pack says.
    pub on: Date,
    /// SHA-256 of the pack that they read. They do not answer for another text of it.
    pub digest: [u8; 32],
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

    /// Who has read the law itself beside the pack, or beside an earlier text of it, if anybody has.
    pub fn reviewed(&self) -> Option<&Review> {
        self.reviewed.as_ref()
    }

    /// Whether it applies to that collection: the map lists it, or lists none, and the collection
    /// declares no ground to be outside of the law.
    pub fn covers(&self, collection: &Collection) -> bool {
        let listed =
            self.collections.as_ref().is_none_or(|all| all.binary_search(collection).is_ok());
        listed && !self.exempts(collection)
    }

    /// To whom it applies, and what it demands for them: of the first by the reading that the map
    /// chose, where readings are in dispute.
    pub fn demands(&self) -> impl Iterator<Item = (&'static Scope, Constraint)> {
        self.pack
            .scopes()
            .iter()
            .enumerate()
            .map(|(n, scope)| (scope, if n == 0 { self.constraint } else { scope.constraint() }))
    }

    /// The same, of those to whom it applies then.
    pub fn demands_at(&self, at: Moment) -> impl Iterator<Item = (&'static Scope, Constraint)> {
        let pack = self.pack;
        self.demands().filter(move |(scope, _)| pack.applies(scope, at))
    }

    /// The strictest demand by which it puts people into its territory, if it has one.
    pub(crate) fn puts(&self) -> Option<Constraint> {
        self.constraints().into_iter().find(|constraint| match constraint {
            Constraint::Exclusive | Constraint::PrimaryFirst | Constraint::Mirror => true,
            Constraint::ConditionalTransfer | Constraint::None => false,
        })
    }

    /// What it demands of anybody, each once, the strictest first.
    pub fn constraints(&self) -> BTreeSet<Constraint> {
        self.demands().map(|(_, constraint)| constraint).collect()
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
    let ingress = way_in(file, ingress, pack, constraint);
    draft(file, section, pack);
    if let Some(data) = pack.data()
        && collections.is_none()
    {
        let problem = format!("`{}` is about {data}, and no collections are listed", id.it);
        let cure = format!("list the collections that hold {data}; \"*\" does not do");
        file.wrong(section.at, "COLLECTIONS_NEEDED", problem, cure);
    }
    let (exempt, reviewed) = (BTreeSet::new(), review(section));
    let settings = Statute {
        pack,
        constraint,
        unknown,
        citizens_abroad,
        ingress,
        collections,
        exempt,
        reviewed,
    };
    Some(id.with(settings))
}

fn review(section: &Section<'_>) -> Option<Review> {
    let section = section.section("reviewed")?;
    let (by, on) = (section.needed_text("by"), section.needed_date("on"));
    let digest = section.needed("digest", "VALUE_INVALID", DIGEST, digest);
    Some(Review { by: by?.it.to_owned(), on: on?.it, digest: digest?.it })
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
    pack.scopes().first().map_or(Constraint::Exclusive, Scope::constraint)
}

/// Through which gateways records come in: a reading of the law may leave no choice.
fn way_in(
    file: &File<'_>,
    stated: Option<At<Ingress>>,
    pack: &StatutePack,
    constraint: Constraint,
) -> Ingress {
    if !pack.inside().contains(&constraint) {
        return stated.map_or(Ingress::Anywhere, |ingress| ingress.it);
    }
    if let Some(At { it: Ingress::Anywhere, at }) = stated {
        let problem = format!("`{}`, read as {constraint}, wants gateways inside", pack.id());
        file.wrong(at, "VALUE_INVALID", problem, "write in-territory, or leave the key out");
    }
    Ingress::InTerritory
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
    let citizen = pack.asks_citizenship();
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
