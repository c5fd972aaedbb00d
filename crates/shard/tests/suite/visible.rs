//! A commit that readers see before the writer goes on: every read in between has what it needs.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use atlas::Annex;
use engine::{Backend, Batch, Disk, Engine, Error, Head, Space, View};
use link::ops::health::Health;
use link::ops::metrics::Registry;
use shard::{Environment, Shard};
use wire::session as proto;

use crate::attributes;
use crate::support::{Place, Running, put_ru};

/// Time in which a commit must come.
const COMMIT_MAX: Duration = Duration::from_secs(60);

/// A disk in memory, whose next commit waits after it is done.
#[derive(Debug, Clone)]
struct Held {
    disk: Disk,
    gate: Arc<Gate>,
}

struct Gate {
    holds: AtomicBool,
    done: Mutex<mpsc::Sender<()>>,
    go: Mutex<mpsc::Receiver<()>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Backend for Held {
    fn exists(&self) -> Result<bool, Error> {
        self.disk.exists()
    }

    fn open(&self) -> Result<Box<dyn Engine>, Error> {
        Ok(Box::new(HeldEngine { engine: self.disk.open()?, gate: Arc::clone(&self.gate) }))
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn place(&self) -> String {
        self.disk.place()
    }
}

#[derive(Debug)]
struct HeldEngine {
    engine: Box<dyn Engine>,
    gate: Arc<Gate>,
}

impl Engine for HeldEngine {
    fn view(&self) -> Result<Box<dyn View + '_>, Error> {
        self.engine.view()
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        let done = self.engine.commit(batch, expected, next_size);
        if self.gate.holds.swap(false, Ordering::SeqCst) {
            self.gate.done.lock().expect("no panic").send(()).expect("the test waits");
            self.gate.go.lock().expect("no panic").recv().expect("the test goes on");
        }
        done
    }

    fn head(&self) -> Result<Head, Error> {
        self.engine.head()
    }

    fn space(&self) -> Result<Space, Error> {
        self.engine.space()
    }

    fn kind(&self) -> &'static str {
        self.engine.kind()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_record_of_a_collection_opens_as_soon_as_it_is_seen() {
    let disk = Disk::new(1);
    let mut place: Place = attributes::place();
    place.disk = Some(disk.clone());
    place.init_as(&place.settings()).expect("a shard");
    let ((done, is_done), (go, goes)) = (mpsc::channel(), mpsc::channel());
    let gate = Arc::new(Gate {
        holds: AtomicBool::new(false),
        done: Mutex::new(done),
        go: Mutex::new(goes),
    });
    let store = Arc::new(Held { disk, gate: Arc::clone(&gate) });
    let outside = Environment { store, ..place.outside() };
    let map = Arc::new(place.map());
    let annex = Annex::parse(&place.annex, &map).expect("a valid annex");
    let (settings, health) = (place.settings(), Health::new());
    let shard = Shard::open(settings, map, annex, outside, &mut Registry::new(), health).await;
    let shard = Running::serve(shard.expect("the shard opens"), place.region).await;
    let (mut writer, mut reader) = (shard.session().await, shard.session().await);
    // A subject that is known, and has no profile yet.
    let other = proto::Put { collection: "messages".into(), ..put_ru("anna", "m", b"x", 1) };
    writer.put(other).await.expect("a put");
    reader.get("anna", "messages", "m").await.expect("a record");
    gate.holds.store(true, Ordering::SeqCst);
    let put = writer.wrap(proto::call::Op::Put(put_ru("anna", "first", b"one", 2)));
    let id = put.id;
    writer.send(vec![put]).await;
    let seen = tokio::task::spawn_blocking(move || is_done.recv_timeout(COMMIT_MAX)).await;
    seen.expect("no panic").expect("a commit in time");
    // Durable, and not acknowledged yet.
    let found = reader.get("anna", "profiles", "first").await;
    let listed = reader.list(attributes::list("")).await.map_err(|fault| fault.reason);
    go.send(()).expect("the commit waits");
    assert_eq!(found.map(|found| found.body), Ok(b"one".as_slice().into()));
    assert_eq!(listed.map(|page| page.records.len()), Ok(1));
    assert!(writer.answer(id).await.expect("an answer").is_ok());
    drop((writer, reader));
    shard.stop().await.expect("it ends");
}
