//! From what the rules and the shards said to what the caller reads.

use atlas::{Constraint, EvidenceKind, Findings, Outcome, Ruling};
use terms::{Reason, RegionId, Rejection, SubjectId};
use wire::session as proto;
use wire::v1;

use crate::api::request::Given;
use crate::shards::session::Answered;

/// The data that make findings, and their versions.
pub(crate) struct Data {
    pub(crate) sources: evidence::Sources,
    /// As every ruling lists them.
    list: Vec<v1::DataVersion>,
    phone: String,
    ip: String,
}

impl Data {
    pub(crate) fn new(sources: evidence::Sources) -> Self {
        let versions = sources.versions();
        let phone = versions.phone.to_owned();
        let ip = versions.ip.map(|ip| ip.to_string());
        let list = [
            ("phone-metadata", phone.clone()),
            ("ip-database", ip.clone().unwrap_or_else(|| "none".to_owned())),
            ("mcc", versions.mcc.to_owned()),
            ("iso-3166", versions.countries.to_owned()),
        ];
        let version =
            |(name, version): (&str, String)| v1::DataVersion { name: name.to_owned(), version };
        let list = list.into_iter().map(version).collect();
        Self { sources, list, phone, ip: ip.unwrap_or_default() }
    }

    /// The IP database; empty if there is none.
    pub(crate) fn ip_database(&self) -> &str {
        &self.ip
    }

    /// The numbering plans, if they were read for what was given: for the placement log.
    pub(crate) fn phone(&self, given: &Given) -> String {
        if given.by_phone { self.phone.clone() } else { String::new() }
    }

    /// The IP database, if it was read for what was given: for the placement log.
    pub(crate) fn ip(&self, given: &Given) -> String {
        if given.by_ip { self.ip.clone() } else { String::new() }
    }
}

/// A ruling, without the findings that it rests on.
pub(crate) fn ruling(ruling: &Ruling, data: &Data) -> v1::Ruling {
    let attachment = |attachment: &atlas::Attachment| v1::Attachment {
        jurisdiction: attachment.jurisdiction().as_str().to_owned(),
        statute: attachment.statute().as_str().to_owned(),
        constraint: constraint(attachment.constraint()).into(),
        evidence_kinds: attachment
            .kinds()
            .iter()
            .map(|kind| crate::api::response::kind(kind).into())
            .collect(),
        why: attachment.reason(),
    };
    let epoch = ruling.epoch();
    v1::Ruling {
        attachments: ruling.attachments().iter().map(attachment).collect(),
        outcome: Some(outcome(ruling.outcome())),
        map_epoch: epoch.number,
        map_digest: epoch.digest.to_vec().into(),
        data_versions: data.list.clone(),
        findings: Vec::new(),
    }
}

/// The ruling that stands, as the shard gave it with an answer; `given`: evidence came with the
/// call, so that it was made with this gateway's data.
pub(crate) fn standing(
    written: &mut proto::Written,
    given: bool,
    data: &Data,
) -> Option<v1::Ruling> {
    let encoded = std::mem::take(&mut written.ruling);
    if encoded.is_empty() {
        return None;
    }
    let Ok(mut ruling) = wire::bounded::decode::<v1::Ruling>(&encoded) else {
        // What was written is written, and its receipt says so.
        tracing::error!("a shard's ruling cannot be decoded");
        return None;
    };
    if given {
        ruling.data_versions.clone_from(&data.list);
    }
    Some(ruling)
}

/// Adds to a placement by which gateway a record goes in: the address of one inside, and whether
/// it may come in there only, and not here.
pub(crate) fn direct(answer: &mut v1::Ruling, address: Option<&str>, elsewhere: bool) {
    if let Some(v1::ruling::Outcome::Placement(placement)) = &mut answer.outcome {
        address.unwrap_or_default().clone_into(&mut placement.ingress);
        placement.ingress_required = elsewhere;
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

/// What each piece of evidence was taken to say: for the caller who sent it, and nobody else.
pub(crate) fn findings(findings: &Findings) -> Vec<v1::Finding> {
    let finding = |finding: &atlas::Finding| v1::Finding {
        kind: kind(finding.kind()).into(),
        country: finding.code().to_owned(),
    };
    findings.iter().map(finding).collect()
}

const fn kind(kind: EvidenceKind) -> v1::EvidenceKind {
    match kind {
        EvidenceKind::Citizenship => v1::EvidenceKind::Citizenship,
        EvidenceKind::Document => v1::EvidenceKind::Document,
        EvidenceKind::Residence => v1::EvidenceKind::Residence,
        EvidenceKind::CollectedIn => v1::EvidenceKind::CollectedIn,
        EvidenceKind::Ip => v1::EvidenceKind::Ip,
        EvidenceKind::Phone => v1::EvidenceKind::Phone,
        EvidenceKind::Sim => v1::EvidenceKind::Sim,
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

/// The subject with its domicile.
pub(crate) fn subject(subject: &SubjectId, region: &RegionId) -> v1::SubjectRef {
    v1::SubjectRef { id: subject.expose().to_owned(), domicile: region.as_str().to_owned() }
}

/// A write's answer, and its receipt unless the write was only checked.
pub(crate) fn written(
    answered: Answered,
    validate_only: bool,
) -> Result<(proto::Written, Option<v1::Receipt>), Rejection> {
    let proto::reply::Outcome::Written(mut written) = answered.outcome else {
        return Err(Reason::Internal.into());
    };
    let own = std::mem::take(&mut written.origin);
    let receipt = (!validate_only).then(|| v1::Receipt {
        // A retry may be answered from an earlier period of the log than the one that is open.
        origin: if own.is_empty() { answered.origin.as_ref().to_owned() } else { own },
        index: written.index,
        entry: std::mem::take(&mut written.entry),
        opening: std::mem::take(&mut written.opening),
        statement: std::mem::take(&mut written.statement),
        tlog_proof: std::mem::take(&mut written.tlog_proof),
    });
    Ok((written, receipt))
}

/// A read's answer.
pub(crate) fn found(answered: Answered) -> Result<proto::Found, Rejection> {
    let proto::reply::Outcome::Found(found) = answered.outcome else {
        return Err(Reason::Internal.into());
    };
    Ok(found)
}
