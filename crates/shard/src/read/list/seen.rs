//! The people who are in a page of a whole collection are told of it, if the collection's reads are logged:
//! what their accesses do not say yet is committed before the page is given.

use std::collections::HashSet;

use terms::{Reason, Rejection};
use tokio::sync::oneshot;

use crate::policy::asker::Asker;
use crate::read::list::query::ListQuery;
use crate::read::reader::Reader;
use crate::reply::Page;
use crate::write::command::Errand;
use crate::write::seen::Seen;

/// People who are told in one commit: far less than would hold up writes, and than a commit holds.
const AT_ONCE: usize = 128;

/// Notes it. Blocks its thread.
pub(super) fn note(
    reader: &Reader,
    asker: &Asker,
    query: &ListQuery,
    page: &Page,
) -> Result<(), Rejection> {
    let node = &*reader.node;
    let owner = |id: &terms::SubjectId| node.namer.owner(asker.tenant.clone(), id.clone());
    let mut met = HashSet::new();
    let people = page.records.iter().map(|record| &record.subject);
    let mut owners: Vec<_> = people.map(owner).filter(|owner| met.insert(owner.tag)).collect();
    while !owners.is_empty() {
        let rest = owners.split_off(owners.len().min(AT_ONCE));
        let (collection, purpose) = (query.collection.clone(), query.purpose.clone());
        let who = asker.who.clone();
        let seen = Seen { owners, collection, who, purpose };
        // Mostly they are told already, and nothing is written.
        if !seen.untold(node)?.is_empty() {
            let (sender, noted) = oneshot::channel();
            reader.queue.submit_errand(Errand::NoteSeen(Box::new(seen), sender));
            // Without an answer, the queue was full, or the shard goes down.
            noted.blocking_recv().unwrap_or_else(|_| Err(Reason::ShardBusy.into()))?;
        }
        owners = rest;
    }
    Ok(())
}
