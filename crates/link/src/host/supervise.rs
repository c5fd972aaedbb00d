//! Tasks that must outlive whatever happens to them.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

/// Time between the panic of a task and its next beginning.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs a task until it ends by itself. One that panics is reported to `panicked`, and begins
/// again after a second. Dropped, it aborts the task.
pub async fn supervise<T, P>(
    task: &'static str,
    mut begin: impl FnMut() -> T + Send,
    mut panicked: impl FnMut() -> P + Send,
) where
    T: Future<Output = ()> + Send + 'static,
    P: Future<Output = ()> + Send,
{
    loop {
        let mut running = JoinSet::new();
        running.spawn(begin());
        // The error is not shown: it has the panic's payload, which may hold anything.
        match running.join_next().await {
            Some(Err(error)) if error.is_panic() => {}
            Some(_) | None => return,
        }
        tracing::error!(task, "a task panicked: this is a bug; the task begins again");
        panicked().await;
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_begins_again() {
        let (begun, panics) = (Arc::new(AtomicU32::new(0)), AtomicU32::new(0));
        let task = || {
            let begun = Arc::clone(&begun);
            async move {
                assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "as the test wants it");
            }
        };
        supervise("test", task, || async {
            panics.fetch_add(1, Ordering::Relaxed);
        })
        .await;
        assert_eq!((begun.load(Ordering::Relaxed), panics.load(Ordering::Relaxed)), (3, 2));
    }
}
