//! What lists, counts and indexes cost: a store of persons with ten records each, whose attributes have
//! indexes; lists and counts by them, a count of all, and puts with indexed attributes next to puts without.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use wire::v1::{
    Attribute, CountRecordsRequest, ListRecordsRequest, PutRecordRequest, RecordView,
    StreamPutRequest, attribute, stream_put_request, stream_put_response,
};

use crate::line::Line;
use crate::load::{Load, connections};
use crate::measured::Measured;
use crate::processes::{INDEXED, Programs, Served, Setup, UNINDEXED, cpu_us};
use crate::secure::{Caller, Client};
use crate::{Options, warn};

/// Records of each person.
const RECORDS_EACH: u64 = 10;
/// Values of the attribute `city`, and of `age`.
const CITIES: u64 = 100;
const AGES: u64 = 1_000;
/// Records of a page.
const PAGE: i32 = 100;
/// Puts of the fill that have no answer yet.
const AHEAD: usize = 2_048;

/// Fills a store for each engine, and measures there.
pub(crate) async fn lists(options: &Options, load: &Load, subjects: u64) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let mut lines = Vec::new();
    let server = options.server(&[])?;
    for engine in &options.engines {
        let setup = Setup { engine, server: server.as_ref(), secure: false, limits: "" };
        let served = Served::start(&programs, &options.folder, setup)?;
        let records = subjects * RECORDS_EACH;
        warn(format!("{engine}: {records} records of {subjects} persons are stored first"));
        let load = Load { rate: None, ..load.clone() };
        let filled = Filled { load, served, records };
        filled.fill().await?;
        let mut of_engine = filled.reads().await?;
        let in_flight = options.in_flight.first().copied().unwrap_or(64);
        of_engine.extend(filled.puts(in_flight, options.rounds).await?);
        for line in of_engine {
            lines.push(Line { what: format!("{engine}: {}", line.what), ..line });
        }
    }
    Ok(lines)
}

/// A store with all its records.
struct Filled {
    load: Load,
    served: Served,
    records: u64,
}

impl Filled {
    async fn fill(&self) -> Result<()> {
        let caller = self.served.caller()?;
        let mut client = caller.connect().await?;
        let (sender, receiver) = mpsc::channel(AHEAD);
        let ahead = Arc::new(Semaphore::new(AHEAD));
        let (load, room, records) = (self.load.clone(), Arc::clone(&ahead), self.records);
        tokio::spawn(async move {
            for n in 0..records {
                let Ok(permit) = room.acquire().await else { return };
                permit.forget();
                let Ok(put) = stored(&load, n) else { return };
                let write = Some(stream_put_request::Write::Put(put));
                if sender.send(StreamPutRequest { write, timeout: None }).await.is_err() {
                    return;
                }
            }
        });
        let requests = caller.request(ReceiverStream::new(receiver));
        let mut answers = client.stream_put(requests).await?.into_inner();
        let mut done = 0;
        while let Some(answer) = answers.message().await? {
            ahead.add_permits(1);
            let stored = matches!(answer.outcome, Some(stream_put_response::Outcome::Done(_)));
            ensure!(stored, "a record of the fill was not stored");
            done += 1;
        }
        ensure!(done == records, "{done} of {records} records were stored");
        Ok(())
    }

    /// Lists and counts, one at a time: what a caller waits.
    async fn reads(&self) -> Result<Vec<Line>> {
        let (caller, records) = (self.served.caller()?, self.records);
        let by_city = |n: u64| (format!("city = \"c{}\"", n % CITIES), String::new());
        // There are 200 records at least: the page is full.
        let by_age = |n: u64| (format!("age >= {}", n % 50), "age".to_owned());
        let of_city = move |n| page_of_city(records, n);
        Ok(vec![
            self.read("list by an exact attribute, page of 100", list(&caller, by_city, of_city))
                .await?,
            self.read(
                "list in the order of a range attribute, page of 100",
                list(&caller, by_age, |_| PAGE),
            )
            .await?,
            self.read("count of the collection", count(&caller, move |_| (String::new(), records)))
                .await?,
            self.read(
                "count by an exact attribute",
                count(&caller, move |n| (by_city(n).0, of_city_in_all(records, n))),
            )
            .await?,
            self.read(
                "count of the older half by a range attribute",
                count(&caller, move |_| {
                    (format!("age >= {}", AGES / 2), records_from(records, AGES / 2))
                }),
            )
            .await?,
        ])
    }

    async fn read<F, R>(&self, what: &str, call: F) -> Result<Line>
    where
        F: Fn(Client, u64) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<()>> + Send + 'static,
    {
        let clients = connections(&self.served.caller()?).await?;
        let before = self.served.cpu();
        let measured = self.load.unary(clients, 1, call).await?;
        ensure!(measured.failed == 0, "{what}: an answer is not the one that the store must give");
        let line = self.line(what, 1, &measured);
        let calls = measured.done + measured.failed;
        Ok(Line { cpu_us: Some(cpu_us(calls, [before, self.served.cpu()])), ..line })
    }

    /// Puts with three indexed attributes next to puts without any, in turns.
    async fn puts(&self, in_flight: usize, rounds: u64) -> Result<Vec<Line>> {
        let (mut lines, mut costs) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            let mut server_us = Vec::new();
            for (what, with) in
                [("put without attributes", false), ("put with three indexed", true)]
            {
                let (load, caller) = (self.load.clone(), self.served.caller()?);
                let run = format!("r{round}{with}");
                let put = move |client: Client, n| {
                    let (request, caller) = (put(&load, n, &run, with), caller.clone());
                    async move { answered(client, &caller, request?).await }
                };
                let clients = connections(&self.served.caller()?).await?;
                let before = self.served.cpu();
                let measured = self.load.unary(clients, in_flight, put).await?;
                let calls = measured.done + measured.failed;
                let cpu = cpu_us(calls, [before, self.served.cpu()]);
                let [_, gateway, shard] = cpu;
                server_us.push(gateway + shard);
                let line = self.line(what, in_flight, &measured);
                lines.push(Line { cpu_us: Some(cpu), ..line });
            }
            if let [without, with] = server_us[..] {
                costs.push(with / without);
                if let Some(last) = lines.last_mut() {
                    last.cost = Some(with / without);
                }
            }
        }
        costs.sort_by(f64::total_cmp);
        if let (Some(last), Some(median)) = (lines.last_mut(), costs.get(costs.len() / 2)) {
            warn(format!("indexes: {median:.2} times the processor time, median of {rounds}"));
            last.judged = true;
        }
        Ok(lines)
    }

    fn line(&self, what: &str, in_flight: usize, measured: &Measured) -> Line {
        let resident_mib = Some(self.served.resident_mib());
        Line { records: Some(self.records), resident_mib, ..Line::new(what, in_flight, measured) }
    }
}

/// The three attributes of the `n`th record.
fn attributes(n: u64) -> Vec<Attribute> {
    let text = |text: String| Some(attribute::Value::StringValue(text));
    let age = i64::try_from(n % AGES).unwrap_or(0);
    [
        ("city", text(format!("c{}", n % CITIES))),
        ("kind", text(format!("k{}", n % 7))),
        ("age", Some(attribute::Value::IntegerValue(age))),
    ]
    .map(|(name, value)| Attribute { name: name.to_owned(), value })
    .to_vec()
}

/// The `n`th record of the fill.
fn stored(load: &Load, n: u64) -> Result<PutRecordRequest> {
    let mut put = put(load, n, "fill", true)?;
    if let Some(subject) = &mut put.subject {
        subject.id = format!("person-{}", n / RECORDS_EACH);
    }
    Ok(put)
}

fn put(load: &Load, n: u64, run: &str, with: bool) -> Result<PutRecordRequest> {
    let put = load.request(n, run)?;
    let (collection, attributes) =
        if with { (INDEXED, attributes(n)) } else { (UNINDEXED, Vec::new()) };
    Ok(PutRecordRequest { collection: collection.to_owned(), attributes, ..put })
}

async fn answered(mut client: Client, caller: &Caller, put: PutRecordRequest) -> Result<()> {
    let answer = client.put(caller.request(put)).await?.into_inner();
    ensure!(answer.receipt.is_some(), "an answer without receipt");
    Ok(())
}

/// How many of so many stored records the `n`th city has.
fn of_city_in_all(records: u64, n: u64) -> u64 {
    records / CITIES + u64::from(n % CITIES < records % CITIES)
}

/// How many records the first page of the `n`th list by a city has, of so many that are stored.
fn page_of_city(records: u64, n: u64) -> i32 {
    i32::try_from(of_city_in_all(records, n)).unwrap_or(PAGE).min(PAGE)
}

/// How many of so many stored records have that age at least.
fn records_from(records: u64, least: u64) -> u64 {
    records / AGES * (AGES - least) + (records % AGES).saturating_sub(least)
}

/// Lists with a filter and an order, whose first page has so many records.
fn list(
    caller: &Caller,
    of: impl Fn(u64) -> (String, String) + Clone + Send + Sync + 'static,
    records: impl Fn(u64) -> i32 + Clone + Send + Sync + 'static,
) -> impl Fn(Client, u64) -> BoxedCall + Clone + Send + Sync + 'static {
    let (caller, region) = (caller.clone(), "eu-fra".to_owned());
    move |mut client, n| {
        let (filter, order_by) = of(n);
        let records = records(n);
        let request = caller.request(ListRecordsRequest {
            collection: INDEXED.to_owned(),
            regions: vec![region.clone()],
            filter,
            order_by,
            page_size: PAGE,
            view: RecordView::Attributes.into(),
            ..Default::default()
        });
        Box::pin(async move {
            let page = client.list(request).await?.into_inner();
            ensure!(i32::try_from(page.records.len()) == Ok(records), "another number of records");
            Ok(())
        })
    }
}

/// Counts of the collection, each with a filter and the number that it must give.
fn count(
    caller: &Caller,
    of: impl Fn(u64) -> (String, u64) + Clone + Send + Sync + 'static,
) -> impl Fn(Client, u64) -> BoxedCall + Clone + Send + Sync + 'static {
    let caller = caller.clone();
    move |mut client, n| {
        let (filter, records) = of(n);
        let request = caller.request(CountRecordsRequest {
            collection: INDEXED.to_owned(),
            regions: vec!["eu-fra".to_owned()],
            filter,
            ..Default::default()
        });
        Box::pin(async move {
            let counted = client.count(request).await?.into_inner().count;
            ensure!(u64::try_from(counted) == Ok(records), "another number of records");
            Ok(())
        })
    }
}

/// A call under way.
type BoxedCall = std::pin::Pin<Box<dyn Future<Output = Result<()>> + Send>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_a_city_is_expected_to_have_what_is_stored_of_it() {
        for records in [200, 250, 990, 1_000, 1_010, 20_000] {
            for n in 0..CITIES {
                let all = (0..records).filter(|stored| stored % CITIES == n).count();
                let page = page_of_city(records, n + CITIES);
                assert_eq!(usize::try_from(page), Ok(all.min(100)), "{records} {n}");
            }
        }
    }

    #[test]
    fn so_many_records_are_expected_of_an_age_as_are_stored() {
        for records in [0, 300, 999, 1_000, 1_001, 2_500] {
            for least in [0, 1, 299, 300, 499, 500, 999] {
                let all = (0..records).filter(|stored| stored % AGES >= least).count();
                let expected = usize::try_from(records_from(records, least));
                assert_eq!(expected, Ok(all), "{records} {least}");
            }
        }
    }
}
