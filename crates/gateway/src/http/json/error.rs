//! Errors as the Connect protocol has them: a status of HTTP, and JSON with code, message and details.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http_body_util::Full;
use prost::Message as _;
use serde_json::{Value, json};
use terms::Reason;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::pb;

use super::codec;

/// What precedes the name of a detail's type.
const TYPE_PREFIX: &str = "type.googleapis.com/";

/// The answer to a refused call.
pub(crate) fn answer(status: &Status) -> http::Response<Body> {
    // `details` is an encoded google.rpc.Status. If it ever were not, code and message stay.
    let details = pb::Status::decode(status.details()).unwrap_or_default().details;
    let shown: Vec<Value> = details.iter().map(detail).collect();
    let body = json!({
        "code": name(status.code()),
        "message": status.message(),
        "details": shown,
    });
    let mut response = http::Response::new(Body::new(Full::new(Bytes::from(body.to_string()))));
    *response.status_mut() = http_status(status.code(), reason(&details));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if status.code() == Code::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if let Some(seconds) = retry_seconds(&details) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn detail(any: &prost_types::Any) -> Value {
    let name = any.type_url.strip_prefix(TYPE_PREFIX).unwrap_or(&any.type_url);
    let mut shown = json!({ "type": name, "value": STANDARD_NO_PAD.encode(&any.value) });
    if let (Some(debug), Some(object)) = (codec::detail(name, &any.value), shown.as_object_mut()) {
        object.insert("debug".to_owned(), debug);
    }
    shown
}

fn of_type<M: prost::Message + Default>(details: &[prost_types::Any], name: &str) -> Option<M> {
    let any = details.iter().find(|any| any.type_url.strip_prefix(TYPE_PREFIX) == Some(name))?;
    M::decode(any.value.as_slice()).ok()
}

fn reason(details: &[prost_types::Any]) -> Option<Reason> {
    let info: pb::ErrorInfo = of_type(details, "google.rpc.ErrorInfo")?;
    Reason::parse(&info.reason)
}

/// The delay that is advised, in whole seconds, which is all that HTTP knows.
fn retry_seconds(details: &[prost_types::Any]) -> Option<u64> {
    let retry: pb::RetryInfo = of_type(details, "google.rpc.RetryInfo")?;
    let delay = retry.retry_delay?;
    u64::try_from(delay.seconds + i64::from(delay.nanos > 0)).ok()
}

/// The status of HTTP by Connect's table; a body that is too large has the one that HTTP has for it.
fn http_status(code: Code, reason: Option<Reason>) -> StatusCode {
    if reason == Some(Reason::BodyTooLarge) {
        return StatusCode::PAYLOAD_TOO_LARGE;
    }
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    }
}

const fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
        Code::Ok | Code::Unknown => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use link::grpc_status::status;
    use terms::{CallId, Detail, Rejection};

    use super::*;

    #[tokio::test]
    async fn every_reason_has_a_status_of_http_and_its_details() {
        for known in Reason::ALL {
            let rejection = Rejection::new(*known).field("key").with(Detail::RetryAfterMs, 1_500);
            let response = answer(&status(&rejection, CallId(7)));
            let http = response.status();
            assert!(http.is_client_error() || http.is_server_error(), "{known}");
            let retry = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            let busy = matches!(http.as_u16(), 429 | 503);
            assert_eq!(retry, busy.then_some("2"), "{known}");
            let bytes = response.into_body().collect().await.unwrap().to_bytes();
            let body: Value = serde_json::from_slice(&bytes).unwrap();
            let infos = body["details"].as_array().unwrap().iter();
            let info = infos.filter(|one| one["type"] == "google.rpc.ErrorInfo");
            let info = info.map(|one| &one["debug"]).collect::<Vec<_>>();
            assert_eq!(info.len(), 1, "{known}");
            assert_eq!(info[0]["reason"], known.as_str());
            assert_eq!(info[0]["metadata"]["call_id"].as_str().unwrap().len(), 32);
            assert!(body["message"].as_str().unwrap().starts_with("key: "));
        }
        assert_eq!(answer(&status(&Reason::BodyTooLarge.into(), CallId(7))).status(), 413);
    }
}
