//! From rulings and answers of shards to what the caller reads.

use atlas::{Constraint, EvidenceKind, Findings, Outcome, Ruling};
use prost_types::Timestamp;
use terms::{Reason, RegionId, Rejection, SubjectId};
use wire::session as proto;
use wire::v1;

use crate::map::evidence_data::EvidenceData;
use crate::shards::session::ShardAnswer;

/// A ruling, without the findings that it rests on.
pub(crate) fn ruling(ruling: &Ruling, data: &EvidenceData) -> v1::Ruling {
    let attachment = |attachment: &atlas::Attachment| v1::Attachment {
        jurisdiction: attachment.jurisdiction().as_str().to_owned(),
        statute: attachment.statute().as_str().to_owned(),
        constraint: constraint(attachment.constraint()).into(),
        evidence_kinds: attachment.kinds().iter().map(kind).collect(),
        why: attachment.reason(),
    };
    let epoch = ruling.epoch();
    v1::Ruling {
        attachments: ruling.attachments().iter().map(attachment).collect(),
        outcome: Some(outcome(ruling.outcome())),
        map_epoch: epoch.number,
        map_digest: epoch.digest.to_vec().into(),
        data_versions: data.versions.clone(),
        findings: Vec::new(),
    }
}

/// The ruling that stands, as the shard gave it with an answer; `given`: evidence came with the call,
/// so the ruling was made with this gateway's data.
pub(crate) fn standing(
    written: &mut proto::Written,
    given: bool,
    data: &EvidenceData,
) -> Option<v1::Ruling> {
    let encoded = std::mem::take(&mut written.ruling);
    if encoded.is_empty() {
        return None;
    }
    let Ok(mut ruling) = wire::bounded::decode::<v1::Ruling>(&encoded) else {
        // The write is done, and its receipt shows it.
        tracing::error!("a shard's ruling cannot be decoded");
        return None;
    };
    if given {
        ruling.data_versions.clone_from(&data.versions);
    }
    Some(ruling)
}

/// Adds to a placement the address of a gateway inside the territory, and whether a record must enter
/// there and not here.
pub(crate) fn set_ingress(answer: &mut v1::Ruling, address: Option<&str>, required: bool) {
    if let Some(v1::ruling::Outcome::Placement(placement)) = &mut answer.outcome {
        address.unwrap_or_default().clone_into(&mut placement.ingress);
        placement.ingress_required = required;
    }
}

fn outcome(outcome: &Outcome) -> v1::ruling::Outcome {
    match outcome {
        Outcome::Placed(placement) => v1::ruling::Outcome::Placement(v1::Placement {
            region: placement.region().as_str().to_owned(),
            mirrors: placement.mirrors().iter().map(|region| region.as_str().to_owned()).collect(),
            clauses: placement.clauses().iter().map(|clause| clause.as_str().to_owned()).collect(),
            ingress: String::new(),
            ingress_required: false,
        }),
        Outcome::Refused(refusal) => v1::ruling::Outcome::Refusal(v1::Refusal {
            reason: refusal.reason().as_str().to_owned(),
            conflicting: refusal.conflicting().iter().map(|j| j.as_str().to_owned()).collect(),
            cure: refusal.cure(),
        }),
    }
}

/// The finding that each piece of evidence gave: for the caller that sent it alone.
pub(crate) fn findings(findings: &Findings) -> Vec<v1::Finding> {
    let finding = |finding: &atlas::Finding| v1::Finding {
        kind: kind(finding.kind()),
        country: finding.code().to_owned(),
    };
    findings.iter().map(finding).collect()
}

/// Evidence kinds have the same numbers in the API and in the rules.
fn kind(kind: EvidenceKind) -> i32 {
    kind.number().into()
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

/// The subject with its domicile.
pub(crate) fn subject(subject: &SubjectId, region: &RegionId) -> v1::SubjectRef {
    v1::SubjectRef { id: subject.expose().to_owned(), domicile: region.as_str().to_owned() }
}

/// A write's answer, and its receipt unless the write was only checked.
pub(crate) fn written(
    answer: ShardAnswer,
    validate_only: bool,
) -> Result<(proto::Written, Option<v1::Receipt>), Rejection> {
    let proto::reply::Outcome::Written(mut written) = answer.outcome else {
        return Err(Reason::Internal.into());
    };
    let own = std::mem::take(&mut written.origin);
    let receipt = (!validate_only).then(|| v1::Receipt {
        // A retry may be answered from an earlier period of the log than the one that is open.
        origin: if own.is_empty() { answer.origin.as_ref().to_owned() } else { own },
        index: written.index,
        entry: std::mem::take(&mut written.entry),
        opening: std::mem::take(&mut written.opening),
        statement: std::mem::take(&mut written.statement),
        tlog_proof: std::mem::take(&mut written.tlog_proof),
    });
    Ok((written, receipt))
}

/// A time in milliseconds since 1970; 0: none.
pub(crate) fn time(ms: u64) -> Option<Timestamp> {
    let seconds = i64::try_from(ms / 1_000).ok().filter(|_| ms > 0)?;
    let nanos = i32::try_from(ms % 1_000).ok()? * 1_000_000;
    Some(Timestamp { seconds, nanos })
}

/// By when laws want data erased.
pub(crate) fn erasure_terms(terms: Vec<proto::ErasureTerm>) -> Vec<v1::ErasureTerm> {
    let one = |of: proto::ErasureTerm| v1::ErasureTerm {
        statute: of.statute,
        ground: of.ground,
        due_time: time(of.due_ms),
        says: of.says,
        citation: of.citation,
        verified: of.verified,
    };
    terms.into_iter().map(one).collect()
}

/// A read's answer.
pub(crate) fn found(answer: ShardAnswer) -> Result<proto::Found, Rejection> {
    let proto::reply::Outcome::Found(found) = answer.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_kinds_have_the_numbers_of_the_api() {
        for kind in EvidenceKind::ALL {
            let number = super::kind(*kind);
            let name = v1::EvidenceKind::try_from(number).unwrap().as_str_name();
            assert_eq!(name.to_lowercase(), kind.to_string(), "{number}");
        }
        assert!(v1::EvidenceKind::try_from(8).is_err(), "a kind that the rules do not know");
    }
}
