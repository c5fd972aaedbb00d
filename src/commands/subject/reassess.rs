//! `bailiwick subject reassess`: makes the rulings of a person again, with new evidence.

use clap::Args;
use client::{Written, api};
use serde_json::{Value, json};

use crate::commands::record::show::{keep, proof, proven, receipt, ruling, show};
use crate::commands::record::{Given, evidence};
use crate::commands::subject::{Change, Common, Why};
use crate::error::{Exit, Failure};
use crate::terminal::answers::why;
use crate::terminal::say;

#[derive(Debug, Args)]
pub(super) struct ReassessOptions {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    change: Change,
    #[command(flatten)]
    why: Why,
    /// New evidence, such as `residence=DE`; may be repeated. Evidence of citizenship takes the place
    /// of all that is known of it, and so does evidence of residence. Without any, the rules are asked
    /// again on what is known
    #[arg(long = "evidence", value_name = "KIND=VALUE")]
    evidence: Vec<Given>,
}

impl ReassessOptions {
    pub(super) async fn run(&self) -> Result<(), Failure> {
        let Self { common, change, .. } = self;
        let request = api::ReassessSubjectRequest {
            subject: common.subject(),
            evidence: evidence(common.json, &self.evidence)?,
            findings: Vec::new(),
            reason: self.why.reason.clone(),
            validate_only: change.validate_only,
            receipt_view: change.receipt_view().into(),
        };
        let file = change.prepare()?;
        let answer = common.client().await?.reassess_subject(&request).await;
        let answer = answer.map_err(|error| common.failed(&error))?;
        keep(file, answer.receipt.as_ref())?;
        self.show(&answer)
    }

    /// Prints what the rules give. If records belong elsewhere, the command says so by its code.
    fn show(&self, answer: &Written<api::ReassessSubjectResponse>) -> Result<(), Failure> {
        let (domicile, dry) = (&self.common.domicile, self.change.validate_only);
        if self.common.json {
            say(json!({
                "collections": answer.collections.iter().map(as_json).collect::<Vec<_>>(),
                "stands": answer.stands,
                "replayed": answer.replayed,
                "validated_only": dry,
                "proof": proof(&answer.proof),
                "receipt": receipt(answer.receipt.as_ref()),
            }))?;
        } else {
            let done = match (answer.stands, dry, answer.replayed) {
                (false, ..) => "nothing was changed: not all records stay in this region",
                (true, _, true) => "the rulings stood so already",
                (true, true, false) => "dry run: the new rulings would stand",
                (true, false, false) => "the new rulings stand",
            };
            let mut rows = vec![("done", done.to_owned())];
            for of in &answer.collections {
                rows.push((&of.collection, text(of, domicile)));
            }
            if answer.receipt.is_some() {
                rows.push(("receipt", proven(answer.receipt.as_ref(), &answer.proof)));
            }
            show(&rows)?;
        }
        if answer.stands { Ok(()) } else { Err(Failure::said(Exit::Differs, String::new())) }
    }
}

/// Where the records of a collection belong, and why.
fn text(of: &api::CollectionReassessment, domicile: &str) -> String {
    if let Some(refusal) = &of.refusal {
        return format!("refused: {}; {}", refusal.reason, refusal.cure);
    }
    if of.region != domicile {
        return format!("belong in {}", of.region);
    }
    let mut text = "stay".to_owned();
    for line in of.ruling.as_ref().map(why).unwrap_or_default() {
        text.push_str(&format!("\n{line}"));
    }
    text
}

fn as_json(of: &api::CollectionReassessment) -> Value {
    let refused = |refusal: &api::Refusal| {
        json!({
            "reason": refusal.reason,
            "conflicting": refusal.conflicting,
            "cure": refusal.cure,
        })
    };
    json!({
        "collection": of.collection,
        "region": of.region,
        "ruling": of.ruling.as_ref().map(ruling),
        "refusal": of.refusal.as_ref().map(refused),
    })
}
