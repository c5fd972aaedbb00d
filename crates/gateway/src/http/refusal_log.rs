//! What the log says of a fault, and what an item of a stream says. What a caller reads is made in
//! [`link::grpc_status`]; the log has the same call id.

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
use crate::metrics::Method;

/// The same as a message, for one item of a stream.
pub(crate) fn status_message(fault: &Rejection, call: CallId) -> pb::Status {
    let status = status(fault, call);
    // `details` is an encoded google.rpc.Status. Should it ever not be, code and message stay.
    pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

/// Tells refusals in the log, of each reason some in a second and then how many went unsaid:
/// whoever is refused at the speed of a network fills no disk, and hides no other reason.
pub(crate) struct Log {
    clock: Arc<dyn Clock>,
    told: HashMap<Reason, LogThrottle>,
}

impl Log {
    /// Nothing is told yet.
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let told = Reason::ALL.iter().map(|reason| (*reason, LogThrottle::default())).collect();
        Self { clock, told }
    }

    /// Whether one more may be told; if so, how many were not since the last.
    fn line(&self, reason: Reason) -> Option<u64> {
        self.told.get(&reason).map_or(Some(0), |told| told.allow(self.clock.now()))
    }

    /// Says that a call was refused: call id, method, reason, region, who called, and nothing of
    /// the request. What an operator must see to is a warning or an error; the rest is information.
    /// Whether it was said: of many in a second, some are left out.
    pub(crate) fn refused(
        &self,
        fault: &Rejection,
        (call, method): (CallId, Method),
        by: &By,
    ) -> bool {
        let Some(unsaid) = self.line(fault.reason) else { return false };
        let (reason, method) = (fault.reason.as_str(), method.as_str());
        let region = fault.detail(Detail::Region).unwrap_or_default();
        let (tenant, role) = (by.tenant(), by.role.map_or("", Role::as_str));
        match fault.reason.code() {
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

/// Who made a call, as far as it is known: for the log, which names the tenant's tag and the role.
#[derive(Debug, Clone, Default)]
pub(crate) struct By {
    caller: Option<Arc<Caller>>,
    role: Option<Role>,
}

impl By {
    /// A caller in one of its roles.
    pub(crate) fn acting(acting: &Acting) -> Self {
        Self { caller: Some(Arc::clone(&acting.caller)), role: Some(acting.role) }
    }

    /// The caller of a request.
    pub(crate) fn of<T>(request: &http::Request<T>) -> Self {
        let beside = request.extensions();
        let caller = beside.get::<Identified>().map(|identified| Arc::clone(&identified.caller));
        Self { caller, role: beside.get::<Acting>().map(|acting| acting.role) }
    }

    /// The tag of its tenant; empty while nobody is known.
    fn tenant(&self) -> String {
        let Some(caller) = &self.caller else { return String::new() };
        let digest = Sha256::new().chain_update(TENANT_TAG).chain_update(caller.tenant.as_str());
        digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// What a tenant's tag is the digest of, before its name.
const TENANT_TAG: &str = "bailiwick tenant tag v1\0";

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use link::grpc_status::DOMAIN;
    use terms::{Detail, UnixMillis};
    use tonic_types::StatusExt as _;

    use super::*;

    const CALL: CallId = CallId(0x1234);

    fn full(reason: Reason) -> Rejection {
        Detail::ALL.iter().fold(Rejection::new(reason), |fault, key| fault.with(*key, "7"))
    }

    #[test]
    fn every_reason_has_one_error_info_and_the_right_extras() {
        for reason in Reason::ALL {
            let fault = full(*reason).field("evidence[3].value").problem("is odd");
            let status = status(&fault, CALL);
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
            assert_eq!(status.message(), fault.message());
            // In a stream's item it is the same; the order of the metadata is not fixed.
            let item = status_message(&fault, CALL);
            let urls = |status: &pb::Status| -> Vec<String> {
                status.details.iter().map(|any| any.type_url.clone()).collect()
            };
            assert_eq!((item.code, &item.message), (raw.code, &raw.message));
            assert_eq!(urls(&item), urls(&raw));
        }
    }

    #[test]
    fn what_passes_names_a_delay_even_if_nobody_gave_one() {
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
        let by = By::acting(&Acting { caller, role: Role::Writer });
        // printf 'bailiwick tenant tag v1\000sample' | sha256sum | cut -c 1-8
        assert_eq!((by.tenant().as_str(), by.role), ("f3bcc99c", Some(Role::Writer)));
        assert_eq!(By::default().tenant(), "");
    }

    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> UnixMillis {
            UnixMillis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn a_flood_of_one_reason_is_told_in_few_lines_and_hides_no_other() {
        let clock = Arc::new(At(AtomicU64::new(5_000)));
        let log = Log::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let told =
            |reason, times: u64| (0..times).filter_map(|_| log.line(reason)).collect::<Vec<u64>>();
        let lines = told(Reason::IdentityInvalid, 1_000);
        assert!(!lines.is_empty() && lines.len() <= 10, "{} lines", lines.len());
        for other in Reason::ALL.iter().filter(|reason| **reason != Reason::IdentityInvalid) {
            assert_eq!(told(*other, 1), [0], "{other} is hidden");
        }
        clock.0.store(6_000, Ordering::Relaxed);
        let unsaid = 1_000 - u64::try_from(lines.len()).unwrap();
        assert_eq!(told(Reason::IdentityInvalid, 2), [unsaid, 0]);
    }
}
