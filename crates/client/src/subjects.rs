//! Subjects as a whole: what is held of one, its moves, erasure and blocks.

use ledger::entry::Kind;

use crate::gateway::Gateway;
use crate::receipt::{Proof, Written, check_move, check_subject};
use crate::{Client, Error, api};

impl Client {
    /// Asks what a region holds of a subject, without its records.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn subject(&self, request: &api::GetSubjectRequest) -> Result<api::Subject, Error> {
        let get = |mut to: Gateway, request| async move { to.subjects.get(request).await };
        self.attempts(request, self.question(), get).await.map(|(subject, _)| subject)
    }

    /// Finds the regions that hold a subject, by its id alone. An answer that is not `complete` may
    /// lack some.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn locate_subject(
        &self,
        request: &api::LocateSubjectRequest,
    ) -> Result<api::LocateSubjectResponse, Error> {
        let locate = |mut to: Gateway, request| async move { to.subjects.locate(request).await };
        self.attempts(request, self.question(), locate).await.map(|(found, _)| found)
    }

    /// Makes the rulings of a subject again in its domicile, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn reassess_subject(
        &self,
        request: &api::ReassessSubjectRequest,
    ) -> Result<Written<api::ReassessSubjectResponse>, Error> {
        let ask = |mut to: Gateway, request| async move { to.subjects.reassess(request).await };
        let (answer, _) = self.attempts(request, self.question(), ask).await?;
        let (subject, receipt) = (request.subject.as_ref(), answer.receipt.as_ref());
        let changes = answer.stands && !request.validate_only && !answer.replayed;
        let proof = self.of_change(subject, receipt, changes, Kind::Reassess)?;
        Ok(Written { answer, proof })
    }

    /// Proposes the region of a subject where the rules leave a choice, and checks the answer and its
    /// receipt. Nothing changes until another caller confirms it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn adjudicate_subject(
        &self,
        request: &api::AdjudicateSubjectRequest,
    ) -> Result<Written<api::AdjudicateSubjectResponse>, Error> {
        let ask = |mut to: Gateway, request| async move { to.subjects.adjudicate(request).await };
        let (answer, _) = self.attempts(request, self.question(), ask).await?;
        self.adjudicated(request, answer)
    }

    /// Confirms the region that another caller has proposed for a subject, and checks the answer and its
    /// receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn confirm_adjudication(
        &self,
        request: &api::AdjudicateSubjectRequest,
    ) -> Result<Written<api::AdjudicateSubjectResponse>, Error> {
        let ask = |mut to: Gateway, request| async move {
            to.subjects.confirm_adjudication(request).await
        };
        let (answer, _) = self.attempts(request, self.question(), ask).await?;
        self.adjudicated(request, answer)
    }

    fn adjudicated(
        &self,
        request: &api::AdjudicateSubjectRequest,
        answer: api::AdjudicateSubjectResponse,
    ) -> Result<Written<api::AdjudicateSubjectResponse>, Error> {
        let (subject, receipt) = (request.subject.as_ref(), answer.receipt.as_ref());
        let changes = !request.validate_only && !answer.replayed;
        let proof = self.of_change(subject, receipt, changes, Kind::Adjudicate)?;
        Ok(Written { answer, proof })
    }

    /// Orders the move of a subject to another region. The answer says how far it is.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn relocate_subject(
        &self,
        request: &api::RelocateSubjectRequest,
    ) -> Result<api::Operation, Error> {
        let order = |mut to: Gateway, request| async move { to.subjects.relocate(request).await };
        self.attempts(request, self.question(), order).await.map(|(operation, _)| operation)
    }

    /// Asks what has become of the move of a subject. With `prove`, the receipt of a move that is done
    /// is checked ([`crate::check_move`]).
    ///
    /// # Errors
    /// [`Error`].
    pub async fn operation(
        &self,
        request: &api::GetOperationRequest,
    ) -> Result<api::Operation, Error> {
        let get = |mut to: Gateway, request| async move { to.operations.get(request).await };
        let (operation, _) = self.attempts(request, self.question(), get).await?;
        if request.prove && operation.state() == api::OperationState::Done {
            check_move(request.subject.as_ref(), &operation, self.known(false))?;
        }
        Ok(operation)
    }

    /// Lists the moves of subjects from a region that have not ended.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn operations(
        &self,
        request: &api::ListOperationsRequest,
    ) -> Result<api::ListOperationsResponse, Error> {
        let list = |mut to: Gateway, request| async move { to.operations.list(request).await };
        self.attempts(request, self.question(), list).await.map(|(operations, _)| operations)
    }

    /// Gives up the move of a subject.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn cancel_operation(
        &self,
        request: &api::CancelOperationRequest,
    ) -> Result<api::Operation, Error> {
        let cancel = |mut to: Gateway, request| async move { to.operations.cancel(request).await };
        self.attempts(request, self.question(), cancel).await.map(|(operation, _)| operation)
    }

    /// Erases a subject in its domicile, or one collection of it, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn erase_subject(
        &self,
        request: &api::EraseSubjectRequest,
    ) -> Result<Written<api::EraseSubjectResponse>, Error> {
        let erase = |mut to: Gateway, request| async move { to.subjects.erase(request).await };
        let (answer, once) = self.attempts(request, self.question(), erase).await?;
        let proof = if request.validate_only {
            Proof::DryRun
        } else {
            let receipt = answer.receipt.as_ref();
            let (subject, known) = (request.subject.as_ref(), self.known(once));
            let collection = &request.collection;
            check_subject(subject, collection, receipt, answer.replayed, Kind::Erase, known)?
        };
        Ok(Written { answer, proof })
    }

    /// Replaces the keys of a subject in its domicile, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn rotate_subject_key(
        &self,
        request: &api::RotateSubjectKeyRequest,
    ) -> Result<Written<api::RotateSubjectKeyResponse>, Error> {
        let rotate =
            |mut to: Gateway, request| async move { to.subjects.rotate_key(request).await };
        let (answer, once) = self.attempts(request, self.question(), rotate).await?;
        let proof = if request.validate_only {
            Proof::DryRun
        } else {
            let receipt = answer.receipt.as_ref();
            let (subject, known) = (request.subject.as_ref(), self.known(once));
            check_subject(subject, "", receipt, answer.replayed, Kind::Key, known)?
        };
        Ok(Written { answer, proof })
    }

    /// Blocks a subject in its domicile, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn block_subject(
        &self,
        request: &api::BlockSubjectRequest,
    ) -> Result<Written<api::BlockSubjectResponse>, Error> {
        let block = |mut to: Gateway, request| async move { to.subjects.block(request).await };
        let (answer, _) = self.attempts(request, self.question(), block).await?;
        let (subject, receipt) = (request.subject.as_ref(), answer.receipt.as_ref());
        let changes = !request.validate_only && !answer.replayed;
        let proof = self.of_change(subject, receipt, changes, Kind::Block)?;
        Ok(Written { answer, proof })
    }

    /// Lifts the block on a subject, and checks the answer and its receipt.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unblock_subject(
        &self,
        request: &api::UnblockSubjectRequest,
    ) -> Result<Written<api::UnblockSubjectResponse>, Error> {
        let unblock = |mut to: Gateway, request| async move { to.subjects.unblock(request).await };
        let (answer, _) = self.attempts(request, self.question(), unblock).await?;
        let (subject, receipt) = (request.subject.as_ref(), answer.receipt.as_ref());
        let changes = !request.validate_only && !answer.replayed;
        let proof = self.of_change(subject, receipt, changes, Kind::Unblock)?;
        Ok(Written { answer, proof })
    }

    /// What shows a change. Where nothing was changed there is nothing to show.
    fn of_change(
        &self,
        subject: Option<&api::SubjectRef>,
        receipt: Option<&api::Receipt>,
        changes: bool,
        kind: Kind,
    ) -> Result<Proof, Error> {
        if !changes {
            return Ok(Proof::DryRun);
        }
        Ok(check_subject(subject, "", receipt, false, kind, self.known(false))?)
    }
}
