//! Lanes: concurrent puts of one client travel on a few streams, instead of as a call each.
//!
//! A put on a stream costs both ends a fraction of what a call costs. A caller sees no difference:
//! each put has its own outcome, deadline and retries.
//!
//! - **Alone.** A put that meets no other goes as a call. Nothing waits for company.
//! - **Together.** Puts that meet others have a lane opened, and go as calls until it is open. More
//!   puts open more lanes, up to [`crate::Settings::lanes`], each on a connection of its own.
//! - **Room.** A lane has room for so many puts and bytes. A put waits for room, within its deadline.
//! - **In doubt.** A lane whose stream breaks, or brings an answer that cannot be matched, ends. Each
//!   put on it that is not answered ends with `WRITE_OUTCOME_UNKNOWN`, and is sent again as a call.
//! - **Identity.** A lane carries only puts with the token that it was opened with. It is replaced
//!   after [`LIFE`], and as soon as the token changes.

mod lane;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Request;
use tonic::transport::Channel;
use wire::status_check::Checked;
use wire::v1::records_client::RecordsClient;

use self::lane::{CALLS_MAX, Lane, Place};
use crate::access::Target;
use crate::stream::records;
use crate::token::Bearer;
use crate::{Error, api};

/// Puts under way at which a lane is opened. A put that goes alone is fastest as a call.
const LANES_FROM: usize = 2;
/// Puts under way for each lane before there is another. Many on one lane share frames and wake-ups.
const PUTS_PER_LANE: usize = 128;
/// Bytes of a put that may go on a lane. A larger one would hold up those behind it.
const PUT_BYTES_MAX: usize = 64 << 10;
/// Bytes of a put beside its body. So few hold no more fields than a gateway reads: a put that a
/// gateway cannot read would end the lane of others.
const BESIDE_BODY_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(BESIDE_BODY_BYTES_MAX <= wire::bounded::FIELDS_MAX);
/// How long a lane is used before another takes its place.
const LIFE: Duration = Duration::from_secs(120);
/// Time in which a lane must be open.
const OPEN_MAX: Duration = Duration::from_secs(5);
/// The shortest time between two attempts to open the same lane; doubled after each failure.
const OPEN_EVERY: Duration = Duration::from_millis(500);
/// The longest.
const OPEN_EVERY_MAX: Duration = Duration::from_secs(60);

/// The lanes to one gateway.
pub(crate) struct Lanes {
    slots: Vec<Arc<Slot>>,
    /// Puts under way to the gateway, on lanes and as calls.
    under_way: AtomicUsize,
}

/// One lane, open or not.
struct Slot {
    target: Target,
    state: Mutex<State>,
}

struct State {
    lane: Option<Arc<Lane>>,
    /// Whether one is being opened.
    opening: bool,
    /// The connection, made for the first lane of this slot and kept while lanes open on it.
    records: Option<RecordsClient<Checked<Channel>>>,
    /// When the next may be opened, and how long to wait after that one if it fails.
    next: Instant,
    wait: Duration,
}

/// A put that is under way.
pub(crate) struct UnderWay<'a>(&'a AtomicUsize);

impl Lanes {
    /// At most so many lanes to `target`. None is opened yet.
    pub(crate) fn new(target: &Target, lanes: usize) -> Self {
        let slot = |_| Arc::new(Slot::new(target.clone()));
        Self { slots: (0..lanes).map(slot).collect(), under_way: AtomicUsize::new(0) }
    }

    /// Counts a put while it is under way.
    pub(crate) fn enter(&self) -> UnderWay<'_> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(&self.under_way)
    }

    /// A place for a put on the lane that has the most room, once that lane has room for it. None:
    /// the put goes as a call.
    pub(crate) async fn place(
        &self,
        put: &api::PutRecordRequest,
        bearer: Option<&Bearer>,
    ) -> Option<Place> {
        let (under_way, bytes) = (self.under_way.load(Ordering::Relaxed), put.encoded_len());
        let fits = bytes <= PUT_BYTES_MAX && bytes - put.body.len() <= BESIDE_BODY_BYTES_MAX;
        if !fits || self.slots.is_empty() {
            return None;
        }
        let wanted = under_way.div_ceil(PUTS_PER_LANE);
        let open = self.slots.iter().take(wanted).filter_map(|slot| slot.lane(bearer, under_way));
        let lane = open.max_by_key(|lane| lane.free())?;
        lane.place(bytes).await
    }
}

impl Drop for Lanes {
    /// The lanes end once what is on them is answered.
    fn drop(&mut self) {
        for slot in &self.slots {
            if let Some(lane) = slot.state().lane.take() {
                lane.retire();
            }
        }
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes").field("max", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === impl Slot ===

impl Slot {
    fn new(target: Target) -> Self {
        let (next, wait) = (Instant::now(), OPEN_EVERY);
        let state = State { lane: None, opening: false, records: None, next, wait };
        Self { target, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane, if it is open for puts with that token. Has one opened where it is worth it.
    fn lane(self: &Arc<Self>, bearer: Option<&Bearer>, under_way: usize) -> Option<Arc<Lane>> {
        let mut state = self.state();
        if let Some(lane) = state.lane.take_if(|lane| !lane.carries(bearer)) {
            lane.retire();
        }
        let (lane, now) = (state.lane.clone(), Instant::now());
        // The next one is open before the last one is left.
        let wanted = lane.as_ref().map_or(under_way >= LANES_FROM, |lane| lane.is_old(now));
        if wanted && !state.opening && now >= state.next {
            self.open(&mut state, bearer.cloned(), now);
        }
        lane
    }

    /// Opens a lane in the background.
    fn open(self: &Arc<Self>, state: &mut State, bearer: Option<Bearer>, now: Instant) {
        let records = match &state.records {
            Some(records) => records.clone(),
            None => match self.target.lazy() {
                Ok(connection) => state.records.insert(records(connection)).clone(),
                Err(_) => return,
            },
        };
        (state.opening, state.next) = (true, now + state.wait);
        let slot = Arc::downgrade(self);
        tokio::spawn(async move {
            let opened = open(records, bearer).await;
            // The client may be gone.
            let Some(slot) = slot.upgrade() else { return };
            let mut state = slot.state();
            state.opening = false;
            match opened {
                Ok(lane) => {
                    state.wait = OPEN_EVERY;
                    if let Some(old) = state.lane.replace(lane) {
                        old.retire();
                    }
                }
                Err(_) => {
                    state.wait = (state.wait * 2).min(OPEN_EVERY_MAX);
                    state.records = None;
                }
            }
        });
    }
}

async fn open(
    mut records: RecordsClient<Checked<Channel>>,
    bearer: Option<Bearer>,
) -> Result<Arc<Lane>, Error> {
    // Never full: the lane has no room for more puts than that.
    let (sender, receiver) = mpsc::channel(CALLS_MAX);
    let mut request = Request::new(ReceiverStream::new(receiver));
    if let Some(bearer) = &bearer {
        request.metadata_mut().insert("authorization", bearer.clone());
    }
    let opened = timeout(OPEN_MAX, records.stream_put(request));
    let answers = opened.await.map_err(|_| Error::TimedOut)??.into_inner();
    Ok(Lane::start(bearer, Instant::now() + LIFE, sender, answers))
}
