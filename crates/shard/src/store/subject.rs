//! One subject at rest: its wrapped key, and sealed under it, what the region knows of it.
//!
//! The row: `01`, `01`, incarnation (4 bytes), generation (4 bytes), the wrapped key (60 bytes), the
//! sealed name with its length, a nonce (12 bytes), the sealed state. The state has the wrapped keys of
//! the subject's collections ([`crate::store::collection_key`]), under which its records are sealed.
//! Destroying this row, or the generation, makes every record of the subject unreadable. The name
//! ([`subject_name`]) is for walks over all rows: everything else is bound to the subject's id, which the key of the
//! row does not tell.
//!
//! The row of a subject that was erased is its tombstone ([`crate::store::tombstone`]).

mod new_keys;

use std::sync::Arc;

use atlas::{Aspect, Findings, FindingsFull};
use terms::{Collection, Entropy, RegionId, limits};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::choice::Choice;
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::collection_key::{CollectionKeys, Holder, WrappedKey};
use crate::store::erasure::{CollectionErased, CollectionErasing};
use crate::store::keyring::{Keyring, WRAPPED_BYTES};
use crate::store::keys::{KeyLayout, Owner, SubjectKeys};
use crate::store::moving::GivenUp;
use crate::store::rotation::{Rotated, Rotating, StoredRotation};
use crate::store::secret_files::draw;
pub(crate) use crate::store::status::{Blocked, Status};
use crate::store::subject_name;
use crate::store::tombstone::{ERASED, FORMAT, Tombstone};
use crate::store::types::{Incarnation, Minute, Recent, SubjectTag};

pub(super) const KEPT: u8 = 1;
const DAMAGED: Error = Error::Damaged("subjects");

/// A ruling that stands: the first write of a collection fixed it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) collection: Collection,
    /// The findings that it rests on. Later evidence is kept beside them.
    pub(crate) basis: Findings,
    /// Where copies may lie.
    pub(crate) mirrors: Vec<RegionId>,
    pub(crate) minute: Minute,
}

impl Standing {
    /// The basis, with what else is known of citizenship and residence. Present and contact
    /// findings never change a ruling that stands.
    pub(crate) fn weighed(&self, findings: &Findings) -> Result<Findings, FindingsFull> {
        let weighs = |aspect| matches!(aspect, Aspect::Citizen | Aspect::Resident);
        let mut basis = self.basis.clone();
        for finding in findings.iter().filter(|finding| weighs(finding.aspect())) {
            basis.insert(*finding)?;
        }
        Ok(basis)
    }
}

/// A subject's row, opened.
#[expect(clippy::large_enum_variant, reason = "code that opens it takes it apart at once")]
pub(crate) enum SubjectRow {
    /// What the region knows of the subject.
    Kept(Subject),
    /// It was erased, or has moved to another region.
    Erased(Tombstone),
}

/// A subject's state, open in memory. It has no `Debug`.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) incarnation: Incarnation,
    generation: u32,
    wrapped: [u8; WRAPPED_BYTES],
    key: Arc<SealKey>,
    /// The sealed name.
    name: Vec<u8>,
    pub(crate) status: Status,
    /// All findings of this subject, the bases of its rulings included.
    pub(crate) findings: Findings,
    standings: Vec<Standing>,
    collection_keys: CollectionKeys,
    /// The rotation of its keys that goes on.
    rotating: Option<Rotating>,
    /// The last one that is done.
    pub(crate) rotated: Option<Rotated>,
    /// The erasure of a collection that goes on.
    pub(crate) erasing: Option<CollectionErasing>,
    /// The collections that were erased.
    erased: Vec<CollectionErased>,
    /// The request that created it, so that a retry is known.
    pub(crate) created_by: Recent,
    /// The opening of the CREATE entry; zero where a put created the subject.
    pub(crate) opening: [u8; 32],
    /// The last move from here, if it was given up.
    pub(crate) given_up: Option<GivenUp>,
    /// The region that was chosen for it, or is to be.
    pub(crate) choice: Choice,
}

/// What binds a subject's key, or its state, to its place.
pub(super) fn bound(
    label: &str,
    owner: &Owner,
    region: &RegionId,
    incarnation: Incarnation,
) -> Vec<u8> {
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    binding(label, &parts, Some(incarnation.0.into()))
}

const KEY: &str = "subject key v1";
const STATE: &str = "subject state v1";

impl Subject {
    /// A new subject with a key of its own.
    pub(crate) fn create(
        owner: &Owner,
        region: &RegionId,
        keyring: &dyn Keyring,
        entropy: &dyn Entropy,
        created_by: Recent,
    ) -> Result<Self, Error> {
        let first = Incarnation::FIRST;
        Self::create_again(owner, region, keyring, entropy, created_by, first)
    }

    /// The same of one that was here before.
    pub(crate) fn create_again(
        owner: &Owner,
        region: &RegionId,
        keyring: &dyn Keyring,
        entropy: &dyn Entropy,
        created_by: Recent,
        incarnation: Incarnation,
    ) -> Result<Self, Error> {
        let key = draw(entropy)?;
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let (generation, wrapped) =
            keyring.wrap(&key, &bound(KEY, owner, region, incarnation), nonce);
        Ok(Self {
            incarnation,
            generation,
            wrapped,
            key: Arc::new(SealKey::new(&key)),
            name: subject_name::seal(owner, region, keyring, generation, entropy)?,
            status: Status::Live,
            findings: Findings::default(),
            standings: Vec::new(),
            collection_keys: CollectionKeys::default(),
            rotating: None,
            rotated: None,
            erasing: None,
            erased: Vec::new(),
            created_by,
            opening: [0; 32],
            given_up: None,
            choice: Choice::default(),
        })
    }

    fn holder<'a>(&self, owner: &'a Owner, keys: SubjectKeys<'a>) -> Holder<'a> {
        let Self { incarnation, generation, .. } = *self;
        Holder { owner, incarnation, generation, keys }
    }

    /// Lets these rulings stand in the place of those before. A collection that had none gets a key.
    pub(crate) fn stand(
        &mut self,
        standings: Vec<Standing>,
        owner: &Owner,
        keys: SubjectKeys<'_>,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let holder = self.holder(owner, keys);
        for standing in &standings {
            self.collection_keys.add(&standing.collection, holder, entropy)?;
        }
        self.standings = standings;
        Ok(())
    }

    /// Remembers erasures of another region, in which the subject was.
    pub(crate) fn was_erased(&mut self, erased: Vec<CollectionErased>) {
        self.erased = erased;
    }

    /// Forgets the ruling and the key of a collection, and remembers who asked for that.
    pub(crate) fn forget(&mut self, erased: CollectionErased, layout: &KeyLayout) {
        self.standings.retain(|standing| standing.collection != erased.collection);
        let tag = |standing: &Standing| layout.collection_tag(&standing.collection);
        let tags: Vec<_> = self.standings.iter().map(tag).collect();
        self.collection_keys.keep(&tags);
        self.rotating.iter_mut().for_each(|rotating| rotating.old.keep(&tags));
        self.erasing = None;
        self.erased.retain(|before| before.collection != erased.collection);
        if self.erased.len() >= limits::RULINGS_PER_SUBJECT_MAX {
            self.erased.remove(0);
        }
        self.erased.push(erased);
    }

    /// The same subject, its keys and name wrapped under the current generation. The records' own rows
    /// stay as they are: they are sealed under those keys.
    pub(crate) fn rewrapped(
        &self,
        owner: &Owner,
        keys: SubjectKeys<'_>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let SubjectKeys { region, keyring, .. } = keys;
        let of_key = bound(KEY, owner, region, self.incarnation);
        let key = keyring.unwrap(self.generation, &self.wrapped, &of_key).ok_or(DAMAGED)?;
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let (generation, wrapped) = keyring.wrap(&key, &of_key, nonce);
        let name = subject_name::seal(owner, region, keyring, generation, entropy)?;
        let old = self.holder(owner, keys);
        let new = Holder { generation, ..old };
        let stored = self.collection_keys.stored();
        let stored = CollectionKeys::rewrapped(stored, old, new, entropy)?;
        let collection_keys = CollectionKeys::open(&stored, new)?;
        let rotating = self.rotating.as_ref().map(|it| it.rewrapped(old, new, entropy));
        let rotating = rotating.transpose()?;
        Ok(Self { generation, wrapped, name, collection_keys, rotating, ..self.clone() })
    }

    /// Under which generation a row is wrapped, by the row alone. `None`: it was erased.
    pub(crate) fn generation_of(row: &[u8]) -> Result<Option<u32>, Error> {
        Ok(Kept::read(&mut Reader::new(row))?.map(|kept| kept.generation))
    }

    /// Opens a stored row.
    pub(crate) fn open(
        row: &[u8],
        owner: &Owner,
        keys: SubjectKeys<'_>,
    ) -> Result<SubjectRow, Error> {
        let SubjectKeys { region, layout, keyring } = keys;
        let mut reader = Reader::new(row);
        let Some(row) = Kept::read(&mut reader)? else {
            return Tombstone::read(&mut reader, owner.tag, layout).map(SubjectRow::Erased);
        };
        let Kept { incarnation, generation, wrapped, name } = row;
        let nonce = reader.array::<NONCE_BYTES>()?;
        let of_key = bound(KEY, owner, region, incarnation);
        let key = keyring.unwrap(generation, &wrapped, &of_key).ok_or(DAMAGED)?;
        let key = Arc::new(SealKey::new(&key));
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let of_state = bound(STATE, owner, region, incarnation);
        let plain = key.open(nonce, &of_state, &mut sealed).map_err(|_| DAMAGED)?;
        let state = State::decode(plain)?;
        let holder = Holder { owner, incarnation, generation, keys };
        Ok(SubjectRow::Kept(Self {
            incarnation,
            generation,
            wrapped,
            key,
            name: name.to_vec(),
            status: state.status,
            findings: state.findings,
            standings: state.standings,
            collection_keys: CollectionKeys::open(&state.keys, holder)?,
            rotating: state.rotating.map(|stored| stored.open(holder)).transpose()?,
            rotated: state.rotated,
            erasing: state.erasing,
            erased: state.erased,
            created_by: state.created_by,
            opening: state.opening,
            given_up: state.given_up,
            choice: state.choice,
        }))
    }

    /// The row as it is stored.
    pub(crate) fn seal(
        &self,
        owner: &Owner,
        region: &RegionId,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let mut row = Writer::with_capacity(512);
        row.u8(FORMAT).u8(KEPT).u32(self.incarnation.0);
        row.u32(self.generation).fixed(&self.wrapped).bytes(&self.name).fixed(&nonce);
        let mut row = row.0;
        let from = row.len();
        row.extend_from_slice(&self.encode_state());
        let bound = bound(STATE, owner, region, self.incarnation);
        self.key.seal_tail(nonce, &bound, &mut row, from);
        row
    }

    /// Whose row it is, by the row alone. `None`: it was erased, and nothing tells any more.
    pub(crate) fn owner_of(
        row: &[u8],
        tag: SubjectTag,
        keys: SubjectKeys<'_>,
    ) -> Result<Option<Owner>, Error> {
        let mut reader = Reader::new(row);
        let Some(kept) = Kept::read(&mut reader)? else {
            return Tombstone::read(&mut reader, tag, keys.layout).map(|_| None);
        };
        let (tenant, subject) = subject_name::open(kept.name, tag, kept.generation, keys)?;
        let owner = keys.layout.owner(tenant, subject);
        if owner.tag == tag { Ok(Some(owner)) } else { Err(DAMAGED) }
    }

    /// The generation of the region's key under which its own key is wrapped.
    pub(crate) const fn generation(&self) -> u32 {
        self.generation
    }

    /// Its own key, under which is sealed what is known of it beside its records.
    pub(crate) fn key(&self) -> &SealKey {
        &self.key
    }

    /// The key under which the head of the record at `row` is sealed, and an upload for it.
    pub(crate) fn key_of(&self, row: &[u8]) -> Result<&SealKey, Malformed> {
        let old = self.rotating.as_ref().and_then(|rotating| rotating.key_of(row));
        old.map_or_else(|| self.collection_keys.of_row(row), Ok)
    }

    /// In which minute something is to be done about it, whether a caller asks or not.
    pub(crate) fn due(&self) -> Option<Minute> {
        let erasing = self.erasing.as_ref().map(|erasing| erasing.erasure.began);
        let rotating = || self.rotation().map(|rotation| rotation.began);
        erasing.or_else(|| self.status.due()).or_else(rotating)
    }

    /// The rulings that stand.
    pub(crate) fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Whether that collection is being erased.
    pub(crate) fn is_erasing(&self, collection: &Collection) -> bool {
        self.erasing.as_ref().is_some_and(|erasing| erasing.collection == *collection)
    }

    /// The collections that were erased.
    pub(crate) fn all_erased(&self) -> &[CollectionErased] {
        &self.erased
    }

    /// The last erasure of that collection.
    pub(crate) fn erased(&self, collection: &Collection) -> Option<&CollectionErased> {
        self.erased.iter().find(|erased| erased.collection == *collection)
    }

    /// The ruling that stands for `collection`.
    pub(crate) fn standing(&self, collection: &Collection) -> Option<&Standing> {
        self.standings.iter().find(|standing| standing.collection == *collection)
    }

    fn encode_state(&self) -> Zeroizing<Vec<u8>> {
        let mut state = Writer::with_capacity(256);
        self.status.write(&mut state);
        self.created_by.write(&mut state);
        state.fixed(&self.opening).bytes(&self.findings.encode());
        state.u32(u32::try_from(self.standings.len()).expect("bounded by RULINGS_PER_SUBJECT_MAX"));
        for standing in &self.standings {
            state.text(standing.collection.as_str()).u32(standing.minute.0);
            state.bytes(&standing.basis.encode());
            state.u8(u8::try_from(standing.mirrors.len()).expect("a map has few regions"));
            for mirror in &standing.mirrors {
                state.text(mirror.as_str());
            }
        }
        let keys = self.collection_keys.stored();
        state.u32(u32::try_from(keys.len()).expect("one for each ruling at the most"));
        keys.for_each(|key| key.write(&mut state));
        state.u8(u8::from(self.rotating.is_some()));
        self.rotating.iter().for_each(|rotating| rotating.write(&mut state));
        state.u8(u8::from(self.rotated.is_some()));
        self.rotated.iter().for_each(|rotated| rotated.by.write(&mut state));
        state.u8(u8::from(self.erasing.is_some()));
        self.erasing.iter().for_each(|erasing| erasing.write(&mut state));
        state.u32(u32::try_from(self.erased.len()).expect("bounded by RULINGS_PER_SUBJECT_MAX"));
        self.erased.iter().for_each(|erased| erased.write(&mut state));
        state.u8(u8::from(self.given_up.is_some()));
        self.given_up.iter().for_each(|given_up| given_up.write(&mut state));
        // What rows from before do not have stands last.
        self.choice.write(&mut state);
        self.rotated.iter().for_each(|rotated| rotated.write(&mut state));
        Zeroizing::new(state.0)
    }
}

/// The front of the row of a subject that is kept.
struct Kept<'a> {
    incarnation: Incarnation,
    generation: u32,
    wrapped: [u8; WRAPPED_BYTES],
    name: &'a [u8],
}

impl<'a> Kept<'a> {
    /// `None`: the subject was erased, and the rest of its tombstone follows.
    fn read(row: &mut Reader<'a>) -> Result<Option<Self>, Error> {
        row.format(FORMAT)?;
        match row.u8()? {
            ERASED => Ok(None),
            KEPT => Ok(Some(Self {
                incarnation: Incarnation(row.u32()?),
                generation: row.u32()?,
                wrapped: row.array()?,
                name: row.bytes()?,
            })),
            _ => Err(DAMAGED),
        }
    }
}

/// The sealed part of the row.
struct State {
    status: Status,
    created_by: Recent,
    opening: [u8; 32],
    findings: Findings,
    standings: Vec<Standing>,
    keys: Vec<WrappedKey>,
    rotating: Option<StoredRotation>,
    rotated: Option<Rotated>,
    erasing: Option<CollectionErasing>,
    erased: Vec<CollectionErased>,
    given_up: Option<GivenUp>,
    choice: Choice,
}

impl State {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut state = Reader::new(bytes);
        let (status, created_by) = (Status::read(&mut state)?, Recent::read(&mut state)?);
        let opening = state.array()?;
        let findings = Findings::decode(state.bytes()?).map_err(|_| Malformed)?;
        let mut standings = Vec::new();
        for _ in 0..state.u32()? {
            let collection = Collection::parse(state.text()?).map_err(|_| Malformed)?;
            let minute = Minute(state.u32()?);
            let basis = Findings::decode(state.bytes()?).map_err(|_| Malformed)?;
            let mut mirrors = Vec::new();
            for _ in 0..state.u8()? {
                mirrors.push(RegionId::parse(state.text()?).map_err(|_| Malformed)?);
            }
            standings.push(Standing { collection, basis, mirrors, minute });
        }
        let keys =
            (0..state.u32()?).map(|_| WrappedKey::read(&mut state)).collect::<Result<_, _>>()?;
        let rotating = option(&mut state, StoredRotation::read)?;
        let rotated = option(&mut state, Recent::read)?;
        let erasing = option(&mut state, CollectionErasing::read)?;
        let mut erased = Vec::new();
        for _ in 0..state.u32()? {
            erased.push(CollectionErased::read(&mut state)?);
        }
        let given_up = option(&mut state, GivenUp::read)?;
        // A row from before ends here. A retry of its last rotation begins a new one.
        let is_old = state.rest().is_empty();
        let choice = if is_old { Choice::default() } else { Choice::read(&mut state)? };
        let rotated = rotated.filter(|_| !is_old);
        let rotated = rotated.map(|by| Rotated::read(&mut state, by)).transpose()?;
        state.end()?;
        Ok(Self {
            status,
            created_by,
            opening,
            findings,
            standings,
            keys,
            rotating,
            rotated,
            erasing,
            erased,
            given_up,
            choice,
        })
    }
}

/// What may be there: whether it is, and then itself.
fn option<'a, T>(
    state: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    match state.u8()? {
        0 => Ok(None),
        1 => read(state).map(Some),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests;
