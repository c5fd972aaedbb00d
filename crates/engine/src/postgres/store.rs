//! The engine on a database: its state, its threads, and the calls of the contract.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::{Instant, sleep, timeout};

use crate::engine::check_commit;
use crate::postgres::connect::Session;
use crate::postgres::readers::{Lease, Readers};
use crate::postgres::settings::{KIND, Owner, Postgres};
use crate::postgres::standing::{BEAT_EVERY, vacant};
use crate::postgres::writer::Writer;
use crate::postgres::{fault, sql};
use crate::{Batch, Engine, Error, Head, Key, Order, Page, ScanLimit, Space, Span, Value, View};

/// A heartbeat that was answered within this time shows that no other writer has come: one comes
/// only after a longer silence. After it the head is read.
const SURE_FOR: Duration = Duration::from_secs(1);
/// Time between two attempts to connect again, and in which one must succeed.
const RECONNECT_EVERY: Duration = Duration::from_millis(250);
const RECONNECT_WITHIN: Duration = Duration::from_secs(90);
/// Time in which a read is answered.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// Time for a writer that ends to say so.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// An opening of a store in a database.
pub(super) struct Database {
    inner: Arc<Inner>,
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
}

/// What the calls and the heartbeat share.
struct Inner {
    store: Postgres,
    /// The name under which this opening has taken its terms.
    name: String,
    readers: Readers,
    state: Mutex<State>,
    /// Held for the whole of a commit and of a reopening.
    writing: Mutex<Option<Arc<Writer>>>,
}

struct State {
    head: Head,
    phase: Phase,
    /// When the last heartbeat that was answered was sent.
    beaten: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Poisoned,
    /// Another writer has the store, since this head.
    Replaced(Head),
}

fn runtime() -> Result<Runtime, Error> {
    let mut builder = Builder::new_multi_thread();
    let built = builder.worker_threads(1).thread_name("postgres").enable_all().build();
    built.map_err(|error| Error::io("start a thread for", KIND.as_ref(), &error))
}

/// Runs one piece of work on a runtime of its own, and waits for it. It may be called on any thread.
pub(super) fn on_a_runtime<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let runtime = runtime()?;
    let done = wait(runtime.handle(), work);
    runtime.shutdown_background();
    done
}

/// Runs work on the runtime, to its end, and waits for it.
fn wait<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Error> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move { sender.send(work.await) });
    // Nothing is sent only if the work has panicked.
    receiver.recv().map_err(|_| Error::Poisoned)
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("place", &self.inner.store.place()).finish_non_exhaustive()
    }
}

impl Database {
    pub(super) fn open(store: &Postgres) -> Result<Self, Error> {
        let runtime = runtime()?;
        let opened = wait(runtime.handle(), Inner::open(store.clone()));
        match opened.flatten() {
            Ok(inner) => {
                let inner = Arc::new(inner);
                runtime.spawn(beat(Arc::clone(&inner)));
                Ok(Self { inner, runtime: Some(runtime) })
            }
            Err(error) => {
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Runs a read, and waits for it for a while: a database that stands still answers nothing.
    fn read<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let bounded = async {
            let read = timeout(READ_WITHIN, work).await;
            read.unwrap_or_else(|_| Err(fault::unreachable("read")))
        };
        wait(self.handle()?, bounded)?
    }

    /// Refuses what a view has read, if another writer may have come: the process may have been
    /// stopped in the meantime, or the database.
    fn confirm(&self) -> Result<(), Error> {
        self.inner.head()?;
        if self.inner.is_sure() {
            return Ok(());
        }
        let (inner, sent) = (Arc::clone(&self.inner), Instant::now());
        let read = self.read(async move { inner.readers.check(&inner.name).await });
        self.inner.note(read)?;
        self.inner.state().beaten = sent;
        Ok(())
    }

    fn handle(&self) -> Result<&Handle, Error> {
        self.runtime.as_ref().map(Runtime::handle).ok_or(Error::Poisoned)
    }
}

impl Inner {
    async fn open(store: Postgres) -> Result<Self, Error> {
        let Postgres { access, owner, .. } = &store;
        let (writer, name, head) = loop {
            let mut writer = Writer::open(access, owner).await?;
            let follows = vacant(&store, &mut writer.session).await?;
            // The wait may have ended on another connection.
            let writer = Writer::open(access, owner).await?;
            let name = writer.new_name().await?;
            // None: another process that waited was faster.
            if let Some(head) = writer.take_term(&name, &owner.holder, Some(follows)).await? {
                break (writer, name, head);
            }
        };
        let readers = Readers::new(Arc::clone(access), owner.clone());
        let state = State { head, phase: Phase::Open, beaten: Instant::now() };
        let writing = Mutex::new(Some(Arc::new(writer)));
        Ok(Self { store, name, readers, state: Mutex::new(state), writing })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that can panic runs under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head, if this writer may answer.
    fn head(&self) -> Result<Head, Error> {
        let state = self.state();
        match state.phase {
            Phase::Open => Ok(state.head),
            Phase::Poisoned => Err(Error::Poisoned),
            Phase::Replaced(found) => Err(Error::HeadMoved { found }),
        }
    }

    /// Keeps what an answer says about this writer.
    fn note<T>(&self, answer: Result<T, Error>) -> Result<T, Error> {
        match &answer {
            Err(Error::HeadMoved { found }) => self.state().phase = Phase::Replaced(*found),
            Err(Error::Unknown { .. } | Error::Poisoned) => self.poison(),
            Ok(_) | Err(_) => {}
        }
        answer
    }

    /// Whether a heartbeat is young enough to show that this is still the writer.
    fn is_sure(&self) -> bool {
        self.state().beaten.elapsed() < SURE_FOR
    }

    /// Connects again and takes a new term, unless another writer has taken one.
    async fn reopen(self: Arc<Self>) -> Result<(Writer, Head), Error> {
        let Owner { holder, .. } = &self.store.owner;
        let began = Instant::now();
        loop {
            let tried = async {
                let writer = Writer::open(&self.store.access, &self.store.owner).await?;
                let taken = writer.take_term(&self.name, holder, None).await?;
                Ok((writer, taken))
            };
            match tried.await {
                Ok((writer, Some(head))) => return Ok((writer, head)),
                Ok((writer, None)) => {
                    let found = Writer::held(&writer.session).await?.head;
                    return Err(Error::HeadMoved { found });
                }
                // A failover takes its time.
                Err(error @ (Error::Database { .. } | Error::Cluster { .. })) => {
                    if began.elapsed() >= RECONNECT_WITHIN {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
            sleep(RECONNECT_EVERY).await;
        }
    }

    /// No commit and no read until it is opened again.
    fn poison(&self) {
        let mut state = self.state();
        if state.phase == Phase::Open {
            state.phase = Phase::Poisoned;
        }
    }

    /// One heartbeat. False: another writer has come.
    async fn beat(&self, session: &Session) -> Result<bool, Error> {
        session.check_standbys(&self.store.access).await?;
        let (sent, term) = (Instant::now(), self.state().head.term);
        let term = i64::try_from(term).unwrap_or(i64::MAX);
        let beaten = session.client.execute(sql::BEAT, &[&term]).await;
        if beaten.map_err(|error| fault::of("beat", &error))? == 1 {
            self.state().beaten = sent;
            return Ok(true);
        }
        // A reopening has taken a term in the meantime, or another writer has.
        let held = Writer::held(session).await?;
        if held.writer != self.name {
            self.state().phase = Phase::Replaced(held.head);
        }
        Ok(held.writer == self.name)
    }
}

/// Beats until another writer has come. It also sees a connection for commits that has gone, before
/// a commit meets it.
async fn beat(inner: Arc<Inner>) {
    let mut beating: Option<Session> = None;
    loop {
        let beaten = async {
            let session = match beating.take() {
                Some(session) => session,
                None => begin_beats(&inner).await?,
            };
            Ok((inner.beat(&session).await?, session))
        };
        match beaten.await {
            Ok((true, session)) => beating = Some(session),
            Ok((false, _)) => return,
            // It is no longer the server that may be written to.
            Err(Error::Cluster { .. }) => inner.poison(),
            Err(_) => {}
        }
        // Not while a commit or a reopening holds it.
        if let Ok(writer) = inner.writing.try_lock()
            && writer.as_ref().is_some_and(|writer| writer.session.client.is_closed())
        {
            inner.poison();
        }
        sleep(BEAT_EVERY).await;
    }
}

async fn begin_beats(inner: &Inner) -> Result<Session, Error> {
    let session = Session::open(&inner.store.access).await?;
    session.expect_owner(&inner.store.access, &inner.store.owner).await?;
    let begun = session.client.batch_execute(sql::BEGIN_BEATS).await;
    begun.map_err(|error| fault::of("begin to beat", &error))?;
    Ok(session)
}

/// A view: a transaction on a connection of its own.
struct Moment<'a> {
    database: &'a Database,
    lease: Option<Arc<Lease>>,
}

impl Moment<'_> {
    /// The view's connection, if what it reads may be answered.
    fn lease(&self) -> Result<Arc<Lease>, Error> {
        self.database.confirm()?;
        self.lease.clone().ok_or(Error::Poisoned)
    }
}

impl View for Moment<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        let lease = self.lease()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = keys.iter().map(|key| key.to_vec()).collect();
        self.database.read(async move { lease.get_in_view(&keys).await })
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, Error> {
        let lease = self.lease()?;
        if span.is_empty() {
            return Ok(Page::default());
        }
        let span = span.clone();
        self.database.read(async move { lease.scan_in_view(span, order, limit).await })
    }
}

impl Drop for Moment<'_> {
    fn drop(&mut self) {
        let lease = self.lease.take().and_then(Arc::into_inner);
        if let (Some(lease), Ok(runtime)) = (lease, self.database.handle()) {
            runtime.spawn(lease.end());
        }
    }
}

impl Engine for Database {
    fn view(&self) -> Result<Box<dyn View + '_>, Error> {
        self.inner.head()?;
        let inner = Arc::clone(&self.inner);
        let begun = self.read(async move { inner.readers.begin(&inner.name).await });
        let lease = self.inner.note(begun)?;
        Ok(Box::new(Moment { database: self, lease: Some(Arc::new(lease)) }))
    }

    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, Error> {
        self.inner.head()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<Key> = keys.iter().map(|key| key.to_vec()).collect();
        let inner = Arc::clone(&self.inner);
        let read = self.read(async move { inner.readers.get(&keys, &inner.name).await });
        self.inner.note(read)
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), Error> {
        check_commit(&batch, expected, next_size)?;
        let writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let found = self.inner.head()?;
        if found != expected {
            return Err(Error::HeadMoved { found });
        }
        let Some(writer) = writing.clone() else { return Err(Error::Poisoned) };
        let inner = Arc::clone(&self.inner);
        let work = async move { writer.commit(batch, &inner.name, expected, next_size).await };
        // A panic leaves it open what was done.
        let unknown = |_| Error::Unknown { cause: std::io::ErrorKind::Other };
        let done = wait(self.handle()?, work).map_err(unknown).flatten();
        self.inner.note(done)?;
        self.inner.state().head.size = next_size;
        Ok(())
    }

    fn head(&self) -> Result<Head, Error> {
        self.inner.head()
    }

    fn reopen(&self) -> Result<Head, Error> {
        let mut writing = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Phase::Replaced(found) = self.inner.state().phase {
            return Err(Error::HeadMoved { found });
        }
        // Whatever is still on its way on the connection that is left meets another term.
        *writing = None;
        let reopened = wait(self.handle()?, Arc::clone(&self.inner).reopen()).flatten();
        let (writer, head) = match reopened {
            Err(error @ Error::HeadMoved { .. }) => return self.inner.note(Err(error)),
            reopened => reopened?,
        };
        self.inner.readers.forget();
        *writing = Some(Arc::new(writer));
        let mut state = self.inner.state();
        (state.head, state.phase) = (head, Phase::Open);
        Ok(head)
    }

    /// A database does not say how much it has left. A commit for which there is no room is refused
    /// with [`Error::Full`].
    fn space(&self) -> Result<Space, Error> {
        Ok(Space { free: u64::MAX, total: u64::MAX, commit_min: 0, work: 0 })
    }

    fn kind(&self) -> &'static str {
        KIND
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        let writer = self.inner.writing.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let (Some(writer), Ok(head)) = (writer, self.inner.head()) {
            // So that another process need not wait for the heartbeat to be missed.
            let term = i64::try_from(head.term).unwrap_or(i64::MAX);
            let release = async move {
                let said = async { writer.session.client.execute(sql::RELEASE, &[&term]).await };
                timeout(RELEASE_WITHIN, said).await.is_ok()
            };
            let _only_a_courtesy = wait(runtime.handle(), release);
        }
        runtime.shutdown_background();
    }
}
