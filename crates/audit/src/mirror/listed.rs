//! Which logs a shard shows, and which it must.

use std::collections::BTreeSet;
use std::path::Path;

use client::Ledger;
use ledger::note::Verifier;

use super::{Alarm, Breach, Error, LOGS_MAX, LOGS_NEW_MAX, Mirrors};
use crate::folder::{self, Folder};
use crate::origin::Origin;

/// What a shard shows.
pub(super) struct Listed {
    /// The keys of its logs, the oldest period first.
    pub(super) keys: Vec<Verifier>,
    /// What it must show and does not, and mirrors that do not even say whose they are.
    pub(super) lacking: Vec<Error>,
}

/// Asks a shard for its logs. The order is that of their periods, whatever the shard's is.
pub(super) async fn listed(shard: &Ledger, into: &Mirrors<'_>) -> Result<Listed, Error> {
    let shown = shard.checkpoint("").await?.vkeys;
    let no = |what| Alarm { origin: "the shard".to_owned(), what: Breach::NoLog(what) };
    if shown.is_empty() || shown.len() > LOGS_MAX {
        return Err(no("it names no key, or too many").into());
    }
    let mut keys = Vec::new();
    for vkey in &shown {
        let key = Verifier::from_vkey(vkey).map_err(|_| no("the key cannot be read"))?;
        let name = Origin::parse(key.name());
        let period = name.map(|name| name.period);
        let period =
            period.ok_or_else(|| no("its origin is not <deployment>/<region>/<shard>/<period>"))?;
        keys.push((period, key));
    }
    keys.sort_by_key(|(period, _)| *period);
    let keys: Vec<Verifier> = keys.into_iter().map(|(_, key)| key).collect();
    let origins: BTreeSet<&str> = keys.iter().map(Verifier::name).collect();
    let Some(own) = keys.first().and_then(|key| Origin::parse(key.name())) else {
        return Err(no("it names no key").into());
    };
    if origins.len() != keys.len() {
        return Err(no("two keys are of one log").into());
    }
    if !origins.iter().all(|origin| Origin::parse(origin).is_some_and(|name| name.same_shard(&own)))
    {
        return Err(no("the logs are of more than one shard").into());
    }
    if let Some((region, shard)) = into.named
        && (region, shard) != (own.region, own.shard)
    {
        let (origin, named) =
            (format!("{}/{}", own.region, own.shard), format!("{region}/{shard}"));
        return Err(Alarm { origin, what: Breach::OtherShard(crate::shown(&named)) }.into());
    }
    let lacking = lacking(into, &own, &origins)?;
    let fresh =
        |key: &&Verifier| Folder::of_log(into.place, key.name()).is_some_and(|f| !f.is_log());
    if keys.iter().filter(fresh).count() > LOGS_NEW_MAX {
        return Err(no("it names too many new logs at once").into());
    }
    Ok(Listed { keys, lacking })
}

/// The logs of that shard that were mirrored, or that the policy names, and that it does not show.
fn lacking(
    into: &Mirrors<'_>,
    own: &Origin<'_>,
    shown: &BTreeSet<&str>,
) -> Result<Vec<Error>, Error> {
    let (mirrored, mut lacking) = mirrored(into)?;
    for origin in &mirrored {
        let Some(name) = Origin::parse(origin) else { continue };
        if name.deployment != own.deployment {
            let (place, origin) = (name.deployment.to_owned(), own.deployment.to_owned());
            return Err(Error::OtherDeployment { place, origin });
        }
        if name.same_shard(own) && !shown.contains(origin.as_str()) {
            let (origin, what) = (origin.clone(), Breach::NoLongerShown);
            lacking.push(Alarm { origin, what }.into());
        }
    }
    for key in into.policy.map_or(&[][..], |policy| policy.logs()) {
        let origin = key.name();
        let known = shown.contains(origin) || mirrored.iter().any(|own| own == origin);
        if !known && Origin::parse(origin).is_some_and(|name| name.same_shard(own)) {
            lacking.push(Alarm { origin: origin.to_owned(), what: Breach::NeverShown }.into());
        }
    }
    Ok(lacking)
}

/// The origins of the logs of which something is mirrored; and the folders that do not say it: one
/// of them does not stop the others.
fn mirrored(into: &Mirrors<'_>) -> Result<(Vec<String>, Vec<Error>), Error> {
    let lost = |place: &Path, error| Error::Folder { origin: place.display().to_string(), error };
    let folders = Folder::logs(into.place).map_err(|error| lost(into.place, error))?;
    let (mut origins, mut damaged) = (Vec::new(), Vec::new());
    for folder in folders {
        match folder.key() {
            Ok(key) if folder.note().is_ok() => origins.push(key.name().to_owned()),
            Ok(_) | Err(folder::Error::Missing(_)) => {}
            Err(error) => damaged.push(lost(folder.path(), error)),
        }
    }
    Ok((origins, damaged))
}
