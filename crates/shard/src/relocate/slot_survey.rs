//! Reads all rows of a slot that is to go to another shard: what keeps it from going, the digest of its
//! rows, and what its entries are to say.

use std::collections::HashMap;
use std::sync::Arc;

use atlas::Moment;
use engine::{Engine, Key, Order, ScanLimit, Span, Value};
use ledger::entry::{Call, Entry, Kind, Role};
use terms::{Reason, RegionId, Rejection, Slot};

use crate::Error;
use crate::node::Node;
use crate::policy::rulings::{Rules, Verdict};
use crate::store::all_rows::Summing;
use crate::store::copy_keys;
use crate::store::keys;
use crate::store::keys::Owner;
use crate::store::principal::Principal;
use crate::store::record::Stored;
use crate::store::region_maps::map_ref;
use crate::store::slot_move;
use crate::store::subject::{Status, Subject, SubjectRow};
use crate::write::entries::rule_into;
use crate::write::slot_move_command::Given;

/// Rows that are read at once, and their bytes.
pub(crate) const PAGE: ScanLimit = ScanLimit { rows: 1_024, bytes: 4 << 20 };

/// What stays in a slot as long as it does, by why.
#[derive(Default)]
struct Kept {
    busy: u64,
    unplaced: u64,
}

/// Reads a slot. Nothing is written to it meanwhile, if what is found is to be true.
///
/// # Errors
/// What keeps the slot from going, in numbers; `STORED_DATA_DAMAGED`. Blocks its thread.
pub(crate) fn of_slot(node: &Node, slot: Slot, peer: (String, u64)) -> Result<Given, Rejection> {
    let map = node.map();
    let regions: Vec<RegionId> = map.regions().iter().map(|region| region.name().clone()).collect();
    let stays = slot_move::staying(slot);
    let stays = stays.chain(copy_keys::owed_of_slot(&regions, slot));
    for span in stays {
        let found = rows(&*node.engine, &span)?;
        if found > 0 {
            let number = slot.number();
            let problem = format!(
                "people of slot {number} have {found} rows of copies in other regions or from there, or of \
                 moves to other regions or from there"
            );
            let fault = Rejection::new(Reason::FieldInvalid).field("slots").problem(problem);
            return Err(fault.cure("slots with copies do not move yet; moves end by themselves"));
        }
    }
    let mut rules = Rules::new(Arc::clone(&map), node.region.clone(), node.territory);
    rules.set_date(Moment::of(node.now()));
    let log = node.growing();
    let origin = log.name.origin.to_string();
    let groups = HashMap::new();
    let mut survey = Survey { node, rules, groups, kept: Kept::default(), subject: None };
    let mut sum = Summing::new();
    for (n, span) in slot_move::travelling(slot).enumerate() {
        each_page(&*node.engine, span, |page| {
            sum.add(page);
            if n == 0 {
                page.iter().try_for_each(|(key, row)| survey.row(key, row))
            } else {
                Ok(())
            }
        })?;
    }
    let Survey { groups, kept, .. } = survey;
    kept.none(slot)?;
    let mut groups: Vec<(Vec<u8>, (Entry, u64))> = groups.into_iter().collect();
    groups.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    let groups = groups.into_iter().map(|(_, group)| group).collect();
    let (map, digest, held) = (map_ref(&map), sum.sum().digest, false);
    Ok(Given { map, origin, groups, digest, held, peer })
}

impl Kept {
    fn none(&self, slot: Slot) -> Result<(), Rejection> {
        let Self { busy, unplaced } = self;
        let number = slot.number();
        if *busy > 0 {
            let problem =
                format!("{busy} people of slot {number} are being erased, or get new keys");
            let fault = Rejection::new(Reason::ShardBusy).field("slots").problem(problem);
            return Err(fault.cure("this ends by itself"));
        }
        if *unplaced > 0 {
            let problem = format!(
                "{unplaced} people of slot {number} have records that the region map places here no more"
            );
            let fault = Rejection::new(Reason::PlacementNotAdmitted).field("slots");
            return Err(fault
                .problem(problem)
                .cure("move them to their region first, or erase them"));
        }
        Ok(())
    }
}

/// What is read of a slot.
struct Survey<'a> {
    node: &'a Node,
    rules: Rules,
    /// By the bytes of their entries.
    groups: HashMap<Vec<u8>, (Entry, u64)>,
    kept: Kept,
    /// The subject whose rows come now.
    subject: Option<(Key, Owner, Subject)>,
}

impl Survey<'_> {
    fn row(&mut self, key: &[u8], row: &[u8]) -> Result<(), Error> {
        let node = self.node;
        let (prefix, tag) = keys::of_subject(key).ok_or(Error::Damaged("subjects"))?;
        if keys::is_subject(key) {
            self.subject = None;
            let Some(owner) = Subject::owner_of(row, tag, node.subject_keys())? else {
                return Ok(());
            };
            let SubjectRow::Kept(subject) = node.open_subject(&owner, row)? else { return Ok(()) };
            let settled = matches!(subject.status, Status::Live | Status::Blocked(_));
            let goes_on = subject.erasing.is_some() || subject.rotation().is_some();
            self.kept.busy += u64::from(!settled || goes_on);
            let chosen = subject.choice.chosen.as_ref();
            let mut placed = subject.standings().iter().map(|standing| {
                let (collection, basis) = (&standing.collection, &standing.basis);
                self.rules.decide_stored(&owner.tenant, collection, basis, chosen)
            });
            let placed = placed.all(|verdict| matches!(verdict, Verdict::Here(_)));
            self.kept.unplaced += u64::from(!placed);
            self.subject = Some((prefix.to_vec(), owner, subject));
            return Ok(());
        }
        let of = self.subject.take().filter(|(of, ..)| of == prefix);
        // No write leaves a record without its subject.
        let (of, owner, subject) = of.ok_or(Error::Damaged("records"))?;
        let opened = Stored::read(row)
            .and_then(|stored| stored.named(&owner, key, &node.region, subject.key_of(key)?));
        let (address, head) = opened.map_err(|_| Error::Damaged("records"))?;
        let standing = subject.standing(&address.collection);
        self.kept.unplaced += u64::from(!head.is_deleted() && standing.is_none());
        if let Some(standing) = standing.filter(|_| !head.is_deleted()) {
            let (chosen, tenant) = (subject.choice.chosen.as_ref(), &owner.tenant);
            let collection = &address.collection;
            let ruled = self.rules.decide_stored(tenant, collection, &standing.basis, chosen);
            if let Verdict::Here(own) = ruled {
                let named = &head.indexed.participants;
                let together = self.rules.together(tenant, &own, named, node.territory);
                let together = together.ok().flatten();
                let log = node.growing();
                let name = node.shard.as_str();
                let who = Principal::new(&log, Some(tenant.clone()), name, Role::Shard, None);
                let call = Call {
                    tenant_tag: who.tenant_tag.map(|tag| tag.0),
                    caller: Some(&who.caller),
                    collection: Some(collection.as_str()),
                    map: self.rules.map_ref(),
                };
                let mut entry = Entry::of_call(Kind::MoveOut, 0, call);
                rule_into(&mut entry, together.as_ref().unwrap_or(&own));
                let bytes = entry.encode().map_err(|_| Error::Bug)?;
                self.groups.entry(bytes).or_insert((entry, 0)).1 += 1;
            }
        }
        self.subject = Some((of, owner, subject));
        Ok(())
    }
}

/// The digest of what has come of a slot. Blocks its thread.
pub(crate) fn digest_of_came(node: &Node, slot: Slot) -> Result<[u8; 32], Rejection> {
    let mut sum = Summing::new();
    for span in slot_move::all_came(slot) {
        each_page(&*node.engine, span, |page| {
            let rows = page.iter().map(|(key, row)| {
                let key = slot_move::of_came(key).ok_or(Error::Damaged("slots"))?;
                Ok((key.to_vec(), row.clone()))
            });
            let rows = rows.collect::<Result<Vec<_>, Error>>()?;
            sum.add(&rows);
            Ok(())
        })?;
    }
    Ok(sum.sum().digest)
}

/// The next rows of a slot after that one, in the order in which they travel. Blocks its thread.
pub(crate) fn next_rows(
    node: &Node,
    slot: Slot,
    after: &[u8],
) -> Result<Vec<(Key, Value)>, Rejection> {
    for mut span in slot_move::travelling(slot) {
        if after >= span.until.as_slice() {
            continue;
        }
        if after >= span.from.as_slice() {
            span.from = [after, &[0]].concat();
        }
        let page = node.engine.scan(&span, Order::Ascending, PAGE).map_err(Error::from)?;
        if !page.rows.is_empty() {
            return Ok(page.rows);
        }
    }
    Ok(Vec::new())
}

fn rows(engine: &dyn Engine, span: &Span) -> Result<usize, Error> {
    Ok(engine.scan(span, Order::Ascending, PAGE)?.rows.len())
}

fn each_page(
    engine: &dyn Engine,
    mut span: Span,
    mut each: impl FnMut(&[(Key, Value)]) -> Result<(), Error>,
) -> Result<(), Error> {
    loop {
        let page = engine.scan(&span, Order::Ascending, PAGE)?;
        let Some((last, _)) = page.rows.last() else { return Ok(()) };
        each(&page.rows)?;
        span.from = [last.as_slice(), &[0]].concat();
    }
}
