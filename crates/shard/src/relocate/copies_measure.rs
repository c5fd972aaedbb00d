//! Measures the copies that are due in other regions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::{Key, Order, ScanLimit, Span};
use link::ops::metrics::By;
use terms::RegionId;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::node::Node;
use crate::policy::copies::mirrors_by;
use crate::relocate::drive::Driver;
use crate::store::copy_keys;
use crate::store::copy_mark::{CopyDue, DueStep};
use crate::store::types::Minute;

/// Time between two measurements, and how many times as long as one takes.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
const MEASURE_SHARE: u32 = 20;
/// Rows that are read at once.
const ROWS_AT_ONCE: usize = 1_024;

impl Driver {
    /// Measures what is due, again and again. Never done.
    pub(super) async fn measure_copies(self) {
        let mut known = BTreeSet::<RegionId>::new();
        loop {
            let began = Instant::now();
            if let Ok(all) = self.blocking(|node| Ok(measured(node)?)).await {
                // A region to which nothing is due any more is shown with 0.
                known.extend(all.keys().cloned());
                for region in &known {
                    self.show(region, &all.get(region).copied().unwrap_or_default());
                }
            }
            sleep(MEASURE_EVERY.max(began.elapsed() * MEASURE_SHARE)).await;
        }
    }

    fn show(&self, region: &RegionId, of: &Measured) {
        let metrics = &self.node.metrics.copies;
        let now = Minute::of(self.node.now());
        let oldest = of.oldest.map_or(0, |since| now.0.saturating_sub(since.0));
        for (family, value) in [
            (&metrics.due, of.due),
            (&metrics.due_seconds, u64::from(oldest) * 60),
            (&metrics.attachments, of.attachments),
            (&metrics.untold, of.untold),
        ] {
            let gauge = family.get_or_create(&By(region.clone()));
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
    }
}

/// What is due to one region.
#[derive(Clone, Copy, Default)]
struct Measured {
    due: u64,
    oldest: Option<Minute>,
    attachments: u64,
    untold: u64,
}

fn measured(node: &Node) -> Result<BTreeMap<RegionId, Measured>, Error> {
    let mut all = BTreeMap::<RegionId, Measured>::new();
    let [due, tells] = copy_keys::all_due();
    each(node, due, |key, row| {
        let of = all.entry(region(key)?).or_default();
        let CopyDue { minute, step, .. } = CopyDue::read(row)?;
        if step == DueStep::Attachment {
            of.attachments += 1;
        } else {
            of.due += 1;
            of.oldest = Some(of.oldest.map_or(minute, |oldest| oldest.min(minute)));
        }
        Ok(())
    })?;
    each(node, tells, |key, _| {
        all.entry(region(key)?).or_default().untold += 1;
        Ok(())
    })?;
    if node.engine.get_many(&[copy_keys::RESTORED_HOME])?.into_iter().flatten().next().is_some() {
        for mirror in mirrors_by(&node.map(), &node.region) {
            all.entry(mirror).or_default().untold += 1;
        }
    }
    Ok(all)
}

fn region(key: &[u8]) -> Result<RegionId, Error> {
    copy_keys::region_of_due(key).map(|(region, _)| region).ok_or(Error::Damaged("copies"))
}

fn each(
    node: &Node,
    mut span: Span,
    mut found: impl FnMut(&Key, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let limit = ScanLimit { rows: ROWS_AT_ONCE, bytes: 1 << 20 };
    loop {
        let page = node.engine.scan(&span, Order::Ascending, limit)?;
        let Some((last, _)) = page.rows.last() else { return Ok(()) };
        span.from = [last.as_slice(), &[0]].concat();
        for (key, row) in &page.rows {
            found(key, row)?;
        }
    }
}
