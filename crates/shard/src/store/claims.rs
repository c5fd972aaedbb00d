//! Subjects that are about to be created in other regions, where a map wants ids to be unique. They are
//! kept in memory, for a few seconds.
//!
//! A region creates such a subject in four steps. Its shard gives a *ticket*. The gateway then *claims*
//! the id at all other regions. A region that holds the id says so; one that does not keeps the claim
//! for [`CLAIM_HELD`], and creates no subject of that id meanwhile. At last the shard creates the
//! subject, if the ticket is not older than [`TICKET_VALID`] and the id is not claimed here for another
//! region. Each shard does these steps one after another, in its committer.
//!
//! So two regions that reach each other never both create one id. Say that A and B did. A's gateway
//! claimed the id at B, and B did not hold it: the claim came to B before B's creation. Yet B created,
//! so the claim was no longer there: it had run out, or B had started again. In both cases the claim had
//! come before B gave the ticket of that creation, because a ticket is of one run, and younger than
//! any claim that has run out. So: A's ticket, then A's claim at B, then B's ticket. The same holds the
//! other way round: B's ticket, then B's claim at A, then A's ticket. A's ticket came before itself.
//! Only the order of events at each shard matters, and that its own clock measures both times alike; no
//! two clocks are compared.
//!
//! Both may be refused, and try again. A region that cannot be reached is named in the answer.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlas::Country;
use terms::{Entropy, EntropyFailed, RegionId};
use tokio::time::Instant;

use crate::store::types::SubjectTag;

/// How long a claim is kept.
const CLAIM_HELD: Duration = Duration::from_secs(5);
/// How long a ticket is good for: less than a claim is kept.
const TICKET_VALID: Duration = Duration::from_secs(4);
const _: () = assert!(TICKET_VALID.as_millis() < CLAIM_HELD.as_millis());
/// Claims that are kept at once.
const CLAIMS_MAX: usize = 65_536;
/// Those of them that gateways of one country make: a stolen certificate does not take all the room.
const CLAIMS_OF_COUNTRY_MAX: usize = CLAIMS_MAX / 2;
/// Bytes of the mark of a run.
const RUN_BYTES: usize = 8;

/// The claims at one shard, in one run of it.
pub(crate) struct Claims {
    /// A random mark of this run.
    run: AtomicU64,
    began: Instant,
    held: Mutex<Held>,
}

struct Claim {
    /// Where the subject is to be created.
    region: RegionId,
    /// Where the gateway stands that made it.
    by: Country,
    until: Instant,
}

#[derive(Default)]
struct Held {
    claims: HashMap<SubjectTag, Claim>,
    /// How many of them gateways of a country made.
    made: HashMap<Country, usize>,
}

impl Held {
    fn insert(&mut self, subject: SubjectTag, claim: Claim) {
        self.remove(subject);
        *self.made.entry(claim.by).or_default() += 1;
        self.claims.insert(subject, claim);
    }

    fn remove(&mut self, subject: SubjectTag) {
        if let Some(claim) = self.claims.remove(&subject)
            && let Some(made) = self.made.get_mut(&claim.by)
        {
            *made -= 1;
        }
    }

    /// Without those that have run out.
    fn clear(&mut self, now: Instant) {
        self.claims.retain(|_, claim| claim.until > now);
        self.made.clear();
        for claim in self.claims.values() {
            *self.made.entry(claim.by).or_default() += 1;
        }
    }

    /// Whether there is room for one more of a gateway in that country.
    fn has_room(&self, by: Country) -> bool {
        let made = self.made.get(&by).copied().unwrap_or_default();
        self.claims.len() < CLAIMS_MAX && made < CLAIMS_OF_COUNTRY_MAX
    }
}

/// Says when, in which run of a shard, a creation was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket(pub(crate) [u8; RUN_BYTES + 8]);

impl Claims {
    /// Of a shard that starts.
    pub(crate) fn new(entropy: &dyn Entropy) -> Result<Self, EntropyFailed> {
        let mut run = [0; RUN_BYTES];
        entropy.fill(&mut run)?;
        let run = AtomicU64::new(u64::from_be_bytes(run));
        Ok(Self { run, began: Instant::now(), held: Mutex::default() })
    }

    /// Takes no ticket any more that was given until now. Slots have come from another shard, which keeps the
    /// claims of their ids: each was made before any ticket that is given from now on, as after a restart.
    pub(crate) fn begin_run(&self) {
        self.run.fetch_add(1, Ordering::AcqRel);
    }

    fn run(&self) -> [u8; RUN_BYTES] {
        self.run.load(Ordering::Acquire).to_be_bytes()
    }

    /// A ticket of now.
    pub(crate) fn ticket(&self) -> Ticket {
        let mut ticket = [0; RUN_BYTES + 8];
        let age = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (run, time) = ticket.split_at_mut(RUN_BYTES);
        run.copy_from_slice(&self.run());
        time.copy_from_slice(&age.to_be_bytes());
        Ticket(ticket)
    }

    /// Whether a ticket is of this run, and young.
    pub(crate) fn is_valid(&self, ticket: &[u8]) -> bool {
        let Some((run, time)) = ticket.split_first_chunk::<RUN_BYTES>() else { return false };
        let Ok(given) = <[u8; 8]>::try_from(time).map(u64::from_be_bytes) else { return false };
        let age = self.began.elapsed().checked_sub(Duration::from_millis(given));
        *run == self.run() && age.is_some_and(|age| age <= TICKET_VALID)
    }

    /// Whether the id is claimed for another region than this one.
    pub(crate) fn is_claimed(&self, subject: SubjectTag) -> bool {
        self.live(|held| held.claims.contains_key(&subject), Some(subject))
    }

    /// Keeps an id for a region, for a gateway in that country. False: it is kept for another region, or
    /// too many are kept.
    pub(crate) fn keep(&self, subject: SubjectTag, region: &RegionId, by: Country) -> bool {
        let keep = |held: &mut Held| {
            let may = match held.claims.get(&subject) {
                Some(claim) => claim.region == *region,
                None => held.has_room(by),
            };
            if may {
                let until = Instant::now() + CLAIM_HELD;
                held.insert(subject, Claim { region: region.clone(), by, until });
            }
            may
        };
        self.live(keep, Some(subject)) || self.live(keep, None)
    }

    /// Looks at the claims, without one that has run out; without a subject: without all of those, if
    /// there are many.
    fn live<T>(&self, look: impl FnOnce(&mut Held) -> T, subject: Option<SubjectTag>) -> T {
        let now = Instant::now();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match subject {
            Some(subject) if held.claims.get(&subject).is_some_and(|claim| claim.until <= now) => {
                held.remove(subject);
            }
            Some(_) => {}
            None if held.claims.len() >= CLAIMS_OF_COUNTRY_MAX => held.clear(now),
            None => {}
        }
        look(&mut held)
    }
}

#[cfg(test)]
mod tests {
    use link::host::clock::SystemEntropy;

    use super::*;

    fn region(name: &str) -> RegionId {
        RegionId::parse(name).unwrap()
    }

    fn kz() -> Country {
        Country::parse("KZ").unwrap()
    }

    fn subject(n: u64) -> SubjectTag {
        let mut tag = [0; 16];
        tag[..8].copy_from_slice(&n.to_be_bytes());
        SubjectTag(tag)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_runs_out_before_a_claim_and_with_its_run() {
        let claims = Claims::new(&SystemEntropy).unwrap();
        let ticket = claims.ticket();
        assert!(claims.keep(subject(1), &region("kz-ala"), kz()));
        tokio::time::advance(TICKET_VALID).await;
        assert!(claims.is_valid(&ticket.0));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!claims.is_valid(&ticket.0) && claims.is_claimed(subject(1)));
        assert!(!claims.is_claimed(subject(2)));
        tokio::time::advance(CLAIM_HELD).await;
        assert!(!claims.is_claimed(subject(1)));
        let other = Claims::new(&SystemEntropy).unwrap();
        assert!(!other.is_valid(&claims.ticket().0) && !claims.is_valid(b""));
        assert!(!claims.is_valid(&[&claims.ticket().0[..], b"x"].concat()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_kept_for_one_region_at_a_time_and_claims_are_bounded() {
        let claims = Claims::new(&SystemEntropy).unwrap();
        assert!(claims.keep(subject(0), &region("kz-ala"), kz()));
        assert!(claims.keep(subject(0), &region("kz-ala"), kz()));
        assert!(!claims.keep(subject(0), &region("ru-msk"), kz()));
        for n in 1..CLAIMS_OF_COUNTRY_MAX as u64 {
            assert!(claims.keep(subject(n), &region("kz-ala"), kz()));
        }
        assert!(!claims.keep(subject(u64::MAX), &region("kz-ala"), kz()));
        assert!(claims.keep(subject(7), &region("kz-ala"), kz()), "it is kept already");
        // Gateways elsewhere have room, up to what is kept of all.
        let de = Country::parse("DE").unwrap();
        for n in CLAIMS_OF_COUNTRY_MAX as u64..CLAIMS_MAX as u64 {
            assert!(claims.keep(subject(n), &region("eu-fra"), de));
        }
        let us = Country::parse("US").unwrap();
        assert!(!claims.keep(subject(u64::MAX), &region("us-iad"), us));
        tokio::time::advance(CLAIM_HELD).await;
        assert!(claims.keep(subject(u64::MAX), &region("kz-ala"), kz()));
        assert!(claims.keep(subject(0), &region("ru-msk"), kz()));
    }
}
