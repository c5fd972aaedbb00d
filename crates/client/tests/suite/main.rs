//! The SDK against gateways that misbehave.

mod follow;
mod malformed;
