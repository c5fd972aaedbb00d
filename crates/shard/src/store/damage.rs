//! A store that is damaged in places. What does not read back is refused with `STORED_DATA_DAMAGED`,
//! its file is named once in the log and on the operators' page, and everything else is served.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use engine::{Batch, Engine, Head, Order, Page, ScanLimit, Space, Span, Value, View};
use link::ops::health::Health;
use link::ops::log_throttle::LogThrottle;
use terms::{Clock, Rejection};

use crate::error::IntoRejection as _;
use crate::metrics::Metrics;

/// Files that are named.
const FILES_MAX: usize = 64;

/// An engine whose failed reads are counted and said.
pub(crate) struct WatchedEngine {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) clock: Arc<dyn Clock>,
    /// Lines about reads that the system refused.
    pub(crate) lines: LogThrottle,
    /// Files that were named.
    pub(crate) named: Mutex<BTreeSet<PathBuf>>,
}

impl fmt::Debug for WatchedEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.engine.fmt(f)
    }
}

impl WatchedEngine {
    fn watch<T>(&self, outcome: Result<T, engine::Error>) -> Result<T, engine::Error> {
        match &outcome {
            Err(engine::Error::Damaged { file, what }) => {
                self.metrics.damaged_reads.inc();
                let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
                if named.len() < FILES_MAX && named.insert(file.clone()) {
                    let file = file.display();
                    tracing::error!(%file, what, "a part of the store does not read back: restore it");
                    let files: Vec<_> =
                        named.iter().map(|file| file.display().to_string()).collect();
                    let text = format!("damaged, restore it from a backup: {}", files.join(", "));
                    self.health.set_fact("store", text);
                }
            }
            Err(error @ (engine::Error::Io { .. } | engine::Error::Database { .. })) => {
                self.metrics.failed_reads.inc();
                if let Some(unsaid) = self.lines.allow(self.clock.now()) {
                    tracing::error!(%error, unsaid, "the store was not read");
                }
            }
            Ok(_) | Err(_) => {}
        }
        outcome
    }
}

struct WatchedView<'a> {
    engine: &'a WatchedEngine,
    view: Box<dyn View + 'a>,
}

impl View for WatchedView<'_> {
    fn get_many(&self, keys: &[&[u8]]) -> Result<Vec<Option<Value>>, engine::Error> {
        self.engine.watch(self.view.get_many(keys))
    }

    fn scan(&self, span: &Span, order: Order, limit: ScanLimit) -> Result<Page, engine::Error> {
        self.engine.watch(self.view.scan(span, order, limit))
    }
}

impl Engine for WatchedEngine {
    fn view(&self) -> Result<Box<dyn View + '_>, engine::Error> {
        let view = self.watch(self.engine.view())?;
        Ok(Box::new(WatchedView { engine: self, view }))
    }

    fn commit(&self, batch: Batch, expected: Head, next_size: u64) -> Result<(), engine::Error> {
        let outcome = self.watch(self.engine.commit(batch, expected, next_size));
        if let Err(engine::Error::Damaged { file, what }) = &outcome {
            self.health.set_fact("writes", format!("refused: {} ({what})", file.display()));
        }
        outcome
    }

    fn head(&self) -> Result<Head, engine::Error> {
        self.engine.head()
    }

    fn kind(&self) -> &'static str {
        self.engine.kind()
    }

    fn reopen(&self) -> Result<Head, engine::Error> {
        self.engine.reopen()
    }

    fn space(&self) -> Result<Space, engine::Error> {
        self.engine.space()
    }
}

/// Whether nothing can be read or written any more until the store is opened again.
pub(crate) const fn is_over(error: &engine::Error) -> bool {
    matches!(
        error,
        engine::Error::Poisoned | engine::Error::Unknown { .. } | engine::Error::HeadMoved { .. }
    )
}

/// A row that was read, or why it cannot be.
pub(crate) type Row = Result<Option<Value>, Rejection>;

/// Reads rows, in the order of `keys`, all from one moment. If one of them does not read back, each
/// is read alone, so that it stands for itself. A store that is not reached gives none of them.
pub(crate) fn read_rows(engine: &dyn Engine, keys: &[Vec<u8>]) -> Result<Vec<Row>, engine::Error> {
    let view = match engine.view() {
        Ok(view) => view,
        Err(error) if is_over(&error) => return Err(error),
        Err(error) => {
            let refused = || Err(error.clone().into_rejection());
            return Ok(keys.iter().map(|_| refused()).collect());
        }
    };
    let wanted: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    match view.get_many(&wanted) {
        Ok(values) => return Ok(values.into_iter().map(Ok).collect()),
        Err(error) if is_over(&error) => return Err(error),
        Err(error) if keys.len() == 1 => return Ok(vec![Err(error.into_rejection())]),
        Err(_) => {}
    }
    wanted.iter().map(|key| read_row(&*view, key)).collect()
}

/// Reads one row.
pub(crate) fn read_row(view: &dyn View, key: &[u8]) -> Result<Row, engine::Error> {
    match view.get_many(&[key]) {
        Ok(mut values) => Ok(Ok(values.pop().flatten())),
        Err(error) if is_over(&error) => Err(error),
        Err(error) => Ok(Err(error.into_rejection())),
    }
}
