//! Requests that many tests send.

use atlas::{EvidenceKind, Finding, Findings};
use terms::RequestId;
use wire::session::{self as proto, call::Op};

pub(crate) fn request_id(n: u64) -> Vec<u8> {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    RequestId::from_bytes(bytes).bytes().to_vec()
}

pub(crate) fn findings(of: &[(&str, &str)]) -> Vec<u8> {
    let mut findings = Findings::new();
    for (kind, country) in of {
        let kind = EvidenceKind::parse(kind).expect("a kind");
        findings.insert(Finding::parse(kind, country).expect("a finding")).expect("room");
    }
    findings.encode()
}

/// A put that creates a Russian resident.
pub(crate) fn put_ru(subject: &str, key: &str, body: &[u8], n: u64) -> proto::Put {
    proto::Put {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        body: body.to_vec().into(),
        request_id: request_id(n).into(),
        create_subject: true,
        findings: findings(&[("citizenship", "RU"), ("residence", "RU")]).into(),
        ..Default::default()
    }
}

/// A delete of a person's profile.
pub(crate) fn delete(subject: &str, key: &str, n: u64) -> proto::Delete {
    proto::Delete {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        request_id: request_id(n).into(),
        ..Default::default()
    }
}

/// A get of a person's profile.
pub(crate) fn get(subject: &str, key: &str) -> Op {
    Op::Get(proto::Get {
        subject: subject.into(),
        collection: "profiles".into(),
        key: key.into(),
        ..Default::default()
    })
}
