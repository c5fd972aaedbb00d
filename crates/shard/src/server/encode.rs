//! Answers on the wire.

mod moves;

use atlas::SignedMap;
use bytes::Bytes;
use ledger::entry::{Caller, MapRef};
use prost::Message as _;
use terms::{Collection, RegionId, Rounded};
use wire::session as proto;
use wire::session::reply::Outcome as Sent;

use crate::policy::map_impact::Impact;
use crate::policy::rulings::Verdict;
use crate::reply::{
    Binding, Chosen, Claimed, Copied, CopiedState, CopiesHeld, Found, FoundCopy, Held,
    HeldCollection, HeldState, Listed, Located, Outcome, Page, Receipt, SlotStand, SlotState,
    Written,
};
use crate::server::ruling_message;
use crate::store::accesses::Access;
use crate::store::feed::ChangeKind;
use crate::store::index_state::IndexesBuilding;
use crate::store::keys::Owner;
use crate::store::participants::Participant;
use crate::store::region_maps::Taken;
use crate::store::types::{EpochNumber, Version};

/// The answer to call `id` on a session that was welcomed with the log of that origin: only entries
/// of other logs name theirs.
pub(crate) fn reply(id: u64, outcome: Outcome, welcomed: &str) -> proto::Reply {
    let outcome = match outcome {
        Outcome::Written(done) => Sent::Written(written(done, welcomed)),
        Outcome::Found(found) => {
            let copy = found.copy.as_ref().map(found_copy);
            let Found { version, etag, expires, body, attributes, size, sha256, .. } = found;
            let sealed = found.sealed;
            let (version, expire_ms) = (signed(version), expires.map_or(0, |at| at.0));
            let participants = participants(found.participants);
            Sent::Found(proto::Found {
                version,
                etag,
                body,
                expire_ms,
                attributes,
                participants,
                size,
                sha256,
                sealed,
                copy,
            })
        }
        Outcome::Uploading { stored, checked } => {
            Sent::Upload(proto::UploadState { stored, checked })
        }
        Outcome::Listed(page) => Sent::Listed(listed(page)),
        Outcome::Map(map) => Sent::Map(signed_map(map.unwrap_or_default())),
        Outcome::MapTaken(map) => Sent::Taken(map_ref(map)),
        Outcome::History { maps, more } => {
            let maps = maps.into_iter().map(|(epoch, taken)| map_taken(epoch, taken)).collect();
            Sent::History(proto::MapsTaken { maps, more })
        }
        Outcome::Held(held) => Sent::Held(self::held(*held)),
        Outcome::Copied(copied) => Sent::Copied(proto::Copied { state: copied_state(&copied) }),
        Outcome::CopiesHeld(held) => Sent::CopiesHeld(copies_held(*held)),
        Outcome::Arrived(arrived) => Sent::Arrived(moves::arrived(arrived)),
        Outcome::Moves(all, more) => {
            let moves = all.into_iter().map(moves::moved).collect();
            Sent::Moves(proto::MovesFound { moves, more, proof: None })
        }
        Outcome::MoveProof(proven) => Sent::Moves(moves::proven(*proven)),
        Outcome::Located(Located { collections, withheld }) => {
            let collections = collections.iter().map(ToString::to_string).collect();
            Sent::Located(proto::Located { collections, withheld })
        }
        Outcome::Claimed(claimed) => {
            let outcome = match claimed {
                Claimed::Free => proto::claimed::Outcome::Free,
                Claimed::Held => proto::claimed::Outcome::Held,
                Claimed::Contended => proto::claimed::Outcome::Contended,
            };
            Sent::Claimed(proto::Claimed { outcome: outcome.into() })
        }
        Outcome::AskFirst(ticket) => {
            Sent::AskFirst(proto::AskFirst { ticket: ticket.0.to_vec().into() })
        }
        Outcome::LocateKey(key) => Sent::LocateKey(key.unwrap_or_default()),
        Outcome::TransitKey(note) => Sent::TransitKey(note),
        Outcome::SlotStand(stand) => Sent::SlotStands(slot_stands(*stand)),
        Outcome::Slots(slots) => Sent::Slots(slots.as_bytes().to_vec().into()),
        Outcome::Indexes(building) => Sent::Indexes(indexes(building)),
        Outcome::Binding(Binding { jurisdictions, judged }) => Sent::Binding(proto::Binding {
            jurisdictions: jurisdictions.iter().map(|one| one.as_str().to_owned()).collect(),
            map_epoch: judged.0,
        }),
        Outcome::Impact(impact) => Sent::Surveyed(surveyed(impact)),
        Outcome::Rejected(fault) => Sent::Fault(link::session::to_wire(&fault)),
    };
    proto::Reply { id, outcome: Some(outcome) }
}

fn slot_stands(stand: SlotStand) -> proto::SlotStands {
    use proto::slot_stands::State;
    let SlotStand { state, after, origin, index, held, digest } = stand;
    let state = match state {
        SlotState::None => State::None,
        SlotState::Staging => State::Staging,
        SlotState::Installing => State::Installing,
        SlotState::Adopted => State::Adopted,
        SlotState::Dropped => State::Dropped,
    };
    let digest = digest.map(|digest| digest.to_vec()).unwrap_or_default().into();
    proto::SlotStands { state: state.into(), after: after.into(), origin, index, digest, held }
}

fn found_copy(of: &FoundCopy) -> proto::FoundCopy {
    let FoundCopy { home, written, taken } = of;
    let (written_minute, taken_minute) = (written.0, taken.0);
    proto::FoundCopy { home: home.to_string(), written_minute, taken_minute }
}

fn copies_held(held: CopiesHeld) -> proto::CopiesHeld {
    let one = |(owner, collection): (Owner, Collection)| proto::CopiesOf {
        tenant: owner.tenant.as_str().to_owned(),
        subject: owner.subject.expose().to_owned(),
        collection: collection.as_str().to_owned(),
    };
    let all = held.all.into_iter().map(one).collect();
    proto::CopiesHeld { all, after: held.after.unwrap_or_default().into() }
}

fn copied_state(copied: &Copied) -> i32 {
    let state = match copied.state {
        CopiedState::Done => proto::copied::State::Done,
        CopiedState::None => proto::copied::State::None,
        CopiedState::Stale => proto::copied::State::Stale,
        CopiedState::Unfinished => proto::copied::State::Unfinished,
    };
    state.into()
}

/// A map, by its number and digest.
pub(crate) fn map_ref(map: MapRef) -> proto::MapRef {
    proto::MapRef { epoch: map.epoch, digest: map.digest.to_vec().into() }
}

/// The people that a record names. What binds them is not for readers.
fn participants(all: Vec<Participant>) -> Bytes {
    let one = |one: Participant| proto::Participant {
        subject: one.id.expose().to_owned(),
        region: one.region.as_str().to_owned(),
        jurisdictions: Vec::new(),
    };
    proto::Participants { all: all.into_iter().map(one).collect() }.encode_to_vec().into()
}

fn indexes(building: IndexesBuilding) -> proto::IndexesBuilding {
    let one = |(collection, attribute)| proto::BuildingIndex { collection, attribute };
    let indexes = building.indexes.into_iter().map(one).collect();
    proto::IndexesBuilding { indexes, percent: building.percent }
}

fn written(done: Written, welcomed: &str) -> proto::Written {
    let (records, unfinished) = (done.records, done.unfinished);
    let erasure_terms = ruling_message::terms(&done.terms);
    let Written { version, etag, replayed, index, origin, receipt, ruling, proof, .. } = done;
    let (reassessed, stands) = done.reassessed.map_or_else(Default::default, |of| {
        let each = of.verdicts.into_iter().map(|(name, verdict)| reassessed(&name, verdict));
        (each.collect(), of.stands)
    });
    let choice = done.choice.map(|of| Box::new(chosen(*of)));
    let copied = done.copied.iter().map(ToString::to_string).collect();
    let mut written = proto::Written {
        version: signed(version),
        etag,
        replayed,
        index: index.0,
        origin: origin.filter(|origin| **origin != *welcomed).as_deref().unwrap_or_default().into(),
        ruling: ruling.map(|ruled| ruling_message::of(&ruled)).unwrap_or_default(),
        tlog_proof: proof.unwrap_or_default(),
        records,
        unfinished,
        reassessed,
        stands,
        erasure_terms,
        choice,
        copied,
        ..Default::default()
    };
    if let Some(Receipt { entry, opening, statement }) = receipt {
        (written.entry, written.statement) = (entry, statement);
        written.opening = opening.to_vec().into();
    }
    written
}

fn chosen(of: Chosen) -> proto::Choice {
    let name = |of: Option<RegionId>| of.map(|name| name.to_string()).unwrap_or_default();
    let Chosen { chosen, proposed, open } = of;
    let open = open.iter().map(ToString::to_string).collect();
    proto::Choice { chosen: name(chosen), proposed: name(proposed), open }
}

fn reassessed(collection: &Collection, verdict: Verdict) -> proto::Reassessed {
    let mut given =
        proto::Reassessed { collection: collection.as_str().to_owned(), ..Default::default() };
    match verdict {
        Verdict::Here(ruled) => given.ruling = ruling_message::of(&ruled),
        Verdict::Elsewhere(region) => region.as_str().clone_into(&mut given.region),
        Verdict::Refused(fault) => {
            fault.reason.as_str().clone_into(&mut given.refused);
            let conflicting = fault.detail(terms::Detail::Conflicting).unwrap_or_default();
            let each = conflicting.split(',').filter(|one| !one.is_empty());
            given.conflicting = each.map(ToOwned::to_owned).collect();
            fault.cure_text().clone_into(&mut given.cure);
        }
    }
    given
}

fn listed(page: Page) -> proto::Listed {
    let Page { records, next, withheld, count, more, seal, weight: _ } = page;
    let record = |record: Listed| proto::ListedRecord {
        subject: record.subject.expose().to_owned(),
        key: record.key.expose().to_owned(),
        version: signed(record.version),
        etag: record.etag,
        expire_ms: record.expires.map_or(0, |at| at.0),
        attributes: record.attributes.into(),
        participants: participants(record.participants),
        body: record.body,
        sealed: record.sealed,
        attachment_bytes: record.attachment_bytes,
        order: record.order.into(),
        cursor: record.cursor,
        change: record.change.map_or(0, change),
    };
    let records = records.into_iter().map(record).collect();
    proto::Listed { records, next, withheld, count, more, seal }
}

/// What became of a record, by its number in the API.
const fn change(kind: ChangeKind) -> i32 {
    match kind {
        ChangeKind::Written => 1,
        ChangeKind::Deleted => 2,
        ChangeKind::Expired => 3,
    }
}

fn held_access(access: Access) -> proto::HeldAccess {
    let Access { collection, kind, by, purpose, reads, first, last } = access;
    let mut held = proto::HeldAccess {
        collection: collection.as_str().to_owned(),
        purpose,
        reads,
        first_minute: first.0,
        last_minute: last.0,
        kind: kind.code().into(),
        ..Default::default()
    };
    if let Some(Caller { role, tag, territory }) = by {
        role.as_str().clone_into(&mut held.role);
        held.caller_tag = tag.to_vec().into();
        held.territory = territory.unwrap_or_default();
    }
    held
}

fn held(held: Held) -> proto::HeldPerson {
    use wire::v1::SubjectState as State;

    let (created, chosen, seal) = (held.created, held.chosen, held.seal);
    let Held { state, findings, collections, erased, accesses, generation, rotated, .. } = held;
    let erased = erased.into_iter().map(|(collection, minute)| proto::HeldErased {
        collection: collection.as_str().to_owned(),
        minute: minute.0,
    });
    let mut person = proto::HeldPerson {
        findings: findings.map(|findings| findings.encode()).unwrap_or_default().into(),
        collections: collections.into_iter().map(held_collection).collect(),
        erased: erased.collect(),
        accesses: accesses.0.into_iter().map(held_access).collect(),
        created_minute: created.0,
        key_generation: generation,
        key_rotated_minute: rotated.map_or(0, |minute| minute.0),
        chosen: chosen.map(|region| region.to_string()).unwrap_or_default(),
        seal,
        ..Default::default()
    };
    let state = match state {
        HeldState::Live => State::Live,
        HeldState::Blocked(blocked) => {
            (person.until_minute, person.then_erase) = (blocked.until.0, blocked.then_erase);
            State::Blocked
        }
        HeldState::Moving(to) => {
            person.moved_to = to.to_string();
            State::Moving
        }
        HeldState::Arriving => State::Moving,
        HeldState::Moved(to) => {
            person.moved_to = to.to_string();
            State::Moved
        }
        HeldState::Erasing => State::Erasing,
        HeldState::Erased(minute) => {
            person.erased_minute = minute.0;
            State::Erased
        }
    };
    person.state = state.into();
    person
}

fn held_collection(of: HeldCollection) -> proto::HeldCollection {
    proto::HeldCollection {
        collection: of.name.as_str().to_owned(),
        ruling: of.ruling.map(|ruled| ruling_message::of(&ruled)).unwrap_or_default(),
        since_minute: of.since.0,
        mirrors: of.mirrors.iter().map(ToString::to_string).collect(),
        records: of.records,
        bytes: of.bytes,
        expire_ms: of.expires.map_or(0, |at| at.0),
        erasure_terms: ruling_message::terms(&of.terms),
    }
}

/// Versions are signed on the wire (AIP-141) and grow by one a write: they stay far below 2^63.
fn signed(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

fn signed_map(map: SignedMap) -> proto::SignedMap {
    proto::SignedMap { text: map.text, note: map.note, packs: map.packs }
}

fn map_taken(epoch: EpochNumber, taken: Taken) -> proto::MapTaken {
    let map = Some(map_ref(MapRef { epoch: epoch.0, digest: taken.digest }));
    proto::MapTaken { map, minute: taken.minute.0, signers: taken.by }
}

fn surveyed(impact: Impact) -> proto::Surveyed {
    let counts = impact.fates.into_iter().map(|(fate, count)| proto::SurveyCount {
        collection: fate.collection,
        fate: fate.what,
        detail: fate.detail,
        count: Some(range(count)),
    });
    proto::Surveyed { counts: counts.collect(), subjects: Some(range(impact.subjects)) }
}

const fn range(count: Rounded) -> proto::CountRange {
    let Rounded { at_least, at_most } = count;
    proto::CountRange { at_least, at_most }
}
