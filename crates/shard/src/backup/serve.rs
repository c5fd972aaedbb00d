//! Backups of a shard that runs. An operator's command makes a pipe beside the checkpoint file and
//! reads from it; the shard, which may write nowhere else, writes the backup into it. On another pipe it
//! says which region map is in force.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::backup::format::FAILED;
use crate::backup::write::write;
use crate::log::begun_backup::{BackupId, BeginBackup};
use crate::node::Node;
use crate::store::region_maps::map_ref;
use crate::store::slots::encode_map;
use crate::write::command::Errand;
use crate::write::committer::Queue;
use crate::{Error, Settings};

/// Time between two looks for a pipe.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same, for the pipe on which the map is asked for.
const LOOK_FOR_MAP_EVERY: Duration = Duration::from_millis(250);
/// Frames that are ready and not written.
const FRAMES_READY: usize = 2;
/// Time in which the reader must take a frame: a view of the store is open meanwhile.
const TAKEN_WITHIN: Duration = Duration::from_secs(60);

impl Settings {
    /// The pipe on which a running shard gives a backup.
    pub(super) fn backup_pipe(&self) -> PathBuf {
        self.checkpoint_path().with_extension("backup-pipe")
    }

    /// The pipe on which a running shard says which region map is in force.
    pub(super) fn map_pipe(&self) -> PathBuf {
        self.checkpoint_path().with_extension("map-pipe")
    }
}

/// Never done.
pub(crate) async fn tend(node: Arc<Node>, queue: Queue, settings: Settings) {
    // Apart: the map is asked for while another backup is being given, too.
    tokio::join!(tend_backups(&node, &queue, &settings), tend_map(&node, &settings));
}

async fn tend_map(node: &Node, settings: &Settings) {
    let path = settings.map_pipe();
    loop {
        sleep(LOOK_FOR_MAP_EVERY).await;
        if let Ok(mut pipe) = pipe::OpenOptions::new().open_sender(&path) {
            let map = encode_map(map_ref(&node.map()));
            // A reader that has gone asks again, or sends nothing.
            timeout(TAKEN_WITHIN, pipe.write_all(&map)).await.ok();
        }
    }
}

async fn tend_backups(node: &Arc<Node>, queue: &Queue, settings: &Settings) {
    let path = settings.backup_pipe();
    loop {
        sleep(LOOK_EVERY).await;
        // No pipe, or no reader: no backup is asked for.
        if let Ok(pipe) = pipe::OpenOptions::new().open_sender(&path) {
            give(node, queue, pipe).await;
        }
    }
}

async fn give(node: &Arc<Node>, queue: &Queue, mut pipe: pipe::Sender) {
    let (frames, mut ready) = mpsc::channel(FRAMES_READY);
    let (of_thread, queue) = (Arc::clone(node), queue.clone());
    let made = tokio::task::spawn_blocking(move || make(&of_thread, &queue, &frames));
    while let Some(frame) = ready.recv().await {
        let written = timeout(TAKEN_WITHIN, pipe.write_all(&frame)).await;
        if !matches!(written, Ok(Ok(()))) {
            // The thread ends at its next frame.
            tracing::error!("a backup was not taken: its reader has ended, or stands still");
            return;
        }
    }
    let why = match made.await {
        Ok(Ok(id)) => {
            tracing::info!(backup = %id, "a backup was given");
            return;
        }
        // The command says itself that there is none.
        Ok(Err(Error::NotBackedUp(why))) => why,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the shard has failed while it read its store".to_owned(),
    };
    tracing::error!(why, "a backup was not made");
    let failed = [&FAILED.to_be_bytes()[..], why.as_bytes()].concat();
    // A reader that has gone finds no end, and keeps nothing.
    timeout(TAKEN_WITHIN, pipe.write_all(&failed)).await.ok();
}

/// Makes a backup. Blocks its thread.
fn make(node: &Node, queue: &Queue, frames: &mpsc::Sender<Vec<u8>>) -> Result<BackupId, Error> {
    let id = BackupId(node.random()?);
    let (begun, answer) = std::sync::mpsc::channel();
    let (open, opened) = std::sync::mpsc::channel();
    queue.submit_errand(Errand::Backup(BeginBackup { id, begun, opened }));
    let busy = || Error::NotBackedUp("the shard is busy, or ends: try again".to_owned());
    let begun = answer.recv().map_err(|_| busy())??;
    let view = node.engine.view()?;
    // Gone: it waits no more.
    open.send(()).ok();
    tracing::info!(backup = %id, "a backup is being made");
    write(node, &*view, &begun, &mut |frame| frames.blocking_send(frame).map_err(|_| busy()))?;
    Ok(id)
}
