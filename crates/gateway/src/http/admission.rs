//! What a request is asked before it goes on, one after another: deadline, seat, identity,
//! permission and share. Their order, and its reasons, stand in `stack`.

use std::sync::Arc;
use std::time::Duration;

use link::net::listener::ConnectionInfo;
use terms::{Detail, Reason, Rejection};
use tokio::time::Instant;
use tonic::body::Body;

use crate::api::context::{Deadline, Desk, Entered};
use crate::auth::authenticate::Identified;
use crate::auth::caller::permit;
use crate::http::connection::{Line, TICK};
use crate::map::state::Charts;
use crate::metrics::Method;

type Request = http::Request<Body>;

/// The one method that needs no identity.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// Looks at a request before it goes on, and may put something beside it.
pub(crate) trait Check: Clone + Send + 'static {
    /// # Errors
    /// Why the request goes no further.
    fn check(&self, request: &mut Request) -> Result<(), Rejection>;
}

/// What is known of the call.
pub(crate) fn entered(request: &Request) -> Option<Entered> {
    request.extensions().get::<Entered>().copied()
}

/// Whether it is a look at health.
pub(crate) fn is_check(request: &Request) -> bool {
    request.uri().path() == CHECK
}

fn line(request: &Request) -> Option<&Arc<Line>> {
    request.extensions().get()
}

/// Reads the deadline that the caller named.
#[derive(Clone)]
pub(crate) struct KeepTime;

impl Check for KeepTime {
    fn check(&self, request: &mut Request) -> Result<(), Rejection> {
        let arrived = entered(request).map_or_else(Instant::now, |entered| entered.at);
        let named = match request.headers().get("grpc-timeout") {
            Some(value) => Some(grpc_timeout(value.as_bytes()).ok_or_else(|| {
                let fault = Rejection::new(Reason::FieldInvalid).field("grpc-timeout");
                fault.problem("is not of the form that gRPC gives it")
            })?),
            None => None,
        };
        if named == Some(Duration::ZERO) {
            return Err(Reason::DeadlinePassed.into());
        }
        request.extensions_mut().insert(Deadline::new(arrived, named));
        Ok(())
    }
}

/// One to eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, c| number * 10 + u64::from(c - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Takes a seat among the calls in flight. Health and reflection need none: they must answer
/// when the gateway is full. They have places of their own, so that they cannot fill it.
#[derive(Clone)]
pub(crate) struct TakeSeat(pub(crate) Arc<Desk>);

impl Check for TakeSeat {
    fn check(&self, request: &mut Request) -> Result<(), Rejection> {
        if entered(request).is_some_and(|entered| entered.method == Method::Other) {
            if is_check(request) {
                let slot = self.0.shares.load().check(line(request))?;
                request.extensions_mut().insert(Arc::new(slot));
            }
            return Ok(());
        }
        let seat = self.0.seats.take().ok_or_else(|| Rejection::new(Reason::GatewayBusy))?;
        request.extensions_mut().insert(Arc::new(seat));
        Ok(())
    }
}

/// Establishes who calls. A look at health needs no identity: whoever balances load has none. All
/// else does, reflection and the watching of health included. A connection on which identity has
/// failed too often in a row is not listened to for a moment.
#[derive(Clone)]
pub(crate) struct Identify(pub(crate) Arc<Desk>);

impl Check for Identify {
    fn check(&self, request: &mut Request) -> Result<(), Rejection> {
        if is_check(request) {
            return Ok(());
        }
        if line(request).is_some_and(|line| line.rests()) {
            let wait = TICK.as_millis();
            return Err(Rejection::new(Reason::GatewayBusy).with(Detail::RetryAfterMs, wait));
        }
        let identified = self.0.identity.of(request).inspect_err(|fault| failed(request, fault))?;
        request.extensions_mut().insert(identified);
        Ok(())
    }
}

/// Counts a failure to show who calls, or that it may.
fn failed(request: &Request, fault: &Rejection) {
    if matches!(fault.reason, Reason::IdentityInvalid | Reason::NotPermitted)
        && let Some(line) = line(request)
    {
        line.failed();
    }
}

/// Lets in who has a role for the method and a share of its tenant's left.
#[derive(Clone)]
pub(crate) struct Admit {
    pub(crate) charts: Arc<Charts>,
    pub(crate) desk: Arc<Desk>,
}

impl Check for Admit {
    fn check(&self, request: &mut Request) -> Result<(), Rejection> {
        if is_check(request) {
            return Ok(());
        }
        self.admit(request).inspect_err(|fault| failed(request, fault))?;
        if let Some(line) = line(request) {
            line.proved();
        }
        // Its connection is no stranger's any more.
        if let Some(arrived) = request.extensions().get::<ConnectionInfo>() {
            arrived.authenticated();
        }
        Ok(())
    }
}

impl Admit {
    fn admit(&self, request: &mut Request) -> Result<(), Rejection> {
        let method = entered(request).map_or(Method::Other, |entered| entered.method);
        let identified = request.extensions().get::<Identified>().ok_or(Reason::Internal)?;
        let (caller, shares) = (&identified.caller, self.desk.shares.load());
        if method == Method::Other {
            let slot = shares.other(&caller.tenant)?;
            request.extensions_mut().insert(Arc::new(slot));
            return Ok(());
        }
        let acting = permit(caller, method, self.charts.pin().map())?;
        let share = shares.admit(&caller.tenant, self.desk.seats.free())?;
        let beside = request.extensions_mut();
        beside.insert(acting);
        beside.insert(share);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
