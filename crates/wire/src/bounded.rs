//! The codec of all our services: a message is counted before it is decoded.
//!
//! Two bytes on the wire can become a hundred in memory: an empty message in a repeated field. A
//! request of the largest size would so become gigabytes before any limit of ours is asked. So
//! every message is walked first, as far down as our protos go, without making anything of it;
//! one that holds more fields than its limits allow is refused, and costs its own bytes alone.
//!
//! Counted is each field on the wire, at every depth: known or not, a map's entries too, and each
//! byte of a packed list. What is not counted is what a string or the bytes of a body take up:
//! that is as much in memory as on the wire.
//!
//! This file is written by hand. It knows no domain, only the shapes of messages, which `build.rs`
//! takes from the protos.

use std::marker::PhantomData;

use bytes::Buf as _;
use prost::Message;
use prost::encoding::decode_varint;
use tonic::Status;
use tonic::codec::{BufferSettings, DecodeBuf, Decoder};
use tonic_prost::ProstEncoder;

/// Fields of one message, all that it holds included. Ours need far fewer: 64 pieces of evidence
/// take some 400, and 256 calls with all their fields some 8,000.
pub const FIELDS_MAX: usize = 16_384;
/// The same for answers that list what a deployment has, and for frames of a shard: they come from
/// a server that the reader chose, whose bytes are bounded, and some grow with the deployment.
pub const LIST_FIELDS_MAX: usize = 131_072;
/// The same for an answer with a page of records, or with what became of a batch: 524 for each of 1,000.
/// A record with 32 attributes has up to 174.
pub const PAGE_FIELDS_MAX: usize = 524_288;
/// Fields of a batch: 65 for each of 1,000 items.
pub const BATCH_FIELDS_MAX: usize = 65_536;
/// Items of a batch that are decoded: some more than it may have, so that the refusal says so.
pub const BATCH_PARTS_MAX: usize = 4_096;
/// Calls, or replies, of one session frame.
pub const FRAME_PARTS_MAX: usize = 256;
/// Fields that stand beside them: hello; welcome, goodbye, a word on certificates and one on maps.
const FRAME_BESIDE_MAX: usize = 4;
/// Messages within messages. Ours go six deep.
const DEPTH_MAX: usize = 16;

/// How much one message may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Fields of the message itself.
    pub own: usize,
    /// Fields of the message and of all that it holds.
    pub all: usize,
}

/// The limits of a message of the public API.
pub(crate) const MESSAGE: Limits = Limits { own: FIELDS_MAX, all: FIELDS_MAX };
/// The limits of a batch.
pub(crate) const BATCH: Limits = Limits { own: BATCH_PARTS_MAX, all: BATCH_FIELDS_MAX };
/// The limits of an answer that lists what a deployment has.
pub(crate) const LIST: Limits = Limits { own: LIST_FIELDS_MAX, all: LIST_FIELDS_MAX };
/// The limits of an answer with a page of records, or to a batch.
pub(crate) const PAGE: Limits = Limits { own: LIST_FIELDS_MAX, all: PAGE_FIELDS_MAX };
/// The limits of a frame from a gateway to a shard.
pub(crate) const FRAME: Limits =
    Limits { own: FRAME_PARTS_MAX + FRAME_BESIDE_MAX, all: FIELDS_MAX };
/// The limits of a frame from a shard to a gateway.
pub(crate) const ANSWER_FRAME: Limits =
    Limits { own: FRAME_PARTS_MAX + FRAME_BESIDE_MAX, all: LIST_FIELDS_MAX };

/// A message that travels on its own: a request or an answer.
pub trait Bounded: Message + Default {
    /// The number of its shape.
    const SHAPE: usize;
    /// How much it may hold.
    const LIMITS: Limits;
}

/// The fields of a message that hold more than bytes, by number.
pub(crate) type Shape = &'static [(u32, Inside)];

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Inside {
    /// A message, by the number of its shape.
    Message(usize),
    /// A list of numbers, of a byte or more each.
    Packed,
}

tonic::include_proto!("shapes");

/// Why a message is not decoded. It says nothing of what stood in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It holds more fields than its limits allow.
    TooMany,
    /// It is not protobuf, or holds messages deeper than any of ours.
    Malformed,
}

/// Counts the fields of an encoded message.
///
/// # Errors
/// [`Unfit`], as soon as it is known.
pub fn check<M: Bounded>(bytes: &[u8]) -> Result<(), Unfit> {
    let mut count = Count { left: M::LIMITS.all };
    count.fields(bytes, shape(M::SHAPE)?, M::LIMITS.own, 0)
}

/// Decodes a message that is within its limits.
///
/// # Errors
/// [`Unfit`].
pub fn decode<M: Bounded>(bytes: &[u8]) -> Result<M, Unfit> {
    check::<M>(bytes)?;
    M::decode(bytes).map_err(|_| Unfit::Malformed)
}

fn shape(number: usize) -> Result<Shape, Unfit> {
    SHAPES.get(number).copied().ok_or(Unfit::Malformed)
}

struct Count {
    /// Fields that may still come.
    left: usize,
}

impl Count {
    fn take(&mut self, fields: usize) -> Result<(), Unfit> {
        self.left = self.left.checked_sub(fields).ok_or(Unfit::TooMany)?;
        Ok(())
    }

    /// Counts the fields of one message, which has at most `own` of its own.
    fn fields(
        &mut self,
        mut bytes: &[u8],
        shape: Shape,
        mut own: usize,
        depth: usize,
    ) -> Result<(), Unfit> {
        if depth > DEPTH_MAX {
            return Err(Unfit::Malformed);
        }
        while !bytes.is_empty() {
            own = own.checked_sub(1).ok_or(Unfit::TooMany)?;
            self.take(1)?;
            let key = decode_varint(&mut bytes).map_err(|_| Unfit::Malformed)?;
            let number = u32::try_from(key >> 3).map_err(|_| Unfit::Malformed)?;
            match key & 7 {
                0 => drop(decode_varint(&mut bytes).map_err(|_| Unfit::Malformed)?),
                1 => drop(part(&mut bytes, 8)?),
                2 => {
                    let length = decode_varint(&mut bytes).map_err(|_| Unfit::Malformed)?;
                    let inner = part(&mut bytes, length)?;
                    match shape.iter().find(|(known, _)| *known == number) {
                        Some((_, Inside::Message(of))) => {
                            self.fields(inner, self::shape(*of)?, usize::MAX, depth + 1)?;
                        }
                        Some((_, Inside::Packed)) => self.take(inner.len())?,
                        None => {}
                    }
                }
                5 => drop(part(&mut bytes, 4)?),
                // Groups are of an older protobuf: nobody sends them, and they nest without end.
                _ => return Err(Unfit::Malformed),
            }
        }
        Ok(())
    }
}

/// Cuts so many bytes off the front.
fn part<'a>(bytes: &mut &'a [u8], length: u64) -> Result<&'a [u8], Unfit> {
    let length = usize::try_from(length).map_err(|_| Unfit::Malformed)?;
    let (part, rest) = bytes.split_at_checked(length).ok_or(Unfit::Malformed)?;
    *bytes = rest;
    Ok(part)
}

/// The codec: prost's, behind the count.
#[derive(Debug, Clone)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Message + Send + 'static,
    U: Bounded + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = Counted<U>;

    fn encoder(&mut self) -> ProstEncoder<T> {
        ProstEncoder::new(BufferSettings::default())
    }

    fn decoder(&mut self) -> Counted<U> {
        Counted(PhantomData)
    }
}

/// The decoding half of the codec.
#[derive(Debug, Clone)]
pub struct Counted<U>(PhantomData<U>);

impl<U: Bounded> Decoder for Counted<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        // tonic hands over one message in one piece. Were it ever otherwise, nothing is decoded
        // that has not been counted.
        let whole = buffer.chunk().len() == buffer.remaining();
        let fit = if whole { check::<U>(buffer.chunk()) } else { Err(Unfit::Malformed) };
        fit.map_err(refused)?;
        // From the buffer itself, which shares its bytes with the message instead of copying them.
        U::decode(buffer).map(Some).map_err(|_| refused(Unfit::Malformed))
    }
}

/// For tonic: `INVALID_ARGUMENT`. The gateway puts its own reason in its place.
fn refused(why: Unfit) -> Status {
    let text = match why {
        Unfit::TooMany => "the message holds too many fields",
        Unfit::Malformed => "the message cannot be decoded",
    };
    std::io::Error::new(std::io::ErrorKind::InvalidInput, text).into()
}

#[cfg(test)]
mod tests;
