//! Why a question about many records has no answer.

use terms::Rejection;

use crate::Error;

/// Why there is no answer.
pub(crate) enum Fault {
    Engine(engine::Error),
    Rejected(Rejection),
}

impl From<engine::Error> for Fault {
    fn from(error: engine::Error) -> Self {
        Self::Engine(error)
    }
}

impl From<Rejection> for Fault {
    fn from(fault: Rejection) -> Self {
        Self::Rejected(fault)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Rejected(error.into())
    }
}
