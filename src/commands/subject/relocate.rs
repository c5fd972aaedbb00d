//! `bailiwick subject relocate`: moves a person to the region where the rules place all records.

use clap::Args;
use client::{api, new_request_id};
use link::host::clock::SystemEntropy;
use terms::RequestId;

use crate::commands::operation;
use crate::commands::record::{Given, evidence};
use crate::commands::subject::{Common, Why};
use crate::error::{Exit, Failure};

#[derive(Debug, Args)]
pub(super) struct RelocateOptions {
    #[command(flatten)]
    common: Common,
    /// Region to which the person moves: the one where the rules place all records
    #[arg(long, value_name = "REGION")]
    to: String,
    #[command(flatten)]
    why: Why,
    /// New evidence, as for `subject reassess`; may be repeated. It takes effect only if the person moves
    #[arg(long = "evidence", value_name = "KIND=VALUE")]
    evidence: Vec<Given>,
    /// Request id of this order; use the same one for a retry [default: random]
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
    /// Dry run: check everything in the person's region, change nothing
    #[arg(long, conflicts_with = "watch")]
    validate_only: bool,
    /// Wait until the move has ended, and show how far it is
    #[arg(long)]
    watch: bool,
}

impl RelocateOptions {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let Self { common, to, why, .. } = self;
        let request_id = match self.request_id {
            Some(id) => id,
            None => new_request_id(&SystemEntropy).map_err(|e| Failure::new(Exit::Failed, e))?,
        };
        let request = api::RelocateSubjectRequest {
            subject: common.subject(),
            region: to.clone(),
            request_id: request_id.to_string(),
            reason: why.reason.clone(),
            evidence: evidence(common.json, &self.evidence)?,
            findings: Vec::new(),
            validate_only: self.validate_only,
        };
        let client = common.client().await?;
        let ordered = client.relocate_subject(&request).await;
        let mut at = ordered.map_err(|error| common.failed_write(&error, &request.request_id))?;
        if self.watch {
            let request =
                api::GetOperationRequest { subject: common.subject(), ..Default::default() };
            at = operation::watch(&client, &request, at)
                .await
                .map_err(|error| common.failed(&error))?;
        }
        operation::show(&at, common.json, self.validate_only)?;
        if self.watch { operation::ended(&at) } else { Ok(()) }
    }
}
