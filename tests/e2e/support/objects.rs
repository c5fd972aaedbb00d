//! An S3-compatible server (crate `s3s-fs`) on a folder, whose files a test may look at and damage.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpError};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::process::free_port;

/// Who may use the server.
pub(crate) const CREDENTIALS: &str = "backup-key\nbackup-secret\n";
/// The bucket that it has.
pub(crate) const BUCKET: &str = "people";

/// Time in which its connections must be closed.
const ENDS_WITHIN: Duration = Duration::from_secs(60);

/// What goes wrong.
#[derive(Debug, Clone)]
pub(crate) enum Trouble {
    None,
    /// The second part of an upload is not answered until there is another trouble, or none.
    Hold,
    /// The connection of the second part is closed, once.
    Cut,
    /// Each second part is refused.
    Refuse,
    /// One bit of an object is changed before it is read.
    Damage,
    /// Everything is answered with another address.
    Redirect(String),
}

struct Shared {
    root: PathBuf,
    trouble: watch::Sender<Trouble>,
    /// Connections that were opened, also those on which nothing was asked.
    connected: AtomicU64,
    asked: AtomicU64,
    /// Seconds for which the signature of a request is good, at the most.
    good_for: AtomicU64,
    held: AtomicU64,
}

/// The server. Dropped, it ends, and its folder is removed.
pub(crate) struct ObjectServer {
    port: u16,
    root: TempDir,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl ObjectServer {
    pub(crate) fn start() -> Self {
        let root = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(root.path().join(BUCKET)).expect("a bucket");
        let shared = Arc::new(Shared {
            root: root.path().to_owned(),
            trouble: watch::Sender::new(Trouble::None),
            connected: AtomicU64::new(0),
            good_for: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            held: AtomicU64::new(0),
        });
        let mut server = Self { port: free_port(), root, shared, runtime: None };
        server.serve();
        server
    }

    /// Serves, again after it was killed.
    pub(crate) fn serve(&mut self) {
        let mut builder =
            S3ServiceBuilder::new(FileSystem::new(self.root.path()).expect("a folder"));
        let (id, secret) = CREDENTIALS.trim().split_once('\n').expect("two lines");
        builder.set_auth(SimpleAuth::from_single(id, secret));
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", self.port)));
        let listener = listener.expect("a free port");
        runtime.spawn(accept(listener, builder.build(), Arc::clone(&self.shared)));
        self.runtime = Some(runtime);
    }

    /// Closes all connections, and answers none.
    pub(crate) fn kill(&mut self) {
        let runtime = self.runtime.take().expect("a server that runs");
        runtime.shutdown_timeout(ENDS_WITHIN);
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, trouble: Trouble) {
        self.shared.trouble.send_replace(trouble);
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Connections so far.
    pub(crate) fn connected(&self) -> u64 {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// Seconds for which the signature of a request was good, at the most.
    pub(crate) fn good_for(&self) -> u64 {
        self.shared.good_for.load(Ordering::SeqCst)
    }

    /// Requests that were not answered so far.
    pub(crate) fn held(&self) -> u64 {
        self.shared.held.load(Ordering::SeqCst)
    }

    /// The file of an object.
    pub(crate) fn file(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// The objects in a folder of the bucket.
    pub(crate) fn objects(&self, folder: &str) -> Vec<String> {
        names(&self.file(folder))
    }

    /// What it keeps of uploads that were neither completed nor aborted.
    pub(crate) fn parts(&self) -> Vec<String> {
        let names = names(self.root.path()).into_iter();
        names.filter(|name| name.starts_with(".upload_id-")).collect()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let name = |file: fs::DirEntry| file.file_name().to_string_lossy().into_owned();
    files.map(|file| name(file.expect("a file"))).collect()
}

/// Changes one bit in the middle of a file.
pub(crate) fn flip(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    *bytes.get_mut(middle).expect("a byte") ^= 1;
    fs::write(path, bytes).expect("it can be written");
}

async fn accept(listener: TcpListener, service: S3Service, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (service, shared) = (service.clone(), Arc::clone(&shared));
        shared.connected.fetch_add(1, Ordering::SeqCst);
        let answering = service_fn(move |request: Request<Incoming>| {
            answer(request, service.clone(), Arc::clone(&shared))
        });
        let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), answering);
        tokio::spawn(async move { drop(serving.await) });
    }
}

async fn answer(
    request: Request<Incoming>,
    service: S3Service,
    shared: Arc<Shared>,
) -> Result<Response<Body>, HttpError> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let query = request.uri().query().unwrap_or_default();
    let second = query.split('&').any(|part| part == "partNumber=2");
    let good_for = query.split('&').find_map(|part| part.strip_prefix("X-Amz-Expires="));
    let good_for = good_for.map_or(u64::MAX, |seconds| seconds.parse().expect("a number"));
    shared.good_for.fetch_max(good_for, Ordering::SeqCst);
    let trouble = shared.trouble.borrow().clone();
    match trouble {
        Trouble::Hold if second => {
            shared.held.fetch_add(1, Ordering::SeqCst);
            let mut changes = shared.trouble.subscribe();
            drop(changes.wait_for(|trouble| !matches!(trouble, Trouble::Hold)).await);
        }
        Trouble::Cut if second => {
            shared.trouble.send_replace(Trouble::None);
            return Err(HttpError::new(Box::new(std::io::Error::other("cut"))));
        }
        Trouble::Refuse if second => {
            // Taken first: a client that still sends would see a closed connection, and no answer.
            service.call(request.map(Body::from)).await?;
            let refused = Response::builder().status(403).body(Body::empty());
            return Ok(refused.expect("an answer"));
        }
        Trouble::Damage if request.method() == "GET" => {
            shared.trouble.send_replace(Trouble::None);
            flip(&shared.root.join(request.uri().path().trim_start_matches('/')));
        }
        Trouble::Redirect(to) => {
            let to = format!("{to}{}", request.uri());
            let moved = Response::builder().status(307).header("location", to).body(Body::empty());
            return Ok(moved.expect("an answer"));
        }
        Trouble::None | Trouble::Hold | Trouble::Cut | Trouble::Refuse | Trouble::Damage => {}
    }
    service.call(request.map(Body::from)).await
}
