//! What a server says of itself to operators: alive, ready, and facts.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a server says of itself: alive, ready, and named facts (`sandbox`: `off`). Shared: clones
/// speak of the same server.
#[derive(Debug, Clone)]
pub struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    alive: AtomicBool,
    ready: AtomicBool,
    held: Mutex<BTreeSet<&'static str>>,
    facts: Mutex<BTreeMap<Cow<'static, str>, Cow<'static, str>>>,
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

    /// Whether readiness is held back for a thing of that name.
    pub fn holds(&self, lacking: &str) -> bool {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).contains(lacking)
    }

    /// Says that only a restart helps: not alive, and not ready.
    pub fn set_dead(&self) {
        self.0.alive.store(false, Ordering::Release);
        self.set_ready(false);
    }

    /// States a fact for operators, as `sandbox` and `off`. A later value replaces the earlier. It
    /// is one of this process or its configuration, never something that a caller sent.
    pub fn set_fact(
        &self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) {
        let mut facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        facts.insert(name.into(), value.into());
    }

    /// A fact that does not hold any more.
    pub fn unset_fact(&self, name: &str) {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
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

    /// What `/readyz` says.
    pub fn ready_page(&self) -> String {
        self.page(self.is_ready(), "ready")
    }

    /// The first line says yes or no, each other one what holds readiness back, or a fact.
    pub(crate) fn page(&self, yes: bool, word: &str) -> String {
        let mut text = String::new();
        let held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = self.0.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let not = if yes { "" } else { "not " };
        // Writing to a String cannot fail.
        let mut written = writeln!(text, "{not}{word}");
        for lacking in held.iter().filter(|_| !yes) {
            written = written.and_then(|()| writeln!(text, "waits: {lacking}"));
        }
        for (name, value) in facts.iter() {
            written = written.and_then(|()| writeln!(text, "{name}: {value}"));
        }
        debug_assert!(written.is_ok());
        text
    }
}
