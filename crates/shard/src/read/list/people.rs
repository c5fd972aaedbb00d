//! The persons whose records a page meets, each looked at once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use engine::{Key, View};
use terms::Rejection;

use crate::Error;
use crate::node::Node;
use crate::policy::egress::EgressPolicy;
use crate::policy::subject_status;
use crate::read::list::fault::Fault;
use crate::store::keys::{self, Owner};
use crate::store::record::{Address, Head, Stored};
use crate::store::subject::{Subject, SubjectRow};
use crate::store::types::SubjectTag;

/// A person, and whether its records may be given.
pub(crate) struct Person {
    pub(crate) owner: Owner,
    pub(crate) subject: Arc<Subject>,
    /// Whether those who ask may have its records.
    pub(crate) readable: bool,
    /// Whether a law keeps its records from them. Otherwise it is not served just now.
    pub(crate) barred: bool,
}

impl Person {
    /// The record of a head's row. Where the subject in the cache does not open it, that of the view does:
    /// its keys have been replaced since. None: its collection was erased after the view was opened, or
    /// began with a commit that is not answered yet.
    ///
    /// # Errors
    /// [`Error::Damaged`] when neither opens it.
    pub(crate) fn open(
        &self,
        node: &Node,
        view: &dyn View,
        key: &[u8],
        row: &[u8],
    ) -> Result<Option<(Address, Head)>, Error> {
        const DAMAGED: Error = Error::Damaged("records");
        let opens = |subject: &Subject| {
            Stored::read(row)
                .and_then(|stored| {
                    stored.named(&self.owner, key, &node.region, subject.key_of(key)?)
                })
                .ok()
                .filter(|(_, head)| head.incarnation == subject.incarnation)
        };
        if let Some(opened) = opens(&self.subject) {
            return Ok(Some(opened));
        }
        let of_view = view.get_many(&[&self.owner.row()])?.pop().flatten().ok_or(DAMAGED)?;
        let SubjectRow::Kept(of_view) = node.open_subject(&self.owner, &of_view)? else {
            return Err(DAMAGED);
        };
        let (address, head) = opens(&of_view).ok_or(DAMAGED)?;
        let of = |subject: &Subject| subject.erased(&address.collection).cloned();
        let same = self.subject.standing(&address.collection).is_some()
            && of(&self.subject) == of(&of_view);
        Ok(same.then_some((address, head)))
    }
}

/// The persons of one question. None: of another tenant or shard, or erased.
#[derive(Default)]
pub(crate) struct People(HashMap<SubjectTag, Option<Rc<Person>>>);

impl People {
    /// One whose records may be given.
    pub(crate) fn readable(owner: &Owner, subject: Arc<Subject>) -> Self {
        let person = Person { owner: owner.clone(), subject, readable: true, barred: false };
        Self(HashMap::from([(owner.tag, Some(Rc::new(person)))]))
    }

    pub(crate) fn get(&self, tag: SubjectTag) -> Option<Rc<Person>> {
        self.0.get(&tag).cloned().flatten()
    }

    /// Reads the subjects of these heads.
    pub(crate) fn meet(
        &mut self,
        policy: &EgressPolicy<'_>,
        view: &dyn View,
        heads: &[&[u8]],
    ) -> Result<(), Fault> {
        let mut rows: Vec<(SubjectTag, Key)> = Vec::new();
        for head in heads {
            let (prefix, tag) = keys::of_subject(head).ok_or(Error::Damaged("records"))?;
            if let Entry::Vacant(vacant) = self.0.entry(tag) {
                vacant.insert(None);
                rows.push((tag, keys::subject_row(prefix)));
            }
        }
        let wanted: Vec<&[u8]> = rows.iter().map(|(_, key)| key.as_slice()).collect();
        for ((tag, _), row) in rows.iter().zip(view.get_many(&wanted)?) {
            // No write leaves a record without its subject.
            let row = row.ok_or(Error::Damaged("records"))?;
            self.0.insert(*tag, person(policy, *tag, &row)?.map(Rc::new));
        }
        Ok(())
    }
}

fn person(
    policy: &EgressPolicy<'_>,
    tag: SubjectTag,
    row: &[u8],
) -> Result<Option<Person>, Rejection> {
    let node = policy.node;
    let Some(owner) = Subject::owner_of(row, tag, node.subject_keys())? else { return Ok(None) };
    if owner.tenant != policy.asker.tenant || !node.owns(owner.slot) {
        return Ok(None);
    }
    let subject = match node.subjects.get(&tag) {
        Some(cached) => cached,
        None => match node.open_subject(&owner, row)? {
            SubjectRow::Kept(subject) => Arc::new(subject),
            SubjectRow::Erased(_) => return Ok(None),
        },
    };
    let served = subject_status::admit_read(&subject, node.now()).is_ok()
        && !subject.is_erasing(policy.collection);
    let barred = !policy.lets_read(&subject);
    Ok(Some(Person { owner, subject, readable: served && !barred, barred }))
}
