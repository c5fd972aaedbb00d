//! What a request must pass before its message is read.

use std::sync::Arc;
use std::time::Duration;

use link::net::listener::ConnectionInfo;
use terms::{Detail, Reason, Rejection};
use tonic::body::Body;

use crate::api::context::{CallContext, CallInfo, Deadline};
use crate::auth::authenticate::Identified;
use crate::auth::caller::permit;
use crate::http::connection::{ClientConnection, REST};
use crate::http::json::Json;
use crate::method::Method;

type Request = http::Request<Body>;

/// The one method that needs no identity: load balancers have none.
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// Whether a request is a health check.
pub(crate) fn is_health_check(request: &Request) -> bool {
    request.uri().path() == HEALTH_CHECK
}

/// Admits a request, and puts what it found into the request's extensions. In this order:
/// 1. The deadline: nothing is done for a call that comes too late.
/// 2. A permit of the gateway: load is shed at once, with a delay to retry after. A queue here would
///    only turn load into latency.
/// 3. The caller: the message of an unknown caller is not read.
/// 4. Its permission for the method, and a permit of its tenant.
///
/// Health and reflection need no permits: they must answer when the gateway is full. They have a
/// bound for each connection.
///
/// # Errors
/// Why the request is refused.
pub(crate) fn admit(
    ctx: &CallContext,
    info: CallInfo,
    request: &mut Request,
) -> Result<(), Rejection> {
    let deadline = Deadline::new(info.started, named_deadline(request)?);
    request.extensions_mut().insert(deadline);
    if info.method == Method::Other {
        if let Some(connection) = request.extensions().get::<Arc<ClientConnection>>() {
            let permit = connection.begin_health_call()?;
            request.extensions_mut().insert(Arc::new(permit));
        }
        if is_health_check(request) {
            return Ok(());
        }
        return identify(ctx, info.method, request);
    }
    let permit = Arc::new(ctx.limits.enter()?);
    request.extensions_mut().insert(permit);
    identify(ctx, info.method, request)?;
    let identified = request.extensions().get::<Identified>().ok_or(Reason::Internal)?;
    let permit = ctx.limits.admit(&identified.caller.tenant)?;
    request.extensions_mut().insert(permit);
    Ok(())
}

/// The time that the caller named for its call.
fn named_deadline(request: &Request) -> Result<Option<Duration>, Rejection> {
    type Parse = fn(&[u8]) -> Option<Duration>;
    let (header, parse, problem): (_, Parse, _) = if request.extensions().get::<Json>().is_some() {
        ("connect-timeout-ms", connect_timeout, "is not a number of at most ten digits")
    } else {
        ("grpc-timeout", grpc_timeout, "is not of the form that gRPC defines")
    };
    let Some(value) = request.headers().get(header) else { return Ok(None) };
    match parse(value.as_bytes()) {
        Some(Duration::ZERO) => Err(Reason::DeadlinePassed.into()),
        Some(named) => Ok(Some(named)),
        None => Err(Rejection::new(Reason::FieldInvalid).field(header).problem(problem)),
    }
}

/// One to ten digits of milliseconds (the Connect protocol, "Timeout").
fn connect_timeout(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || value.len() > 10 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = value.iter().fold(0, |number: u64, c| number * 10 + u64::from(c - b'0'));
    Some(Duration::from_millis(number))
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

/// Identifies the caller and checks that it may call the method. A connection on which this has
/// failed too often in a row is refused for a moment: each attempt costs the verification of a
/// signature.
fn identify(ctx: &CallContext, method: Method, request: &mut Request) -> Result<(), Rejection> {
    let connection = request.extensions().get::<Arc<ClientConnection>>().cloned();
    if connection.as_ref().is_some_and(|connection| connection.rests()) {
        let wait = REST.as_millis();
        return Err(Rejection::new(Reason::GatewayBusy).with(Detail::RetryAfterMs, wait));
    }
    match check_caller(ctx, method, request) {
        Ok(()) => {
            if let Some(connection) = connection {
                connection.identified();
            }
            // The listener keeps the connection from now on.
            if let Some(arrived) = request.extensions().get::<ConnectionInfo>() {
                arrived.authenticated();
            }
            Ok(())
        }
        Err(rejection) => {
            if matches!(rejection.reason, Reason::IdentityInvalid | Reason::NotPermitted)
                && let Some(connection) = connection
            {
                connection.not_identified();
            }
            Err(rejection)
        }
    }
}

fn check_caller(ctx: &CallContext, method: Method, request: &mut Request) -> Result<(), Rejection> {
    let identified = ctx.identity.of(request)?;
    let caller = Arc::clone(&identified.caller);
    request.extensions_mut().insert(identified);
    if method != Method::Other {
        let acting = permit(&caller, method, ctx.map.pin().map())?;
        request.extensions_mut().insert(acting);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
