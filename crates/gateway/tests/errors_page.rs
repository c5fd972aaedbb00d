//! `docs/errors.md` lists every reason as `terms` defines it, and none besides.

#![expect(clippy::disallowed_methods, reason = "a test reads the page that it compares with")]

use std::fmt::Write as _;

use terms::{Code, Reason, Retry};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");

const HEAD: &str = "\
# Errors

Every error has exactly one `google.rpc.ErrorInfo` of the domain `bailiwick.v1`.
Its `reason` is one of those below; a published reason keeps its meaning.
Its `metadata` has `call_id` and `cure`, a remedy that may be more specific than the one below.
Where they apply, it also has `region`, `jurisdictions`, `conflicting`, `map_epoch`, `version`, `limit`, `ingress`, `retry_after_ms`, `attribute` and `offset`; no other key, and never a value that the caller sent.
`jurisdictions` and `conflicting` are comma-separated lists of codes, as in `EEA,RU`.
An error about a field names it in a `google.rpc.BadRequest`.
The gateway's reflection has these messages, so `grpcurl` and `buf curl` show them decoded.

The gateway logs a refusal with its `call_id`, method, reason, region, tenant tag and role.
It logs ten refusals per second and reason; the next logged line of that reason says in `unsaid` how many were omitted.
So a `call_id` may be missing in the log. The metric `bailiwick_calls_total` counts every refusal by method and reason, `bailiwick_refusals_not_logged_total` those that the log omitted.
The tenant tag is the start of a digest: `printf 'bailiwick tenant tag v1\\000NAME' | sha256sum | cut -c 1-8`.

A request of a protocol that is not taken is answered by HTTP alone, without a reason and a `call_id`, and has no effect: 415 for a content type other than `application/grpc` (a suffix such as `+proto` may follow), 405 for a method other than `POST`, 403 with an `Origin` header. [JSON and browsers](http.md) has what a gateway takes besides if it is configured. The metric `bailiwick_requests_not_grpc_total` counts them.

A subject is created where the evidence of its first put leads. The same id with evidence that leads to another region is another subject there, without an error, unless the map wants ids to be unique.
So keep the `domicile` that the first answer returns, and send it with every later call.

Retry only where the table says so, with the same `request_id`, and after the delay in `google.rpc.RetryInfo` if there is one.
No request is ever sent to a region other than its own.
[Operations](operations.md#troubleshooting-by-error-reason) tells operators what to do about each reason.

A test compares this page with the code: `UPDATE_EXPECT=1 cargo test --workspace --test errors_page` rewrites it.

| reason | code | retry | cure |
|---|---|---|---|
";

const fn code(code: Code) -> &'static str {
    match code {
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::Aborted => "ABORTED",
        Code::Unauthenticated => "UNAUTHENTICATED",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::Unavailable => "UNAVAILABLE",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::Internal => "INTERNAL",
        Code::DataLoss => "DATA_LOSS",
        Code::Unimplemented => "UNIMPLEMENTED",
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for reason in Reason::ALL {
        let retry = match reason.retry() {
            Retry::No => "no",
            Retry::SameRequestId => "yes, same `request_id`",
        };
        let (code, cure) = (code(reason.code()), reason.cure());
        writeln!(page, "| `{reason}` | `{code}` | {retry} | {cure} |").expect("memory");
    }
    page
}

#[test]
fn the_page_lists_every_reason() {
    let page = page();
    #[expect(clippy::disallowed_methods, reason = "how golden files are rewritten")]
    let update = std::env::var("UPDATE_EXPECT").is_ok();
    if update {
        std::fs::write(PAGE, &page).unwrap();
    }
    let found = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(found, page, "UPDATE_EXPECT=1 rewrites it");
    assert_eq!(page.lines().filter(|line| line.starts_with("| `")).count(), Reason::ALL.len());
}
