//! `bailiwick record patch`: changes the body of a record, or some of its attributes.

use std::path::PathBuf;

use clap::Args;
use client::{Error, api};

use crate::commands::record::{Body, Common, Write, attribute, show};
use crate::error::Failure;

#[derive(Debug, Args)]
pub(super) struct PatchOptions {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    write: Write,
    #[command(flatten)]
    body: NewBody,
    /// Attribute to set, as in `record put`; may be repeated. The others stay
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    attributes: Vec<attribute::Attribute>,
    /// Attribute to remove; may be repeated
    #[arg(long = "remove-attribute", value_name = "NAME")]
    removed: Vec<String>,
}

#[derive(Args)]
#[group(multiple = false)]
struct NewBody {
    /// New body of the record [default: it stays]
    #[arg(long = "body", value_name = "TEXT")]
    text: Option<String>,
    /// File with the new body; `-` is standard input
    #[arg(long = "body-file", value_name = "FILE")]
    file: Option<PathBuf>,
}

impl std::fmt::Debug for NewBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewBody").finish_non_exhaustive()
    }
}

impl PatchOptions {
    /// Patches, and prints the answer.
    pub(super) async fn run(
        &self,
        sent: &mut Option<String>,
    ) -> Result<Result<Result<(), Failure>, Error>, Failure> {
        let request = self.request()?;
        let client = match self.common.client(Vec::new()).await? {
            Ok(client) => self.write.client(client),
            Err(error) => return Ok(Err(error)),
        };
        let file = self.write.prepare()?;
        *sent = Some(request.request_id.clone());
        let answer = client.patch(&request).await;
        Ok(answer.map(|answer| {
            show::keep(file, answer.receipt.as_ref())?;
            show::patch(self.common.json, &answer, self.write.validate_only)
        }))
    }

    fn request(&self) -> Result<api::PatchRecordRequest, Failure> {
        let NewBody { text, file } = &self.body;
        let body = (text.is_some() || file.is_some())
            .then(|| Body { text: text.clone(), file: file.clone() }.read());
        Ok(api::PatchRecordRequest {
            subject: self.common.subject(),
            collection: self.common.collection.clone(),
            key: self.common.key.clone(),
            request_id: self.write.request_id()?,
            if_version: self.write.if_version,
            etag: self.write.etag.clone(),
            validate_only: self.write.validate_only,
            receipt_view: self.write.receipt_view().into(),
            body: body.transpose()?.map(Into::into),
            attributes: self.attributes.iter().map(attribute::Attribute::to_api).collect(),
            remove_attributes: self.removed.clone(),
            ..Default::default()
        })
    }
}
