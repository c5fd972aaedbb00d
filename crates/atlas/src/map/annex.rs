//! A region's annex: where its shards are, and which slots each owns.
//!
//! The region's own operators answer for it: the map names their keys, and one of them signs a
//! statement of five lines, so that a person can read what they sign:
//! ```text
//! bailiwick annex
//! <deployment>
//! <region>
//! <version>
//! sha256:<digest of the annex's text>
//! ```

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use terms::{RegionId, SLOTS, ShardId, Slot, SlotSet};

use crate::limits::ANNEX_BYTES_MAX;
use crate::map::annex_schema::ANNEX;
use crate::map::names::digest_text;
use crate::toml::{At, File, Section, SizeLimit, one_of};
use crate::{Diagnostic, Region, RegionMap};

/// The first line of what is signed.
const STATEMENT: &str = "bailiwick annex";

/// One shard of a region, as the annex gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    name: ShardId,
    address: String,
    standbys: Vec<String>,
    audit: Option<String>,
    slots: Vec<(u16, u16)>,
}

/// A region's shards. Every slot belongs to exactly one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annex {
    region: RegionId,
    version: u64,
    digest: [u8; 32],
    note: String,
    ingress: Option<String>,
    shards: Vec<Shard>,
    /// For each slot the place of its shard in `shards`.
    owners: Vec<usize>,
}

impl Shard {
    /// Its name.
    pub fn name(&self) -> &ShardId {
        &self.name
    }

    /// Where it is reached: `http://host:port` or `https://host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where other processes of it are reached, one of which answers when the first does not.
    pub fn standbys(&self) -> &[String] {
        &self.standbys
    }

    /// Where auditors reach it, in the same form.
    pub fn audit(&self) -> Option<&str> {
        self.audit.as_deref()
    }

    /// The slots that it owns.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.slots.iter().flat_map(|(first, last)| *first..=*last).filter_map(Slot::new)
    }

    /// Whether it owns that slot.
    pub fn owns(&self, slot: Slot) -> bool {
        let n = slot.number();
        self.slots.iter().any(|(first, last)| (*first..=*last).contains(&n))
    }
}

impl Annex {
    /// Reads and checks the annex of a region of that map, without its signatures: see
    /// [`Annex::vouched`].
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str, map: &RegionMap) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let annex = file
            .document(SizeLimit::file(ANNEX_BYTES_MAX))
            .and_then(|document| Self::read(&Section::root(&file, &document, &ANNEX), map))
            .map(|annex| Self { digest: Sha256::digest(text).into(), ..annex });
        file.finish(annex)
    }

    /// The region.
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// Its number; 0 if it has none.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// SHA-256 of its text.
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The same with the signed note that came with it.
    #[must_use]
    pub fn with_note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    /// What its signers sign.
    pub fn statement(&self, deployment: &str) -> String {
        let Self { region, version, digest, .. } = self;
        format!("{STATEMENT}\n{deployment}\n{region}\n{version}\n{}\n", digest_text(digest))
    }

    /// Whether it may be followed under that map: the map names no key that signs the
    /// region's annex, or one of them has signed exactly this one. `said_by` gives what a note says, if
    /// it is signed by one of these keys.
    ///
    /// # Errors
    /// `ANNEX_UNSIGNED`.
    pub fn vouched(
        &self,
        map: &RegionMap,
        said_by: impl FnOnce(&[String], &str) -> Option<String>,
    ) -> Result<(), Diagnostic> {
        let region = &self.region;
        let signers = map.region(region).map(Region::annex_signers).unwrap_or_default();
        let statement = self.statement(map.deployment());
        if signers.is_empty() || said_by(signers, &self.note).is_some_and(|said| said == statement)
        {
            return Ok(());
        }
        Err(Diagnostic::of_file(
            "ANNEX_UNSIGNED",
            format!("no operator of `{region}` that the map names has signed this annex"),
            "have one of them sign it, into the .note file next to it: bailiwick map sign-annex",
        ))
    }

    /// Whether it is older than another of the same region, or another text of the same number.
    /// Those without a number have no order.
    pub fn behind(&self, other: &Self) -> bool {
        let same = self.version == other.version && self.version > 0;
        self.version < other.version || (same && self.digest != other.digest)
    }

    /// Where a gateway inside the region's territory takes calls: `https://host:port`, or
    /// `http://host:port` on loopback. Public: callers abroad see it.
    pub fn ingress(&self) -> Option<&str> {
        self.ingress.as_deref()
    }

    /// Its shards, in the order of the file.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of that name.
    pub fn shard(&self, name: &ShardId) -> Option<&Shard> {
        self.shards.iter().find(|shard| shard.name == *name)
    }

    /// The shard that owns a slot.
    pub fn shard_of(&self, slot: Slot) -> &Shard {
        let owner = self.owners.get(usize::from(slot.number()));
        owner.and_then(|place| self.shards.get(*place)).expect("every slot has an owner")
    }

    fn read(root: &Section<'_>, map: &RegionMap) -> Option<Self> {
        let region = root.parse("region", |text| RegionId::parse(text).ok());
        let own = region.as_ref().and_then(|region| map.region(&region.it));
        if let Some(region) = region.as_ref().filter(|_| own.is_none()) {
            let problem = format!("the map has no region `{}`", region.it);
            let help = one_of(map.regions().iter().map(Region::name));
            root.wrong(region.at, "REGION_UNKNOWN", problem, help);
        }
        let version = root.number("version");
        if own.is_some_and(|own| !own.annex_signers().is_empty()) && root.place("version").is_none()
        {
            root.missing("version");
        }
        let ingress = root.parse("ingress", public_address);
        let sections = root.sections("shards");
        let shards: Vec<At<Shard>> = sections.iter().filter_map(shard).collect();
        // Where a shard could not be read, its slots are not known: then none are reported as free.
        let whole = shards.len() == sections.len();
        let owners = owners(root, &shards, whole);
        let shards = shards.into_iter().map(|shard| shard.it).collect();
        let ingress = ingress.map(|ingress| ingress.it);
        Some(Self {
            region: region?.it,
            version: version.map_or(0, |version| version.it),
            digest: [0; 32],
            note: String::new(),
            ingress,
            shards,
            owners: owners?,
        })
    }
}

fn shard(section: &Section<'_>) -> Option<At<Shard>> {
    let name = section.parse("name", |text| ShardId::parse(text).ok());
    let address = section.parse("address", reachable);
    let standbys = section.list("standbys", reachable);
    let standbys = standbys.into_iter().map(|address| address.it).collect();
    let audit = section.parse("audit", reachable).map(|audit| audit.it);
    let ranges = section.texts("slots").unwrap_or_default().len();
    if section.place("slots").is_some() && ranges == 0 {
        let help = "give it slots, such as \"0-1023\", or remove the shard";
        section.wrong(section.at(), "SLOTS_NONE", "this shard has no slots", help);
    }
    let slots: Vec<(u16, u16)> =
        section.list("slots", range).into_iter().map(|range| range.it).collect();
    let (name, address) = (name?, address?.it);
    let whole = slots.len() == ranges && !slots.is_empty();
    let shard = Shard { name: name.it, address, standbys, audit, slots };
    whole.then(|| At { at: section.at(), it: shard })
}

/// Which shard owns each slot. None if something is wrong with that.
fn owners(root: &Section<'_>, shards: &[At<Shard>], whole: bool) -> Option<Vec<usize>> {
    let mut owners: Vec<Option<usize>> = vec![None; usize::from(SLOTS)];
    let mut names = BTreeSet::new();
    for (place, shard) in shards.iter().enumerate() {
        if !names.insert(&shard.it.name) {
            let problem = format!("there is a shard `{}` already", shard.it.name);
            root.wrong(shard.at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
        let mut twice = SlotSet::NONE;
        for slot in shard.it.slots() {
            if let Some(owner) = owners.get_mut(usize::from(slot.number())) {
                match owner {
                    Some(_) => twice.insert(slot),
                    None => *owner = Some(place),
                }
            }
        }
        if !twice.is_empty() {
            let problem = format!("slots {twice} of `{}` have an owner already", shard.it.name);
            root.wrong(shard.at, "SLOTS_OVERLAP", problem, "let each slot belong to one shard");
        }
    }
    let all = SlotSet::ALL;
    let free = all.iter().zip(&owners).filter(|(_, owner)| owner.is_none());
    let free: SlotSet = free.map(|(slot, _)| slot).collect();
    if whole && !free.is_empty() {
        let problem = format!("slots {free} belong to no shard");
        root.wrong(0, "SLOTS_UNCOVERED", problem, "let each of 0-1023 belong to one shard");
    }
    owners.into_iter().collect()
}

/// `0-1023`, or one number alone.
fn range(text: &str) -> Option<(u16, u16)> {
    let number = |digits: &str| {
        let plain = !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit());
        plain.then(|| digits.parse().ok()).flatten().filter(|n| *n < SLOTS)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first.trim())?, number(last.trim())?);
    (first <= last).then_some((first, last))
}

/// An address of the form `scheme://host:port`, with nothing after it. Whether the host
/// resolves is not checked.
fn reachable(text: &str) -> Option<String> {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
    let (host, port) = rest.rsplit_once(':')?;
    let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
    let port_good = digits && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host_good = match host.strip_prefix('[') {
        Some(literal) => literal
            .strip_suffix(']')
            .is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok()),
        None => {
            let name = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
            !host.is_empty() && host.len() <= 253 && host.bytes().all(name)
        }
    };
    (port_good && host_good).then(|| text.to_owned())
}

/// An address that callers may be sent to: with TLS, or on the machine that they are on.
fn public_address(text: &str) -> Option<String> {
    let address = reachable(text)?;
    let Some(rest) = address.strip_prefix("http://") else { return Some(address) };
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    let loopback = host == "localhost" || literal.is_ok_and(|ip| ip.is_loopback());
    loopback.then_some(address)
}
