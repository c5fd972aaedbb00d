//! Why a call has no answer, and whether it may be made again.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use terms::limits::REQUEST_BYTES_MAX;
use tonic::{Code, Status, TimeoutExpired};
use wire::status_check::MalformedStatus;

use crate::receipt::Unproven;
use crate::transit_keys::NotSealed;
use crate::{Refused, TokenInvalid};

/// Why a call has no answer. It never holds what was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The gateway said no.
    #[error("{0}")]
    Refused(Box<Refused>),
    /// A law wants the body taken by another gateway, and this client does not send it there.
    #[error("the body is for another gateway, and was not sent there: {why}")]
    NotFollowed {
        /// Why not.
        why: NotFollowed,
        /// What the gateway said: region and address are in its metadata.
        refused: Box<Refused>,
    },
    /// The address cannot be used.
    #[error("the gateway's address {0}")]
    Address(&'static str),
    /// The authorities, the certificate or the key cannot be used.
    #[error("{0}")]
    Tls(&'static str),
    /// A file of theirs is not PEM as it should be.
    #[error("{what}, {problem}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Where, and what is wrong.
        problem: terms::pem::PemInvalid,
    },
    /// There is no token to send.
    #[error("the token {0}")]
    Token(#[from] TokenInvalid),
    /// Who answers is not who is meant, or does not take our certificate.
    #[error("no TLS with the gateway: {0}")]
    Handshake(String),
    /// Nothing answers at the address.
    #[error("nothing answers at the address: is a server running there?")]
    Unreachable(#[source] tonic::transport::Error),
    /// The request has more than [`REQUEST_BYTES_MAX`] bytes: no gateway reads it.
    #[error("the request has more than {REQUEST_BYTES_MAX} bytes, and was not sent")]
    TooLarge,
    /// The connection broke before the answer came.
    #[error(
        "the connection to the gateway broke before it answered; the same request_id settles \
         whether a write happened"
    )]
    Broken,
    /// Time was up before the answer came.
    #[error(
        "the gateway did not answer in time; the same request_id settles whether a write happened"
    )]
    TimedOut,
    /// The answer ended with a status that cannot be decoded.
    #[error(
        "the peer's answer ends with a malformed status (grpc-status-details-bin): whoever answers \
         at this address is no Bailiwick server, or something between changes its answers; the \
         same request_id settles whether a write happened"
    )]
    MalformedStatus,
    /// The peer that answered is no Bailiwick gateway.
    #[error("the peer is no Bailiwick gateway: it answered {0:?} without a reason of ours")]
    NotBailiwick(Code),
    /// The answer came, and what came with it does not prove it.
    #[error("the write is answered and not proven: {0}")]
    Unproven(#[from] Unproven),
    /// What is to be sent cannot be read here, or what came cannot be written here.
    #[error("the local file cannot be used: {0}")]
    Local(io::ErrorKind),
    /// A body could not be sealed or encrypted, and was not sent; or could not be opened.
    #[error(transparent)]
    NotSealed(#[from] NotSealed),
    /// What was downloaded does not have the hash that was stated with it.
    #[error("what was downloaded does not have the SHA-256 that was stated when it was stored")]
    Altered,
}

/// Why a body is not sent to the gateway that another one names for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFollowed {
    /// There is no address.
    #[error("no address is named, and none is listed for the region")]
    Nowhere,
    /// The address is not that of a TLS listener.
    #[error("the address that is named is not https://host:port")]
    Insecure,
    /// The caller has not listed that address for that region.
    #[error("the address that is named is not the one listed for the region")]
    Unlisted,
    /// The gateway named for it is the one that says no, or names another one in its turn.
    #[error("the gateway that was named for it names one again")]
    Again,
    /// It was sent on a stream or in a batch, which has one gateway.
    #[error(
        "a stream or a batch goes to one gateway; on its own, the write can go where it belongs"
    )]
    Stream,
}

impl Error {
    /// The gateway's "no", if it is one.
    pub fn refused(&self) -> Option<&Refused> {
        match self {
            Self::Refused(refused) | Self::NotFollowed { refused, .. } => Some(refused),
            Self::Address(_)
            | Self::Tls(_)
            | Self::Pem { .. }
            | Self::Token(_)
            | Self::Handshake(_)
            | Self::Unreachable(_)
            | Self::TooLarge
            | Self::Broken
            | Self::TimedOut
            | Self::MalformedStatus
            | Self::NotBailiwick(_)
            | Self::Local(_)
            | Self::NotSealed(_)
            | Self::Altered
            | Self::Unproven(_) => None,
        }
    }

    /// How long to wait before the same request may be sent again. None: not at all.
    pub(crate) fn again_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => {
                refused.retryable.then(|| refused.retry_after.unwrap_or_default())
            }
            // Every write has its request_id, so a second one has no second effect.
            Self::Broken | Self::Unreachable(_) => Some(Duration::ZERO),
            Self::NotFollowed { .. }
            | Self::Address(_)
            | Self::Tls(_)
            | Self::Pem { .. }
            | Self::Token(_)
            | Self::Handshake(_)
            | Self::TooLarge
            | Self::TimedOut
            | Self::MalformedStatus
            | Self::NotBailiwick(_)
            | Self::Local(_)
            | Self::NotSealed(_)
            | Self::Altered
            | Self::Unproven(_) => None,
        }
    }

    /// What a connection that does not come about means.
    pub(crate) fn of_connect(error: tonic::transport::Error) -> Self {
        match handshake(&error) {
            Some(why) => Self::Handshake(why),
            None => Self::Unreachable(error),
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        if MalformedStatus::is_cause_of(&status) {
            return Self::MalformedStatus;
        }
        if let Some(refused) = Refused::of_status(&status) {
            return Self::Refused(Box::new(refused));
        }
        if let Some(why) = handshake(&status) {
            return Self::Handshake(why);
        }
        // Our own deadline: tonic calls that CANCELLED.
        if causes(&status).any(|cause| cause.is::<TimeoutExpired>()) {
            return Self::TimedOut;
        }
        // Without a reason, it was not the gateway that spoke, but the connection.
        let code = status.code();
        if matches!(code, Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal) {
            Self::Broken
        } else if code == Code::DeadlineExceeded {
            Self::TimedOut
        } else {
            Self::NotBailiwick(code)
        }
    }
}

/// What TLS says below an error, if it is TLS that failed. That does not pass by itself, so it is
/// not tried again; and it names neither a token nor content.
fn handshake(error: &dyn StdError) -> Option<String> {
    // The kind that TLS gives to everything that is wrong with a peer's bytes.
    let of_tls = |io: &&io::Error| io.kind() == io::ErrorKind::InvalidData;
    causes(error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .find(of_tls)
        .map(io::Error::to_string)
}

/// What lies below an error, from the nearest to the first.
fn causes<'e>(error: &'e dyn StdError) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}
