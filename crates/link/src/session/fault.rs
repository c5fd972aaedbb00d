//! A rejection as it travels from a shard to a gateway.

use std::borrow::Cow;

use terms::{Detail, Reason, Rejection};
use wire::session as proto;

/// Bytes of problem and cure that are taken from the other end.
pub(super) const TEXT_BYTES_MAX: usize = 512;
/// Bytes of one detail that are taken from the other end.
const DETAIL_BYTES_MAX: usize = 512;

/// A fault as it travels from a shard.
pub fn to_wire(fault: &Rejection) -> proto::Fault {
    let text = |text: &Option<Cow<'static, str>>| text.as_deref().unwrap_or_default().to_owned();
    let detail = |(key, value): &(Detail, String)| (key.as_str().to_owned(), value.clone());
    proto::Fault {
        reason: fault.reason.as_str().to_owned(),
        field: text(&fault.field),
        problem: text(&fault.problem),
        cure: text(&fault.cure),
        details: fault.details.iter().map(detail).collect(),
    }
}

/// A fault as it arrives at a gateway. A reason that this version does not know becomes
/// [`Reason::Internal`]; keys that it does not know, and texts over 512 bytes, are dropped.
pub fn from_wire(fault: proto::Fault) -> Rejection {
    let proto::Fault { reason, field, problem, cure, mut details } = fault;
    let text = |text: String| {
        (!text.is_empty() && text.len() <= TEXT_BYTES_MAX).then_some(Cow::Owned(text))
    };
    let Some(reason) = Reason::parse(&reason) else {
        return Rejection::new(Reason::Internal);
    };
    let details = Detail::ALL
        .iter()
        .filter_map(|key| details.remove_entry(key.as_str()).map(|(_, value)| (*key, value)))
        .filter(|(_, value)| value.len() <= DETAIL_BYTES_MAX)
        .collect();
    Rejection { reason, field: text(field), problem: text(problem), cure: text(cure), details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_survives_the_way() {
        for reason in Reason::ALL {
            let mut fault = Rejection::new(*reason).field("etag").problem("p").cure("c");
            for key in Detail::ALL {
                fault = fault.with(*key, "7");
            }
            assert_eq!(from_wire(to_wire(&fault)), fault);
            let bare = Rejection::new(*reason);
            assert_eq!(from_wire(to_wire(&bare)), bare);
        }
    }

    #[test]
    fn what_is_not_known_is_not_passed_on() {
        let mut odd = to_wire(&Rejection::new(Reason::NoRegion).with(Detail::Region, "x"));
        odd.details.insert("subject".to_owned(), "anna".to_owned());
        odd.details.insert("version".to_owned(), "v".repeat(DETAIL_BYTES_MAX + 1));
        odd.problem = "p".repeat(TEXT_BYTES_MAX + 1);
        let fault = from_wire(odd.clone());
        assert_eq!(fault, Rejection::new(Reason::NoRegion).with(Detail::Region, "x"));
        odd.reason = "NEWER_REASON".to_owned();
        assert_eq!(from_wire(odd), Rejection::new(Reason::Internal));
    }
}
