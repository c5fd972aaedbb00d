//! The gateway that a command calls.

use std::time::Duration;

use client::{Access, Client, Error, Settings};

use super::{GATEWAY, access};
use crate::error::{Exit, Failure};
use crate::terminal::answers::{call_failed, refusal_text};

/// Attempts at one call.
const ATTEMPTS_MAX: u32 = 3;

/// Attempts at one call of a command on records or persons.
pub(crate) const CALL_ATTEMPTS_MAX: u32 = 8;

/// A client for one command on records or persons; or why there is none, to be shown as a call's
/// failure is.
pub(crate) async fn connect(url: &str, access: Access, deadline_ms: u64) -> Result<Client, Error> {
    let deadline = Duration::from_millis(deadline_ms);
    let settings = Settings { deadline, attempts_max: CALL_ATTEMPTS_MAX, ..Settings::DEFAULT };
    Client::connect_with(url, settings, access).await
}

/// The gateway that is called, and how.
#[derive(Debug, clap::Args)]
pub(crate) struct Gateway {
    /// Address of the gateway
    #[arg(long = "gateway", value_name = "URL", default_value = GATEWAY)]
    url: String,
    #[command(flatten)]
    access: access::Options,
}

impl Gateway {
    /// Connects to it.
    pub(crate) async fn client(&self, deadline: Duration) -> Result<Client, Failure> {
        let settings = Settings { deadline, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
        let access = self.access.read().await?;
        let client = Client::connect_with(&self.url, settings, access).await;
        client.map_err(|error| self.failed(&error))
    }

    /// A call to it that failed.
    pub(crate) fn failed(&self, error: &Error) -> Failure {
        let text = match error.refused() {
            Some(refused) => refusal_text(refused),
            None => call_failed(&self.url, error),
        };
        Failure::said(Exit::from(error), text)
    }
}
