//! A gateway's "no", decoded from its one `ErrorInfo`.

use std::collections::BTreeMap;
use std::time::Duration;

use terms::{Detail, Reason};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RpcStatusExt as _, StatusExt as _, pb};

/// The domain of our reasons: an `ErrorInfo` of another one is somebody else's.
const DOMAIN: &str = "bailiwick.v1";

/// Why a gateway did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The stable name. It may be one that this version does not know: see [`Refused::known`].
    pub reason: String,
    /// One sentence for a person: field, problem, cure.
    pub message: String,
    /// The path of the field at fault, as in `evidence[3].value`.
    pub field: Option<String>,
    /// What would cure it.
    pub cure: Option<String>,
    /// The id that the gateway's log has for this call.
    pub call_id: Option<String>,
    /// The other details, by key.
    pub metadata: BTreeMap<String, String>,
    /// How long to wait before the same request may be sent again.
    pub retry_after: Option<Duration>,
    /// Whether the same request may be sent again at all.
    pub retryable: bool,
}

impl Refused {
    /// The reason, if this version knows it.
    pub fn known(&self) -> Option<Reason> {
        Reason::parse(&self.reason)
    }

    /// The detail under `key`.
    pub fn detail(&self, key: Detail) -> Option<&str> {
        self.metadata.get(key.as_str()).map(String::as_str)
    }

    /// What a status says, if it carries a reason of ours.
    pub(crate) fn of_status(status: &Status) -> Option<Self> {
        Self::of(status.code(), status.message(), &status.get_error_details())
    }

    /// What an item of a stream says, if it carries a reason of ours.
    pub(crate) fn of_item(status: &pb::Status) -> Option<Self> {
        Self::of(Code::from(status.code), &status.message, &status.get_error_details())
    }

    fn of(code: Code, message: &str, details: &ErrorDetails) -> Option<Self> {
        let info = details.error_info().filter(|info| info.domain == DOMAIN)?;
        let mut metadata: BTreeMap<String, String> = info.metadata.clone().into_iter().collect();
        let field = details.bad_request().and_then(|bad| bad.field_violations.first());
        let retry_after = details.retry_info().and_then(|info| info.retry_delay);
        let retryable =
            code == Code::Unavailable || (code == Code::ResourceExhausted && retry_after.is_some());
        Some(Self {
            reason: info.reason.clone(),
            message: message.to_owned(),
            field: field.map(|violation| violation.field.clone()),
            cure: metadata.remove("cure"),
            call_id: metadata.remove("call_id"),
            metadata,
            retry_after,
            retryable,
        })
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn details(reason: &str, domain: &str) -> ErrorDetails {
        let metadata = HashMap::from(
            [("cure", "wait"), ("call_id", "12"), ("region", "ru-msk")]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, domain, metadata);
        details
    }

    #[test]
    fn a_reason_of_ours_is_read_whole() {
        let mut given = details("SHARD_BUSY", DOMAIN);
        given.set_retry_info(Some(Duration::from_millis(70)));
        given.add_bad_request_violation("body", "is in the way");
        let read = Refused::of(Code::ResourceExhausted, "shard busy", &given).unwrap();
        assert_eq!(read.known(), Some(Reason::ShardBusy));
        assert_eq!(read.retry_after, Some(Duration::from_millis(70)));
        assert!(read.retryable);
        assert_eq!(read.field.as_deref(), Some("body"));
        assert_eq!(read.cure.as_deref(), Some("wait"));
        assert_eq!(read.call_id.as_deref(), Some("12"));
        assert_eq!(read.detail(Detail::Region), Some("ru-msk"));
        assert_eq!(read.metadata.len(), 1);
        assert_eq!(read.to_string(), "SHARD_BUSY: shard busy");
    }

    #[test]
    fn what_may_be_sent_again_is_what_the_design_names() {
        let retryable = |code, delay: Option<Duration>| {
            let mut given = details("SHARD_BUSY", DOMAIN);
            given.set_retry_info(delay);
            Refused::of(code, "", &given).unwrap().retryable
        };
        let delay = Some(Duration::from_millis(1));
        assert!(retryable(Code::Unavailable, None) && retryable(Code::Unavailable, delay));
        assert!(retryable(Code::ResourceExhausted, delay));
        assert!(!retryable(Code::ResourceExhausted, None));
        for code in [Code::DeadlineExceeded, Code::Aborted, Code::Internal, Code::NotFound] {
            assert!(!retryable(code, delay), "{code:?}");
        }
    }

    #[test]
    fn a_reason_of_somebody_else_is_none() {
        let given = details("SHARD_BUSY", "example.com");
        assert_eq!(Refused::of(Code::Unavailable, "", &given), None);
        assert_eq!(Refused::of(Code::Unavailable, "", &ErrorDetails::new()), None);
    }
}
