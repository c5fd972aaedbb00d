//! The rulings of a subject, made again from new evidence: the cure of `JURISDICTION_CHANGED`.
//!
//! Evidence of citizenship takes the place of all that is known of it, and so does evidence of
//! residence; what else is sent is added to what is known, and changes no ruling, as in a put. All
//! rulings of the subject rest on the same facts. So they change together, in one commit, and only if
//! the records of all collections stay in this region.

use atlas::{Aspect, Findings};
use ledger::entry::{Detail as Said, Kind};
use terms::{Collection, Reason, RegionId, Rejection};

use crate::policy::asker::Asker;
use crate::policy::egress::crosses_no_border;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::Verdict;
use crate::policy::standing_ruling::{Given, full};
use crate::reply::{Reassessed, Written};
use crate::store::keys::Owner;
use crate::store::subject::{Standing, Subject};
use crate::write::command::Reassess;
use crate::write::entries::{rule_into, say_data};
use crate::write::erase::unknown;
use crate::write::transaction::{Done, Known, Transaction};

/// What a subject's row says after a reassessment, and why.
struct Next<'a> {
    findings: Findings,
    standings: Vec<Standing>,
    verdicts: &'a [(Collection, Verdict)],
}

impl Transaction<'_> {
    /// Reassesses a subject.
    pub(super) fn reassess(&mut self, asker: &Asker, of: &Reassess) -> Result<Done, Rejection> {
        let owner = &of.owner;
        self.lets_in(asker, owner, None, false)?;
        self.crosses_no_border(asker, owner)?;
        let subject = self.subject(owner)?.ok_or_else(unknown)?;
        let findings = replaced(&subject.findings, of.given.as_ref(), true)?;
        let (mut standings, mut verdicts) = (Vec::new(), Vec::new());
        for standing in subject.standings() {
            let chosen = subject.choice.chosen.as_ref();
            let (next, verdict) = self.ruled_again(asker, of, standing, &findings, chosen)?;
            standings.push(next);
            verdicts.push((standing.collection.clone(), verdict));
        }
        let stands = verdicts.iter().all(|(_, verdict)| matches!(verdict, Verdict::Here(_)));
        let changed = findings != subject.findings || standings != subject.standings();
        let mut written = Written { replayed: stands && !changed, ..Default::default() };
        if stands && changed && !of.validate_only {
            let next = Next { findings, standings, verdicts: &verdicts };
            self.stand(asker, of, &subject, next, &mut written)?;
        }
        written.reassessed = Some(Box::new(Reassessed { verdicts, stands }));
        Ok(Done::written(written))
    }

    /// A caller who may not read what lies here under the rulings that stand may not replace what they
    /// rest on, and not move it. Where a law of the place may bar the caller, the answer is the same
    /// whether there is such a subject or not.
    pub(in crate::write) fn crosses_no_border(
        &mut self,
        asker: &Asker,
        owner: &Owner,
    ) -> Result<(), Rejection> {
        let subject = match self.known_subject(owner) {
            Ok(Some(Known::Kept(subject))) => Some(subject),
            Ok(_) | Err(_) => None,
        };
        crosses_no_border(self.node, self.counts, asker, subject.as_deref())
    }

    /// What the rules give for one collection, and the ruling that would stand.
    fn ruled_again(
        &mut self,
        asker: &Asker,
        of: &Reassess,
        standing: &Standing,
        findings: &Findings,
        chosen: Option<&RegionId>,
    ) -> Result<(Standing, Verdict), Rejection> {
        let (node, gateway) = (self.node, asker.stands.gateway);
        let (tenant, collection) = (&of.owner.tenant, &standing.collection);
        // What may not come in by the ruling that stands is told nothing of what it would change.
        let stands = self.rules.decide_stored(tenant, collection, &standing.basis, chosen);
        if let Verdict::Here(ruled) = stands {
            may_enter(node, &ruled, gateway)?;
        }
        let basis = replaced(&standing.basis, of.given.as_ref(), false)?;
        let mut next = Standing { basis, ..standing.clone() };
        next.basis = next.weighed(findings).map_err(full)?;
        let verdict = self.rules.decide_stored(tenant, collection, &next.basis, chosen);
        if let Verdict::Here(ruled) = &verdict {
            may_enter(node, ruled, gateway)?;
            // Where copies may lie by now: a deletion must reach all of them.
            next.mirrors.extend(ruled.mirrors.iter().cloned());
            next.mirrors.sort_unstable();
            next.mirrors.dedup();
            if next != *standing {
                next.minute = self.entries.minute();
            }
        }
        Ok((next, verdict))
    }

    /// Makes the new rulings stand, with an entry for each and one for the subject.
    fn stand(
        &mut self,
        asker: &Asker,
        of: &Reassess,
        before: &Subject,
        next: Next<'_>,
        written: &mut Written,
    ) -> Result<(), Rejection> {
        let owner = &of.owner;
        for (collection, verdict) in next.verdicts {
            let Verdict::Here(ruled) = verdict else { return Err(Reason::Internal.into()) };
            let mut entry = self.entries.entry(Kind::Reassess, asker, collection.as_str());
            rule_into(&mut entry, ruled);
            say_data(&mut entry, of.given.as_ref());
            self.entries.append(&entry)?;
        }
        let mut entry = self.entries.about_subject(Kind::Reassess, asker);
        entry.say(Said::Reason(of.reason.clone()));
        written.index = self.entries.next_index();
        written.receipt = Some(self.append_about(owner, None, &of.opening, entry)?);
        written.origin = Some(self.entries.own_origin());
        let node = self.node;
        let mut subject = before.clone();
        subject.findings = next.findings;
        subject.stand(next.standings, owner, node.subject_keys(), &*node.entropy)?;
        self.keep(owner, subject)?;
        // The rules may give another mirror, or none.
        self.tell_mirrors(owner)
    }
}

/// Findings in which what was given of citizenship or residence takes the place of what was known of
/// it; `all`: what else was given is added to the rest.
pub(crate) fn replaced(
    held: &Findings,
    given: Option<&Given>,
    all: bool,
) -> Result<Findings, Rejection> {
    let mut findings = held.clone();
    let Some(Given { findings: given, .. }) = given else { return Ok(findings) };
    for aspect in [Aspect::Citizen, Aspect::Resident] {
        if given.iter().any(|finding| finding.aspect() == aspect) {
            findings.retain(|finding| finding.aspect() != aspect);
        }
    }
    if all {
        findings.merge(given).map_err(full)?;
    }
    Ok(findings)
}
