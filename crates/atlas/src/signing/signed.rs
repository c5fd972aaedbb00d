//! A region map as it travels: its text, the note with its signatures, and the statute packs that
//! it puts in force. Its sender is not trusted; its signatures are.
//!
//! What is signed is a statement of four lines, so that a person can read what they sign:
//! ```text
//! bailiwick region map
//! <deployment>
//! <version>
//! sha256:<digest of the map's text>
//! ```
//! The digests of the packs and of the predecessor stand in the map, so they are signed with it.

use std::sync::Arc;

use sha2::{Digest, Sha256};
use terms::{Reason, Rejection};

use crate::map::digest_text;
use crate::{Checked, Date, RegionMap, StatutePack, Widening, check, packs, widening};

/// The first line of what is signed.
const STATEMENT: &str = "bailiwick region map";
/// Packs that may travel with one map.
const PACKS_CARRIED_MAX: usize = 256;
/// Bytes of a map with its note and its packs: it travels in one frame.
pub const SIGNED_MAP_BYTES_MAX: usize = 15 << 20;
/// By how much a version may pass the one in force where it joins the heads of a fork. Without a
/// bound one signer could use up all versions at once.
const VERSION_STEP_MAX: u64 = 1_000;
/// Signatures that a map needs which lets data go, or lowers a protection, where the map before
/// it did not.
pub const SIGNERS_TO_WIDEN: usize = 2;

/// A map on its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedMap {
    /// The TOML text, byte for byte.
    pub text: String,
    /// A signed note over the statement. Empty: unsigned.
    pub note: String,
    /// The texts of the packs that it puts in force.
    pub packs: Vec<String>,
}

/// A map whose signatures are good, and who gave them.
#[derive(Debug, Clone)]
pub struct VerifiedMap {
    /// The map.
    pub map: Arc<RegionMap>,
    /// The names of the keys that signed it.
    pub by: Vec<String>,
}

/// How a map follows the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Succession {
    /// It is the one in force.
    Same,
    /// It comes next.
    Next,
}

/// What signers sign.
pub fn statement(map: &RegionMap) -> String {
    let (epoch, deployment) = (map.epoch(), map.deployment());
    format!("{STATEMENT}\n{deployment}\n{}\n{}\n", epoch.number, digest_text(&epoch.digest))
}

impl SignedMap {
    /// A map of this process, with the packs that it uses, for others.
    pub fn of(map: &RegionMap, note: String) -> Self {
        let packs = map.statutes().iter().map(|statute| statute.pack().text().to_owned());
        Self { text: map.text().to_owned(), note, packs: packs.collect() }
    }

    /// Opens it. `signed_by` returns what a note signs, and the names of the known keys that signed
    /// it, one for each person. The map is not read before that: one without a known signature costs
    /// one hash.
    ///
    /// # Errors
    /// `MAP_UNSIGNED` when no known key has signed exactly this map; `MAP_INVALID`.
    pub fn open(
        &self,
        signed_by: impl FnOnce(&str) -> Option<(String, Vec<String>)>,
    ) -> Result<VerifiedMap, Rejection> {
        self.bounded()?;
        let unsigned = || Rejection::new(Reason::MapUnsigned).field("map.note");
        let (signed, by) = signed_by(&self.note).ok_or_else(unsigned)?;
        let digest: [u8; 32] = Sha256::digest(&self.text).into();
        if signed.lines().nth(3) != Some(&digest_text(&digest)) {
            return Err(unsigned().problem("the signatures are over another map"));
        }
        let map = self.read()?;
        if signed != statement(&map) {
            return Err(unsigned().problem("the signatures are over something else"));
        }
        Ok(VerifiedMap { map: Arc::new(map), by })
    }

    /// Checks the map for a day, with the packs that came with it: see [`crate::check`].
    ///
    /// # Errors
    /// `MAP_INVALID` when a pack cannot be read.
    pub fn check(&self, as_of: Date) -> Result<Checked, Rejection> {
        self.bounded()?;
        Ok(check(&self.text, &[], as_of, &self.packs()?))
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.text).into()
    }

    /// The same without the packs that its text does not name.
    #[must_use]
    pub fn trimmed(mut self) -> Self {
        let Self { text, packs, .. } = &mut self;
        packs.retain(|pack| text.contains(&digest_text(&Sha256::digest(pack).into())));
        self
    }

    /// Whether it can travel at all.
    ///
    /// # Errors
    /// `MAP_INVALID` when it has more than [`SIGNED_MAP_BYTES_MAX`].
    pub fn bounded(&self) -> Result<(), Rejection> {
        if self.bytes() <= SIGNED_MAP_BYTES_MAX {
            return Ok(());
        }
        let fault = Rejection::new(Reason::MapInvalid).field("map");
        let fault = fault.problem("the map with its packs is too large to travel");
        Err(fault.with(terms::Detail::Limit, SIGNED_MAP_BYTES_MAX))
    }

    /// Its bytes: text, note and packs.
    pub fn bytes(&self) -> usize {
        let packs = self.packs.iter().map(|pack| pack.len() + 8);
        packs.fold(self.text.len() + self.note.len() + 64, usize::saturating_add)
    }

    /// Reads the map with the packs that came with it, and does not check its signatures.
    ///
    /// # Errors
    /// `MAP_INVALID`, with the first mistake; `bailiwick map check` says all of them.
    pub fn read(&self) -> Result<RegionMap, Rejection> {
        self.bounded()?;
        let invalid =
            |problem: String| Rejection::new(Reason::MapInvalid).field("map.text").problem(problem);
        let packs = self.packs()?;
        RegionMap::parse_carrying(&self.text, &packs).map_err(|wrong| {
            let more = wrong.len().saturating_sub(1);
            let first = wrong.first().map(ToString::to_string).unwrap_or_default();
            invalid(if more == 0 { first } else { format!("{first} (and {more} more)") })
        })
    }

    /// The packs that came with the map and are named by it, and are not built in.
    fn packs(&self) -> Result<Vec<Arc<StatutePack>>, Rejection> {
        let invalid = || Rejection::new(Reason::MapInvalid).field("map.packs");
        if self.packs.len() > PACKS_CARRIED_MAX {
            return Err(invalid().problem("too many packs came with the map"));
        }
        let mut carried = Vec::new();
        for text in &self.packs {
            let digest: [u8; 32] = Sha256::digest(text).into();
            let builtin = packs().iter().any(|pack| *pack.digest() == digest);
            // A pack that the map does not name is not signed, and so is not read.
            if builtin || !self.text.contains(&digest_text(&digest)) {
                continue;
            }
            let pack = StatutePack::parse(text).map_err(|wrong| {
                let first = wrong.first().map(ToString::to_string).unwrap_or_default();
                invalid().problem(format!("a pack cannot be read: {first}"))
            })?;
            carried.push(Arc::new(pack));
        }
        Ok(carried)
    }
}

/// Whether a map may follow the one in force, with the signatures that it bears. `None` in force:
/// it is the first that this process sees.
///
/// # Errors
/// `MAP_STALE`, `MAP_FORK`, `MAP_GAP`; `MAP_INVALID` for another deployment; `MAP_UNSIGNED` when
/// it widens what is allowed, and only one person signed it.
pub fn succeeds(
    in_force: Option<&RegionMap>,
    next: &RegionMap,
    signed_by: usize,
) -> Result<Succession, Rejection> {
    if let Some(old) = in_force {
        let (held, new) = (old.epoch(), next.epoch());
        if held == new {
            return Ok(Succession::Same);
        }
        let named = |domain: bool| {
            let what = if domain { "trust domain" } else { "deployment" };
            let fault = Rejection::new(Reason::MapInvalid).field("map.text");
            Err(fault.problem(format!("the map is of another {what}")))
        };
        if old.deployment() != next.deployment() {
            return named(false);
        }
        if old.trust_domain() != next.trust_domain() {
            return named(true);
        }
        follows(old, next)?;
    }
    let widens = widening(in_force, next);
    if !widens.is_empty() && signed_by < SIGNERS_TO_WIDEN {
        return Err(too_few(&widens));
    }
    Ok(Succession::Next)
}

/// Whether it is the next in line.
fn follows(old: &RegionMap, next: &RegionMap) -> Result<(), Rejection> {
    let (held, new) = (old.epoch(), next.epoch());
    let fault = |reason| Rejection::new(reason).with(terms::Detail::MapEpoch, held.number);
    if new.number < held.number {
        return Err(fault(Reason::MapStale));
    }
    if new.number == held.number {
        return Err(fault(Reason::MapFork).problem("another map of the same version is in force"));
    }
    let named = next.predecessors();
    if named.contains(&held.digest) {
        let step = if named.len() > 1 { VERSION_STEP_MAX } else { 1 };
        if new.number - held.number <= step {
            return Ok(());
        }
        let fault = fault(Reason::MapInvalid).field("map.text");
        return Err(fault
            .problem("the version is too far above that of the map before it")
            .cure("give it the version that comes next"));
    }
    if new.number == held.number + 1 {
        return Err(fault(Reason::MapFork).problem("the map names another predecessor"));
    }
    Err(fault(Reason::MapGap))
}

fn too_few(widens: &[Widening]) -> Rejection {
    let first = widens.first().map(ToString::to_string).unwrap_or_default();
    let more = widens.len().saturating_sub(1);
    let rest = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    Rejection::new(Reason::MapUnsigned)
        .field("map.note")
        .problem(format!("the map widens what is allowed and has one signer: {first}{rest}"))
}
