//! What may be done with a subject: its status, as its row has it.

pub(crate) use crate::store::block::Blocked;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::erasure::Erasure;
use crate::store::moving::{Arriving, Left, Move};
use crate::store::types::Minute;

/// What may be done with a subject.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is served.
    Live,
    /// It is kept, and neither read, written nor erased.
    Blocked(Blocked),
    /// Its records are copied to another region. It is read, and not written.
    Moving(Box<Move>),
    /// It was given away to another region, which has not confirmed yet that it has it. It is neither
    /// read nor written.
    Left(Box<Left>),
    /// It is being erased.
    Erasing(Erasure),
    /// Its records come from another region. It is neither read nor written.
    Arriving(Box<Arriving>),
}

impl Status {
    /// In which minute something is to be done about it, whether a caller asks or not.
    pub(crate) const fn due(&self) -> Option<Minute> {
        match self {
            Self::Blocked(blocked) => Some(blocked.until),
            Self::Erasing(erasure) => Some(erasure.began),
            Self::Live | Self::Moving(_) | Self::Left(_) | Self::Arriving(_) => None,
        }
    }

    /// The move from here that goes on.
    pub(crate) const fn moving(&self) -> Option<&Move> {
        match self {
            Self::Moving(of) => Some(of),
            Self::Left(left) => Some(&left.of),
            Self::Live | Self::Blocked(_) | Self::Erasing(_) | Self::Arriving(_) => None,
        }
    }

    pub(super) fn write(&self, state: &mut Writer) {
        match self {
            Self::Live => {
                state.u8(0);
            }
            Self::Blocked(blocked) => {
                state.u8(1);
                blocked.write(state);
            }
            Self::Moving(of) => {
                state.u8(2);
                of.write(state);
            }
            Self::Left(left) => {
                state.u8(3);
                left.write(state);
            }
            Self::Erasing(erasure) => {
                state.u8(4);
                erasure.write(state);
            }
            Self::Arriving(arriving) => {
                state.u8(5);
                arriving.write(state);
            }
        }
    }

    pub(super) fn read(state: &mut Reader<'_>) -> Result<Self, Malformed> {
        match state.u8()? {
            0 => Ok(Self::Live),
            1 => Blocked::read(state).map(Self::Blocked),
            2 => Move::read(state).map(|of| Self::Moving(Box::new(of))),
            3 => Left::read(state).map(|left| Self::Left(Box::new(left))),
            4 => Erasure::read(state).map(Self::Erasing),
            5 => Arriving::read(state).map(|arriving| Self::Arriving(Box::new(arriving))),
            _ => Err(Malformed),
        }
    }
}
