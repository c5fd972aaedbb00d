//! A statute in force: a pack, and the map's settings for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use terms::Collection;

use crate::law::builtin::Packs;
use crate::map::names::{Names, digest, digest_text};
use crate::toml::{At, Section};
use crate::{
    CitizensAbroad, Constraint, Date, Ingress, Jurisdiction, Moment, Scope, StatuteId, StatutePack,
    Transit, UnknownCitizenship,
};

/// A statute pack in force, with the map's settings for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statute {
    pub(super) pack: Arc<StatutePack>,
    pub(super) constraint: Constraint,
    pub(super) unknown: UnknownCitizenship,
    pub(super) citizens_abroad: CitizensAbroad,
    pub(super) ingress: Ingress,
    pub(super) transit: Transit,
    pub(super) collections: Option<Vec<Collection>>,
    /// The collections that declare a ground on which this law does not attach to them.
    pub(super) exempt: BTreeSet<Collection>,
    pub(super) reviewed: Option<Review>,
}

/// A person has compared a law with its pack. This changes no ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// Who.
    pub by: String,
    /// The day from which on they answer for what the pack says.
    pub on: Date,
    /// SHA-256 of the pack that was compared. The review is of no other text.
    pub digest: [u8; 32],
}

impl Statute {
    /// The law.
    pub fn pack(&self) -> &Arc<StatutePack> {
        &self.pack
    }

    /// Its id.
    pub fn id(&self) -> &StatuteId {
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

    /// How bodies of the collections that it covers pass gateways, of whichever person they are: which laws
    /// attach to a person, a gateway does not know before the region has told.
    pub fn transit(&self) -> Transit {
        self.transit
    }

    /// The collections that the map lists for it, by name. None: all of them.
    pub fn collections(&self) -> Option<&[Collection]> {
        self.collections.as_deref()
    }

    /// Whether that collection declares a ground on which this law does not attach to it.
    pub fn exempts(&self, collection: &Collection) -> bool {
        self.exempt.contains(collection)
    }

    /// Who has compared the law with its pack, if anyone has.
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
    pub fn demands(&self) -> impl Iterator<Item = (&Scope, Constraint)> {
        self.pack
            .scopes()
            .iter()
            .enumerate()
            .map(|(n, scope)| (scope, if n == 0 { self.constraint } else { scope.constraint() }))
    }

    /// The same, of those to whom it applies at that time.
    pub fn demands_at(&self, at: Moment) -> impl Iterator<Item = (&Scope, Constraint)> {
        let pack = &self.pack;
        self.demands().filter(move |(scope, _)| pack.applies(scope, at))
    }

    /// The strictest demand by which it puts people into its territory, if it has one.
    pub(crate) fn puts(&self) -> Option<Constraint> {
        self.constraints().into_iter().find(|constraint| match constraint {
            Constraint::Exclusive | Constraint::PrimaryFirst | Constraint::Mirror => true,
            Constraint::ConditionalTransfer | Constraint::None => false,
        })
    }

    /// All of its demands, each once, the strictest first.
    pub fn constraints(&self) -> BTreeSet<Constraint> {
        self.demands().map(|(_, constraint)| constraint).collect()
    }
}

/// Reads a statute in force: an id of one of the packs, its digest, and settings.
pub(super) fn read(section: &Section<'_>, names: &mut Names, packs: &Packs) -> Option<At<Statute>> {
    let id = section.parse("id", StatuteId::parse);
    let stated = section.parse("digest", digest);
    let collections = names.collections(section);
    let ingress = section.parse("ingress", Ingress::parse);
    let transit = section.parse("transit", Transit::parse).map_or(Transit::Any, |word| word.it);
    let reviewed = review(section);
    let id = id?;
    let Some(pack) = packs.find(&id.it, stated.map(|stated| stated.it)) else {
        let problem = format!("this program has no statute pack `{}`", id.it);
        section.wrong(id.at, "STATUTE_UNKNOWN", problem, packs.ids());
        return None;
    };
    if let Some(stated) = stated
        && stated.it != *pack.digest()
    {
        let problem = format!("the digest is not that of the pack `{}`", id.it);
        let help = format!("read the pack, then write {}", digest_text(pack.digest()));
        section.wrong(stated.at, "STATUTE_DIGEST", problem, help);
    }
    let (unknown, citizens_abroad) = citizen_settings(section, pack);
    let constraint = reading(section, pack);
    let ingress = ingress_of(section, ingress, pack, constraint);
    draft(section, pack);
    if let Some(data) = pack.data()
        && collections.is_none()
    {
        let problem = format!("`{}` is about {data}, and no collections are listed", id.it);
        let help = format!("list the collections that hold {data}; \"*\" is not accepted here");
        section.wrong(section.at(), "COLLECTIONS_NEEDED", problem, help);
    }
    Some(id.with(Statute {
        pack: Arc::clone(pack),
        constraint,
        unknown,
        citizens_abroad,
        ingress,
        transit,
        collections,
        exempt: BTreeSet::new(),
        reviewed,
    }))
}

fn review(section: &Section<'_>) -> Option<Review> {
    let section = section.section("reviewed")?;
    let (by, on) = (section.text("by"), section.date("on"));
    let digest = section.parse("digest", digest);
    Some(Review { by: by?.it.to_owned(), on: on?.it, digest: digest?.it })
}

/// Reports a setting that has no effect on this law.
fn unused(section: &Section<'_>, key: &str, problem: String) {
    if let Some(at) = section.place(key) {
        section.wrong(at, "SETTING_UNUSED", problem, "remove this setting");
    }
}

/// What the law demands: by the reading that the map chooses, where readings are in dispute.
fn reading(section: &Section<'_>, pack: &StatutePack) -> Constraint {
    let own = pack.scopes().first().map_or(Constraint::Exclusive, Scope::constraint);
    let readings = pack.readings();
    if readings.is_empty() {
        unused(section, "reading", format!("`{}` has one reading only", pack.id()));
        return own;
    }
    let words: Vec<&str> = readings.iter().map(|reading| reading.as_str()).collect();
    let all = words.join(" or ");
    let Some(text) = section.text("reading") else {
        let problem = format!("the reading of `{}` is in dispute", pack.id());
        let help = format!("choose the `reading`: {all}; there is no default");
        section.wrong(section.at(), "SETTING_MISSING", problem, help);
        return own;
    };
    let chosen = Constraint::parse(text.it).filter(|reading| readings.contains(reading));
    if chosen.is_none() {
        section.not(text, "VALUE_INVALID", &all);
    }
    chosen.unwrap_or(own)
}

/// Through which gateways records come in: a reading of the law may leave no choice.
fn ingress_of(
    section: &Section<'_>,
    stated: Option<At<Ingress>>,
    pack: &StatutePack,
    constraint: Constraint,
) -> Ingress {
    if !pack.inside().contains(&constraint) {
        return stated.map_or(Ingress::Anywhere, |ingress| ingress.it);
    }
    if let Some(At { it: Ingress::Anywhere, at }) = stated {
        let problem =
            format!("`{}`, read as {constraint}, requires gateways in its territory", pack.id());
        section.wrong(at, "VALUE_INVALID", problem, "write in-territory, or remove the key");
    }
    Ingress::InTerritory
}

/// Reports a draft that the map does not accept as one.
fn draft(section: &Section<'_>, pack: &StatutePack) {
    match (pack.draft(), section.flag("accept_draft")) {
        (Some(because), None | Some(false)) => {
            let problem = format!("`{}` is a draft: {because}", pack.id());
            let help = "remove it, or write accept_draft = true if you have checked it";
            section.wrong(section.at(), "STATUTE_DRAFT", problem, help);
        }
        (None, Some(_)) => {
            unused(section, "accept_draft", format!("`{}` is not a draft", pack.id()));
        }
        (Some(_), Some(true)) | (None, None) => {}
    }
}

/// The two settings of a law of citizens. Other laws have none.
fn citizen_settings(
    section: &Section<'_>,
    pack: &StatutePack,
) -> (UnknownCitizenship, CitizensAbroad) {
    if !pack.asks_citizenship() {
        for key in ["unknown", "citizens_abroad"] {
            unused(section, key, format!("`{}` does not depend on citizenship", pack.id()));
        }
        return (pack.unknown(), CitizensAbroad::Refuse);
    }
    let unknown = section.parse("unknown", UnknownCitizenship::parse);
    let abroad = section.parse("citizens_abroad", CitizensAbroad::parse);
    if section.place("citizens_abroad").is_none() {
        let problem = format!("`{}` attaches to citizens and has no `citizens_abroad`", pack.id());
        let help = "decide it: attach, ignore or refuse; there is no default";
        section.wrong(section.at(), "SETTING_MISSING", problem, help);
    }
    // A map without the second is refused above.
    (
        unknown.map_or_else(|| pack.unknown(), |unknown| unknown.it),
        abroad.map_or(CitizensAbroad::Refuse, |abroad| abroad.it),
    )
}
