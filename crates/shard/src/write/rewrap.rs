//! Looks after the region's keys in a running shard: does what an operator asks, and wraps everything
//! under the current generation, some rows at a time, so that an old one can be destroyed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::log::key_request::{Generation, KeyRequest};
use crate::node::Node;
use crate::store::attachment;
use crate::store::copied_set::CopiedSet;
use crate::store::copy_keys;
use crate::store::keyring::KeyChange;
use crate::store::keys;
use crate::store::subject::Subject;
use crate::write::command::{Errand, KeyWork, Wrapped};
use crate::write::committer::Queue;
use crate::{Error, Settings};

/// Time between two looks whether an operator asks for something.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows that one step looks at: far less than would hold up writes when all are wrapped again.
const AT_ONCE: usize = 512;

/// Never done.
pub(crate) async fn tend(node: Arc<Node>, queue: Queue, settings: Settings) {
    // A shard that ended in the middle goes on where it starts.
    let mut due = node.keyring.generations().len() > 1;
    loop {
        if due {
            match rewrap_all(&node, &queue).await {
                Ok(()) => due = false,
                Err(error) => say(&node, &error),
            }
        }
        let asked = settings.take_keys_asked().unwrap_or_else(|error| {
            say(&node, &error);
            None
        });
        if let Some(asked) = asked {
            let done = carry_out(&node, &queue, asked.request).await;
            due |= matches!(asked.request, KeyRequest::Rotate | KeyRequest::Take);
            let answer = match done {
                Ok(()) => count(&node).await,
                Err(error) => Err(error),
            };
            if let Err(error) = settings.answer_keys(&asked, answer.as_deref()) {
                say(&node, &error);
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

fn say(node: &Node, error: &Error) {
    if let Some(unsaid) = node.troubles.allow(node.clock.now()) {
        tracing::error!(%error, unsaid, "the region's keys cannot be looked after");
    }
}

async fn carry_out(node: &Arc<Node>, queue: &Queue, request: KeyRequest) -> Result<(), Error> {
    let change = match request {
        KeyRequest::Status => return Ok(()),
        KeyRequest::Rotate => KeyChange::Add,
        KeyRequest::Take => KeyChange::Take,
        KeyRequest::Destroy(generation) => {
            // New keys are wrapped under the current one, so none comes back to an old one.
            let all = count(node).await?;
            // The current one is refused as such.
            let old = all.iter().find(|it| it.number == generation && !it.current);
            let subjects = old.map_or(0, |it| it.subjects);
            if subjects > 0 {
                return Err(Error::GenerationInUse { generation, subjects });
            }
            KeyChange::Destroy(generation)
        }
    };
    work(queue, KeyWork::Change(change)).await
}

async fn work(queue: &Queue, work: KeyWork) -> Result<(), Error> {
    let (sender, done) = oneshot::channel();
    queue.submit_errand(Errand::Keys(work, sender));
    // Without an answer, the queue was full, or the shard goes down.
    done.await
        .unwrap_or_else(|_| Err(Error::KeysNotChanged(Box::new(terms::Reason::ShardBusy.into()))))
}

/// Wraps all that an old generation wraps under the current one. A row that does not open is passed
/// over: it keeps its generation from being destroyed, and the others are wrapped all the same.
async fn rewrap_all(node: &Arc<Node>, queue: &Queue) -> Result<(), Error> {
    for what in Wrapped::ALL {
        let (mut from, mut unknown) = (None, 0);
        loop {
            let step = step(node, what, from).await?;
            unknown += step.unknown;
            if !step.old.is_empty() {
                work(queue, KeyWork::Rewrap(what, step.old)).await?;
            }
            from = step.next;
            if from.is_none() {
                break;
            }
        }
        if unknown > 0 {
            let name = what.name();
            tracing::error!(unknown, "{name} do not say their generation of the region's key");
        }
    }
    Ok(())
}

/// How much each generation wraps: subjects, those that uploads in progress are to create, and sets of
/// copies.
async fn count(node: &Arc<Node>) -> Result<Vec<Generation>, Error> {
    let mut counts = BTreeMap::<u32, u64>::new();
    for what in Wrapped::ALL {
        let mut from = None;
        loop {
            let step = step(node, what, from).await?;
            if step.unknown > 0 {
                return Err(Error::Damaged(what.name()));
            }
            for (generation, rows) in step.counts {
                *counts.entry(generation).or_default() += rows;
            }
            from = step.next;
            if from.is_none() {
                break;
            }
        }
    }
    let held = node.keyring.generations();
    let current = held.last().copied();
    let generation = |number: &u32| Generation {
        number: *number,
        current: Some(*number) == current,
        subjects: counts.get(number).copied().unwrap_or_default(),
    };
    Ok(held.iter().map(generation).collect())
}

/// Some rows of a kind, looked at.
#[derive(Default)]
struct Step {
    /// By the generation that wraps them.
    counts: BTreeMap<u32, u64>,
    /// Those that are not under the current one.
    old: Vec<Key>,
    /// Rows that do not even say their generation.
    unknown: u64,
    /// Where it goes on. None: there are no more.
    next: Option<Key>,
}

impl Step {
    fn add(&mut self, key: Key, generation: Result<Option<u32>, Error>, current: Option<u32>) {
        match generation {
            Ok(Some(generation)) => {
                *self.counts.entry(generation).or_default() += 1;
                if Some(generation) != current {
                    self.old.push(key);
                }
            }
            Ok(None) => {}
            Err(_) => self.unknown += 1,
        }
    }
}

async fn step(node: &Arc<Node>, what: Wrapped, from: Option<Key>) -> Result<Step, Error> {
    let node = Arc::clone(node);
    let looked = tokio::task::spawn_blocking(move || match what {
        Wrapped::Subjects => look_at_subjects(&node, from),
        Wrapped::Uploads => look_at_uploads(&node),
        Wrapped::Copies => look_at_copies(&node, from.as_deref()),
    });
    looked.await.unwrap_or(Err(Error::Damaged(what.name())))
}

/// Looks at some subjects. Blocks its thread.
fn look_at_subjects(node: &Node, from: Option<Key>) -> Result<Step, Error> {
    let current = node.keyring.current();
    let limit = ScanLimit { rows: 1, bytes: 1 };
    let mut span = keys::subjects();
    span.from = from.unwrap_or(span.from);
    let mut step = Step::default();
    for _ in 0..AT_ONCE {
        // Each subject's own row comes before those of its records, which are passed over.
        let mut page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((key, row)) = page.rows.pop() else { return Ok(step) };
        let (prefix, _) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
        span.from = keys::past_subject(prefix);
        if keys::is_subject(&key) {
            step.add(key, Subject::generation_of(&row), current);
        }
    }
    step.next = Some(span.from);
    Ok(step)
}

/// Looks at all uploads. Blocks its thread.
fn look_at_uploads(node: &Node) -> Result<Step, Error> {
    let current = node.keyring.current();
    let page = node.engine.scan(&keys::uploads(), Order::Ascending, attachment::ALL_UPLOADS)?;
    let mut step = Step::default();
    for (key, row) in page.rows {
        step.add(key, attachment::generation_of(&row), current);
    }
    Ok(step)
}

/// Looks at some copies. Blocks its thread.
fn look_at_copies(node: &Node, from: Option<&[u8]>) -> Result<Step, Error> {
    let current = node.keyring.current();
    let limit = ScanLimit { rows: AT_ONCE, bytes: 4 << 20 };
    let page = node.engine.scan(&copy_keys::sets(from), Order::Ascending, limit)?;
    let next = page.rows.last().map(|(key, _)| key.clone());
    let mut step = Step { next, ..Step::default() };
    for (key, row) in page.rows {
        step.add(key, CopiedSet::generation_of(&row), current);
    }
    Ok(step)
}
