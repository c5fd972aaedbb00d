//! Whether a record may be read from abroad (egress), and through which gateways it may come in
//! (ingress). Pure, as the ruling is: places and days are arguments.

use smallvec::SmallVec;
use terms::{Collection, Detail, Reason, Rejection, TenantId};

use crate::{
    Attachment, Constraint, Country, Date, Ingress, Jurisdiction, Moment, RegionMap, Statute,
    StatutePack, demands_on_participant,
};

/// The jurisdictions whose law forbids it, by code, each once; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barred(SmallVec<[Jurisdiction; 4]>);

impl Barred {
    /// Whose law forbids it.
    pub fn conflicting(&self) -> &[Jurisdiction] {
        &self.0
    }

    /// The refusal of a read.
    pub fn egress_fault(&self) -> Rejection {
        self.fault(Reason::EgressNotCovered)
    }

    /// That a write came in by the wrong gateway. Where the right one is, the annex says.
    pub fn ingress_fault(&self) -> Rejection {
        self.fault(Reason::WrongIngress)
    }

    fn fault(&self, reason: Reason) -> Rejection {
        let all: Vec<&str> = self.0.iter().map(|jurisdiction| jurisdiction.as_str()).collect();
        Rejection::new(reason).with(Detail::Conflicting, all.join(","))
    }

    fn of(barring: impl Iterator<Item = Jurisdiction>) -> Result<(), Self> {
        let mut all: SmallVec<[Jurisdiction; 4]> = barring.collect();
        all.sort();
        all.dedup();
        if all.is_empty() { Ok(()) } else { Err(Self(all)) }
    }
}

/// Whether a record to which these laws attach may be read by all of these readers: the caller, the
/// gateway, and any other process that sees the body. A reader whose country is not known is outside
/// of every territory.
///
/// A law with `exclusive` bars every reader outside of its territory. One with `primary-first` or
/// `conditional-transfer` bars those that no clause from exactly that jurisdiction covers, for that
/// collection, on that day; on a map past its `valid_until` no clause counts. A law with a
/// deny-list bars every reader in a country on it, whatever clauses there are, and every reader
/// whose country is not known.
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law forbids it.
pub fn egress(
    map: &RegionMap,
    attachments: &[Attachment],
    collection: &Collection,
    date: impl Into<Moment>,
    readers: &[Option<Country>],
) -> Result<(), Barred> {
    let date = date.into().date();
    let laws = attachments.iter();
    let policy = EgressPolicy { map, collection, date, readers };
    let barring = laws.filter(|law| policy.bars(law.pack(), law.constraint()));
    Barred::of(barring.map(Attachment::jurisdiction))
}

/// Whether a record that names a participant may be read by all of these readers, by what binds that
/// person: the laws of the jurisdictions that attach, as [`demands_on_participant`] has them. The laws
/// of the owner are judged by [`egress`].
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law forbids it.
pub fn egress_of_participant(
    map: &RegionMap,
    jurisdictions: &[Jurisdiction],
    tenant: &TenantId,
    collection: &Collection,
    at: impl Into<Moment>,
    readers: &[Option<Country>],
) -> Result<(), Barred> {
    let at = at.into();
    let policy = EgressPolicy { map, collection, date: at.date(), readers };
    let barring = jurisdictions.iter().filter(|jurisdiction| {
        let mut laws = demands_on_participant(map, **jurisdiction, tenant, collection, at);
        laws.any(|(pack, constraint)| policy.bars(pack, constraint))
    });
    Barred::of(barring.copied())
}

/// Whether readers may learn that a region in `place` does *not* have a record: they may if every
/// record of the collection that can lie there were theirs to read. So the answer to a reader
/// abroad is the same whether or not there is a record that is not for them.
///
/// Judged are the laws in force whose jurisdiction holds the place, and those that let records of
/// their people lie there: for the latter the map has, or had, a clause.
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law forbids it.
pub fn egress_of_absent(
    map: &RegionMap,
    place: Country,
    collection: &Collection,
    at: impl Into<Moment>,
    readers: &[Option<Country>],
) -> Result<(), Barred> {
    let at = at.into();
    let policy = EgressPolicy { map, collection, date: at.date(), readers };
    let laws = laws_of(map, place, collection).flat_map(|statute| {
        statute.demands_at(at).map(move |(_, constraint)| (&**statute.pack(), constraint))
    });
    let barring = laws.filter(|(pack, constraint)| policy.bars(pack, *constraint));
    Barred::of(barring.map(|(pack, _)| pack.jurisdiction()))
}

/// Whether readers may have every record of the collection that lies in `place`, whatever people it is
/// about. Judged are the laws of [`egress_of_absent`], and those that let records of their people lie
/// anywhere without a clause.
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law forbids it.
pub fn egress_of_any(
    map: &RegionMap,
    place: Country,
    collection: &Collection,
    at: impl Into<Moment>,
    readers: &[Option<Country>],
) -> Result<(), Barred> {
    let at = at.into();
    egress_of_absent(map, place, collection, at, readers)?;
    let policy = EgressPolicy { map, collection, date: at.date(), readers };
    let laws = map.statutes().iter().filter(|statute| statute.covers(collection));
    let laws = laws.flat_map(|statute| {
        statute.demands_at(at).map(move |(_, constraint)| (&**statute.pack(), constraint))
    });
    let barring = laws.filter(|(pack, constraint)| match constraint {
        Constraint::Mirror | Constraint::None => policy.bars(pack, *constraint),
        Constraint::Exclusive | Constraint::PrimaryFirst | Constraint::ConditionalTransfer => false,
    });
    Barred::of(barring.map(|(pack, _)| pack.jurisdiction()))
}

/// The laws that may attach to a record of the collection that lies there: those of the place, and
/// those from which a clause leads there.
fn laws_of<'a>(
    map: &'a RegionMap,
    place: Country,
    collection: &'a Collection,
) -> impl Iterator<Item = &'a Statute> {
    map.statutes().iter().filter(move |statute| {
        statute.covers(collection)
            && (statute.jurisdiction().contains(place)
                || map.ever_covers(statute.jurisdiction(), place, collection))
    })
}

/// Whether a record to which these laws attach may come in through a gateway in that country. A
/// gateway whose country is not known is outside of every territory.
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law wants a gateway inside.
pub fn ingress(attachments: &[Attachment], gateway: Option<Country>) -> Result<(), Barred> {
    let barring = attachments.iter().filter(|law| match law.ingress() {
        Ingress::Anywhere => false,
        Ingress::InTerritory => !inside(law.jurisdiction(), gateway),
    });
    Barred::of(barring.map(Attachment::jurisdiction))
}

/// The same of a record of which nothing is known, but that it may lie in `place`: whether no law that
/// may attach to it bars the gateway.
///
/// # Errors
/// As [`ingress`].
pub fn ingress_of_absent(
    map: &RegionMap,
    place: Country,
    collection: &Collection,
    at: impl Into<Moment>,
    gateway: Option<Country>,
) -> Result<(), Barred> {
    let at = at.into();
    let barring = laws_of(map, place, collection).filter(|statute| match statute.ingress() {
        Ingress::Anywhere => false,
        Ingress::InTerritory => {
            !inside(statute.jurisdiction(), gateway) && statute.demands_at(at).next().is_some()
        }
    });
    Barred::of(barring.map(Statute::jurisdiction))
}

/// Whether a record that names a participant may come in through a gateway in that country, by the laws
/// of the jurisdictions that attach to that person. Those of the owner are judged by [`ingress`].
///
/// # Errors
/// [`Barred`], with the jurisdictions whose law wants a gateway inside.
pub fn ingress_of_participant(
    map: &RegionMap,
    jurisdictions: &[Jurisdiction],
    collection: &Collection,
    at: impl Into<Moment>,
    gateway: Option<Country>,
) -> Result<(), Barred> {
    let at = at.into();
    let wants_inside = |of: Jurisdiction| {
        let mut laws = map.statutes().iter();
        laws.any(|law| {
            let inside_alone = match law.ingress() {
                Ingress::Anywhere => false,
                Ingress::InTerritory => law.demands_at(at).next().is_some(),
            };
            law.jurisdiction() == of && law.covers(collection) && inside_alone
        })
    };
    let barring = jurisdictions.iter().copied();
    Barred::of(barring.filter(|of| wants_inside(*of) && !inside(*of, gateway)))
}

/// What a read is judged by, together with the law.
#[derive(Debug, Clone, Copy)]
struct EgressPolicy<'a> {
    map: &'a RegionMap,
    collection: &'a Collection,
    date: Date,
    readers: &'a [Option<Country>],
}

impl EgressPolicy<'_> {
    /// Whether a law forbids any of the readers.
    fn bars(&self, pack: &StatutePack, constraint: Constraint) -> bool {
        let denied = |reader: &Option<Country>| match reader {
            Some(country) => pack.denies(*country),
            None => !pack.deny().is_empty(),
        };
        self.readers.iter().any(denied) || self.bars_without_clause(pack, constraint)
    }

    /// Whether a law that asks for clauses has none for any of the readers.
    fn bars_without_clause(&self, pack: &StatutePack, constraint: Constraint) -> bool {
        let jurisdiction = pack.jurisdiction();
        let covered = match constraint {
            Constraint::Mirror | Constraint::None => return false,
            Constraint::Exclusive => false,
            Constraint::PrimaryFirst | Constraint::ConditionalTransfer => {
                !self.map.expired(self.date)
            }
        };
        let may = |reader: &Option<Country>| {
            let by_clause =
                |to| self.map.cover(jurisdiction, to, self.collection, self.date).is_some();
            inside(jurisdiction, *reader) || (covered && reader.is_some_and(by_clause))
        };
        !self.readers.iter().all(may)
    }
}

/// Whether a reader is in a territory. One whose country is not known is outside.
fn inside(jurisdiction: Jurisdiction, stands: Option<Country>) -> bool {
    stands.is_some_and(|country| jurisdiction.contains(country))
}
