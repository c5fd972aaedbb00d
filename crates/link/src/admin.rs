//! The operators' page of every server: is it alive, is it ready, and its metrics. Plain HTTP/1.1
//! on a listener of its own. It shows nothing that a caller sent.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::metrics::{self, Registry};

/// What a server says of itself: alive, ready, and named facts (`sandbox`: `off`). Shared: clones
/// speak of the same server.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    alive: AtomicBool,
    ready: AtomicBool,
    held: Mutex<BTreeSet<&'static str>>,
    facts: Mutex<BTreeMap<&'static str, Cow<'static, str>>>,
}

impl Health {
    /// Alive, and not yet ready.
    #[expect(clippy::new_without_default, reason = "a server's health has no default to speak of")]
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            alive: AtomicBool::new(true),
            ready: AtomicBool::new(false),
            held: Mutex::default(),
            facts: Mutex::default(),
        }))
    }

    /// Whether calls should be sent here.
    pub fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Holds readiness back for a thing of that name that is lacking, whatever else is ready, or
    /// does so no longer.
    pub fn hold(&self, lacking: &'static str, held: bool) {
        let mut all = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held {
            all.insert(lacking);
        } else {
            all.remove(lacking);
        }
    }

    /// Says that only a restart helps: not alive, and not ready.
    pub fn set_dead(&self) {
        self.0.alive.store(false, Ordering::Release);
        self.set_ready(false);
    }

    /// States a fact for operators, as `sandbox` and `off`. A later value replaces the earlier. It
    /// is one of this process or its configuration, never something that a caller sent.
    pub fn set_fact(&self, name: &'static str, value: impl Into<Cow<'static, str>>) {
        let mut facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.insert(name, value.into());
    }

    /// Whether the process can still do anything.
    pub fn is_alive(&self) -> bool {
        self.0.alive.load(Ordering::Acquire)
    }

    /// Whether calls should be sent here.
    pub fn is_ready(&self) -> bool {
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.is_empty() && self.0.ready.load(Ordering::Acquire)
    }

    /// The first line says yes or no, each other one a fact.
    fn page(&self, yes: bool, word: &str) -> (StatusCode, String) {
        let mut text = String::new();
        let facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let not = if yes { "" } else { "not " };
        // Writing to a String cannot fail.
        let mut written = writeln!(text, "{not}{word}");
        for (name, value) in facts.iter() {
            written = written.and_then(|()| writeln!(text, "{name}: {value}"));
        }
        debug_assert!(written.is_ok());
        (if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, text)
    }
}

#[derive(Clone)]
struct Page {
    health: Health,
    registry: Arc<Registry>,
}

/// Serves `/livez`, `/readyz` (200 or 503, then facts) and `/metrics` until `shutdown` is done.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_admin(
    listener: TcpListener,
    health: Health,
    registry: Arc<Registry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Page { health, registry });
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn livez(State(page): State<Page>) -> impl IntoResponse {
    page.health.page(page.health.is_alive(), "alive")
}

async fn readyz(State(page): State<Page>) -> impl IntoResponse {
    page.health.page(page.health.is_ready(), "ready")
}

async fn metrics_page(State(page): State<Page>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.registry.encode())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::oneshot;

    use super::*;

    async fn get(addr: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_pages_say_what_holds() {
        let listener = crate::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let health = Health::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let registry = Arc::new(Registry::new());
        let served = tokio::spawn(serve_admin(listener, health.clone(), registry, async {
            stopped.await.unwrap();
        }));

        assert!(get(addr, "/readyz").await.starts_with("HTTP/1.1 503"));
        health.set_ready(true);
        health.set_fact("sandbox", "off");
        let ready = get(addr, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("ready\nsandbox: off\n"));
        assert!(get(addr, "/livez").await.starts_with("HTTP/1.1 200"));
        let metrics = get(addr, "/metrics").await;
        assert!(metrics.contains("openmetrics-text") && metrics.ends_with("# EOF\n"));
        health.set_dead();
        assert!(get(addr, "/livez").await.starts_with("HTTP/1.1 503"));
        assert!(get(addr, "/readyz").await.contains("not ready"));
        assert!(get(addr, "/other").await.starts_with("HTTP/1.1 404"));

        stop.send(()).unwrap();
        served.await.unwrap().unwrap();
    }
}
