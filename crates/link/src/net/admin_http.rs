//! The operators' page of every server: is it alive, is it ready, and its metrics. Plain HTTP/1.1
//! on a listener of its own. It shows nothing that a caller sent.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, State};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt as _};
use tonic::transport::server::Connected as _;

use crate::net::listener::{Connection, ConnectionInfo, Entrance, incoming_by};
use crate::ops::health::Health;
use crate::ops::metrics;
use crate::ops::metrics::Registry;
use crate::tls::CallerTls;

/// Who may see the pages of a listener that other machines reach.
#[derive(Debug, Clone)]
pub struct Guard {
    /// TLS of the listener; without it, it is in plaintext.
    pub tls: Option<CallerTls>,
    /// The URIs in the certificates of those who may see them.
    pub uris: Vec<String>,
    /// The file with the token that shows that a client may. It is read for each request.
    pub token: Option<PathBuf>,
}

impl Guard {
    fn lets_in(&self, arrived: &ConnectionInfo, headers: &HeaderMap) -> bool {
        let by_certificate = || {
            let (tls, caller) = (self.tls.as_ref()?, arrived.caller.as_ref()?);
            let named = caller.uris.iter().any(|uri| self.uris.contains(uri));
            (named && tls.trusts(caller)).then_some(())
        };
        let by_token = || {
            let given = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
            let token = std::fs::read_to_string(self.token.as_ref()?).ok()?;
            // Digests are compared, so that how long it takes says nothing of the token.
            let same = Sha256::digest(given.trim()) == Sha256::digest(token.trim());
            (same && !token.trim().is_empty()).then_some(())
        };
        by_certificate().or_else(by_token).is_some()
    }
}

#[derive(Clone)]
struct Page {
    health: Health,
    registry: Arc<Registry>,
    guard: Option<Guard>,
}

/// Serves `/livez`, `/readyz` (200 or 503, then facts) and `/metrics` until `shutdown` is done.
/// With a guard, a client that it does not let in learns whether the process is alive and ready, without
/// the facts, and sees no metrics.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_admin(
    listener: TcpListener,
    guard: Option<Guard>,
    health: Health,
    registry: Arc<Registry>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let tls = guard.as_ref().and_then(|guard| guard.tls.clone());
    let entrance = tls.map_or(Entrance::Plaintext, Entrance::Callers);
    let incoming = Incoming(Box::new(incoming_by(listener, entrance)));
    let router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Page { health, registry, guard })
        .into_make_service_with_connect_info::<ConnectionInfo>();
    axum::serve(incoming, router).with_graceful_shutdown(shutdown).await
}

/// Connections as axum takes them.
struct Incoming(Box<dyn Stream<Item = std::io::Result<Connection>> + Send + Unpin>);

impl axum::serve::Listener for Incoming {
    type Io = Connection;
    type Addr = ConnectionInfo;

    async fn accept(&mut self) -> (Connection, ConnectionInfo) {
        match self.0.next().await {
            Some(Ok(connection)) => {
                let arrived = connection.connect_info();
                (connection, arrived)
            }
            // It yields no errors, and ends with the process.
            Some(Err(_)) | None => std::future::pending().await,
        }
    }

    /// No caller asks: an address here is what is known of a connection.
    fn local_addr(&self) -> std::io::Result<ConnectionInfo> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

impl Connected<IncomingStream<'_, Incoming>> for ConnectionInfo {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        stream.remote_addr().clone()
    }
}

impl Page {
    /// Whether the client may see all.
    fn lets_in(&self, arrived: &ConnectionInfo, headers: &HeaderMap) -> bool {
        let let_in = self.guard.as_ref().is_none_or(|guard| guard.lets_in(arrived, headers));
        if let_in {
            arrived.authenticated();
        }
        let_in
    }
}

/// A page that says yes or no, or its first line alone.
fn shown(yes: bool, mut text: String, all: bool) -> (StatusCode, String) {
    let status = if yes { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if let (false, Some(end)) = (all, text.find('\n')) {
        text.truncate(end + 1);
    }
    (status, text)
}

async fn livez(
    State(page): State<Page>,
    ConnectInfo(arrived): ConnectInfo<ConnectionInfo>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let all = page.lets_in(&arrived, &headers);
    let yes = page.health.is_alive();
    shown(yes, page.health.page(yes, "alive"), all)
}

async fn readyz(
    State(page): State<Page>,
    ConnectInfo(arrived): ConnectInfo<ConnectionInfo>,
    headers: HeaderMap,
) -> impl IntoResponse {
    let all = page.lets_in(&arrived, &headers);
    let yes = page.health.is_ready();
    shown(yes, page.health.page(yes, "ready"), all)
}

async fn metrics_page(
    State(page): State<Page>,
    ConnectInfo(arrived): ConnectInfo<ConnectionInfo>,
    headers: HeaderMap,
) -> Response {
    if !page.lets_in(&arrived, &headers) {
        let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, ask, "present the token or a certificate\n")
            .into_response();
    }
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], page.registry.encode()).into_response()
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
        let listener = crate::net::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let health = Health::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let registry = Arc::new(Registry::new());
        let served = tokio::spawn(serve_admin(listener, None, health.clone(), registry, async {
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

    #[tokio::test]
    async fn a_guard_shows_strangers_no_more_than_yes_or_no() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "a token of some length\n").unwrap();
        let listener = crate::net::listener::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let health = Health::new();
        health.set_ready(true);
        health.set_fact("region/eu-fra", "within reach");
        let guard = Guard { tls: None, uris: Vec::new(), token: Some(token.clone()) };
        let registry = Arc::new(Registry::new());
        tokio::spawn(serve_admin(listener, Some(guard), health, registry, std::future::pending()));

        let ask = async |path: &str, token: &str| {
            get(addr, &format!("{path} HTTP/1.1\r\nauthorization: Bearer {token}\r\nx:")).await
        };
        let ready = get(addr, "/readyz").await;
        assert!(ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nready\n"), "{ready}");
        for wrong in ["", "another token", "a token of some lengt"] {
            let metrics = ask("/metrics", wrong).await;
            assert!(metrics.starts_with("HTTP/1.1 401"), "{wrong}: {metrics}");
            assert!(!metrics.contains("EOF"));
        }
        assert!(get(addr, "/metrics").await.starts_with("HTTP/1.1 401"));
        assert!(ask("/metrics", "a token of some length").await.ends_with("# EOF\n"));
        assert!(ask("/readyz", "a token of some length").await.contains("region/eu-fra"));
        // Another token is in force as soon as the file has it; an empty file is none.
        std::fs::write(&token, "\n").unwrap();
        assert!(ask("/metrics", "a token of some length").await.starts_with("HTTP/1.1 401"));
        assert!(ask("/metrics", "").await.starts_with("HTTP/1.1 401"));
    }
}
