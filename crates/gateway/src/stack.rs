//! What every request passes before it is decoded, as one list with the reasons.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use atlas::RegionMap;
use futures_util::future::{Either, Ready, ready};
use link::listener::Arrived;
use terms::{Fault, Reason};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::Instrument as _;
use tracing::instrument::Instrumented;

use crate::call::{Deadline, Desk, Entered};
use crate::callers::Identified;
use crate::identity::permit;
use crate::metrics::Method;

type Request = http::Request<Body>;
type Response = http::Response<Body>;

/// The stack, outermost first.
pub(crate) fn layers(
    desk: &Arc<Desk>,
    map: Arc<RegionMap>,
) -> (NameLayer, GateLayer<KeepTime>, GateLayer<TakeSeat>, GateLayer<Identify>, GateLayer<Admit>) {
    let gate = |desk: &Arc<Desk>| Arc::clone(desk);
    (
        // Before all else a call has an id and a span, so that whatever refuses it below can be
        // found in the log; and what tonic itself refuses gets a reason like all the others.
        NameLayer(gate(desk)),
        // The deadline is read before a seat is taken: nobody waits for what comes too late.
        GateLayer { desk: gate(desk), check: KeepTime },
        // Load is shed before any work is done for it, at once and with a delay to retry after:
        // a queue here would only turn load into latency.
        GateLayer { desk: gate(desk), check: TakeSeat(gate(desk)) },
        // Who calls is known before the request is decoded: a message from nobody is not read.
        GateLayer { desk: gate(desk), check: Identify(gate(desk)) },
        // What it may, and its tenant's share, too: who may not call a method, or has no share
        // left, is not read either.
        GateLayer { desk: gate(desk), check: Admit { map, desk: gate(desk) } },
    )
}

// === names ===

/// Gives each call its id, and each error of tonic's own its reason.
#[derive(Clone)]
pub(crate) struct NameLayer(Arc<Desk>);

#[derive(Clone)]
pub(crate) struct Named<S> {
    inner: S,
    desk: Arc<Desk>,
}

impl<S> Layer<S> for NameLayer {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named { inner, desk: Arc::clone(&self.0) }
    }
}

impl<S> Service<Request> for Named<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Unpin,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Reasoned<Instrumented<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let method = Method::of_path(request.uri().path());
        let entered = Entered { id: self.desk.ids.next(), method, at: Instant::now() };
        request.extensions_mut().insert(entered);
        let span = tracing::debug_span!("call", call_id = %entered.id, method = method.as_str());
        let inner = self.inner.call(request).instrument(span);
        Reasoned { inner, entered, desk: Arc::clone(&self.desk) }
    }
}

/// An answer on its way out.
pub(crate) struct Reasoned<F> {
    inner: F,
    entered: Entered,
    desk: Arc<Desk>,
}

impl<F, E> Future for Reasoned<F>
where
    F: Future<Output = Result<Response, E>> + Unpin,
{
    type Output = Result<Response, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = ready!(Pin::new(&mut self.inner).poll(cx));
        if let Ok(response) = &mut answer
            && let Some(fault) = tonics_own(response, self.entered.method)
        {
            *response = self.desk.refuse(&self.entered, &fault).into_http();
        }
        Poll::Ready(answer)
    }
}

/// The reason for an error that tonic made before a service saw the call: the message is too
/// large, cannot be decoded, or is for a method that does not exist. Errors of ours carry
/// details; those of the health and reflection services stay as their protocols want them.
fn tonics_own(response: &Response, method: Method) -> Option<Fault> {
    const DETAILS: &str = "grpc-status-details-bin";
    let headers = response.headers();
    let code = headers.get(Status::GRPC_STATUS)?;
    if headers.contains_key(DETAILS) {
        return None;
    }
    let code = Code::from_bytes(code.as_bytes());
    if code == Code::Unimplemented {
        return Some(Fault::new(Reason::NotBuilt).problem("there is no such method or encoding"));
    }
    if code == Code::Ok || method == Method::Other {
        return None;
    }
    if matches!(code, Code::OutOfRange | Code::ResourceExhausted) {
        return Some(too_large());
    }
    Some(undecodable())
}

/// A message over what is decoded at all. Only a body can make it so large.
pub(crate) fn too_large() -> Fault {
    let max = terms::limits::BODY_BYTES_MAX;
    Fault::new(Reason::BodyTooLarge).field("body").with(terms::Detail::Limit, max)
}

/// Bytes that are no message of this method.
pub(crate) fn undecodable() -> Fault {
    Fault::new(Reason::FieldInvalid).problem("the message cannot be decoded")
}

// === gates ===

/// Looks at a request before it goes on, and may put something beside it.
pub(crate) trait Check: Clone + Send + 'static {
    /// # Errors
    /// Why the request goes no further.
    fn check(&self, request: &mut Request) -> Result<(), Fault>;
}

/// A layer that lets pass what its check lets pass, and answers the rest at once.
#[derive(Clone)]
pub(crate) struct GateLayer<C> {
    desk: Arc<Desk>,
    check: C,
}

#[derive(Clone)]
pub(crate) struct Gate<S, C> {
    inner: S,
    desk: Arc<Desk>,
    check: C,
}

impl<S, C: Check> Layer<S> for GateLayer<C> {
    type Service = Gate<S, C>;

    fn layer(&self, inner: S) -> Gate<S, C> {
        Gate { inner, desk: Arc::clone(&self.desk), check: self.check.clone() }
    }
}

impl<S, C> Service<Request> for Gate<S, C>
where
    S: Service<Request, Response = Response>,
    C: Check,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response, S::Error>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        match self.check.check(&mut request) {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(fault) => {
                let unnamed = || Entered {
                    id: self.desk.ids.next(),
                    method: Method::Other,
                    at: Instant::now(),
                };
                let entered = entered(&request).unwrap_or_else(unnamed);
                let response = self.desk.refuse(&entered, &fault).into_http();
                Either::Left(ready(Ok(response)))
            }
        }
    }
}

fn entered(request: &Request) -> Option<Entered> {
    request.extensions().get::<Entered>().copied()
}

/// Reads the deadline that the caller named.
#[derive(Clone)]
pub(crate) struct KeepTime;

impl Check for KeepTime {
    fn check(&self, request: &mut Request) -> Result<(), Fault> {
        let arrived = entered(request).map_or_else(Instant::now, |entered| entered.at);
        let named = match request.headers().get("grpc-timeout") {
            Some(value) => Some(grpc_timeout(value.as_bytes()).ok_or_else(|| {
                let fault = Fault::new(Reason::FieldInvalid).field("grpc-timeout");
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
/// when the gateway is full.
#[derive(Clone)]
pub(crate) struct TakeSeat(Arc<Desk>);

impl Check for TakeSeat {
    fn check(&self, request: &mut Request) -> Result<(), Fault> {
        if entered(request).is_some_and(|entered| entered.method == Method::Other) {
            return Ok(());
        }
        let seat = self.0.seats.take().ok_or_else(|| Fault::new(Reason::GatewayBusy))?;
        request.extensions_mut().insert(Arc::new(seat));
        Ok(())
    }
}

/// Establishes who calls. A look at health needs no identity: whoever balances load has none. All
/// else does, reflection and the watching of health included.
#[derive(Clone)]
pub(crate) struct Identify(Arc<Desk>);

impl Check for Identify {
    fn check(&self, request: &mut Request) -> Result<(), Fault> {
        if request.uri().path() == "/grpc.health.v1.Health/Check" {
            return Ok(());
        }
        let identified = self.0.identity.of(request)?;
        request.extensions_mut().insert(identified);
        Ok(())
    }
}

/// Lets in who has a role for the method and a share of its tenant's left.
#[derive(Clone)]
pub(crate) struct Admit {
    map: Arc<RegionMap>,
    desk: Arc<Desk>,
}

impl Check for Admit {
    fn check(&self, request: &mut Request) -> Result<(), Fault> {
        let method = entered(request).map_or(Method::Other, |entered| entered.method);
        if method == Method::Other {
            return Ok(());
        }
        let identified = request.extensions().get::<Identified>().ok_or(Reason::Internal)?;
        let acting = permit(&identified.caller, method, &self.map)?;
        let share = self.desk.shares.take(&identified.caller.tenant)?;
        if let Some(arrived) = request.extensions().get::<Arrived>() {
            arrived.known();
        }
        let beside = request.extensions_mut();
        beside.insert(acting);
        beside.insert(share);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_of_grpcs_form() {
        for (text, want) in [
            ("5S", Some(Duration::from_secs(5))),
            ("0n", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("2M", Some(Duration::from_secs(120))),
            ("", None),
            ("S", None),
            ("5", None),
            ("5s", None),
            ("-5S", None),
            ("123456789S", None),
            ("5 S", None),
        ] {
            assert_eq!(grpc_timeout(text.as_bytes()), want, "{text}");
        }
    }
}
