//! Checks of a deployment from end to end, as its callers reach it. Nothing is stored unless a
//! collection is named for it.

use std::collections::BTreeSet;
use std::time::Duration;

use atlas::{Country, Home, HomeFor, RegionMap, SignedMap};
use client::{
    Access, Client, Error, Ledger, Settings, api, ledger_url, new_request_id, verify_receipt,
};
use evidence::Evidence;
use link::host::clock::{SystemClock, SystemEntropy};
use terms::{Clock as _, Entropy as _, with_causes};

use crate::arguments::to_api;
use crate::doctor::line::Line;
use crate::doctor::store::endings;
use crate::error::{Exit, Failure};
use crate::terminal::answers::refusal_text;
use crate::terminal::slots;

/// Time for one call.
const CALL_MAX: Duration = Duration::from_secs(10);
const ATTEMPTS_MAX: u32 = 3;
/// How far two clocks may be apart: placements under a dated clause are refused beyond.
const SKEW_S_MAX: u64 = 5;
/// The persons that are invented for the test, one for each region, begin so; and the record's key.
const SUBJECT: &str = "bailiwick-doctor";
const KEY: &str = "bailiwick-doctor";

/// The deployment to check, and how to reach it.
pub(crate) struct Live {
    /// Address of the gateway's address.
    pub(crate) gateway: String,
    /// How the caller reaches it.
    pub(crate) access: Access,
    /// The collection for test records. None: nothing is stored.
    pub(crate) test_collection: Option<String>,
}

/// A gateway that answers.
struct Deployment {
    live: Live,
    client: Client,
}

/// The public keys of a shard's logs, once its auditor listener has said them.
struct Log {
    region: String,
    vkeys: Vec<String>,
}

/// Checks a deployment through its gateway.
pub(crate) async fn of_deployment(live: Live) -> Result<Vec<Line>, Failure> {
    let settings = Settings { deadline: CALL_MAX, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
    let client = match Client::connect_with(&live.gateway, settings, live.access.clone()).await {
        Ok(client) => client,
        Err(error) => {
            let what = format!("{}: {}", live.gateway, worded(&error));
            let cure = "start the gateway, or correct the address and --ca";
            return Ok(vec![Line::bad("gateway", what, cure)]);
        }
    };
    let deployment = Deployment { live, client };
    let mut lines = vec![deployment.gateway(), deployment.clock().await];
    let status = deployment.client.map_status(&api::RegionMapStatusRequest {}).await;
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            let cure = "give this caller a role, or present another certificate or token";
            lines.push(Line::bad("identity", worded(&error), cure));
            return Ok(lines);
        }
    };
    lines.push(Line::ok("identity", "the gateway accepts this caller"));
    lines.extend(shards(&status));
    lines.extend(unserved(&status));
    let mut logs = Vec::new();
    for shard in &status.shards {
        lines.extend(deployment.auditors(shard, &mut logs).await);
    }
    match deployment.map().await {
        Ok(map) => {
            lines.extend(endings(&map, None, SystemClock.now()));
            lines.extend(deployment.placements(&map, &logs).await?);
        }
        Err(line) => lines.push(line),
    }
    Ok(lines)
}

/// Whether each shard is in reach and holds the gateway's map.
fn shards(status: &api::RegionMapStatus) -> Vec<Line> {
    let own = status.gateway.as_ref();
    let version = own.map_or(0, |map| map.epoch);
    let line = |shard: &api::ShardMap| {
        let who = format!("{}/{}", shard.region, shard.shard);
        if !shard.reachable {
            let cure =
                "start the shard, or correct its address in the annex; see the gateway's log";
            return Line::bad("shards", format!("{who}: the gateway has no session with it"), cure);
        }
        if shard.map.as_ref() != own {
            let held = shard.map.as_ref().map_or(0, |map| map.epoch);
            let what = format!("{who} uses map version {held}, the gateway version {version}");
            return Line::bad("shards", what, "see `bailiwick map status` and `map apply`");
        }
        Line::ok("shards", format!("{who} has a session, and uses map version {version}"))
    };
    status.shards.iter().map(line).collect()
}

/// Slots whose calls the gateway refuses although it has a session with each shard of the region.
fn unserved(status: &api::RegionMapStatus) -> Vec<Line> {
    let whole = |region: &str| status.shards.iter().all(|s| s.region != region || s.reachable);
    let mut lines = Vec::new();
    for unserved in &status.unserved {
        let api::UnservedSlots { region, missing, contested } = unserved;
        let of = |missing: &[api::SlotRange], contested: &[api::SlotRange], cure: &str| {
            let (missing, contested) = (missing.to_vec(), contested.to_vec());
            let one = api::UnservedSlots { region: region.clone(), missing, contested };
            let cure = format!("{cure}; see \"Several shards\" in docs/operations.md");
            slots::said(&one).into_iter().map(move |what| Line::bad("slots", what, &cure))
        };
        // Of a shard that is missing, its own line says so.
        if whole(region) {
            lines.extend(of(
                missing,
                &[],
                "look at the gateway's /readyz, and at `slots` on that of each shard",
            ));
        }
        lines.extend(of(&[], contested, "stop the shard that should not own them"));
    }
    lines
}

impl Deployment {
    /// How the two know each other.
    fn gateway(&self) -> Line {
        let url = &self.live.gateway;
        if url.starts_with("https://") {
            let what = format!("{url}: its certificate chain leads to an authority of --ca");
            return Line::ok("gateway", what);
        }
        Line::ok("gateway", format!("{url}: plaintext, on this machine"))
    }

    async fn clock(&self) -> Line {
        let time = self.client.peer_time().await;
        clock("the gateway", time)
    }

    /// The auditor listener of a shard, its clock, and the keys of its logs.
    async fn auditors(&self, shard: &api::ShardMap, logs: &mut Vec<Log>) -> Vec<Line> {
        const CHECK: &str = "auditors";
        let who = format!("{}/{}", shard.region, shard.shard);
        if shard.audit_address.is_empty() {
            let what = format!("{who}: the annex names no auditor listener");
            return vec![Line::warn(CHECK, what, "add `audit` to the shard in the annex")];
        }
        let url = ledger_url(&shard.audit_address);
        let cure = "present an auditor's certificate, or check `audit_listen` and [auditors]";
        let asked = async {
            let ledger = Ledger::connect(&url, &self.live.access).await?;
            let checkpoint = ledger.checkpoint("").await?;
            let time = ledger.peer_time().await;
            Ok::<_, Error>((checkpoint, time))
        };
        match asked.await {
            Ok((checkpoint, time)) => {
                let verifier = ledger::note::Verifier::from_vkey(&checkpoint.vkey);
                let signed = verifier.ok().and_then(|key| {
                    ledger::checkpoint::Checkpoint::open(&checkpoint.checkpoint, &key).ok()
                });
                let line = match signed {
                    Some(head) => {
                        let what =
                            format!("{who} at {url} shows a checkpoint of {} entries", head.size);
                        Line::ok(CHECK, what)
                    }
                    None => {
                        let what =
                            format!("{who} at {url}: its checkpoint is not signed by its key");
                        Line::bad(CHECK, what, "do not trust this log; see docs/auditing.md")
                    }
                };
                logs.push(Log { region: shard.region.clone(), vkeys: checkpoint.vkeys });
                vec![line, clock(&who, time)]
            }
            Err(error) => {
                vec![Line::warn(CHECK, format!("{who} at {url}: {}", worded(&error)), cure)]
            }
        }
    }

    /// The map in force.
    async fn map(&self) -> Result<RegionMap, Line> {
        let bad = |what| Line::bad("map", what, "give this caller a role that reads maps");
        let map = self.client.map(&api::GetRegionMapRequest { epoch: 0 }).await;
        let map = map.map_err(|error| bad(worded(&error)))?;
        let signed = SignedMap { text: map.text, note: map.note, packs: map.packs };
        signed.read().map_err(|fault| bad(fault.message()))
    }

    /// A dry run for an example person of each home; and a real record for each region that they
    /// lead to, if a collection was named.
    async fn placements(&self, map: &RegionMap, logs: &[Log]) -> Result<Vec<Line>, Failure> {
        let named = self.live.test_collection.as_deref();
        let first = map.collections().next().map(|first| first.name().as_str().to_owned());
        let Some(collection) = named.map(str::to_owned).or(first) else { return Ok(Vec::new()) };
        let (mut lines, mut tried) = (Vec::new(), BTreeSet::new());
        for home in map.homes() {
            let Some(country) = example(map, home) else { continue };
            let (line, region) = self.placed(&collection, home, country).await?;
            lines.push(line);
            let Some(region) = region.filter(|_| named.is_some()) else { continue };
            if tried.insert(region.clone()) {
                lines.extend(self.round_trip(&collection, country, &region, logs).await?);
            }
        }
        Ok(lines)
    }

    /// What a dry run says for a person of that country, and the region.
    async fn placed(
        &self,
        collection: &str,
        home: &Home,
        country: Country,
    ) -> Result<(Line, Option<String>), Failure> {
        const CHECK: &str = "placements";
        let subject = format!("{SUBJECT}-{}", random()?);
        let mut request = put(&subject, collection, country, b"")?;
        request.validate_only = true;
        let who =
            format!("{collection} of a person of {country} (home `{}`)", home.home_for().as_str());
        Ok(match self.client.put(&request).await {
            Ok(answer) => {
                let region = answer.subject.clone().unwrap_or_default().domicile;
                let what = format!("{who} would be stored in {region}");
                (Line::ok(CHECK, what), Some(region))
            }
            // A rule says no: that may be what the map wants.
            Err(Error::Refused(refused)) if is_ruling(&refused.reason) => {
                let what = format!("{who} is refused: {}", refused.reason);
                (
                    Line::warn(
                        CHECK,
                        what,
                        "check with `bailiwick explain` whether the map intends this",
                    ),
                    None,
                )
            }
            Err(error) => {
                let cure = "see the line `shards`, and what this caller may do";
                (Line::bad(CHECK, format!("{who}: {}", worded(&error)), cure), None)
            }
        })
    }

    /// Puts a marked record, reads it back, verifies its receipt, and deletes it.
    async fn round_trip(
        &self,
        collection: &str,
        country: Country,
        region: &str,
        logs: &[Log],
    ) -> Result<Vec<Line>, Failure> {
        const CHECK: &str = "round trip";
        let cure = "see the shard's log, and docs/operations.md";
        let body = random()?.into_bytes();
        // One for each region: an id may be one that no two of them may hold.
        let mut request = put(&format!("{SUBJECT}-{region}"), collection, country, &body)?;
        request.receipt_view = api::ReceiptView::Full.into();
        let answer = match self.client.first_time().put(&request).await {
            Ok(answer) => answer,
            Err(error) => {
                return Ok(vec![Line::bad(CHECK, format!("{region}: {}", worded(&error)), cure)]);
            }
        };
        let subject = answer.subject.clone();
        let get = api::GetRecordRequest {
            subject: subject.clone(),
            collection: collection.to_owned(),
            key: KEY.to_owned(),
            purpose: "a check of the deployment".to_owned(),
            ..Default::default()
        };
        let read = self.client.get(&get).await;
        let mut lines = vec![match &read {
            Ok(record) if record.body == body => {
                Line::ok(CHECK, format!("{region}: written to {collection} and read back"))
            }
            Ok(_) => Line::bad(
                CHECK,
                format!("{region}: the record read back differs from the one written"),
                cure,
            ),
            Err(error) => Line::bad(CHECK, format!("{region}: {}", worded(error)), cure),
        }];
        lines.push(proof(region, answer.receipt.as_ref(), &body, logs));
        let delete = api::DeleteRecordRequest {
            subject,
            collection: collection.to_owned(),
            key: KEY.to_owned(),
            request_id: request_id()?,
            ..Default::default()
        };
        if let Err(error) = self.client.first_time().delete(&delete).await {
            let what = format!("{region}: the test record stays: {}", worded(&error));
            lines.push(Line::bad(CHECK, what, "delete it with `bailiwick record delete`"));
        }
        Ok(lines)
    }
}

/// Whether the log has what the receipt states, by the key that the shard itself gave.
fn proof(region: &str, receipt: Option<&api::Receipt>, body: &[u8], logs: &[Log]) -> Line {
    const CHECK: &str = "log proof";
    let Some(receipt) = receipt else {
        return Line::bad(CHECK, format!("{region}: there is no receipt"), "see the shard's log");
    };
    let keys: Vec<&String> =
        logs.iter().filter(|log| log.region == region).flat_map(|log| &log.vkeys).collect();
    if keys.is_empty() {
        let what = format!("{region}: the receipt verifies; its proof could not be checked");
        return Line::warn(
            CHECK,
            what,
            "see the line `auditors`: that listener shows the log's key",
        );
    }
    let verified = keys.iter().find_map(|key| verify_receipt(receipt, key, Some(body)).ok());
    match verified {
        Some((_, at)) => {
            let what = format!(
                "{region}: entry {} is in the signed log of {} entries",
                receipt.index, at.size
            );
            Line::ok(CHECK, what)
        }
        None => {
            let what = format!("{region}: the receipt's proof does not verify with the log's key");
            Line::bad(CHECK, what, "do not use it in production; see docs/auditing.md")
        }
    }
}

/// A country that has this home and no nearer one.
fn example(map: &RegionMap, home: &Home) -> Option<Country> {
    let nearer = |country: Country| {
        map.homes().iter().any(|other| match (other.home_for(), home.home_for()) {
            (HomeFor::Territory(own), HomeFor::Territory(this)) => {
                own != this && own.as_str() == country.as_str()
            }
            (HomeFor::Territory(own), HomeFor::Any) => own.contains(country),
            (HomeFor::Any, _) => false,
        })
    };
    let within = |country: Country| match home.home_for() {
        HomeFor::Territory(territory) => territory.contains(country),
        HomeFor::Any => true,
    };
    // The country in which the home's region lies, if it is one of them.
    let own = map.region(home.region()).map(atlas::Region::territory);
    own.into_iter().chain(Country::all()).find(|country| within(*country) && !nearer(*country))
}

/// Whether a refusal is a ruling, and not a failure.
fn is_ruling(reason: &str) -> bool {
    [
        "JURISDICTION_UNDETERMINED",
        "UNSATISFIABLE",
        "NO_REGION",
        "REGION_EXCLUDED",
        "TRANSFER_NOT_COVERED",
        "CITIZEN_ABROAD",
        "WRONG_INGRESS",
    ]
    .contains(&reason)
}

fn put(
    subject: &str,
    collection: &str,
    country: Country,
    body: &[u8],
) -> Result<api::PutRecordRequest, Failure> {
    let item = |kind| Evidence::read(0, kind, country.as_str().to_owned());
    let items = [item("citizenship"), item("residence")];
    let items: Result<Vec<Evidence>, _> = items.into_iter().collect();
    Ok(api::PutRecordRequest {
        subject: Some(api::SubjectRef { id: subject.to_owned(), domicile: String::new() }),
        collection: collection.to_owned(),
        key: KEY.to_owned(),
        body: body.to_vec().into(),
        request_id: request_id()?,
        create_subject: true,
        evidence: to_api(&items.map_err(|fault| Failure::new(Exit::Failed, fault))?),
        ..Default::default()
    })
}

fn request_id() -> Result<String, Failure> {
    let id = new_request_id(&SystemEntropy);
    id.map(|id| id.to_string()).map_err(|error| Failure::new(Exit::Unavailable, error))
}

/// Sixteen random digits, so that the name and the content are unique.
fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; 8];
    SystemEntropy.fill(&mut bytes).map_err(|error| Failure::new(Exit::Unavailable, error))?;
    Ok(hex::encode(bytes))
}

/// A clock of the other end beside ours.
fn clock(who: &str, time: Result<Option<u64>, Error>) -> Line {
    const CHECK: &str = "clocks";
    let own = SystemClock.now().0 / 1000;
    match time {
        Ok(Some(time)) if time.abs_diff(own) <= SKEW_S_MAX => Line::ok(
            CHECK,
            format!("the clock of {who} is within {SKEW_S_MAX} s of this machine's"),
        ),
        Ok(Some(time)) => {
            let apart = time.abs_diff(own);
            let what = format!("the clock of {who} is {apart} s from this machine's");
            Line::bad(CHECK, what, "run chrony or systemd-timesyncd on both")
        }
        Ok(None) => Line::warn(CHECK, format!("{who} does not report its time"), "compare by hand"),
        Err(error) => Line::bad(CHECK, format!("{who}: {}", worded(&error)), "see the other lines"),
    }
}

/// What a failed call says, as one line.
fn worded(error: &Error) -> String {
    match error.refused() {
        Some(refused) => refusal_text(refused).replace('\n', ","),
        None => with_causes(error),
    }
}
