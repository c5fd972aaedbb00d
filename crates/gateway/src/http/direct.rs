//! The shortest way to the service that takes nearly all calls: past the router, which costs each
//! call several allocations and copies of its request.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::{Layer, Service};

type Request = http::Request<Body>;

/// Takes the calls of the service `D` out of those that go to the router.
#[derive(Clone)]
pub(crate) struct DirectLayer<D>(D);

impl<D> DirectLayer<D> {
    pub(crate) const fn new(service: D) -> Self {
        Self(service)
    }
}

/// See [`DirectLayer`].
#[derive(Clone)]
pub(crate) struct Direct<D, S> {
    service: D,
    router: S,
}

impl<D: Clone, S> Layer<S> for DirectLayer<D> {
    type Service = Direct<D, S>;

    fn layer(&self, router: S) -> Direct<D, S> {
        Direct { service: self.0.clone(), router }
    }
}

impl<D, S> Service<Request> for Direct<D, S>
where
    D: Service<Request, Response = S::Response, Error = S::Error> + NamedService,
    S: Service<Request>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<D::Future, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        // The service is always ready: what bounds calls is in the layers above.
        self.router.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if is_of(D::NAME, request.uri().path()) {
            Either::Left(self.service.call(request))
        } else {
            Either::Right(self.router.call(request))
        }
    }
}

/// Whether a path is `/<service>/<method>`.
fn is_of(service: &str, path: &str) -> bool {
    let rest = path.strip_prefix('/').and_then(|rest| rest.strip_prefix(service));
    rest.is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_of_the_service_that_it_names() {
        for (path, of) in [
            ("/bailiwick.v1.Records/Put", true),
            ("/bailiwick.v1.Records/", true),
            ("/bailiwick.v1.Records", false),
            ("/bailiwick.v1.RecordsOfOthers/Put", false),
            ("bailiwick.v1.Records/Put", false),
            ("//bailiwick.v1.Records/Put", false),
            ("/bailiwick.v1.Subjects/Create", false),
            ("", false),
        ] {
            assert_eq!(is_of("bailiwick.v1.Records", path), of, "{path}");
        }
    }
}
