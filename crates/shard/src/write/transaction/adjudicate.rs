//! The choice of a subject's region among those that the rules leave open: one caller proposes, another
//! one confirms.
//!
//! Only a lawful region can be chosen: the one to which the rules and the second check lead for every
//! collection of the subject, under the choice, by the map of this moment. Nothing moves by it. From its
//! confirmation on the rulings of the subject count it wherever the map leaves the choice, so a
//! relocation to that region is lawful; until then records stay where the rules place them without it.
//!
//! ADJUDICATE entries about the subject: one for the proposal; one for the confirmation, which names the
//! first. Both have the region and the stated reason.

use std::sync::Arc;

use atlas::{Moment, Question, RegionMap, choices};
use ledger::entry::{Detail as Said, Kind};
use terms::{Detail, Reason, RegionId, Rejection};

use crate::policy::asker::Asker;
use crate::policy::rulings::{Rules, Verdict};
use crate::policy::standing_ruling::full;
use crate::reply::{Chosen, Written};
use crate::store::choice::Proposal;
use crate::store::keys::Owner;
use crate::store::subject::Subject;
use crate::store::types::{Fingerprint, Minute, Version};
use crate::write::command::Adjudicate;
use crate::write::erase::unknown;
use crate::write::transaction::{Done, Transaction};

impl Transaction<'_> {
    /// Proposes a region, or confirms what was proposed.
    pub(super) fn adjudicate(&mut self, asker: &Asker, of: &Adjudicate) -> Result<Done, Rejection> {
        let owner = &of.owner;
        self.lets_in(asker, owner, None, false)?;
        self.crosses_no_border(asker, owner)?;
        let subject = self.subject(owner)?.ok_or_else(unknown)?;
        let (map, now) = (self.node.map(), self.entries.minute());
        let answer = |subject: &Subject, regions| answer(subject, regions, now);
        let regions = self.open_regions(&map, owner, &subject);
        let Some(region) = of.region.as_ref() else {
            return Ok(Done::written(answer(&subject, regions?)));
        };
        // What is done is known whatever is open by now.
        if let Some(before) = subject.choice.request(&of.request.id) {
            if before.fingerprint != of.request.fingerprint {
                return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
            }
            let (replayed, regions) = (true, regions.unwrap_or_default());
            return Ok(Done::written(Written { replayed, ..answer(&subject, regions) }));
        }
        let regions = regions?;
        if !regions.contains(region) {
            return Err(not_open(&regions));
        }
        self.leads_to(&map, owner, region, &subject)?;
        let caller = self.caller(asker);
        let proposed =
            if of.confirm { Some(confirmed(&subject, region, &caller, now)?) } else { None };
        if of.validate_only {
            return Ok(Done::written(answer(&subject, regions)));
        }
        if !subject.choice.has_room(now, of.confirm) {
            let fault = Rejection::new(Reason::ChoicesFull).field("subject.id");
            return Err(fault.problem("has had too many proposals within a day"));
        }
        let mut entry = self.entries.about_subject(Kind::Adjudicate, asker);
        entry.say(Said::Reason(format!("{region}: {}", of.reason)));
        if let Some(proposal) = proposed {
            self.entries.name_earlier(&mut entry, proposal.entry)?;
        }
        let mut after = Subject::clone(&subject);
        after.choice.forget(now);
        after.choice.remember(self.entries.recent(&of.request, Version::NONE));
        if of.confirm {
            after.choice.choose(region.clone());
        } else {
            let (minute, entry) = (now, self.entries.next());
            after.choice.propose(Proposal { region: region.clone(), caller, minute, entry });
        }
        let index = self.entries.next_index();
        let receipt = Some(self.append_about(owner, None, &of.opening, entry)?);
        let origin = Some(self.entries.own_origin());
        let written = Written { index, origin, receipt, ..answer(&after, regions) };
        self.keep(owner, after)?;
        Ok(Done::written(written))
    }

    /// The regions among which the rules leave the choice for all collections of a subject, by name.
    /// None where every collection has its place by law, or the map has one of them no more.
    fn open_regions(
        &self,
        map: &RegionMap,
        owner: &Owner,
        subject: &Subject,
    ) -> Result<Vec<RegionId>, Rejection> {
        let (mut open, mut free) = (None::<Vec<RegionId>>, false);
        for standing in subject.standings() {
            let findings = standing.weighed(&subject.findings).map_err(full)?;
            let (tenant, collection) = (&owner.tenant, &standing.collection);
            let date = Moment::of(self.now);
            let question = Question { tenant, collection, findings: &findings, date };
            let (Ok(mut all), Ok(by_rules)) =
                (choices(map, &question), atlas::decide(map, &question))
            else {
                return Ok(Vec::new());
            };
            free |= !all.is_empty();
            // Where a law fixes the place, that one region is left. They stay in the order of names.
            if let Some(placement) = by_rules.placement()
                && let Err(place) = all.binary_search(placement.region())
            {
                all.insert(place, placement.region().clone());
            }
            open = Some(match open {
                None => all,
                Some(open) => {
                    open.into_iter().filter(|name| all.binary_search(name).is_ok()).collect()
                }
            });
        }
        Ok(open.filter(|_| free).unwrap_or_default())
    }

    /// Whether the rules, and the second check, lead to that region for every collection once it is
    /// chosen.
    fn leads_to(
        &self,
        map: &Arc<RegionMap>,
        owner: &Owner,
        to: &RegionId,
        subject: &Subject,
    ) -> Result<(), Rejection> {
        let territory = map.region(to).map(atlas::Region::territory).ok_or(Reason::Internal)?;
        let mut rules = Rules::new(Arc::clone(map), to.clone(), territory);
        rules.set_date(Moment::of(self.now));
        for standing in subject.standings() {
            let findings = standing.weighed(&subject.findings).map_err(full)?;
            match rules.decide(&owner.tenant, &standing.collection, &findings, Some(to)) {
                Verdict::Here(_) => {}
                Verdict::Refused(fault) => return Err(fault),
                Verdict::Elsewhere(region) => {
                    let fault = Rejection::new(Reason::PlacementNotAdmitted).field("region");
                    return Err(fault.with(Detail::Region, region));
                }
            }
        }
        Ok(())
    }

    /// Who asks, under a name that no period of the log changes.
    fn caller(&self, asker: &Asker) -> Fingerprint {
        let (tenant, name) = (asker.tenant.as_str().as_bytes(), asker.who.name.as_bytes());
        self.node.namer.fingerprint(&[b"adjudicator", tenant, name])
    }
}

/// The proposal that a caller confirms.
fn confirmed<'a>(
    subject: &'a Subject,
    region: &RegionId,
    caller: &Fingerprint,
    now: Minute,
) -> Result<&'a Proposal, Rejection> {
    let proposal = subject.choice.proposed(now).filter(|proposal| proposal.region == *region);
    let proposal = proposal.ok_or_else(|| {
        let fault = Rejection::new(Reason::ChoiceNotProposed).field("region");
        fault.problem("is not what is proposed for the subject")
    })?;
    if proposal.caller == *caller {
        let fault = Rejection::new(Reason::NotPermitted);
        let fault = fault.problem("the caller who proposes a region may not confirm it");
        return Err(fault.cure("have another caller with the role approver confirm it"));
    }
    Ok(proposal)
}

/// What is chosen and proposed, and what can be.
fn answer(subject: &Subject, open: Vec<RegionId>, now: Minute) -> Written {
    let proposed = subject.choice.proposed(now).map(|proposal| proposal.region.clone());
    let choice = Chosen { chosen: subject.choice.chosen.clone(), proposed, open };
    Written { choice: Some(Box::new(choice)), ..Default::default() }
}

/// The refusal of a region that cannot be chosen.
fn not_open(open: &[RegionId]) -> Rejection {
    let fault = Rejection::new(Reason::ChoiceNotOpen).field("region");
    if open.is_empty() {
        return fault.problem("cannot be chosen: the rules leave no choice for this subject");
    }
    let names: Vec<&str> = open.iter().map(RegionId::as_str).collect();
    fault.problem(format!("cannot be chosen: the rules leave open {}", names.join(", ")))
}
