//! Every bound that a caller can meet, in one place, so that the docs and the code cannot differ.

/// Bytes of one record's body unless the map says less.
pub const BODY_BYTES_DEFAULT: usize = 1 << 20;
/// Bytes of one record's body at the most, whatever the map says.
pub const BODY_BYTES_MAX: usize = 16 << 20;
/// Bytes by which a sealed body is longer than the body.
pub const SEALED_OVERHEAD_BYTES: usize = 48;
/// Bytes of the id of a transit key at the most: ours have 16.
pub const TRANSIT_KEY_ID_BYTES_MAX: usize = 64;
/// Bytes of one attachment.
pub const ATTACHMENT_BYTES_MAX: usize = 1 << 30;
/// Bytes of each chunk of an attachment but the last.
pub const ATTACHMENT_CHUNK_BYTES: usize = 1 << 20;
/// Bytes of an attachment that are read at once.
pub const ATTACHMENT_READ_BYTES_MAX: usize = 4 << 20;
/// Uploads of one subject that are in progress.
pub const UPLOADS_OF_SUBJECT_MAX: usize = 8;
/// Uploads of one shard that are in progress.
pub const UPLOADS_MAX: usize = 1_024;
/// Uploads of one tenant that are in progress on one shard: no tenant takes all of them.
pub const UPLOADS_OF_TENANT_MAX: usize = UPLOADS_MAX / 4;
/// Bytes of all uploads of one tenant that are in progress on one shard.
pub const UPLOAD_BYTES_OF_TENANT_MAX: usize = 16 << 30;
/// Hours after which an upload to which nothing was added is discarded.
pub const UPLOAD_HOURS_MAX: u32 = 24;
/// Minutes after which an upload to which nothing was added gives way to one for which there is no room.
pub const UPLOAD_IDLE_MINUTES: u32 = 15;
/// The latest time at which a record may expire: the last millisecond of the year 9999.
pub const EXPIRE_MS_MAX: u64 = 253_402_300_799_999;
/// Bytes of a subject's id.
pub const SUBJECT_ID_BYTES_MAX: usize = 256;

/// People that a record names besides its owner.
pub const PARTICIPANTS_MAX: usize = 8;

/// Jurisdictions that bind one of them: far more than findings have countries with a law.
pub const PARTICIPANT_JURISDICTIONS_MAX: usize = 64;
/// Bytes of a record's key.
pub const RECORD_KEY_BYTES_MAX: usize = 256;
/// Bytes of a collection's, region's, shard's or tenant's name (one DNS label).
pub const NAME_BYTES_MAX: usize = 63;
/// Evidence items, and findings, of one request.
pub const EVIDENCE_ITEMS_MAX: usize = 64;
/// Bytes of an etag. Ours have at most 40.
pub const ETAG_BYTES_MAX: usize = 64;
/// Bytes of a caller's name.
pub const CALLER_NAME_BYTES_MAX: usize = 256;
/// Bytes of one evidence value.
pub const EVIDENCE_VALUE_BYTES_MAX: usize = 64;
/// Findings that a shard keeps of one subject.
pub const FINDINGS_KEPT_MAX: usize = 256;
/// Collections in which one subject may have a ruling in one region.
pub const RULINGS_PER_SUBJECT_MAX: usize = 64;
/// Records of one page of a list.
pub const LIST_PAGE_MAX: usize = 1_000;
/// Records of one page of a list whose request names no number.
pub const LIST_PAGE_DEFAULT: usize = 100;
/// Bytes of one page of a list beyond its first record: an answer that every client library takes.
pub const LIST_PAGE_BYTES_MAX: usize = 3 << 20;
/// Regions of one list or count.
pub const LIST_REGIONS_MAX: usize = 64;
/// Bytes of the stated purpose of a read.
pub const PURPOSE_BYTES_MAX: usize = 200;
/// Writes in flight on one `StreamPut` before the gateway stops reading from it.
pub const STREAM_IN_FLIGHT_MAX: usize = 1024;
/// Items of one batch.
pub const BATCH_ITEMS_MAX: usize = 1_000;
/// Puts of which all are done or none.
pub const ATOMIC_PUTS_MAX: usize = 100;
/// Calls in flight in one gateway before it answers `GATEWAY_BUSY`.
pub const GATEWAY_IN_FLIGHT_MAX: usize = 16_384;
/// Calls in flight on the session between one gateway and one shard.
pub const SESSION_IN_FLIGHT_MAX: usize = 16_384;
/// Reads that wait on one session before the shard answers `SHARD_BUSY`: reads never take all of
/// what a session may have in flight, so that writes go on beside them.
pub const SESSION_READS_MAX: usize = SESSION_IN_FLIGHT_MAX / 2;
/// Bytes of bodies in flight on one session.
pub const SESSION_BYTES_IN_FLIGHT_MAX: usize = 128 << 20;
/// Bytes of records that are read for one session, or wait for their gateway to take them.
pub const SESSION_ANSWER_BYTES_MAX: usize = 64 << 20;
/// Calls in one session frame.
pub const FRAME_CALLS_MAX: usize = 256;
/// Bytes at which a session frame is sent rather than filled further.
pub const FRAME_BYTES_TARGET: usize = 256 << 10;
/// Bytes of one session frame: one body of the largest size, and room for what goes with it.
pub const FRAME_BYTES_MAX: usize = BODY_BYTES_MAX + (1 << 20);
/// Bytes of a request to a gateway: a body well over its limit still gets this far, so that it is
/// refused with a reason. Past this, the stream is reset while the caller still sends, and not
/// every client library shows the answer that came with it.
pub const REQUEST_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Writes that wait for a shard's committer before it answers `SHARD_BUSY`. Each of its sessions may
/// have an even part of them.
pub const COMMIT_QUEUE_MAX: usize = 16_384;
/// Writes in one commit.
pub const COMMIT_WRITES_MAX: usize = 2_048;
/// Bytes of rows in one commit (one body of the largest size always fits).
pub const COMMIT_BYTES_MAX: usize = 32 << 20;
/// Request ids that a record remembers: the newest write's, and those of 64 before it.
pub const REQUEST_IDS_KEPT_MAX: usize = 65;
/// Hours for which a record remembers a request id.
pub const REQUEST_IDS_KEPT_HOURS: u64 = 24;
/// Milliseconds that a call may take when its caller named no deadline.
pub const DEADLINE_MS_DEFAULT: u64 = 10_000;
/// Milliseconds that a call may take at the most.
pub const DEADLINE_MS_MAX: u64 = 600_000;
