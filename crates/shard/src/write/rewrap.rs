//! Looks after the region's keys in a running shard: does what an operator asks, and wraps all subjects
//! under the current generation, a few at a time, so that an old one can be destroyed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engine::{Key, Order, ScanLimit, Span};
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::log::key_request::{Generation, KeyRequest};
use crate::node::Node;
use crate::store::attachment;
use crate::store::copied_set::CopiedSet;
use crate::store::copy_keys;
use crate::store::keyring::KeyChange;
use crate::store::keys::{self, Owner};
use crate::store::subject::Subject;
use crate::write::command::{Errand, KeyWork};
use crate::write::committer::Queue;
use crate::{Error, Settings};

/// Time between two looks whether an operator asks for something.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Subjects that one step looks at: far less than would hold up writes when all are wrapped again.
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

/// Wraps every subject under the current generation. One whose row does not open is passed over: it
/// keeps its generation from being destroyed, and the others are wrapped all the same.
async fn rewrap_all(node: &Arc<Node>, queue: &Queue) -> Result<(), Error> {
    let (mut from, mut damaged) = (Some(keys::subjects().from), 0);
    while let Some(at) = from {
        let step = step(node, at).await?;
        damaged += step.unknown + step.unopened;
        if !step.old.is_empty() {
            work(queue, KeyWork::Rewrap(step.old)).await?;
        }
        from = step.next;
    }
    let uploads = uploads(node).await?;
    if !uploads.old.is_empty() {
        work(queue, KeyWork::RewrapUploads(uploads.old)).await?;
    }
    if uploads.unknown > 0 {
        let uploads = uploads.unknown;
        tracing::error!(uploads, "rows of uploads do not say their generation of the region's key");
    }
    let mut from = None;
    loop {
        let copies = copies(node, from).await?;
        if !copies.old.is_empty() {
            work(queue, KeyWork::RewrapCopies(copies.old)).await?;
        }
        let Some(last) = copies.last else { break };
        from = Some(last);
    }
    if damaged > 0 {
        tracing::error!(
            subjects = damaged,
            "rows of subjects do not open: they stay under their generation of the region's key"
        );
    }
    Ok(())
}

/// How many subjects each generation wraps, with those that uploads in progress are to create.
async fn count(node: &Arc<Node>) -> Result<Vec<Generation>, Error> {
    let (mut from, mut counts) = (Some(keys::subjects().from), BTreeMap::<u32, u64>::new());
    while let Some(at) = from {
        let step = step(node, at).await?;
        if step.unknown > 0 {
            return Err(Error::Damaged("subjects"));
        }
        for (generation, subjects) in step.counts {
            *counts.entry(generation).or_default() += subjects;
        }
        from = step.next;
    }
    let uploads = uploads(node).await?;
    if uploads.unknown > 0 {
        return Err(Error::Damaged("uploads"));
    }
    for (generation, uploads) in uploads.counts {
        *counts.entry(generation).or_default() += uploads;
    }
    let mut from = None;
    loop {
        let copies = copies(node, from).await?;
        for (generation, sets) in copies.counts {
            *counts.entry(generation).or_default() += sets;
        }
        let Some(last) = copies.last else { break };
        from = Some(last);
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

/// Some subjects, looked at.
#[derive(Default)]
struct Step {
    /// By the generation that wraps them.
    counts: BTreeMap<u32, u64>,
    /// Those that are not under the current one.
    old: Vec<Owner>,
    /// Rows that do not even say their generation.
    unknown: u64,
    /// Rows under an old one whose owner cannot be read.
    unopened: u64,
    /// Where it goes on. None: there are no more.
    next: Option<Key>,
}

async fn step(node: &Arc<Node>, from: Key) -> Result<Step, Error> {
    let node = Arc::clone(node);
    let looked = tokio::task::spawn_blocking(move || look(&node, from)).await;
    looked.unwrap_or(Err(Error::Damaged("subjects")))
}

/// The uploads that have a stand-in.
#[derive(Default)]
struct Uploads {
    /// By the generation that wraps it.
    counts: BTreeMap<u32, u64>,
    /// The keys of those that are not under the current one.
    old: Vec<Key>,
    /// Rows that do not even say their generation.
    unknown: u64,
}

async fn uploads(node: &Arc<Node>) -> Result<Uploads, Error> {
    let node = Arc::clone(node);
    let looked = tokio::task::spawn_blocking(move || look_at_uploads(&node)).await;
    looked.unwrap_or(Err(Error::Damaged("uploads")))
}

/// Looks at all uploads. Blocks its thread.
fn look_at_uploads(node: &Node) -> Result<Uploads, Error> {
    let current = node.keyring.generations().last().copied();
    let page = node.engine.scan(&keys::uploads(), Order::Ascending, attachment::ALL_UPLOADS)?;
    let mut uploads = Uploads::default();
    for (key, row) in page.rows {
        let generation = match attachment::generation_of(&row) {
            Ok(Some(generation)) => generation,
            Ok(None) => continue,
            Err(_) => {
                uploads.unknown += 1;
                continue;
            }
        };
        *uploads.counts.entry(generation).or_default() += 1;
        if Some(generation) != current {
            uploads.old.push(key);
        }
    }
    Ok(uploads)
}

/// Some copies of records of other regions, by collections of subjects.
#[derive(Default)]
struct Copies {
    /// By the generation that wraps them.
    counts: BTreeMap<u32, u64>,
    /// The keys of those that are not under the current one.
    old: Vec<Key>,
    /// The last one. None: there are no more.
    last: Option<Key>,
}

async fn copies(node: &Arc<Node>, from: Option<Key>) -> Result<Copies, Error> {
    let node = Arc::clone(node);
    let looked = tokio::task::spawn_blocking(move || look_at_copies(&node, from.as_deref())).await;
    looked.unwrap_or(Err(Error::Damaged("copies")))
}

/// Looks at some copies. Blocks its thread.
fn look_at_copies(node: &Node, from: Option<&[u8]>) -> Result<Copies, Error> {
    let current = node.keyring.generations().last().copied();
    let limit = ScanLimit { rows: AT_ONCE, bytes: 4 << 20 };
    let page = node.engine.scan(&copy_keys::sets(from), Order::Ascending, limit)?;
    let mut copies = Copies::default();
    for (key, row) in page.rows {
        if let Some(generation) = CopiedSet::generation_of(&row)? {
            *copies.counts.entry(generation).or_default() += 1;
            if Some(generation) != current {
                copies.old.push(key.clone());
            }
        }
        copies.last = Some(key);
    }
    Ok(copies)
}

/// Looks at some subjects. Blocks its thread.
fn look(node: &Node, mut from: Key) -> Result<Step, Error> {
    let current = node.keyring.generations().last().copied();
    let limit = ScanLimit { rows: 1, bytes: 1 };
    let mut step = Step::default();
    for _ in 0..AT_ONCE {
        // Each subject's own row comes before those of its records, which are passed over.
        let span = Span { from, until: keys::subjects().until };
        let mut page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((key, row)) = page.rows.pop() else { return Ok(step) };
        let (prefix, tag) = keys::of_subject(&key).ok_or(Error::Damaged("subjects"))?;
        from = keys::past_subject(prefix);
        if !keys::is_subject(&key) {
            continue;
        }
        let generation = match Subject::generation_of(&row) {
            Ok(Some(generation)) => generation,
            Ok(None) => continue,
            Err(_) => {
                step.unknown += 1;
                continue;
            }
        };
        *step.counts.entry(generation).or_default() += 1;
        if Some(generation) != current {
            match Subject::owner_of(&row, tag, node.subject_keys()) {
                Ok(owner) => step.old.extend(owner),
                Err(_) => step.unopened += 1,
            }
        }
    }
    step.next = Some(from);
    Ok(step)
}
