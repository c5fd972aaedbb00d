//! The answers of a group of writes. They leave the writer's thread all at once, and a task of the
//! runtime hands them to their sessions: the writer wakes one thread a group and goes on, and a
//! session sends what is for it in few frames.

use tokio::sync::mpsc;

use crate::reply::{Outcome, ReplySlot};
use crate::write::queue_share::Room;

/// The answers of one group.
#[derive(Default)]
pub(crate) struct Answers {
    pub(crate) replies: Vec<(ReplySlot, Outcome)>,
    /// The room that its writes had in the queue, given back once they are answered.
    pub(crate) rooms: Vec<Room>,
}

impl Answers {
    /// Gives them.
    pub(crate) fn give(self) {
        let Self { replies, rooms } = self;
        for (reply, outcome) in replies {
            reply.send(outcome);
        }
        drop(rooms);
    }
}

/// The way from the writer to the sessions. What waits in it is bounded by the room of the queue.
pub(crate) type Deliver = Box<dyn Fn(Answers) + Send>;

/// Starts the task. It ends once the way to it is dropped and everything is answered. Needs a
/// running runtime.
pub(crate) fn delivery() -> Deliver {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Answers>();
    tokio::spawn(async move {
        while let Some(answers) = receiver.recv().await {
            answers.give();
        }
    });
    // Should the task be gone, each reply slot answers as it is dropped.
    Box::new(move |answers| drop(sender.send(answers)))
}
