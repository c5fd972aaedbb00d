//! Transfer clauses: records of a jurisdiction may go to a territory, on a legal basis.

use terms::Collection;

use crate::law::vocabulary::id;
use crate::map::exclusions::{Exclusions, exclusions};
use crate::map::names::Names;
use crate::toml::{At, Section};
use crate::{Date, Jurisdiction, Territory};

id! {
    /// The name of a transfer clause.
    ClauseId
}

/// A transfer clause: records of a jurisdiction may go to a territory, on a legal basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    pub(super) id: ClauseId,
    pub(super) from: Jurisdiction,
    pub(super) to: Territory,
    pub(super) collections: Option<Vec<Collection>>,
    pub(super) legal_basis: String,
    pub(super) importer: String,
    pub(super) reference: String,
    pub(super) not_before: Date,
    pub(super) expires: Date,
    pub(super) notified: Option<Date>,
    pub(super) exclude: Exclusions,
}

impl Clause {
    /// Its name.
    pub fn id(&self) -> &ClauseId {
        &self.id
    }

    /// The jurisdiction whose law it satisfies: exactly that one.
    pub fn from(&self) -> Jurisdiction {
        self.from
    }

    /// Where records may go: to regions in this territory.
    pub fn to(&self) -> Territory {
        self.to
    }

    /// The collections that it is for, by name. None: all of them.
    pub fn collections(&self) -> Option<&[Collection]> {
        self.collections.as_deref()
    }

    /// The legal basis, in the operator's words.
    pub fn legal_basis(&self) -> &str {
        &self.legal_basis
    }

    /// Who receives the records.
    pub fn importer(&self) -> &str {
        &self.importer
    }

    /// The number of the contract, notification or decision, with its date.
    pub fn reference(&self) -> &str {
        &self.reference
    }

    /// The first day on which it holds.
    pub fn not_before(&self) -> Date {
        self.not_before
    }

    /// The first day on which it no longer holds.
    pub fn expires(&self) -> Date {
        self.expires
    }

    /// The day on which the authority was notified of it, if the map says so.
    pub fn notified(&self) -> Option<Date> {
        self.notified
    }

    /// The sites with which the records must not lie: it leads to none of them.
    pub fn exclude(&self) -> &Exclusions {
        &self.exclude
    }

    /// Whether it is for that collection.
    pub fn covers(&self, collection: &Collection) -> bool {
        self.collections.as_ref().is_none_or(|all| all.binary_search(collection).is_ok())
    }

    /// Whether it holds on that day: from `not_before` on, and before `expires`.
    pub fn in_force(&self, date: Date) -> bool {
        self.not_before <= date && date < self.expires
    }
}

/// Reads a transfer clause.
pub(super) fn read(section: &Section<'_>, names: &mut Names) -> Option<At<Clause>> {
    let id = section.parse("id", ClauseId::parse);
    let (from, to) =
        (section.parse("from", Territory::parse), section.parse("to", Territory::parse));
    let listed = section.place("collections").is_some();
    let collections = names.collections(section);
    let [legal_basis, importer, reference] = ["legal_basis", "importer", "reference"]
        .map(|key| section.text(key).map(|text| text.it.to_owned()));
    let (not_before, expires) = (section.date("not_before"), section.date("expires"));
    let notified = section.date("notified").map(|date| date.it);
    let exclude = exclusions(section, names);
    if let (Some(from), Some(to)) = (not_before, expires)
        && to.it <= from.it
    {
        let problem = "this clause ends before it begins";
        section.wrong(to.at, "DATE_ORDER", problem, "let `expires` be later than `not_before`");
    }
    let id = id?;
    let clause = Clause {
        id: id.it.clone(),
        from: from?.it,
        to: to?.it,
        collections,
        legal_basis: legal_basis?,
        importer: importer?,
        reference: reference?,
        not_before: not_before?.it,
        expires: expires?.it,
        notified,
        exclude,
    };
    listed.then(|| id.with(clause))
}
