//! One subject at rest: its wrapped key, and sealed under it, what the region knows of it.
//!
//! The row, of format 2: `02`, generation (4 bytes), the wrapped key (60 bytes), the sealed name
//! with its length, a nonce (12 bytes), the sealed state. Destroying this row, or the generation,
//! makes every record of the subject unreadable. Format 1 was without the name: it is read, and
//! kept as it is.
//!
//! The name ([`crate::store::subject_name`]) is for whoever walks over all rows: everything else is bound to the
//! subject's id, which the key of the row does not tell.

use atlas::{Aspect, Findings, FindingsFull};
use terms::{Collection, Entropy, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Malformed, Reader, Writer};
use crate::store::keyring::{Keyring, WRAPPED_BYTES, draw};
use crate::store::keys::{KeyLayout, Owner, Tag};
use crate::store::record::{EntryAt, Recent};
use crate::store::subject_name;

const FORMAT: u8 = 2;
const FORMAT_UNNAMED: u8 = 1;
const DAMAGED: Error = Error::Damaged("subjects");

/// A ruling that stands: the first write of a collection fixed it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) collection: Collection,
    /// The findings that it rests on. Later evidence is kept beside them.
    pub(crate) basis: Findings,
    /// Where copies may lie.
    pub(crate) mirrors: Vec<RegionId>,
    pub(crate) minute: u32,
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

/// A subject's state, open in memory. It has no `Debug`.
pub(crate) struct Subject {
    generation: u32,
    wrapped: [u8; WRAPPED_BYTES],
    key: SealKey,
    /// The sealed name. None in rows of format 1.
    name: Option<Vec<u8>>,
    /// All findings of this subject, the bases of its rulings included.
    pub(crate) findings: Findings,
    pub(crate) standings: Vec<Standing>,
    /// The request that created it, so that a retry is known.
    pub(crate) created_by: Recent,
    /// The opening of the CREATE entry; zero where a put created the subject.
    pub(crate) opening: [u8; 32],
}

/// What binds a subject's key, or its state, to its place.
fn bound(label: &str, owner: &Owner, region: &RegionId) -> Vec<u8> {
    let parts = [region.as_str(), owner.tenant.as_str(), owner.subject.expose()];
    binding(label, &parts, None)
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
        let key = draw(entropy)?;
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce).map_err(|_| Error::NoEntropy)?;
        let (generation, wrapped) = keyring.wrap(&key, &bound(KEY, owner, region), nonce);
        Ok(Self {
            generation,
            wrapped,
            key: SealKey::new(&key),
            name: Some(subject_name::seal(owner, region, keyring, entropy)?),
            findings: Findings::default(),
            standings: Vec::new(),
            created_by,
            opening: [0; 32],
        })
    }

    /// The same subject with another state.
    pub(crate) fn with(
        &self,
        owner: &Owner,
        region: &RegionId,
        keyring: &dyn Keyring,
        (findings, standings): (Findings, Vec<Standing>),
    ) -> Result<Self, Error> {
        let key = keyring
            .unwrap(self.generation, &self.wrapped, &bound(KEY, owner, region))
            .ok_or(DAMAGED)?;
        Ok(Self {
            generation: self.generation,
            wrapped: self.wrapped,
            key: SealKey::new(&key),
            name: self.name.clone(),
            findings,
            standings,
            created_by: self.created_by,
            opening: self.opening,
        })
    }

    /// Opens a stored row.
    pub(crate) fn open(
        row: &[u8],
        owner: &Owner,
        region: &RegionId,
        keyring: &dyn Keyring,
    ) -> Result<Self, Error> {
        let mut reader = Reader::new(row);
        let format = reader.u8()?;
        let generation = reader.u32()?;
        let wrapped = reader.array::<WRAPPED_BYTES>()?;
        let name = match format {
            FORMAT => Some(reader.bytes()?.to_vec()),
            FORMAT_UNNAMED => None,
            _ => return Err(DAMAGED),
        };
        let nonce = reader.array::<NONCE_BYTES>()?;
        let key =
            keyring.unwrap(generation, &wrapped, &bound(KEY, owner, region)).ok_or(DAMAGED)?;
        let key = SealKey::new(&key);
        let mut sealed = Zeroizing::new(reader.rest().to_vec());
        let plain =
            key.open(nonce, &bound(STATE, owner, region), &mut sealed).map_err(|_| DAMAGED)?;
        let state = State::decode(plain)?;
        Ok(Self {
            generation,
            wrapped,
            key,
            name,
            findings: state.findings,
            standings: state.standings,
            created_by: state.created_by,
            opening: state.opening,
        })
    }

    /// The row as it is stored.
    pub(crate) fn seal(
        &self,
        owner: &Owner,
        region: &RegionId,
        nonce: [u8; NONCE_BYTES],
    ) -> Vec<u8> {
        let mut row = Writer::with_capacity(256);
        let format = if self.name.is_some() { FORMAT } else { FORMAT_UNNAMED };
        row.u8(format).u32(self.generation).fixed(&self.wrapped);
        if let Some(name) = &self.name {
            row.bytes(name);
        }
        row.fixed(&nonce);
        let mut row = row.0;
        let from = row.len();
        row.extend_from_slice(&self.encode_state());
        self.key.seal_tail(nonce, &bound(STATE, owner, region), &mut row, from);
        row
    }

    /// Whose row it is, by the row alone. `None`: it is of format 1, which does not say.
    pub(crate) fn owner_of(
        row: &[u8],
        tag: &Tag,
        (region, namer, keyring): (&RegionId, &KeyLayout, &dyn Keyring),
    ) -> Result<Option<Owner>, Error> {
        let mut reader = Reader::new(row);
        if reader.u8()? == FORMAT_UNNAMED {
            return Ok(None);
        }
        let generation = reader.u32()?;
        reader.array::<WRAPPED_BYTES>()?;
        let (tenant, subject) =
            subject_name::open(reader.bytes()?, tag, generation, (region, keyring))?;
        let owner = namer.owner(tenant, subject);
        if owner.tag == *tag { Ok(Some(owner)) } else { Err(DAMAGED) }
    }

    /// The key under which the heads of its records are sealed.
    pub(crate) const fn key(&self) -> &SealKey {
        &self.key
    }

    /// The ruling that stands for `collection`.
    pub(crate) fn standing(&self, collection: &Collection) -> Option<&Standing> {
        self.standings.iter().find(|standing| standing.collection == *collection)
    }

    fn encode_state(&self) -> Zeroizing<Vec<u8>> {
        let mut state = Writer::with_capacity(192);
        let by = &self.created_by;
        state.fixed(&by.request_id).fixed(&by.fingerprint).u32(by.minute);
        state.u32(by.entry.period).u64(by.entry.index).fixed(&self.opening);
        state.bytes(&self.findings.encode());
        state.u32(u32::try_from(self.standings.len()).expect("bounded by RULINGS_PER_SUBJECT_MAX"));
        for standing in &self.standings {
            state.text(standing.collection.as_str()).u32(standing.minute);
            state.bytes(&standing.basis.encode());
            state.u8(u8::try_from(standing.mirrors.len()).expect("a map has few regions"));
            for mirror in &standing.mirrors {
                state.text(mirror.as_str());
            }
        }
        Zeroizing::new(state.0)
    }
}

/// The sealed part of the row.
struct State {
    created_by: Recent,
    opening: [u8; 32],
    findings: Findings,
    standings: Vec<Standing>,
}

impl State {
    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut state = Reader::new(bytes);
        let created_by = Recent {
            request_id: state.array()?,
            fingerprint: state.array()?,
            minute: state.u32()?,
            version: 0,
            entry: EntryAt { period: state.u32()?, index: state.u64()? },
        };
        let opening = state.array()?;
        let findings = Findings::decode(state.bytes()?).map_err(|_| Malformed)?;
        let mut standings = Vec::new();
        for _ in 0..state.u32()? {
            let collection = Collection::parse(state.text()?).map_err(|_| Malformed)?;
            let minute = state.u32()?;
            let basis = Findings::decode(state.bytes()?).map_err(|_| Malformed)?;
            let mut mirrors = Vec::new();
            for _ in 0..state.u8()? {
                mirrors.push(RegionId::parse(state.text()?).map_err(|_| Malformed)?);
            }
            standings.push(Standing { collection, basis, mirrors, minute });
        }
        state.end()?;
        Ok(Self { created_by, opening, findings, standings })
    }
}
