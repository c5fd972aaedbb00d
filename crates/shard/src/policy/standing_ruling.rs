//! Where a write's ruling comes from: the one that stands, or one that this write fixes.

use std::sync::Arc;

use atlas::{Findings, FindingsFull};
use terms::{Collection, Detail, Reason, Rejection, limits};

use crate::policy::rulings::{Ruled, Rules, Verdict};
use crate::store::keys::Owner;
use crate::store::subject::{Standing, Subject};
use crate::store::types::Minute;

/// Findings that came with a request, and the versions of the data they were made with.
pub(crate) struct Given {
    pub(crate) findings: Findings,
    pub(crate) phone_data: Option<String>,
    pub(crate) ip_data: Option<String>,
}

/// The ruling of a write, and what the subject's row says after it.
pub(crate) struct Settled {
    pub(crate) ruled: Arc<Ruled>,
    pub(crate) findings: Findings,
    pub(crate) standings: Vec<Standing>,
    /// Whether the subject's row must be written.
    pub(crate) changed: bool,
}

/// How a write comes in.
pub(crate) struct How<'a> {
    pub(crate) given: Option<&'a Given>,
    /// Whether an unknown subject may be created.
    pub(crate) create: bool,
    pub(crate) minute: Minute,
    /// Whether a write that is ruled so may come in at all.
    pub(crate) enters: &'a dyn Fn(&Ruled) -> Result<(), Rejection>,
}

/// Settles the ruling for one write of `collection`.
///
/// The first write of a collection fixes its ruling; later ones stand on the same findings, ruled
/// again under the map and the date of now. Evidence that comes later is kept; only a citizen or
/// resident finding that would change the ruling stops the write. What may not come in at all by
/// the ruling that stands is told nothing of what its evidence would change.
pub(crate) fn settle(
    rules: &mut Rules,
    owner: &Owner,
    collection: &Collection,
    subject: Option<&Subject>,
    how: &How<'_>,
) -> Result<Settled, Rejection> {
    let given = how.given;
    let Some(subject) = subject else {
        if !how.create {
            return Err(Rejection::new(Reason::SubjectUnknown).field("subject.id"));
        }
        // The gateway asks for evidence; a session that brings none gets no ruling here either.
        let given = given.ok_or_else(|| Rejection::new(Reason::FieldMissing).field("findings"))?;
        let findings = given.findings.clone();
        return first(rules, owner, collection, findings, None, how);
    };
    let chosen = subject.choice.chosen.as_ref();
    let findings = together(&subject.findings, given)?;
    let Some(standing) = subject.standing(collection) else {
        return first(rules, owner, collection, findings, Some(subject), how);
    };
    let verdict = rules.decide_stored(&owner.tenant, collection, &standing.basis, chosen);
    if let Verdict::Here(stands) = &verdict {
        (how.enters)(stands)?;
    }
    let weighed = weigh(rules, owner, subject, standing, &findings, &verdict)?;
    let now = weighed.as_ref().map_or(verdict, |(_, now)| now.clone());
    let ruled = here(now, false)?;
    (how.enters)(&ruled)?;
    let mut next = standing.clone();
    if let Some((basis, _)) = weighed {
        next.basis = basis;
    }
    // Where copies may lie by now: a deletion must reach all of them.
    next.mirrors.extend(ruled.mirrors.iter().cloned());
    next.mirrors.sort_unstable();
    next.mirrors.dedup();
    let changed = findings != subject.findings || next != *standing;
    let mut standings = Vec::new();
    if changed {
        standings.extend_from_slice(subject.standings());
        standings.retain(|standing| standing.collection != *collection);
        standings.push(next);
    }
    Ok(Settled { ruled, findings, standings, changed })
}

/// The first write of a collection: its ruling is fixed.
fn first(
    rules: &mut Rules,
    owner: &Owner,
    collection: &Collection,
    findings: Findings,
    subject: Option<&Subject>,
    how: &How<'_>,
) -> Result<Settled, Rejection> {
    let chosen = subject.and_then(|subject| subject.choice.chosen.as_ref());
    let mut standings = subject.map(|subject| subject.standings().to_vec()).unwrap_or_default();
    let verdict = rules.decide_stored(&owner.tenant, collection, &findings, chosen);
    let ruled = here(verdict, how.given.is_some())?;
    (how.enters)(&ruled)?;
    if standings.len() >= limits::RULINGS_PER_SUBJECT_MAX {
        return Err(too_many(limits::RULINGS_PER_SUBJECT_MAX).field("collection"));
    }
    standings.push(Standing {
        collection: collection.clone(),
        basis: findings.clone(),
        mirrors: ruled.mirrors.clone(),
        minute: how.minute,
    });
    Ok(Settled { ruled, findings, standings, changed: true })
}

/// Weighs what is held about citizenship and residence, and is not in the basis yet: whether this
/// call brought it, or one for another collection did. If the ruling would change, the write is
/// stopped; if not, later rulings rest on it too, so that a law or a clause that changes later
/// meets all of it. `None`: nothing to weigh.
fn weigh(
    rules: &mut Rules,
    owner: &Owner,
    subject: &Subject,
    standing: &Standing,
    findings: &Findings,
    verdict: &Verdict,
) -> Result<Option<(Findings, Verdict)>, Rejection> {
    let basis = standing.weighed(findings).map_err(full)?;
    if basis == standing.basis {
        return Ok(None);
    }
    let chosen = subject.choice.chosen.as_ref();
    let now = rules.decide_stored(&owner.tenant, &standing.collection, &basis, chosen);
    let same = match (verdict, &now) {
        (Verdict::Here(before), Verdict::Here(now)) => {
            // A law that attaches no more protects no more: egress rests on it.
            let keeps = before.statutes.iter().all(|statute| now.statutes.contains(statute));
            keeps && before.jurisdictions == now.jurisdictions && before.mirrors == now.mirrors
        }
        (Verdict::Elsewhere(before), Verdict::Elsewhere(now)) => before == now,
        (Verdict::Refused(before), Verdict::Refused(now)) => before.reason == now.reason,
        _ => false,
    };
    if same {
        Ok(Some((basis, now)))
    } else {
        Err(Rejection::new(Reason::JurisdictionChanged).field("evidence"))
    }
}

/// The ruling, if it places the record here.
fn here(verdict: Verdict, from_call: bool) -> Result<Arc<Ruled>, Rejection> {
    match verdict {
        Verdict::Here(ruled) => Ok(ruled),
        Verdict::Refused(fault) => Err(fault),
        Verdict::Elsewhere(region) => {
            let (reason, cure) = if from_call {
                let cure = "leave subject.domicile empty, or use the region in the metadata; if \
                            none was sent, bring gateway and shard to the same map";
                (Reason::PlacementNotAdmitted, cure)
            } else {
                let cure = "use the region in the metadata; if the record lies here already, the \
                            map has changed: have the subject reassessed";
                (Reason::WrongDomicile, cure)
            };
            let fault = Rejection::new(reason).field("subject.domicile").cure(cure);
            Err(fault.with(Detail::Region, region))
        }
    }
}

fn together(held: &Findings, given: Option<&Given>) -> Result<Findings, Rejection> {
    let mut findings = held.clone();
    if let Some(given) = given {
        findings.merge(&given.findings).map_err(full)?;
    }
    Ok(findings)
}

pub(crate) fn full(_: FindingsFull) -> Rejection {
    too_many(limits::FINDINGS_KEPT_MAX).field("evidence")
}

fn too_many(limit: usize) -> Rejection {
    Rejection::new(Reason::TooManyItems).with(Detail::Limit, limit)
}
