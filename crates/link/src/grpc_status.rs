//! The one mapping from a fault to what a caller reads.
//!
//! Exactly one `ErrorInfo` on every error, with a reason that is stable and metadata from a closed
//! set of keys; nothing that the caller sent is repeated.

use std::collections::HashMap;
use std::time::Duration;

use terms::{CallId, Code, Detail, Rejection, Retry};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every reason.
pub const DOMAIN: &str = "bailiwick.v1";
/// The delay that is advised when something is full.
const DELAY_EXHAUSTED: Duration = Duration::from_millis(100);
/// The delay that is advised when something is away.
const DELAY_UNAVAILABLE: Duration = Duration::from_millis(500);

/// What the caller reads.
#[expect(clippy::disallowed_methods, reason = "this is the one mapping of errors")]
pub fn status(fault: &Rejection, call: CallId) -> Status {
    let mut metadata = HashMap::with_capacity(2 + fault.details.len());
    for (key, value) in &fault.details {
        metadata.insert(key.as_str().to_owned(), value.clone());
    }
    metadata.insert("call_id".to_owned(), call.to_string());
    metadata.insert("cure".to_owned(), fault.cure_text().to_owned());
    let mut details = ErrorDetails::new();
    details.set_error_info(fault.reason.as_str(), DOMAIN, metadata);
    if let Some(delay) = delay(fault) {
        details.set_retry_info(Some(delay));
    }
    let message = fault.message();
    if let Some(field) = &fault.field {
        details.add_bad_request_violation(field.as_ref(), message.as_str());
    }
    Status::with_error_details(code(fault.reason.code()), message, details)
}

/// When to send the same request again, if that is of use.
fn delay(fault: &Rejection) -> Option<Duration> {
    let usual = match (fault.reason.retry(), fault.reason.code()) {
        (Retry::SameRequestId, Code::Unavailable) => DELAY_UNAVAILABLE,
        (Retry::SameRequestId, Code::ResourceExhausted) => DELAY_EXHAUSTED,
        (Retry::SameRequestId | Retry::No, _) => return None,
    };
    let named = fault.detail(Detail::RetryAfterMs).and_then(|ms| ms.parse().ok());
    Some(named.map_or(usual, Duration::from_millis))
}

const fn code(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::NotFound => tonic::Code::NotFound,
        Code::AlreadyExists => tonic::Code::AlreadyExists,
        Code::Aborted => tonic::Code::Aborted,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Internal => tonic::Code::Internal,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Unimplemented => tonic::Code::Unimplemented,
    }
}
