//! `bailiwick subject adjudicate`: chooses a person's region where the rules leave several. One caller
//! proposes it, another one confirms it.

use clap::Args;
use client::{Written, api};
use serde_json::json;
use terms::RequestId;

use crate::commands::record::show::{keep, proof, proven, receipt, show};
use crate::commands::subject::{Change, Common, Why, request_id};
use crate::error::Failure;
use crate::terminal::say;

#[derive(Debug, Args)]
pub(super) struct AdjudicateOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    why: Why,
    /// Region to choose; with --confirm, the one that is proposed. A dry run without it lists the regions
    /// that the rules leave open
    #[arg(long, value_name = "REGION", required_unless_present = "validate_only")]
    to: Option<String>,
    /// Confirm what another caller has proposed. It needs the role approver; a proposal needs the role
    /// adjudicator
    #[arg(long)]
    confirm: bool,
    /// Request id of this step; use the same one for a retry [default: random]
    #[arg(long, value_name = "UUID", value_parser = RequestId::parse)]
    request_id: Option<RequestId>,
}

impl AdjudicateOptions {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::AdjudicateSubjectRequest {
            subject: common.subject(),
            region: self.to.clone().unwrap_or_default(),
            request_id: request_id(self.request_id)?,
            reason: self.why.reason.clone(),
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
        };
        let file = change.prepare()?;
        let client = common.client().await?;
        let answer = if self.confirm {
            client.confirm_adjudication(&request).await
        } else {
            client.adjudicate_subject(&request).await
        };
        let answer = answer.map_err(|error| common.failed_write(&error, &request.request_id))?;
        keep(file, answer.receipt.as_ref())?;
        self.show(&answer)
    }

    fn show(&self, answer: &Written<api::AdjudicateSubjectResponse>) -> Result<(), Failure> {
        let dry = self.change.validate_only;
        if self.common.json {
            return say(json!({
                "open_regions": answer.open_regions,
                "chosen_region": answer.chosen_region,
                "proposed_region": answer.proposed_region,
                "replayed": answer.replayed,
                "validated_only": dry,
                "proof": proof(&answer.proof),
                "receipt": receipt(answer.receipt.as_ref()),
            }));
        }
        let done = match (dry, answer.replayed, self.confirm) {
            (true, ..) => "dry run: nothing was changed",
            (false, true, _) => "the request was done before",
            (false, false, false) => "proposed: another caller must confirm it",
            (false, false, true) => "confirmed: the person may be relocated there",
        };
        let named = |name: &str| if name.is_empty() { "none".to_owned() } else { name.to_owned() };
        let mut rows = vec![
            ("done", done.to_owned()),
            ("open", named(&answer.open_regions.join(", "))),
            ("chosen", named(&answer.chosen_region)),
            ("proposed", named(&answer.proposed_region)),
        ];
        if answer.receipt.is_some() {
            rows.push(("receipt", proven(answer.receipt.as_ref(), &answer.proof)));
        }
        show(&rows)
    }
}
