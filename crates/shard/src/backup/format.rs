//! The format of a backup: one file of frames, each bound to its place and to its backup.
//!
//! ```text
//! "BWBACKUP", u8 format (1: whole, 2: changes), then frames: u32 length, bytes
//! frame 0      header: [16] backup id, [16] key check, u32 minute, text origin; [32] HMAC of it
//! frames 1..   u8 kind, then sealed: 1 rows (bytes key, bytes value, …), 2 manifest,
//!              3 base (text file name, [16] backup id), 4 changes (bytes key, u8 there, bytes value, …)
//! manifest     last: text log key, text checkpoint, u64 rows, u64 bytes, [32] digest of all rows
//! ```
//! Numbers are big endian; texts and bytes have their length (u32) in front. A frame is sealed with
//! AES-256-GCM under a key that the region's keyring and the id give. The nonce is the number of the
//! frame; number, kind and header are authenticated with it. Nothing follows the manifest.
//!
//! A backup of format 2 has one base, in frame 1, and then what is to be changed in the rows of that whole
//! backup: a row that is there replaces or joins them, one that is not is removed. It has a key of its own.

use std::io::{ErrorKind, Read};
use std::path::Path;

use aws_lc_rs::hmac;
use engine::{Key, Value};

use crate::log::begun_backup::{BackupId, BegunBackup};
use crate::store::aead::{NONCE_BYTES, SealKey, TAG_BYTES, binding};
use crate::store::all_rows::RowSum;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::Keyring;
use crate::store::types::{KeyCheck, Minute};

/// What a whole backup begins with.
pub(super) const MAGIC: &[u8; 9] = b"BWBACKUP\x01";
/// What one that has changes begins with.
const MAGIC_OF_CHANGES: &[u8; 9] = b"BWBACKUP\x02";
/// Bytes of a frame at the most: a page of rows, or one row, and what seals it.
pub(super) const FRAME_BYTES_MAX: usize = engine::VALUE_BYTES_MAX + (1 << 20);
/// In the place of a frame's length, between processes: the backup failed, and a text says why.
pub(super) const FAILED: u32 = u32::MAX;
/// The kinds of sealed frames.
pub(super) const ROWS: u8 = 1;
pub(super) const MANIFEST: u8 = 2;
pub(super) const BASE: u8 = 3;
pub(super) const CHANGES: u8 = 4;
const MAC_BYTES: usize = 32;
const HEADER_BYTES_MAX: usize = 4_096;

/// What a backup says of itself to everyone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: BackupId,
    /// Of the keyring under which it is sealed.
    pub(super) key_check: KeyCheck,
    pub(super) minute: Minute,
    /// The origin of the shard's log.
    pub(super) origin: String,
}

/// What stands at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manifest {
    /// The public key of the log.
    pub(super) vkey: String,
    /// A checkpoint over all of it.
    pub(super) note: String,
    pub(super) sum: RowSum,
}

/// Whether a backup has all rows, or what has changed since another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Whole,
    Changes,
}

impl Format {
    const fn magic(self) -> &'static [u8; 9] {
        match self {
            Self::Whole => MAGIC,
            Self::Changes => MAGIC_OF_CHANGES,
        }
    }

    const fn header_label(self) -> &'static str {
        match self {
            Self::Whole => "backup header v1",
            Self::Changes => "backup header of changes v1",
        }
    }

    const fn key_label(self) -> &'static str {
        match self {
            Self::Whole => "backup key v1",
            Self::Changes => "backup key of changes v1",
        }
    }
}

/// Rows that are there now, or not any more.
pub(super) struct Changes(pub(super) Vec<(Key, Option<Value>)>);

/// A sealed frame, opened.
pub(super) enum Frame {
    Rows(Vec<(Key, Value)>),
    Manifest(Manifest),
    /// The whole backup since which changes follow: the name of its file, and its id.
    Base {
        name: String,
        id: BackupId,
    },
    Changes(Changes),
}

impl Header {
    pub(super) fn new(begun: &BegunBackup, key_check: KeyCheck, minute: Minute) -> Self {
        Self { id: begun.id, key_check, minute, origin: begun.origin.to_string() }
    }

    fn encode(&self) -> Vec<u8> {
        let mut header = Writer::with_capacity(128);
        header.fixed(&self.id.0).fixed(&self.key_check.0).u32(self.minute.0).text(&self.origin);
        header.0
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut header = Reader::new(bytes);
        let (id, key_check) = (BackupId(header.array()?), KeyCheck(header.array()?));
        let (minute, origin) = (Minute(header.u32()?), header.text()?.to_owned());
        header.end()?;
        Ok(Self { id, key_check, minute, origin })
    }
}

impl Manifest {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { vkey, note, sum: RowSum { rows, bytes, digest } } = self;
        let mut manifest = Writer::with_capacity(1_024);
        manifest.text(vkey).text(note).u64(*rows).u64(*bytes).fixed(digest);
        manifest.0
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut manifest = Reader::new(bytes);
        let (vkey, note) = (manifest.text()?.to_owned(), manifest.text()?.to_owned());
        let (rows, bytes, digest) = (manifest.u64()?, manifest.u64()?, manifest.array()?);
        manifest.end()?;
        Ok(Self { vkey, note, sum: RowSum { rows, bytes, digest } })
    }
}

/// What the frames of one backup are sealed with.
pub(super) struct FrameKey {
    key: SealKey,
    /// Authenticated with each frame.
    header: Vec<u8>,
}

fn mac(keyring: &dyn Keyring, label: &str, text: &[u8]) -> hmac::Tag {
    let text = [&*binding(label, &[], None), text].concat();
    hmac::sign(&keyring.derive("backups"), &text)
}

impl FrameKey {
    fn new(keyring: &dyn Keyring, id: BackupId, header: Vec<u8>, format: Format) -> Self {
        let purpose = [&*binding(format.key_label(), &[], None), &id.0].concat();
        Self { key: SealKey::derived(&keyring.derive("backups"), &purpose), header }
    }

    /// A new backup's key, and its beginning up to the first sealed frame.
    pub(super) fn begin(keyring: &dyn Keyring, header: &Header, format: Format) -> (Self, Vec<u8>) {
        let header_bytes = header.encode();
        let tag = mac(keyring, format.header_label(), &header_bytes);
        let mut bytes = Writer::with_capacity(256);
        bytes.fixed(format.magic()).bytes(&[&*header_bytes, tag.as_ref()].concat());
        (Self::new(keyring, header.id, header_bytes, format), bytes.0)
    }

    fn bound(&self, kind: u8, number: u64) -> ([u8; NONCE_BYTES], Vec<u8>) {
        let mut nonce = [0; NONCE_BYTES];
        nonce[NONCE_BYTES - 8..].copy_from_slice(&number.to_be_bytes());
        let place = binding("backup frame v1", &[], Some(number));
        (nonce, [&*place, &[kind], &*self.header].concat())
    }

    /// A whole frame with its length. `plain` is what it says.
    pub(super) fn seal(&self, kind: u8, number: u64, plain: &[u8]) -> Vec<u8> {
        let (nonce, bound) = self.bound(kind, number);
        let mut frame = Writer::with_capacity(plain.len() + 64);
        let length = u32::try_from(1 + plain.len() + TAG_BYTES).expect("below FRAME_BYTES_MAX");
        frame.u32(length).u8(kind).fixed(plain);
        self.key.seal_tail(nonce, &bound, &mut frame.0, 5);
        frame.0
    }

    /// Opens a frame. `None`: it is not what was written in this place.
    pub(super) fn open(&self, number: u64, mut frame: Vec<u8>) -> Option<Frame> {
        let (kind, sealed) = frame.split_first_mut()?;
        let (nonce, bound) = self.bound(*kind, number);
        let plain = self.key.open(nonce, &bound, sealed).ok()?;
        match *kind {
            ROWS => rows(plain).ok().map(Frame::Rows),
            MANIFEST => Manifest::decode(plain).ok().map(Frame::Manifest),
            BASE => base(plain),
            CHANGES => Changes::decode(plain).ok().map(Frame::Changes),
            _ => None,
        }
    }
}

/// What a frame of rows says.
pub(super) fn encode_rows(rows: &[(Key, Value)]) -> Vec<u8> {
    let bytes = rows.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
    let mut plain = Writer::with_capacity(bytes);
    for (key, value) in rows {
        plain.bytes(key).bytes(value);
    }
    plain.0
}

/// What a frame of the base says.
pub(super) fn encode_base(name: &str, id: BackupId) -> Vec<u8> {
    let mut plain = Writer::with_capacity(256);
    plain.text(name).fixed(&id.0);
    plain.0
}

/// The name is that of a file, without a folder.
fn base(plain: &[u8]) -> Option<Frame> {
    let mut reader = Reader::new(plain);
    let (name, id) = (reader.text().ok()?.to_owned(), BackupId(reader.array().ok()?));
    reader.end().ok()?;
    let is_file = Path::new(&name).file_name().is_some_and(|file| file == &*name);
    is_file.then_some(Frame::Base { name, id })
}

impl Changes {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self(changes) = self;
        let of_one = |(key, value): &(Key, Option<Value>)| {
            key.len() + value.as_ref().map_or(0, Vec::len) + 9
        };
        let mut plain = Writer::with_capacity(changes.iter().map(of_one).sum());
        for (key, value) in changes {
            plain.bytes(key).u8(u8::from(value.is_some()));
            if let Some(value) = value {
                plain.bytes(value);
            }
        }
        plain.0
    }

    fn decode(plain: &[u8]) -> Result<Self, Malformed> {
        let (mut changes, mut reader) = (Vec::new(), Reader::new(plain));
        while !reader.rest().is_empty() {
            let key = reader.bytes()?.to_vec();
            let value = match reader.u8()? {
                0 => None,
                1 => Some(reader.bytes()?.to_vec()),
                _ => return Err(Malformed),
            };
            changes.push((key, value));
        }
        Ok(Self(changes))
    }
}

fn rows(plain: &[u8]) -> Result<Vec<(Key, Value)>, Malformed> {
    let (mut rows, mut reader) = (Vec::new(), Reader::new(plain));
    while !reader.rest().is_empty() {
        rows.push((reader.bytes()?.to_vec(), reader.bytes()?.to_vec()));
    }
    Ok(rows)
}

/// The next frame of a backup. `None`: the file ends here.
///
/// # Errors
/// Why there is none.
pub(super) fn next_frame(from: &mut impl Read) -> Result<Option<Vec<u8>>, String> {
    let mut length = [0; 4];
    let cut = |error: std::io::Error| {
        let cut = error.kind() == ErrorKind::UnexpectedEof;
        if cut { "it ends in the middle: it was cut off".to_owned() } else { error.to_string() }
    };
    match from.read(&mut length[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => from.read_exact(&mut length[1..]).map_err(cut)?,
        Err(error) => return Err(error.to_string()),
    }
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length == 0 || length > FRAME_BYTES_MAX {
        return Err("its length is changed".to_owned());
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame).map_err(cut)?;
    Ok(Some(frame))
}

/// Reads the beginning of a backup: the header, and then what opens its frames, if it is this
/// shard's and was made under this keyring.
///
/// # Errors
/// Why it is none of this shard's.
pub(super) fn open_header(
    from: &mut impl Read,
    keyring: &dyn Keyring,
    prefix: &str,
    key_check: KeyCheck,
) -> Result<(Header, FrameKey, Format), String> {
    let mut magic = [0; MAGIC.len()];
    if from.read_exact(&mut magic).is_err() || magic[..8] != MAGIC[..8] {
        return Err("it is no backup".to_owned());
    }
    let known = [Format::Whole, Format::Changes].into_iter().find(|known| magic == *known.magic());
    let Some(format) = known else {
        return Err("it is of a format that this release does not read".to_owned());
    };
    let frame = next_frame(from).map_err(|why| format!("its header: {why}"))?;
    let frame = frame.filter(|frame| frame.len() <= HEADER_BYTES_MAX);
    let parts = frame.as_deref().and_then(|frame| frame.split_last_chunk::<MAC_BYTES>());
    let read = parts.and_then(|(bytes, tag)| Some((bytes, tag, Header::decode(bytes).ok()?)));
    let Some((bytes, tag, header)) = read else { return Err(CHANGED.to_owned()) };
    // What it says is not proven yet: it only tells one mistake from another.
    if !header.origin.starts_with(prefix) {
        let origin = header.origin;
        return Err(format!(
            "it is of the log {origin}, not of this shard, or its header was changed"
        ));
    }
    if header.key_check != key_check {
        let why =
            "it was made under another keyring than the one in `keys`, or its header was changed";
        return Err(why.to_owned());
    }
    let text = [&*binding(format.header_label(), &[], None), bytes].concat();
    if hmac::verify(&keyring.derive("backups"), &text, tag).is_err() {
        return Err(CHANGED.to_owned());
    }
    let key = FrameKey::new(keyring, header.id, bytes.to_vec(), format);
    Ok((header, key, format))
}

const CHANGED: &str = "its header was changed";
