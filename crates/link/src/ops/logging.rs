//! Logs: one line of JSON per event on standard error, and panics without their payload.
//!
//! Only our own crates log below `warn`: at `debug` and `trace`, HTTP libraries print headers and
//! frames, and those carry personal data.

#![expect(clippy::disallowed_methods, reason = "logs, and the place of a panic, are written here")]

use std::io::{Stderr, Write};
use std::panic::PanicHookInfo;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// The crates whose events may be seen below `warn`. None of them formats personal data.
const OURS: &[&str] = &["bailiwick", "client", "engine", "evidence", "gateway", "link", "shard"];

/// How much our own crates log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// What must be seen to.
    Error,
    /// And what may have to be.
    Warn,
    /// And what an operator wants to read afterwards: refusals by call id, sessions up and down.
    #[default]
    Info,
    /// And each call. For a laboratory.
    Debug,
}

impl Level {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Error, Self::Warn, Self::Info, Self::Debug];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }

    /// The level of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|level| level.as_str() == name)
    }

    const fn filter(self) -> LevelFilter {
        match self {
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
        }
    }
}

/// Logging was set up twice in one process.
#[derive(Debug, thiserror::Error)]
#[error("logging is set up already")]
pub struct AlreadySet(#[source] TryInitError);

/// Replaces the panic hook by one that says thread and place only, in the log when there is one
/// and on standard error else: a panic's payload may hold anything.
///
/// The first thing that `main` does, so that no thread, runtime or library can panic before it.
/// tokio's tasks and the engines' threads all come to this hook; code that catches a panic gets
/// the payload as a value, and must not print that either (`JoinError` would).
pub fn silence_panics() {
    std::panic::set_hook(Box::new(log_panic));
}

/// Starts logging to standard error, as JSON or as text for a person, and sets the panic hook of
/// [`silence_panics`].
///
/// # Errors
/// [`AlreadySet`] when the process logs already; nothing is changed then.
pub fn init(json: bool, level: Level) -> Result<(), AlreadySet> {
    let targets = filter(level);
    let lines = fmt::layer().with_writer(std::io::stderr as fn() -> Stderr);
    let lines = if json {
        lines.json().flatten_event(true).with_filter(targets).boxed()
    } else {
        lines.with_filter(targets).boxed()
    };
    tracing_subscriber::registry().with(lines).try_init().map_err(AlreadySet)?;
    silence_panics();
    Ok(())
}

fn filter(level: Level) -> Targets {
    let others = level.filter().min(LevelFilter::WARN);
    OURS.iter().fold(Targets::new().with_default(others), |targets, name| {
        targets.with_target(*name, level.filter())
    })
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let (file, line) = info.location().map_or(("unknown", 0), |l| (l.file(), l.line()));
    let thread = thread.name().unwrap_or("unnamed");
    if tracing::event_enabled!(tracing::Level::ERROR) {
        tracing::error!(thread, file, line, "a thread panicked");
    } else {
        // No log yet, or a command that keeps none. Nothing may fail here: a second panic inside
        // the hook would print the payload of the first.
        let said = writeln!(std::io::stderr(), "thread {thread} panicked at {file}:{line}");
        drop(said);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_panic_is_logged_without_its_payload() {
        let page = Page::default();
        let writer = page.clone();
        let lines = fmt::layer().json().with_writer(move || writer.clone());
        let log = tracing_subscriber::registry().with(lines.with_filter(filter(Level::Info)));
        tracing::subscriber::with_default(log, || {
            std::panic::set_hook(Box::new(log_panic));
            let marker = std::hint::black_box("anna.k@example.org");
            std::panic::catch_unwind(|| panic!("row of {marker}")).unwrap_err();
            drop(std::panic::take_hook());
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("a thread panicked") && text.contains("logging.rs"), "{text}");
        assert!(!text.contains("anna"), "{text}");
    }

    #[test]
    fn libraries_never_log_below_warn() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.as_str()), Some(*level));
            let targets = filter(*level);
            assert!(!targets.would_enable("h2::codec", &tracing::Level::DEBUG));
            assert!(!targets.would_enable("hyper", &tracing::Level::INFO));
        }
        assert!(filter(Level::Debug).would_enable("gateway::put", &tracing::Level::DEBUG));
        assert!(!filter(Level::Error).would_enable("h2", &tracing::Level::WARN));
    }
}
