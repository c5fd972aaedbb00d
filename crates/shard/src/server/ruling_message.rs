//! A ruling as callers read it: encoded once, and given with each answer that rests on it.

use atlas::{Attachment, Constraint, ErasureGround, Placement};
use bytes::Bytes;
use prost::Message as _;
use wire::session as proto;
use wire::v1;

use crate::policy::erasure_terms::DueTerm;
use crate::policy::rulings::Ruled;

/// An encoded `bailiwick.v1.Ruling`, without what only a gateway knows.
pub(crate) fn of(ruled: &Ruled) -> Bytes {
    ruled.encoded.get_or_init(|| encode(&ruled.placement, &ruled.attachments)).clone()
}

fn encode(placement: &Placement, attachments: &[Attachment]) -> Bytes {
    let epoch = placement.epoch();
    let placed = v1::Placement {
        region: placement.region().as_str().to_owned(),
        mirrors: placement.mirrors().iter().map(|region| region.as_str().to_owned()).collect(),
        clauses: placement.clauses().iter().map(|clause| clause.as_str().to_owned()).collect(),
        ingress: String::new(),
        ingress_required: false,
    };
    let ruling = v1::Ruling {
        attachments: attachments.iter().map(attachment).collect(),
        outcome: Some(v1::ruling::Outcome::Placement(placed)),
        map_epoch: epoch.number,
        map_digest: epoch.digest.to_vec().into(),
        data_versions: Vec::new(),
        findings: Vec::new(),
    };
    ruling.encode_to_vec().into()
}

fn attachment(attachment: &Attachment) -> v1::Attachment {
    v1::Attachment {
        jurisdiction: attachment.jurisdiction().as_str().to_owned(),
        statute: attachment.statute().as_str().to_owned(),
        constraint: constraint(attachment.constraint()).into(),
        // They have the same numbers in the API and in the rules: a test of `gateway` holds it.
        evidence_kinds: attachment.kinds().iter().map(|kind| kind.number().into()).collect(),
        why: attachment.reason(),
    }
}

const fn constraint(constraint: Constraint) -> v1::Constraint {
    match constraint {
        Constraint::Exclusive => v1::Constraint::Exclusive,
        Constraint::PrimaryFirst => v1::Constraint::PrimaryFirst,
        Constraint::Mirror => v1::Constraint::Mirror,
        Constraint::ConditionalTransfer => v1::Constraint::ConditionalTransfer,
        Constraint::None => v1::Constraint::None,
    }
}

/// Terms of erasure.
pub(crate) fn terms(terms: &[DueTerm]) -> Vec<proto::ErasureTerm> {
    terms.iter().map(erasure_term).collect()
}

fn erasure_term(of: &DueTerm) -> proto::ErasureTerm {
    let DueTerm { statute, term, due } = of;
    let ground = match term.ground {
        ErasureGround::Unlawful => v1::ErasureGround::Unlawful,
        ErasureGround::PurposeReached => v1::ErasureGround::PurposeReached,
        ErasureGround::ConsentWithdrawn => v1::ErasureGround::ConsentWithdrawn,
        ErasureGround::Demand => v1::ErasureGround::Demand,
    };
    proto::ErasureTerm {
        statute: statute.as_str().to_owned(),
        ground: ground.into(),
        due_ms: due.0,
        says: term.says.clone(),
        citation: term.citation.clone(),
        verified: term.verified.as_str().to_owned(),
    }
}
