//! The second, separately written check: does the map allow this placement to lie here?
//!
//! It shares no code with the steps that made the placement (`atlas::decide`): it asks of each law
//! that attaches whether it is kept, not where the record should go. A disagreement is a mistake
//! of ours in one of the two, and then nothing is stored.

use atlas::{
    Attachment, Constraint, Country, Date, Exclusions, Jurisdiction, Placement, Question, Region,
    RegionMap, Ruling, demands_on_participant,
};
use terms::{Collection, RegionId};

/// Where this store is, by its own identity row and not by any map.
pub(crate) struct Here<'a> {
    pub(crate) region: &'a RegionId,
    pub(crate) territory: Country,
}

/// Whether a record ruled so may lie in this store, and its copies in the mirrors it names.
pub(crate) fn admits(
    placement: &Placement,
    ruling: &Ruling,
    map: &RegionMap,
    here: &Here<'_>,
    date: Date,
) -> bool {
    let named_here = placement.region() == here.region;
    let same_map = placement.epoch() == map.epoch() && ruling.epoch() == map.epoch();
    let Some(spots) = Spots::of(placement, map, here) else { return false };
    let collection = placement.collection();
    let excluded = |spot: &&Region| match map.collection(collection) {
        Some(rules) => names(rules.exclude(), spot),
        None => true,
    };
    // A choice counts only where no law fixes the place, and where people may be placed without one.
    let fixes =
        |demand: Constraint| !matches!(demand, Constraint::ConditionalTransfer | Constraint::None);
    let leads = || map.homes().iter().any(|home| home.lead() && home.region() == here.region);
    let laws = ruling.attachments();
    let free = || leads() && !laws.iter().any(|law| fixes(law.constraint()));
    named_here
        && same_map
        && (!placement.is_chosen() || free())
        && !spots.all().any(|spot| excluded(&spot))
        && laws.iter().all(|attached| {
            let law = Law { map, of: attached.jurisdiction(), collection, date };
            !spots.all().any(|spot| attached.denies(spot.territory()))
                && law.is_kept(attached.constraint(), &spots)
        })
}

/// Whether a record placed so may name a person that the laws of these jurisdictions bind: it lies in
/// this store for its owner, and a law that wants the first copy at home sees one abroad.
pub(crate) fn admits_participant(
    placement: &Placement,
    jurisdictions: &[Jurisdiction],
    map: &RegionMap,
    here: &Here<'_>,
    question: &Question<'_>,
) -> bool {
    let Question { tenant, collection, date, .. } = *question;
    let Some(spots) = Spots::of(placement, map, here) else { return false };
    placement.region() == here.region
        && placement.epoch() == map.epoch()
        && jurisdictions.iter().all(|of| {
            let law = Law { map, of: *of, collection, date: date.date() };
            demands_on_participant(map, *of, tenant, collection, date).all(|(pack, demand)| {
                let demand = if demand == Constraint::PrimaryFirst {
                    Constraint::ConditionalTransfer
                } else {
                    demand
                };
                !spots.all().any(|spot| pack.denies(spot.territory()))
                    && law.is_kept(demand, &spots)
            })
        })
}

/// Whether a copy of a record whose home is another region may lie in this store: by the placement that
/// the rules give at that home, and asked of each law again. `here`: where the copy is.
pub(crate) fn admits_copy(
    placement: &Placement,
    attachments: &[Attachment],
    map: &RegionMap,
    home: &RegionId,
    here: &Here<'_>,
    date: Date,
) -> bool {
    let Some(origin) = map.region(home) else { return false };
    let own = map.region(here.region).filter(|r| r.territory() == here.territory);
    let Some(own) = own else { return false };
    home != here.region
        && placement.region() == home
        && placement.mirrors().contains(here.region)
        && placement.epoch() == map.epoch()
        // A choice counts only where no law wants a copy.
        && !placement.is_chosen()
        && lets_copy_lie(attachments, map, placement.collection(), [origin, own], date)
}

/// Whether a law asks for a copy of a collection in the second of these regions of a record in the first,
/// every law allows it, and the collection does not exclude that site.
fn lets_copy_lie(
    attachments: &[Attachment],
    map: &RegionMap,
    collection: &Collection,
    [origin, own]: [&Region; 2],
    date: Date,
) -> bool {
    let Some(rules) = map.collection(collection) else { return false };
    // A law of this place asks for it, and has not got the record at its home.
    let asked_for = attachments.iter().any(|attached| {
        let of = attached.jurisdiction();
        attached.constraint() == Constraint::Mirror
            && of.contains(own.territory())
            && !of.contains(origin.territory())
    });
    asked_for
        && !names(rules.exclude(), own)
        && attachments.iter().all(|attached| {
            let law = Law { map, of: attached.jurisdiction(), collection, date };
            !attached.denies(own.territory())
                && match attached.constraint() {
                    Constraint::Exclusive => law.of.contains(own.territory()),
                    Constraint::PrimaryFirst => {
                        law.of.contains(origin.territory()) && law.may_leave_to(own)
                    }
                    Constraint::ConditionalTransfer => law.may_leave_to(own),
                    Constraint::Mirror | Constraint::None => true,
                }
        })
}

/// The regions in which a record lies: this one, and those of its copies.
struct Spots<'a> {
    primary: &'a Region,
    copies: Vec<&'a Region>,
}

impl<'a> Spots<'a> {
    /// None: the map lacks one of them, or has this one in another country.
    fn of(placement: &Placement, map: &'a RegionMap, here: &Here<'_>) -> Option<Self> {
        let primary = map.region(here.region).filter(|r| r.territory() == here.territory)?;
        let copies = placement.mirrors().iter().map(|name| map.region(name));
        Some(Self { primary, copies: copies.collect::<Option<_>>()? })
    }

    fn all(&self) -> impl Iterator<Item = &'a Region> {
        std::iter::once(self.primary).chain(self.copies.iter().copied())
    }
}

/// Whether exclusions name the site of a region, or ask what it does not state.
fn names(exclude: &Exclusions, region: &Region) -> bool {
    let site = region.site();
    for operator in exclude.operators() {
        match &site.operator {
            Some(own) if !words(own).eq(words(operator)) => {}
            Some(_) | None => return true,
        }
    }
    for country in exclude.controlled_from() {
        if site.controlled_from.is_empty() || site.controlled_from.contains(country) {
            return true;
        }
    }
    exclude.regions().iter().any(|name| name == region.name())
}

/// The words of an operator's name, without regard to upper and lower case.
fn words(operator: &str) -> impl Iterator<Item = String> {
    operator.split_whitespace().map(str::to_lowercase)
}

/// One law that attaches.
struct Law<'a> {
    map: &'a RegionMap,
    of: Jurisdiction,
    collection: &'a Collection,
    date: Date,
}

impl Law<'_> {
    fn is_kept(&self, constraint: Constraint, spots: &Spots<'_>) -> bool {
        let at_home = |region: &&Region| self.of.contains(region.territory());
        let Spots { primary, copies } = spots;
        match constraint {
            Constraint::Exclusive => spots.all().all(|spot| at_home(&spot)),
            Constraint::PrimaryFirst => {
                at_home(primary) && copies.iter().all(|copy| self.may_leave_to(copy))
            }
            Constraint::Mirror => spots.all().any(|spot| at_home(&spot)),
            Constraint::ConditionalTransfer => spots.all().all(|spot| self.may_leave_to(spot)),
            Constraint::None => true,
        }
    }

    /// At home, or under a clause in force that does not exclude the site, on a map that is still valid.
    fn may_leave_to(&self, region: &Region) -> bool {
        let country = region.territory();
        self.of.contains(country)
            || (!self.map.expired(self.date)
                && self.map.clauses().iter().any(|clause| {
                    clause.from() == self.of
                        && clause.to().contains(country)
                        && clause.covers(self.collection)
                        && clause.in_force(self.date)
                        && !names(clause.exclude(), region)
                }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    /// The sample, in which `profiles` has these exclusions and the region here states that.
    fn excluded(collection: &str, site: &str) -> bool {
        let name = "name = \"profiles\"\n";
        let own = "name = \"ru-msk\"\nterritory = \"RU\"\n";
        assert!(testing::MAP.contains(name) && testing::MAP.contains(own));
        let text = testing::MAP.replacen(name, &format!("{name}{collection}\n"), 1).replacen(
            own,
            &format!("{own}{site}\n"),
            1,
        );
        let map = RegionMap::parse(&text).expect("a map");
        let profiles = Collection::parse("profiles").expect("a name");
        let region = map.region(&RegionId::parse("ru-msk").expect("a name")).expect("a region");
        names(map.collection(&profiles).expect("a collection").exclude(), region)
    }

    #[test]
    fn what_an_exclusion_names_or_asks_in_vain_is_excluded() {
        for (collection, site, wanted) in [
            ("", "", false),
            ("exclude.regions = [\"kz-ala\"]", "", false),
            ("exclude.regions = [\"kz-ala\", \"ru-msk\"]", "", true),
            ("exclude.operators = [\"A\", \"Halls \"]", "site.operator = \"hALLS\"", true),
            ("exclude.operators = [\"Two  Halls\"]", "site.operator = \"two   HALLS \"", true),
            ("exclude.operators = [\"Two Halls\"]", "site.operator = \"TwoHalls\"", false),
            ("exclude.operators = [\"A\", \"B\"]", "site.operator = \"Halls\"", false),
            ("exclude.operators = [\"A\"]", "", true),
            ("exclude.controlled_from = [\"US\", \"GB\"]", "", true),
            ("exclude.controlled_from = [\"US\", \"GB\"]", "site.controlled_from = \"RU\"", false),
            ("exclude.controlled_from = [\"US\"]", "site.controlled_from = [\"RU\", \"US\"]", true),
        ] {
            assert_eq!(excluded(collection, site), wanted, "{collection}, {site}");
        }
    }

    #[test]
    fn a_copy_does_not_lie_at_a_site_that_its_collection_or_its_clause_excludes() {
        let lies = |line: &str, more: &str| {
            assert!(testing::MAP.contains(line));
            let text = testing::MAP.replacen(line, &format!("{line}{more}\n"), 1);
            let map = RegionMap::parse(&text).expect("a map");
            let mut findings = atlas::Findings::new();
            for (kind, code) in
                [(atlas::EvidenceKind::Citizenship, "RU"), (atlas::EvidenceKind::Residence, "KZ")]
            {
                findings
                    .insert(atlas::Finding::parse(kind, code).expect("a finding"))
                    .expect("room");
            }
            // Laws as the sample without exclusions has them.
            let sample = RegionMap::parse(testing::MAP).expect("the sample");
            let tenant = terms::TenantId::parse("sample").expect("a name");
            let collection = Collection::parse("profiles").expect("a name");
            let date = Date::parse("2026-11-25").expect("a day");
            let question = Question {
                tenant: &tenant,
                collection: &collection,
                findings: &findings,
                date: date.into(),
            };
            let ruling = atlas::decide(&sample, &question).expect("a collection");
            let region =
                |name| map.region(&RegionId::parse(name).expect("a name")).expect("a region");
            let ends = [region("ru-msk"), region("kz-ala")];
            lets_copy_lie(ruling.attachments(), &map, &collection, ends, date)
        };
        let (profiles, clause) = ("name = \"profiles\"\n", "id = \"ru-kz\"\n");
        assert!(lies(profiles, ""));
        assert!(lies(profiles, "exclude.regions = [\"eu-fra\"]"));
        assert!(!lies(profiles, "exclude.regions = [\"kz-ala\"]"));
        assert!(!lies(clause, "exclude.regions = [\"kz-ala\"]"));
    }
}
