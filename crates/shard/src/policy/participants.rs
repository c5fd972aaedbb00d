//! Records that name other people: where they may lie, and who may read them, by what binds the owner
//! and each of the others.

use std::sync::{Arc, OnceLock};

use atlas::{Country, Jurisdiction, Moment, Question, RegionMap};
use terms::{Collection, Detail, Reason, Rejection, TenantId};

use crate::policy::rulings::{Ruled, Rules};
use crate::policy::second_check::{Here, admits_participant};
use crate::store::participants::Participant;

impl Rules {
    /// The ruling of a record that names participants: the owner's, with what binds the others. `None`:
    /// it names none.
    ///
    /// # Errors
    /// `UNSATISFIABLE` or `TRANSFER_NOT_COVERED`, with the participant and the pair that conflicts;
    /// `WRONG_INGRESS`, if the law of one wants another gateway than that in `gateway`.
    pub(crate) fn together(
        &self,
        tenant: &TenantId,
        ruled: &Ruled,
        participants: &[Participant],
        gateway: Country,
    ) -> Result<Option<Arc<Ruled>>, Rejection> {
        if participants.is_empty() {
            return Ok(None);
        }
        let (map, date, findings) = (self.map(), self.date(), atlas::Findings::new());
        let collection = ruled.placement.collection();
        let question = Question { tenant, collection, findings: &findings, date };
        let named: Vec<&[Jurisdiction]> =
            participants.iter().map(|one| one.jurisdictions.as_slice()).collect();
        for (n, of) in named.iter().enumerate() {
            let enters = atlas::ingress_of_participant(map, of, collection, date, Some(gateway));
            enters.map_err(|barred| barred.ingress_fault().field(format!("participants[{n}]")))?;
        }
        let placement = atlas::together(map, &question, &ruled.placement, &named);
        let placement = placement.map_err(|conflict| Rejection::from(&conflict))?;
        let (region, territory) = self.here();
        let here = Here { region, territory };
        if !named.iter().all(|of| admits_participant(&placement, of, map, &here, &question)) {
            let fault = Rejection::new(Reason::PlacementNotAdmitted)
                .problem("the second check does not admit participants that the rules admit");
            return Err(fault.with(Detail::MapEpoch, map.epoch().number));
        }
        let own = |all: &[String], more: Vec<String>| {
            let mut all: Vec<String> = all.iter().cloned().chain(more).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        // What an entry can name.
        let fits = |all: usize| all <= ledger::entry::LIST_ITEMS_MAX;
        if !fits(placement.jurisdictions().len())
            || !fits(placement.statutes().len())
            || !fits(placement.clauses().len())
        {
            return Err(Rejection::new(Reason::TooManyItems).field("participants"));
        }
        let jurisdictions = placement.jurisdictions().iter().map(|one| one.as_str().to_owned());
        let statutes = placement.statutes().map(|id| id.as_str().to_owned());
        let clauses = placement.clauses().iter().map(|id| id.as_str().to_owned());
        Ok(Some(Arc::new(Ruled {
            jurisdictions: own(&ruled.jurisdictions, jurisdictions.collect()),
            statutes: own(&ruled.statutes, statutes.collect()),
            clauses: own(&ruled.clauses, clauses.collect()),
            evidence_kinds: ruled.evidence_kinds,
            mirrors: ruled.mirrors.clone(),
            attachments: ruled.attachments.clone(),
            map: ruled.map,
            placement,
            encoded: OnceLock::new(),
        })))
    }
}

/// Whether what binds the participants lets these readers have a record that names them.
pub(crate) fn let_read(
    map: &RegionMap,
    tenant: &TenantId,
    collection: &Collection,
    at: Moment,
    readers: &[Option<Country>],
    participants: &[Participant],
) -> bool {
    participants.iter().all(|one| {
        let of = &one.jurisdictions;
        atlas::egress_of_participant(map, of, tenant, collection, at, readers).is_ok()
    })
}
