//! A gateway's "no", decoded from its one `ErrorInfo`.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use terms::{Detail, Reason};
use tonic::{Code, Status};
use tonic_types::pb;

/// The domain of our reasons: an `ErrorInfo` of another domain is not ours.
const DOMAIN: &str = "bailiwick.v1";
/// What the type of every detail begins with.
const DETAILS: &str = "type.googleapis.com/google.rpc.";
/// The longest wait that is accepted: an answer may ask for more than a clock can hold.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

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
    /// How long to wait before the same request may be sent again: a day at the most.
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

    /// The region in which the record belongs, where the reason has one.
    pub fn region(&self) -> Option<&str> {
        self.detail(Detail::Region)
    }

    /// The address of the gateway that may take it, with `WRONG_INGRESS`, if the region names one.
    pub fn ingress(&self) -> Option<&str> {
        self.detail(Detail::Ingress)
    }

    /// A write that was sent and has no answer: it may have been done or not.
    pub(crate) fn unknown_outcome() -> Self {
        let reason = Reason::WriteOutcomeUnknown;
        Self {
            reason: reason.as_str().to_owned(),
            message: "the stream that carried the write ended before the write was answered"
                .to_owned(),
            field: None,
            cure: Some(reason.cure().to_owned()),
            call_id: None,
            metadata: BTreeMap::new(),
            retry_after: None,
            retryable: true,
        }
    }

    /// What a status says, if it carries a reason of ours.
    pub(crate) fn of_status(status: &Status) -> Option<Self> {
        let details = pb::Status::decode(status.details()).ok()?;
        Self::of(status.code(), status.message(), &details)
    }

    /// What an item of a stream says, if it carries a reason of ours.
    pub(crate) fn of_item(status: &pb::Status) -> Option<Self> {
        Self::of(Code::from(status.code), &status.message, status)
    }

    fn of(code: Code, message: &str, details: &pb::Status) -> Option<Self> {
        let info: pb::ErrorInfo = detail_of(details, "ErrorInfo")?;
        if info.domain != DOMAIN {
            return None;
        }
        let mut metadata: BTreeMap<String, String> = info.metadata.into_iter().collect();
        let bad: Option<pb::BadRequest> = detail_of(details, "BadRequest");
        let field = bad.and_then(|bad| bad.field_violations.into_iter().next());
        let retry_after = detail_of(details, "RetryInfo").and_then(delay);
        let retryable =
            code == Code::Unavailable || (code == Code::ResourceExhausted && retry_after.is_some());
        Some(Self {
            reason: info.reason,
            message: message.to_owned(),
            field: field.map(|violation| violation.field),
            cure: metadata.remove("cure"),
            call_id: metadata.remove("call_id"),
            metadata,
            retry_after,
            retryable,
        })
    }
}

/// The detail of that name, if there is one that can be read.
fn detail_of<M: Message + Default>(status: &pb::Status, name: &str) -> Option<M> {
    let of_name = |url: &str| url.strip_prefix(DETAILS).is_some_and(|own| own == name);
    let any = status.details.iter().find(|any| of_name(&any.type_url))?;
    M::decode(any.value.as_slice()).ok()
}

/// How long to wait, at most a day; a negative delay is none. By hand, since what comes with the
/// message negates the least number of all, and panics.
fn delay(info: pb::RetryInfo) -> Option<Duration> {
    let delay = info.retry_delay?;
    let seconds = u64::try_from(delay.seconds);
    let nanos = u32::try_from(delay.nanos).unwrap_or(0).min(999_999_999);
    let wait = seconds.map_or(Duration::ZERO, |seconds| Duration::new(seconds, nanos));
    Some(wait.min(RETRY_AFTER_MAX))
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.reason, self.message)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a server's answer, made here")]
    fn read(code: Code, message: &str, given: &ErrorDetails) -> Option<Refused> {
        Refused::of_status(&Status::with_error_details(code, message, given.clone()))
    }

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
        let read = read(Code::ResourceExhausted, "shard busy", &given).unwrap();
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
            read(code, "", &given).unwrap().retryable
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
    fn a_wait_that_no_clock_can_hold_is_a_day() {
        let mut given = details("SHARD_BUSY", DOMAIN);
        given.set_retry_info(Some(Duration::MAX));
        let read = read(Code::Unavailable, "", &given).unwrap();
        assert_eq!(read.retry_after, Some(RETRY_AFTER_MAX));
        assert_eq!((read.region(), read.ingress()), (Some("ru-msk"), None));
    }

    #[test]
    fn a_reason_of_somebody_else_is_none() {
        let given = details("SHARD_BUSY", "example.com");
        assert_eq!(read(Code::Unavailable, "", &given), None);
        assert_eq!(read(Code::Unavailable, "", &ErrorDetails::new()), None);
    }
}
