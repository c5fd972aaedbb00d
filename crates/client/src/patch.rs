//! Changes of a part of a record.

use crate::gateway::Gateway;
use crate::receipt::{Written, check_patch};
use crate::{Client, Error, api};

impl Client {
    /// Changes the body of a record or some of its attributes, and checks the answer and its receipt.
    /// A new body follows a law to the gateway that must take it, as that of [`Client::put`] does.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn patch(
        &self,
        request: &api::PatchRecordRequest,
    ) -> Result<Written<api::PatchRecordResponse>, Error> {
        let patch = |mut to: Gateway, request| async move { to.records.patch(request).await };
        let (answer, once) = self.attempts(request, self.write(), patch).await?;
        let proof = check_patch(request, &answer, self.known(once))?;
        Ok(Written { answer, proof })
    }
}
