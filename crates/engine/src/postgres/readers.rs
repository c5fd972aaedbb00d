//! Connections that read, and views on them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use crate::postgres::access::Access;
use crate::postgres::connect::Session;
use crate::postgres::settings::Owner;
use crate::postgres::{fault, sql};
use crate::span::Filling;
use crate::{Error, Head, Key, Order, Page, ScanLimit, Span, Value};

/// Connections that read at the same time.
const READERS_MAX: usize = 24;
/// Time that a read waits for one of them.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Rows that are asked for at once.
const ROWS_AT_ONCE: usize = 512;

/// The connections that no one uses just now.
#[derive(Clone)]
pub(super) struct Readers {
    access: Arc<Access>,
    owner: Owner,
    idle: Arc<Mutex<Idle<Reader>>>,
    permits: Arc<Semaphore>,
}

/// Connections that no read uses.
struct Idle<T> {
    /// How often they were forgotten: a connection that was taken before does not come back.
    round: u64,
    readers: Vec<T>,
}

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self { round: 0, readers: Vec::new() }
    }
}

impl<T> Idle<T> {
    /// One of them, if there is one, and the round in which it was taken.
    fn take(&mut self) -> (u64, Option<T>) {
        (self.round, self.readers.pop())
    }

    fn give_back(&mut self, round: u64, reader: T) {
        if round == self.round {
            self.readers.push(reader);
        }
    }

    fn forget(&mut self) {
        self.round += 1;
        self.readers.clear();
    }
}

/// A connection that reads, and what is prepared on it.
pub(super) struct Reader {
    session: Session,
    get: Statement,
    head: Statement,
    scans: [[Statement; 2]; 2],
}

/// A reader in use.
pub(super) struct Lease {
    reader: Option<Reader>,
    readers: Readers,
    /// The round of the idle ones when it was taken.
    round: u64,
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    pub(super) fn new(access: Arc<Access>, owner: Owner) -> Self {
        let permits = Arc::new(Semaphore::new(READERS_MAX));
        Self { access, owner, idle: Arc::default(), permits }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Idle<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the connections: they may lead to a server that is cut off, and a read on one would wait until
    /// it is given up, or to one that was replaced. One in use goes when its read ends.
    pub(super) fn forget(&self) {
        self.idle().forget();
    }

    /// Takes a connection, or makes one.
    async fn lease(&self) -> Result<Lease, Error> {
        let waited = timeout(WAIT_MAX, Arc::clone(&self.permits).acquire_owned()).await;
        let Ok(Ok(permit)) = waited else { return Err(fault::unreachable("wait for a reader")) };
        let (round, found) = self.idle().take();
        let reader = match found {
            Some(reader) if !reader.session.client.is_closed() => reader,
            _ => Reader::open(&self.access, &self.owner).await?,
        };
        Ok(Lease { reader: Some(reader), readers: self.clone(), round, _permit: permit })
    }

    /// The values of `keys`, if `writer` is still the store's after they were read. A connection
    /// that has gone is replaced once.
    pub(super) async fn get(
        &self,
        keys: &[Key],
        writer: &str,
    ) -> Result<Vec<Option<Value>>, Error> {
        match self.lease().await?.get(keys, writer).await {
            Err(error) if fault::is_connection(&error) => {
                self.forget();
                self.lease().await?.get(keys, writer).await
            }
            answered => answered,
        }
    }

    /// Whether `writer` is the store's now.
    pub(super) async fn check(&self, writer: &str) -> Result<(), Error> {
        // No keys are read: what counts is that the head is.
        self.get(&[], writer).await.map(drop)
    }

    /// Begins a view: one moment of the store, in which `writer` is its writer.
    pub(super) async fn begin(&self, writer: &str) -> Result<Lease, Error> {
        match self.lease().await?.begin(writer).await {
            Err(error) if fault::is_connection(&error) => {
                self.forget();
                self.lease().await?.begin(writer).await
            }
            begun => begun,
        }
    }
}

impl Reader {
    async fn open(access: &Access, owner: &Owner) -> Result<Self, Error> {
        let session = Session::open(access).await?;
        session.expect_owner(access, owner).await?;
        let prepare = async |text: &str| {
            let prepared = session.client.prepare(text).await;
            prepared.map_err(|error| fault::of("prepare a read", &error))
        };
        let [[up_to, up], [down_to, down]] = sql::SCANS;
        let scans = [
            [prepare(up_to).await?, prepare(up).await?],
            [prepare(down_to).await?, prepare(down).await?],
        ];
        let (get, head) = (prepare(sql::GET).await?, prepare(sql::HEAD).await?);
        Ok(Self { session, get, head, scans })
    }

    /// Refuses an answer that another writer may have made old.
    fn check(row: &Row, writer: &str) -> Result<(), Error> {
        if row.get::<_, &str>(2) == writer {
            return Ok(());
        }
        let number = |at: usize| u64::try_from(row.get::<_, i64>(at)).unwrap_or_default();
        Err(Error::HeadMoved { found: Head { term: number(0), size: number(1) } })
    }

    /// The rows of these keys.
    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>, Error> {
        let read = self.session.client.query(&self.get, &[&keys]).await;
        read.map_err(|error| fault::of("read", &error))
    }

    async fn scan(
        &self,
        span: &Span,
        order: Order,
        rows: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, Error> {
        let [up, down] = &self.scans;
        let [bounded, open] = if order == Order::Ascending { up } else { down };
        let statement = if span.until.is_empty() { open } else { bounded };
        let [rows, bytes] = [rows, bytes].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        let parameters: [&(dyn ToSql + Sync); 4] = [&span.from, &span.until, &rows, &bytes];
        let read = self.session.client.query(statement, &parameters).await;
        read.map_err(|error| fault::of("scan", &error))
    }
}

/// The values in the order of `keys`.
fn in_order(keys: &[Key], rows: &[Row]) -> Vec<Option<Value>> {
    let found: HashMap<&[u8], &[u8]> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    keys.iter().map(|key| found.get(&**key).map(|value| value.to_vec())).collect()
}

impl Lease {
    fn reader(&self) -> Result<&Reader, Error> {
        self.reader.as_ref().ok_or_else(|| fault::unreachable("read"))
    }

    async fn get(self, keys: &[Key], writer: &str) -> Result<Vec<Option<Value>>, Error> {
        let reader = self.reader()?;
        // Sent together, answered in this order: the head is read after the rows.
        let head = reader.session.client.query_one(&reader.head, &[]);
        let (rows, head) = tokio::join!(biased; reader.rows(keys), head);
        let (rows, head) = (rows?, head.map_err(|error| fault::of("read the head", &error))?);
        Reader::check(&head, writer)?;
        let values = in_order(keys, &rows);
        self.give_back();
        Ok(values)
    }

    /// Lets others use the connection.
    fn give_back(mut self) {
        if let Some(reader) = self.reader.take() {
            self.readers.idle().give_back(self.round, reader);
        }
    }

    async fn begin(self, writer: &str) -> Result<Self, Error> {
        let reader = self.reader()?;
        let begin = reader.session.client.batch_execute(sql::BEGIN_VIEW);
        let head = reader.session.client.query_one(&reader.head, &[]);
        let (begun, head) = tokio::join!(biased; begin, head);
        begun.map_err(|error| fault::of("begin a view", &error))?;
        Reader::check(&head.map_err(|error| fault::of("read the head", &error))?, writer)?;
        Ok(self)
    }

    /// The values of `keys` in the view.
    pub(super) async fn get_in_view(&self, keys: &[Key]) -> Result<Vec<Option<Value>>, Error> {
        Ok(in_order(keys, &self.reader()?.rows(keys).await?))
    }

    /// A page in the view, read in parts so that neither side holds more than it may.
    pub(super) async fn scan_in_view(
        &self,
        mut span: Span,
        order: Order,
        limit: ScanLimit,
    ) -> Result<Page, Error> {
        let mut filling = Filling::new(limit);
        let mut taken = (0_usize, 0_usize);
        loop {
            // One more than may be given tells whether there are further rows.
            let rows_max = limit.rows.saturating_sub(taken.0).saturating_add(1).min(ROWS_AT_ONCE);
            let bytes_max = limit.bytes.saturating_sub(taken.1);
            let rows = self.reader()?.scan(&span, order, rows_max, bytes_max).await?;
            let mut last = None;
            for row in &rows {
                let key: &[u8] = row.get(0);
                let value: Option<&[u8]> = row.get(1);
                // A value past the limit is not sent, unless its row is the first of its part.
                let bytes = value.map_or(usize::MAX, <[u8]>::len);
                if !filling.admits(key.len(), bytes) {
                    return Ok(filling.page());
                }
                filling.push(key.to_vec(), value.unwrap_or_default().to_vec());
                taken = (taken.0 + 1, taken.1.saturating_add(key.len() + bytes));
                last = Some(key.to_vec());
            }
            match last {
                Some(last) if rows.len() == rows_max => match order {
                    Order::Ascending => span.from = [&*last, &[0]].concat(),
                    Order::Descending => span.until = last,
                },
                _ => return Ok(filling.page()),
            }
        }
    }

    /// Ends the view, and gives the connection back.
    pub(super) async fn end(self) {
        let Ok(reader) = self.reader() else { return };
        // One that does not end the view is dropped, and its connection with it.
        if reader.session.client.batch_execute("rollback").await.is_ok() {
            self.give_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Idle;

    #[test]
    fn a_connection_that_was_in_use_when_they_were_forgotten_does_not_come_back() {
        let mut idle = Idle::default();
        let (before, none) = idle.take();
        assert_eq!(none, None);
        idle.give_back(before, 'a');
        assert_eq!(idle.take(), (before, Some('a')));
        idle.forget();
        idle.give_back(before, 'a');
        let (after, none) = idle.take();
        assert_eq!(none, None);
        idle.give_back(after, 'b');
        assert_eq!(idle.take(), (after, Some('b')));
    }
}
