//! What a refused caller reads, and what the log has of it under the same call id.

use std::collections::HashMap;
use std::sync::Arc;

use ledger::entry::Role;
pub(crate) use link::grpc_status::status;
use link::ops::log_throttle::LogThrottle;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use terms::{CallId, Clock, Code, Detail, Reason, Rejection};
use tonic_types::pb;

use crate::auth::authenticate::Identified;
use crate::auth::caller::{Acting, Caller};
use crate::method::Method;

/// A message over what is decoded at all. Only a body can make it so large.
pub(crate) fn too_large() -> Rejection {
    let max = terms::limits::BODY_BYTES_MAX;
    Rejection::new(Reason::BodyTooLarge).field("body").with(Detail::Limit, max)
}

/// Bytes that are no message of this method.
pub(crate) fn undecodable() -> Rejection {
    Rejection::new(Reason::FieldInvalid).problem("the message cannot be decoded")
}

/// A rejection as a message, for one item of a stream.
pub(crate) fn status_message(rejection: &Rejection, call: CallId) -> pb::Status {
    let status = status(rejection, call);
    // `details` is an encoded google.rpc.Status. If it ever were not, code and message stay.
    pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Logs refusals: of each reason some in a second, and then how many were left out. So a caller that
/// is refused at the speed of a network does not fill a disk, and hides no other reason.
pub(crate) struct RefusalLog {
    clock: Arc<dyn Clock>,
    throttles: HashMap<Reason, LogThrottle>,
}

impl RefusalLog {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let throttle = |reason: &Reason| (*reason, LogThrottle::default());
        Self { clock, throttles: Reason::ALL.iter().map(throttle).collect() }
    }

    /// Whether one more refusal may be logged; if so, how many were left out since the last.
    fn allow(&self, reason: Reason) -> Option<u64> {
        let throttle = self.throttles.get(&reason);
        throttle.map_or(Some(0), |throttle| throttle.allow(self.clock.now()))
    }

    /// Logs that a call was refused: call id, method, reason, region and caller, and nothing of the
    /// request. What an operator must act on is a warning or an error; the rest is information.
    /// Gives whether it was logged: of many in a second, some are left out.
    pub(crate) fn refused(
        &self,
        rejection: &Rejection,
        call: CallId,
        method: Method,
        caller: &LoggedCaller,
    ) -> bool {
        let Some(unsaid) = self.allow(rejection.reason) else { return false };
        let (reason, method) = (rejection.reason.as_str(), method.as_str());
        let region = rejection.detail(Detail::Region).unwrap_or_default();
        let (tenant, role) = (caller.tenant(), caller.role.map_or("", Role::as_str));
        match rejection.reason.code() {
            Code::Internal | Code::DataLoss => tracing::error!(
                call_id = %call, method, reason, region, tenant, role, unsaid, "call failed"
            ),
            Code::Unavailable | Code::ResourceExhausted => tracing::warn!(
                call_id = %call, method, reason, region, tenant, role, unsaid, "call not taken"
            ),
            Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::AlreadyExists
            | Code::Aborted
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::DeadlineExceeded
            | Code::Unimplemented => tracing::info!(
                call_id = %call, method, reason, region, tenant, role, unsaid, "call refused"
            ),
        }
        true
    }
}

/// The caller, as far as it is known, for the log: it has the tenant's tag and the role.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoggedCaller {
    caller: Option<Arc<Caller>>,
    role: Option<Role>,
}

impl LoggedCaller {
    /// A caller in one of its roles.
    pub(crate) fn acting(acting: &Acting) -> Self {
        Self { caller: Some(Arc::clone(&acting.caller)), role: Some(acting.role) }
    }

    /// The caller of a request.
    pub(crate) fn of<T>(request: &http::Request<T>) -> Self {
        let extensions = request.extensions();
        let caller =
            extensions.get::<Identified>().map(|identified| Arc::clone(&identified.caller));
        Self { caller, role: extensions.get::<Acting>().map(|acting| acting.role) }
    }

    /// The tag of its tenant; empty while the caller is not known.
    fn tenant(&self) -> String {
        let Some(caller) = &self.caller else { return String::new() };
        let digest = Sha256::new().chain_update(TENANT_TAG).chain_update(caller.tenant.as_str());
        let mut tag = hex::encode(digest.finalize());
        tag.truncate(8);
        tag
    }
}

/// What a tenant's tag is a digest of, followed by its name.
const TENANT_TAG: &str = "bailiwick tenant tag v1\0";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use link::grpc_status::DOMAIN;
    use terms::UnixMillis;
    use tonic_types::StatusExt as _;

    use super::*;

    const CALL: CallId = CallId(0x1234);

    fn full(reason: Reason) -> Rejection {
        Detail::ALL.iter().fold(Rejection::new(reason), |full, key| full.with(*key, "7"))
    }

    #[test]
    fn every_reason_has_one_error_info_and_the_right_extras() {
        for reason in Reason::ALL {
            let rejection = full(*reason).field("evidence[3].value").problem("is odd");
            let status = status(&rejection, CALL);
            let raw = pb::Status::decode(status.details()).unwrap();
            assert_eq!(i32::from(status.code()), raw.code);
            let infos = raw.details.iter().filter(|any| any.type_url.ends_with(".ErrorInfo"));
            assert_eq!(infos.count(), 1, "{reason}");
            let mut types: Vec<_> = raw.details.iter().map(|any| any.type_url.clone()).collect();
            types.dedup();
            assert_eq!(types.len(), raw.details.len(), "{reason}: each type once (AIP-193)");

            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason.as_str(), DOMAIN));
            assert_eq!(info.metadata["call_id"], "00000000000000000000000000001234");
            assert_eq!(info.metadata["cure"], reason.cure());
            assert_eq!(info.metadata.len(), 2 + Detail::ALL.len());
            let passes = matches!(reason.code(), Code::Unavailable | Code::ResourceExhausted);
            let delay = details.retry_info().map(|retry| retry.retry_delay.unwrap());
            assert_eq!(delay, passes.then_some(Duration::from_millis(7)), "{reason}");
            let bad = &details.bad_request().unwrap().field_violations;
            assert_eq!(bad.len(), 1);
            assert_eq!(bad[0].field, "evidence[3].value");
            assert_eq!(status.message(), rejection.message());
            // In a stream's item it is the same; the order of the metadata is not fixed.
            let item = status_message(&rejection, CALL);
            let urls = |status: &pb::Status| -> Vec<String> {
                status.details.iter().map(|any| any.type_url.clone()).collect()
            };
            assert_eq!((item.code, &item.message), (raw.code, &raw.message));
            assert_eq!(urls(&item), urls(&raw));
        }
    }

    #[test]
    fn a_passing_refusal_always_names_a_delay() {
        for reason in Reason::ALL {
            let details = status(&Rejection::new(*reason), CALL).get_error_details();
            let passes = matches!(reason.code(), Code::Unavailable | Code::ResourceExhausted);
            assert_eq!(details.retry_info().is_some(), passes, "{reason}");
            assert!(details.bad_request().is_none());
        }
    }

    #[test]
    fn a_tenant_is_logged_by_its_tag() {
        let caller = Arc::new(crate::tests::rig::caller());
        let logged = LoggedCaller::acting(&Acting { caller, role: Role::Writer });
        // printf 'bailiwick tenant tag v1\000sample' | sha256sum | cut -c 1-8
        assert_eq!((logged.tenant().as_str(), logged.role), ("f3bcc99c", Some(Role::Writer)));
        assert_eq!(LoggedCaller::default().tenant(), "");
    }

    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_flood_of_one_reason_takes_few_lines_and_hides_no_other() {
        let clock = Arc::new(At(AtomicU64::new(5_000)));
        let log = RefusalLog::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let logged =
            |reason, times: u64| (0..times).filter_map(|_| log.allow(reason)).collect::<Vec<u64>>();
        let lines = logged(Reason::IdentityInvalid, 1_000);
        assert!(!lines.is_empty() && lines.len() <= 10, "{} lines", lines.len());
        for other in Reason::ALL.iter().filter(|reason| **reason != Reason::IdentityInvalid) {
            assert_eq!(logged(*other, 1), [0], "{other} is hidden");
        }
        clock.0.store(6_000, Ordering::Relaxed);
        let unsaid = 1_000 - u64::try_from(lines.len()).unwrap();
        assert_eq!(logged(Reason::IdentityInvalid, 2), [unsaid, 0]);
    }
}
