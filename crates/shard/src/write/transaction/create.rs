//! The creation of a subject.

use std::sync::Arc;

use ledger::entry::Kind;
use terms::{Reason, Rejection};

use crate::policy::asker::Asker;
use crate::policy::ingress::may_enter;
use crate::policy::rulings::Ruled;
use crate::policy::standing_ruling::{How, settle};
use crate::reply::{Receipt, Written};
use crate::store::subject::Subject;
use crate::store::types::Version;
use crate::write::command::Create;
use crate::write::entries::{create_statement, rule_into, say_data};
use crate::write::retries::Retry;
use crate::write::transaction::{Done, Transaction, validated};

impl Transaction<'_> {
    /// Creates a subject, and fixes its ruling for a collection.
    pub(super) fn create(&mut self, asker: &Asker, create: &Create) -> Result<Done, Rejection> {
        let owner = &create.owner;
        self.lets_in(asker, owner, Some(&create.collection), create.given.is_some())?;
        if let Some(subject) = self.subject(owner)? {
            return self.created_before(create, &subject);
        }
        let (node, minute) = (self.node, self.entries.minute());
        let enters = |ruled: &Ruled| may_enter(node, ruled, asker.stands.gateway);
        let how = How { given: create.given.as_ref(), create: true, minute, enters: &enters };
        let settled = settle(self.rules, owner, &create.collection, None, &how)?;
        if let Some(ask_first) = self.unasked(owner, &create.asked)? {
            return Ok(ask_first);
        }
        if create.validate_only {
            return Ok(validated(Version::NONE, Some(settled.ruled)));
        }
        let ruled = Arc::clone(&settled.ruled);
        let digest = ledger::statement::content_digest(&create.opening, &[]);
        let statement = create_statement(create, digest);
        let mut subject = self.new_subject(owner, &create.request)?;
        subject.opening = create.opening;
        subject.findings = settled.findings;
        subject.stand(settled.standings, owner, node.subject_keys(), &*node.entropy)?;
        let nonce = self.node.random()?;
        let mut entry = self.entries.entry(Kind::Create, asker, create.collection.as_str());
        rule_into(&mut entry, &ruled);
        say_data(&mut entry, create.given.as_ref());
        entry.commitment = Some(ledger::statement::commitment(&create.opening, &statement));
        let index = self.entries.next_index();
        let bytes = self.entries.append(&entry)?;
        self.batch.put(owner.row(), subject.seal(owner, &self.node.region, nonce));
        self.subjects.insert(owner.tag, Arc::new(subject));
        let receipt =
            Receipt { entry: bytes.into(), opening: create.opening, statement: statement.into() };
        let (receipt, ruling) = (Some(receipt), Some(ruled));
        let origin = Some(self.entries.own_origin());
        Ok(Done::written(Written { index, origin, receipt, ruling, ..Default::default() }))
    }

    fn created_before(&mut self, create: &Create, subject: &Subject) -> Result<Done, Rejection> {
        let by = &subject.created_by;
        if by.request_id != create.request.id {
            return Err(Rejection::new(Reason::SubjectExists).field("subject.id"));
        }
        if by.fingerprint != create.request.fingerprint {
            return Err(Rejection::new(Reason::RequestIdReused).field("request_id"));
        }
        let digest = ledger::statement::content_digest(&subject.opening, &[]);
        let (owner, collection) = (&create.owner, &create.collection);
        let written = Written {
            replayed: true,
            index: by.entry.index,
            origin: Some(self.entries.origin_of(by.entry)?),
            ruling: self.standing_ruling(owner, collection, Some(subject)),
            ..Default::default()
        };
        let (opening, statement) = (subject.opening, create_statement(create, digest));
        Ok(self.retried(Retry { written, opening, statement, entry: by.entry }))
    }
}
