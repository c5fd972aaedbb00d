//! Reports what ends soon: the map in force, its clauses and attestations, and the certificates and
//! lists of TLS. On the health pages, in metrics, and in the log once a day.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use atlas::{MapPart, RegionMap};
use link::host::clock::SystemClock;
use link::ops::health::Health;
use link::ops::metrics::{Gauge, Registry};
use link::tls::Ending;
use terms::{Clock as _, UnixMillis};
use tokio::time::sleep;

/// Time before its end from which on something is said to end.
pub(crate) const SOON_DAYS: u64 = 30;
pub(crate) const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Time between two looks. A new certificate or map is seen so soon.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Endings that the page of health names.
const NAMED_MAX: usize = 10;
/// The name under which operators find them on the page of health.
const FACT: &str = "ends_soon";
/// What holds readiness back once a certificate that others must see has ended.
const LACKING: &str = "a certificate that has not ended";

/// What ends, as it is now.
pub(super) struct Sources {
    pub(super) map: Box<dyn Fn() -> Arc<RegionMap> + Send>,
    pub(super) tls: Box<dyn Fn() -> Vec<Ending> + Send>,
}

/// What was logged, by what ends and whether it has ended, and when it was logged last.
type Told = HashMap<(String, bool), UnixMillis>;

struct Gauges {
    map: Gauge,
    clause: Gauge,
    attestation: Gauge,
    soon: Gauge,
}

impl Gauges {
    fn new(registry: &mut Registry) -> Self {
        let gauge = |registry: &mut Registry, name, help| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            map: gauge(
                registry,
                "map_expires_seconds",
                "When the map in force ends, in seconds since 1970; 0 for never",
            ),
            clause: gauge(
                registry,
                "clause_expires_seconds",
                "When the first transfer clause of the map in force ends that has not ended yet, in seconds since 1970; 0 for none",
            ),
            attestation: gauge(
                registry,
                "attestation_expires_seconds",
                "When the first attestation of a region's site ends, in seconds since 1970; 0 for none",
            ),
            soon: gauge(
                registry,
                "ending_soon",
                "What ends within 30 days or has ended: map, clauses, attestations, certificates, authorities, revocation lists",
            ),
        }
    }

    fn set(&self, map: &RegionMap, now: UnixMillis) {
        let first = |part, passed: bool| {
            let all = map.endings();
            let mut all = all.iter().filter(|ending| ending.part == part);
            let first = all.find(|ending| passed || moment(ending.over) > now);
            first
                .map_or(0, |ending| i64::try_from(moment(ending.over).0 / 1000).unwrap_or(i64::MAX))
        };
        self.map.set(first(MapPart::Map, true));
        self.clause.set(first(MapPart::Clause, false));
        self.attestation.set(first(MapPart::Attestation, true));
    }
}

/// The beginning of a day.
fn moment(day: atlas::Date) -> UnixMillis {
    UnixMillis(u64::from(day.day()).saturating_mul(DAY_MS))
}

/// All endings of a map, with those of its process.
pub(crate) fn of_map(map: &RegionMap) -> Vec<Ending> {
    let all = map.endings().into_iter();
    let needed = false;
    all.map(|ending| Ending { what: ending.what, at: moment(ending.over), needed }).collect()
}

/// What is said of an ending, if it is soon or past.
pub(crate) fn said(ending: &Ending, now: UnixMillis) -> Option<String> {
    if ending.at <= now {
        return Some(format!("{} has ended", ending.what));
    }
    let left = (ending.at.0 - now.0) / DAY_MS;
    (left < SOON_DAYS).then(|| format!("{} ends in {left} days", ending.what))
}

/// Watches from now on. Needs a running runtime.
pub(super) fn watch(sources: Sources, registry: &mut Registry, health: &Health) {
    let gauges = Gauges::new(registry);
    let health = health.clone();
    let mut told = Told::new();
    look(&sources, &gauges, &health, &mut told);
    tokio::spawn(async move {
        loop {
            sleep(LOOK_EVERY).await;
            look(&sources, &gauges, &health, &mut told);
        }
    });
}

fn look(sources: &Sources, gauges: &Gauges, health: &Health, told: &mut Told) {
    let (now, map) = (SystemClock.now(), (sources.map)());
    gauges.set(&map, now);
    health.set_fact("map", format!("{} {}", map.name(), map.epoch().number));
    let mut all = of_map(&map);
    all.extend((sources.tls)());
    all.sort_by_key(|ending| ending.at);
    all.dedup();
    let soon: Vec<(&Ending, String)> =
        all.iter().filter_map(|ending| Some((ending, said(ending, now)?))).collect();
    gauges.soon.set(i64::try_from(soon.len()).unwrap_or(i64::MAX));
    let mut named: Vec<&str> = soon.iter().take(NAMED_MAX).map(|(_, said)| said.as_str()).collect();
    let more = format!("and {} more", soon.len().saturating_sub(NAMED_MAX));
    if soon.len() > NAMED_MAX {
        named.push(&more);
    }
    let fact = if named.is_empty() { "nothing in 30 days".to_owned() } else { named.join("; ") };
    health.set_fact(FACT, fact);
    health.hold(LACKING, all.iter().any(|ending| is_missed(ending, now)));
    told.retain(|(what, _), _| soon.iter().any(|(ending, _)| ending.what == *what));
    for (ending, problem) in soon {
        let key = (ending.what.clone(), ending.at <= now);
        let last = told.get(&key);
        if last.is_none_or(|last| now.0.saturating_sub(last.0) >= DAY_MS) {
            if is_missed(ending, now) {
                tracing::error!(problem, "nothing is served until it is renewed");
            } else {
                tracing::warn!(problem, "renew it");
            }
            told.insert(key, now);
        }
    }
}

/// Whether it has ended, and nothing is served without it.
fn is_missed(ending: &Ending, now: UnixMillis) -> bool {
    ending.needed && ending.at <= now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_is_said_thirty_days_ahead() {
        let ending = |at| Ending { what: "it".to_owned(), at: UnixMillis(at), needed: true };
        let now = UnixMillis(100 * DAY_MS);
        for (at, expected) in [
            (131 * DAY_MS, None),
            (130 * DAY_MS, None),
            (130 * DAY_MS - 1, Some("it ends in 29 days")),
            (100 * DAY_MS + 1, Some("it ends in 0 days")),
            (100 * DAY_MS, Some("it has ended")),
            (0, Some("it has ended")),
        ] {
            assert_eq!(said(&ending(at), now).as_deref(), expected, "{at}");
            // What is only trusted, or a map, keeps nothing else from being served.
            let own = ending(at);
            assert_eq!(is_missed(&own, now), expected == Some("it has ended"), "{at}");
            assert!(!is_missed(&Ending { needed: false, ..own }, now), "{at}");
        }
    }
}
