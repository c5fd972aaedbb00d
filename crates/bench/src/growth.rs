//! What a store costs as it grows: the same calls at several sizes of one store, and a start at each.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use crate::line::Line;
use crate::load::{Load, Target};
use crate::measured::Measured;
use crate::processes::{Programs, Served, Setup, cpu_us};
use crate::{Options, warn};

/// Fills one store for each engine up to each number of records, and measures there.
pub(crate) async fn growth(options: &Options, load: &Load) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let mut lines = Vec::new();
    let server = options.server(&[])?;
    for engine in &options.engines {
        let setup = Setup { engine, server: server.as_ref(), secure: false, limits: "" };
        let mut store = Growing {
            served: Served::start(&programs, &options.folder, setup)?,
            load,
            in_flight: options.in_flight.first().copied().unwrap_or(64),
            records: 0,
            first: 0,
        };
        for records in &options.grow {
            store.fill(*records).await?;
            warn(format!("{engine}: {} records", store.records));
            for line in store.measure(&programs).await? {
                lines.push(Line { what: format!("{engine}: {}", line.what), ..line });
            }
        }
    }
    Ok(lines)
}

/// A store that grows.
struct Growing<'a> {
    served: Served,
    load: &'a Load,
    in_flight: usize,
    /// Records that it holds.
    records: u64,
    /// How many of them the first stream wrote: the oldest, which are read.
    first: u64,
}

impl Growing<'_> {
    /// Streams until it holds so many records.
    async fn fill(&mut self, records: u64) -> Result<()> {
        let caller = self.served.caller()?;
        while self.records < records {
            let run = format!("g{}", self.records);
            let filled = self.load.stream(&caller, self.in_flight, Target::Bailiwick, &run).await?;
            ensure!(filled.done > 0, "the stream stored nothing");
            self.records += filled.done;
            if self.first == 0 {
                self.first = filled.done;
            }
        }
        Ok(())
    }

    /// Puts, gets of the oldest records, and a start after the shard was killed.
    async fn measure(&mut self, programs: &Programs) -> Result<Vec<Line>> {
        let (caller, run, none) =
            (self.served.caller()?, format!("p{}", self.records), Arc::default());
        let before = self.served.cpu();
        let put = self.load.put(&caller, self.in_flight, Target::Bailiwick, &run, &none).await?;
        let between = self.served.cpu();
        let get = self.load.get(&caller, self.in_flight, self.first, "g0").await?;
        let after = self.served.cpu();
        ensure!(get.failed == 0, "records that were stored are not read back");
        let resident_mib = Some(self.served.resident_mib());
        let line = |what, measured: &Measured, cpu| Line {
            cpu_us: Some(cpu_us(measured.done + measured.failed, cpu)),
            records: Some(self.records),
            resident_mib,
            ..Line::new(what, self.in_flight, measured)
        };
        let mut lines =
            vec![line("put", &put, [before, between]), line("get", &get, [between, after])];
        self.records += put.done;
        let (disk_mib, start) = (self.served.disk_mib()?, self.served.kill_shard(programs)?);
        let last = lines.last_mut().context("two lines")?;
        (last.disk_mib, last.start_s) = (Some(disk_mib), Some(start.as_secs_f64()));
        Ok(lines)
    }
}
