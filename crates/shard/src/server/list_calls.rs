//! The lists and counts of a session, and questions about a subject: a few at once, each on a thread that may block, with room for
//! its answer.

use std::sync::Arc;

use terms::limits::{BODY_BYTES_MAX, LIST_PAGE_BYTES_MAX};
use tokio::sync::Semaphore;

use crate::read::list::{List, View};
use crate::read::locate::Locate;
use crate::read::person::AboutPerson;
use crate::read::reader::Reader;
use crate::reply::answer_room::AnswerRoom;
use crate::reply::{ReplySlot, busy};

/// Lists and counts that are read at once, of all sessions.
const LISTS_AT_ONCE: usize = 4;
/// Lists and counts that may wait for that.
const LISTS_WAITING_MAX: usize = 256;

/// Subjects that are looked for at once.
const LOCATES_AT_ONCE: usize = 8;

/// Bytes of the names of a map's collections.
const LOCATED_BYTES_MAX: usize = 64 << 10;
/// Bytes of what is held of a subject: its findings, and its rulings.
const HELD_BYTES_MAX: usize = 1 << 20;

/// What lists and counts need. Clones share it.
#[derive(Clone)]
pub(crate) struct ListCalls {
    turns: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// Of questions for a subject, which read one row: they wait for no list.
    points: Arc<Semaphore>,
}

impl ListCalls {
    /// For all sessions of one shard.
    pub(crate) fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LISTS_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(LISTS_WAITING_MAX)),
            points: Arc::new(Semaphore::new(LOCATES_AT_ONCE)),
        }
    }

    /// Reads a page, and answers.
    pub(crate) fn submit(&self, list: List, reader: &Reader, room: &AnswerRoom) {
        // The first record always fits, whatever its size.
        let body = if list.query.view == View::Whole { BODY_BYTES_MAX } else { 0 };
        let List { reply, deadline, asker, query } = list;
        self.serve(reply, LIST_PAGE_BYTES_MAX + body, reader, room, move |reply, reader| {
            List { reply, deadline, asker, query }.serve(reader);
        });
    }

    /// Reads what is held of a subject, and answers.
    pub(crate) fn about(&self, about: AboutPerson, reader: &Reader, room: &AnswerRoom) {
        let AboutPerson { reply, deadline, asker, owner, export, purpose } = about;
        self.serve(reply, HELD_BYTES_MAX, reader, room, move |reply, reader| {
            AboutPerson { reply, deadline, asker, owner, export, purpose }.serve(reader);
        });
    }

    /// Looks for a subject, and answers.
    pub(crate) fn locate(&self, locate: Locate, reader: &Reader, room: &AnswerRoom) {
        let Locate { reply, asker, asked } = locate;
        let points = Self { turns: Arc::clone(&self.points), ..self.clone() };
        points.serve(reply, LOCATED_BYTES_MAX, reader, room, move |reply, reader| {
            Locate { reply, asker, asked }.serve(reader);
        });
    }

    /// Waits for room before it waits for its turn: a gateway that takes no answers keeps no other
    /// from its lists.
    fn serve(
        &self,
        mut reply: ReplySlot,
        bytes: usize,
        reader: &Reader,
        room: &AnswerRoom,
        serve: impl FnOnce(ReplySlot, &Reader) + Send + 'static,
    ) {
        let Ok(waiting) = Arc::clone(&self.waiting).try_acquire_owned() else {
            return reply.send(busy());
        };
        let (turns, reader, room) = (Arc::clone(&self.turns), reader.clone(), room.clone());
        tokio::spawn(async move {
            // None: the session has ended.
            let Some(taken) = room.take(bytes).await else { return };
            reply.room = Some(taken);
            let Ok(turn) = turns.acquire_owned().await else { return };
            drop(waiting);
            tokio::task::spawn_blocking(move || {
                serve(reply, &reader);
                drop(turn);
            });
        });
    }
}
