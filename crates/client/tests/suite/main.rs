//! The SDK against gateways that misbehave.

#![expect(
    clippy::disallowed_methods,
    reason = "the servers of these tests answer with errors of their own"
)]

mod ending;
mod follow;
mod lanes;
mod malformed;
