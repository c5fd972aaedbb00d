//! Where a record may lie, given the laws that attach. The steps are those of the design, in
//! their order; the first refusal met is the answer.

pub(crate) mod together;

use std::collections::BTreeSet;

use smallvec::SmallVec;
use terms::{Collection, RegionId};

use crate::decide::attach::Facts;
use crate::decide::refusal::{Jurisdictions, Why, join};
use crate::geo::country::Countries;
use crate::map::HomeFor;
use crate::{
    Attachment, ClauseId, Constraint, Country, Epoch, Home, Jurisdiction, Question, Region,
    RegionMap, StatuteId,
};

/// Permission to store one person's records of one collection in one region, and copies in the
/// regions that a law asks for. Only [`crate::decide`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    collection: Collection,
    region: RegionId,
    territory: Country,
    mirrors: SmallVec<[RegionId; 2]>,
    clauses: SmallVec<[ClauseId; 2]>,
    jurisdictions: Jurisdictions,
    statutes: SmallVec<[StatuteId; 4]>,
    chosen: Chosen,
    epoch: Epoch,
}

/// What put the record where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chosen {
    /// A law that wants the first copy.
    Pinned(Jurisdiction),
    /// A law that wants a copy.
    Copy(Jurisdiction),
    /// A home that leads.
    Lead(HomeFor),
    /// No home of the countries found may lead.
    Fallback,
    /// The person's own choice among the regions that the rules leave open.
    Choice,
}

/// What the laws of one jurisdiction demand together.
#[derive(Debug, Clone, Copy)]
struct Claim {
    jurisdiction: Jurisdiction,
    demands: [bool; Constraint::ALL.len()],
    /// Where its records may not lie, whatever clauses there are.
    denied: Countries,
}

type Claims = SmallVec<[Claim; 4]>;

/// What the steps have found so far.
struct PlacementSolver<'a> {
    map: &'a RegionMap,
    question: &'a Question<'a>,
    claims: Claims,
    clauses: SmallVec<[ClauseId; 2]>,
}

/// Answers a question whose laws are known.
pub(crate) fn place(
    map: &RegionMap,
    question: &Question<'_>,
    attachments: &[Attachment],
    facts: &Facts,
    choice: Option<&RegionId>,
) -> Result<Placement, Why> {
    let claims = claims(attachments);
    let mut solver = PlacementSolver { map, question, claims, clauses: SmallVec::new() };
    let (region, chosen, mirrors) = solver.steps(facts, choice)?;
    // Attachments of one law stand side by side.
    let mut statutes: SmallVec<[StatuteId; 4]> =
        attachments.iter().map(|law| law.statute().clone()).collect();
    statutes.dedup();
    Ok(Placement {
        collection: question.collection.clone(),
        region: region.name().clone(),
        territory: region.territory(),
        mirrors,
        clauses: solver.clauses,
        jurisdictions: jurisdictions(attachments),
        statutes,
        chosen,
        epoch: map.epoch(),
    })
}

/// The regions that could be chosen for a person, by name: see [`PlacementSolver::choice`].
pub(crate) fn choices(
    map: &RegionMap,
    question: &Question<'_>,
    attachments: &[Attachment],
    facts: &Facts,
) -> Vec<RegionId> {
    if facts.countries().next().is_none() {
        return Vec::new();
    }
    let (claims, clauses) = (claims(attachments), SmallVec::new());
    let mut solver = PlacementSolver { map, question, claims, clauses };
    let leading = map.homes().iter().filter(|home| home.lead()).map(Home::region);
    // Each once, by name: a map may have many homes.
    let leading: BTreeSet<&RegionId> = leading.collect();
    let open = leading.into_iter().filter(|name| solver.leaves(name).is_some());
    open.cloned().collect()
}

/// The jurisdictions of attachments, each once. Attachments come by jurisdiction.
pub(crate) fn jurisdictions(attachments: &[Attachment]) -> Jurisdictions {
    let mut all: Jurisdictions = attachments.iter().map(Attachment::jurisdiction).collect();
    all.dedup();
    all
}

/// The demands of each jurisdiction, by code. Attachments come in that order.
fn claims(attachments: &[Attachment]) -> Claims {
    let mut claims = Claims::new();
    for attachment in attachments {
        let jurisdiction = attachment.jurisdiction();
        if claims.last().is_none_or(|last: &Claim| last.jurisdiction != jurisdiction) {
            let demands = [false; Constraint::ALL.len()];
            claims.push(Claim { jurisdiction, demands, denied: Countries::EMPTY });
        }
        if let Some(claim) = claims.last_mut() {
            let all = Constraint::ALL.iter().zip(&mut claim.demands);
            all.filter(|(c, _)| **c == attachment.constraint()).for_each(|(_, is)| *is = true);
            claim.denied = claim.denied.or(attachment.pack().denied);
        }
    }
    claims
}

impl Claim {
    fn demands(&self, constraint: Constraint) -> bool {
        Constraint::ALL.iter().zip(self.demands).any(|(c, is)| is && *c == constraint)
    }

    /// Whether it wants the first copy for itself.
    fn pins(&self) -> bool {
        self.demands(Constraint::Exclusive) || self.demands(Constraint::PrimaryFirst)
    }
}

impl<'a> PlacementSolver<'a> {
    fn steps(
        &mut self,
        facts: &Facts,
        choice: Option<&RegionId>,
    ) -> Result<(&'a Region, Chosen, SmallVec<[RegionId; 2]>), Why> {
        if facts.countries().next().is_none() {
            return Err(Why::Undetermined);
        }
        if let Some(region) = choice.and_then(|name| self.choice(name)) {
            return Ok((region, Chosen::Choice, SmallVec::new()));
        }
        let (region, chosen) = self.primary(facts)?;
        self.transfers(region)?;
        let mirrors = self.mirrors(region)?;
        Ok((region, chosen, mirrors))
    }

    /// A region that was chosen for the person, if the rules leave that choice: no law fixes the place
    /// or wants a copy (steps 1, 2 and 5), people may be placed there without a law (step 3), and every
    /// law lets the records lie there (step 4). None: the choice is void.
    fn choice(&mut self, name: &RegionId) -> Option<&'a Region> {
        let mut homes = self.map.homes().iter();
        let leads = homes.any(|home| home.lead() && home.region() == name);
        if leads { self.leaves(name) } else { None }
    }

    /// The same of a region in which some home may lead.
    fn leaves(&mut self, name: &RegionId) -> Option<&'a Region> {
        let fixes = |claim: &Claim| claim.pins() || claim.demands(Constraint::Mirror);
        if self.claims.iter().any(fixes) {
            return None;
        }
        let region = self.map.region(name).filter(|region| !self.excludes(region))?;
        let lawful = self.transfers(region).is_ok();
        if !lawful {
            self.clauses.clear();
        }
        lawful.then_some(region)
    }

    /// Steps 1 to 3: the region of the first copy.
    fn primary(&self, facts: &Facts) -> Result<(&'a Region, Chosen), Why> {
        let mut pins = self.claims.iter().filter(|claim| claim.pins());
        if let Some(pin) = pins.next() {
            if pins.next().is_some() {
                let pins = self.claims.iter().filter(|claim| claim.pins());
                return Err(Why::Pins(pins.map(|claim| claim.jurisdiction).collect()));
            }
            let region = self.exact_home(pin.jurisdiction)?;
            return Ok((region, Chosen::Pinned(pin.jurisdiction)));
        }
        let mirrors = self.claims.iter().filter(|claim| claim.demands(Constraint::Mirror));
        let rank = |jurisdiction: Jurisdiction| {
            facts.countries().position(|country| jurisdiction.contains(country))
        };
        let first = mirrors.map(|claim| claim.jurisdiction).min_by_key(|jurisdiction| {
            // The jurisdictions come by code, and the first of equals stays.
            rank(*jurisdiction).unwrap_or(usize::MAX)
        });
        match first {
            Some(jurisdiction) => Ok((self.exact_home(jurisdiction)?, Chosen::Copy(jurisdiction))),
            None => self.lead(facts),
        }
    }

    /// Step 3: the home of the first country that has one that may lead, those first that a law
    /// covers. A home with which the collection must not lie may not.
    fn lead(&self, facts: &Facts) -> Result<(&'a Region, Chosen), Why> {
        let members = self.claims.iter().map(|claim| claim.jurisdiction.members());
        let covered = members.fold(Countries::EMPTY, Countries::or);
        let inside = facts.countries().filter(|country| covered.contains(*country));
        let outside = facts.countries().filter(|country| !covered.contains(*country));
        let mut passed_over = None;
        for home in inside.chain(outside).filter_map(|country| self.map.lead(country)) {
            let region = self.map.region_of(home);
            if !self.excludes(region) {
                return Ok((region, Chosen::Lead(home.home_for())));
            }
            passed_over.get_or_insert(region);
        }
        let any = self.map.home(HomeFor::Any).map(|any| self.map.region_of(any));
        match any.or(passed_over) {
            None => Err(Why::NoLead),
            Some(region) if self.excludes(region) => {
                Err(Why::Excluded { by: None, region: region.name().clone() })
            }
            Some(region) => Ok((region, Chosen::Fallback)),
        }
    }

    /// Whether records of the collection must not lie there.
    fn excludes(&self, region: &Region) -> bool {
        let rules = self.map.collection(self.question.collection);
        rules.is_some_and(|rules| region.is_excluded(rules.exclude()))
    }

    /// Before steps 4 and 5 rest on clauses: no clause helps where a law denies the destination.
    fn denied(&self, region: &Region) -> Result<(), Why> {
        let to = region.territory();
        match self.claims.iter().find(|claim| claim.denied.contains(to)) {
            Some(claim) => Err(Why::Denied { from: claim.jurisdiction, to }),
            None => Ok(()),
        }
    }

    /// Step 4: the clauses under which the first copy may lie outside of a jurisdiction.
    fn transfers(&mut self, region: &Region) -> Result<(), Why> {
        self.denied(region)?;
        for n in 0..self.claims.len() {
            let Some(claim) = self.claims.get(n).copied() else { break };
            if claim.demands(Constraint::ConditionalTransfer) {
                self.cover(claim.jurisdiction, region)?;
            }
        }
        Ok(())
    }

    /// Step 5: the copies that laws ask for elsewhere.
    fn mirrors(&mut self, region: &Region) -> Result<SmallVec<[RegionId; 2]>, Why> {
        let mut mirrors = SmallVec::<[RegionId; 2]>::new();
        let claims = self.claims.clone();
        let wanted = claims.iter().filter(|claim| {
            claim.demands(Constraint::Mirror) && !claim.jurisdiction.contains(region.territory())
        });
        for wanted in wanted.map(|claim| claim.jurisdiction) {
            if let Some(exclusive) = claims.iter().find(|c| c.demands(Constraint::Exclusive)) {
                return Err(Why::ExclusiveBesideMirror(exclusive.jurisdiction, wanted));
            }
            let mirror = self.exact_home(wanted)?;
            self.denied(mirror)?;
            // From a territory that pins, a copy needs a clause wherever it goes.
            for pin in claims.iter().filter(|claim| claim.pins()) {
                self.rest_on(pin.jurisdiction, mirror)?;
            }
            for from in claims.iter().filter(|c| c.demands(Constraint::ConditionalTransfer)) {
                self.cover(from.jurisdiction, mirror)?;
            }
            if let Err(place) = mirrors.binary_search(mirror.name()) {
                mirrors.insert(place, mirror.name().clone());
            }
        }
        Ok(mirrors)
    }

    /// The region that the map names for exactly that jurisdiction, that lies in it, and with which the
    /// collection may lie.
    fn exact_home(&self, jurisdiction: Jurisdiction) -> Result<&'a Region, Why> {
        let home = self.map.home(HomeFor::Territory(jurisdiction));
        let region = home.map(|home| self.map.region_of(home));
        let region = region.filter(|region| jurisdiction.contains(region.territory()));
        let region = region.ok_or(Why::NoHome(jurisdiction))?;
        if self.excludes(region) {
            return Err(Why::Excluded { by: Some(jurisdiction), region: region.name().clone() });
        }
        Ok(region)
    }

    /// Rests on a clause from a jurisdiction to a region, unless the region lies in it.
    fn cover(&mut self, from: Jurisdiction, region: &Region) -> Result<(), Why> {
        if from.contains(region.territory()) { Ok(()) } else { self.rest_on(from, region) }
    }

    /// Rests on a clause from a jurisdiction to a region. A map past its `valid_until` has none.
    fn rest_on(&mut self, from: Jurisdiction, region: &Region) -> Result<(), Why> {
        let Question { collection, date, .. } = *self.question;
        // Clauses and maps are dated in UTC.
        let date = date.date();
        let to = region.territory();
        if self.map.expired(date) {
            return Err(Why::MapExpired { from, to });
        }
        let clause = self.map.cover_at(from, region, collection, date);
        let id = clause.ok_or_else(|| self.uncovered(from, region))?.id();
        if !self.clauses.contains(id) {
            self.clauses.push(id.clone());
        }
        Ok(())
    }

    /// Why no clause leads from a jurisdiction to a region.
    fn uncovered(&self, from: Jurisdiction, region: &Region) -> Why {
        let Question { collection, date, .. } = *self.question;
        let to = region.territory();
        match self.map.cover(from, to, collection, date.date()) {
            None => Why::NoClause { from, to },
            Some(_) => Why::ClauseExcludes { from, to, region: region.name().clone() },
        }
    }
}

// === impl Placement ===

impl Placement {
    /// The collection that it is for.
    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    /// The region of the first and authoritative copy.
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// The country in which that region stands.
    pub fn territory(&self) -> Country {
        self.territory
    }

    /// The regions of the copies that laws ask for, by name, each once.
    pub fn mirrors(&self) -> &[RegionId] {
        &self.mirrors
    }

    /// The transfer clauses that it rests on, in the order in which they were needed.
    pub fn clauses(&self) -> &[ClauseId] {
        &self.clauses
    }

    /// The jurisdictions that attach, by code, each once.
    pub fn jurisdictions(&self) -> &[Jurisdiction] {
        &self.jurisdictions
    }

    /// The laws that attach, by jurisdiction and id.
    pub fn statutes(&self) -> std::slice::Iter<'_, StatuteId> {
        self.statutes.iter()
    }

    /// Whether the person's own choice put it there, and no law and no home of the person's countries.
    pub fn is_chosen(&self) -> bool {
        self.chosen == Chosen::Choice
    }

    /// The map that gave it.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Why there: one sentence for a person, without a value of the evidence.
    pub fn reason(&self) -> String {
        let region = &self.region;
        let mut text = match self.chosen {
            Chosen::Pinned(jurisdiction) => {
                format!("{jurisdiction} wants the first copy, and its home is {region}")
            }
            Chosen::Copy(jurisdiction) => {
                format!("{jurisdiction} wants a copy, and its home is {region}")
            }
            Chosen::Lead(HomeFor::Any) => {
                format!("no law fixes the place, and {region} is the home of every other country")
            }
            Chosen::Lead(home_for) => {
                format!("no law fixes the place, and {region} is the home of {}", home_for.as_str())
            }
            Chosen::Choice => {
                format!("no law fixes the place, and {region} was chosen for the person")
            }
            Chosen::Fallback => {
                format!("no law fixes the place and no home may lead, so {region}, the home of *")
            }
        };
        for (word, names) in [
            ("; copies in ", join(self.mirrors.iter().map(RegionId::as_str))),
            ("; under ", join(self.clauses.iter().map(ClauseId::as_str))),
        ] {
            if !names.is_empty() {
                text.push_str(word);
                text.push_str(&names);
            }
        }
        text
    }
}
