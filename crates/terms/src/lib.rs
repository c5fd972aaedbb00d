//! The words every other crate speaks: identifiers, limits, personal data, time and chance.
//!
//! **Architecture invariant:** this crate knows nothing of storage, network, law or files.
//! Everybody may import it, so whatever enters here enters everywhere: keep it small.

mod causes;
mod environment;
mod hidden;
mod ids;
pub mod limits;
pub mod pem;
mod pii;
mod reason;
mod rejection;
mod rounded;
mod slot;

pub use causes::with_causes;
pub use environment::{Clock, Entropy, EntropyFailed, UnixMillis, jittered};
pub use hidden::{escape_hidden, is_hidden, one_line};
pub use ids::{
    CallId, Collection, InvalidId, RecordKey, RegionId, RequestId, ShardId, SubjectId, TenantId,
};
pub use pii::Pii;
pub use reason::{Code, Reason, Retry};
pub use rejection::{Detail, Rejection};
pub use rounded::Rounded;
pub use slot::{SLOT_SET_BYTES, SLOTS, Slot, SlotSet};
