//! `bailiwick relocate`: moves all persons of a list, at a bounded rate. It can be stopped at any time:
//! the same command goes on where it was.

mod list;
mod plan;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use client::{Client, Error, Settings, api};
use terms::Reason;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::arguments::{GATEWAY, access};
use crate::commands::REASON;
use crate::commands::operation::goes_on;
use crate::commands::relocate::list::List;
use crate::commands::relocate::plan::{Plan, Row};
use crate::commands::relocate::report::{End, Ended, Report};
use crate::error::{Exit, Failure};
use crate::serve;
use crate::terminal::answers::call_failed;
use crate::terminal::{progress, say, warn};

/// What to do after a run that did not come to its end.
const RESUME: &str = "the same command goes on where this one was";
/// Time between two looks at a move.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Attempts at one call.
const ATTEMPTS_MAX: u32 = 8;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write the list of the persons of a region whom the rules place in another one
    List(List),
}

#[derive(Debug, Args)]
struct Options {
    /// Address of the gateway
    #[arg(long, value_name = "URL", default_value = GATEWAY)]
    gateway: String,
    #[command(flatten)]
    access: access::Options,
    /// The list: JSON lines with `subject`, `domicile`, `to` and, if it has changed, `evidence`, as
    /// `bailiwick relocate list` writes it
    #[arg(long, value_name = "FILE", required = true)]
    plan: Option<PathBuf>,
    /// What became of each person, one JSON line each; a run that goes on reads it and adds to it. It
    /// names persons [default: the list's name with `.report` behind it]
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Keep the receipt of each move in the report
    #[arg(long)]
    receipts: bool,
    /// Why, for the placement log; it must name no person
    #[arg(long, value_name = "TEXT", default_value = REASON)]
    reason: String,
    /// Moves that are ordered in one second, at most
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rate: u32,
    /// Moves that are under way at the same time, at most
    #[arg(long, value_name = "N", default_value_t = 16,
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    at_once: u32,
    /// Seconds to retry a call while the gateway or a region is unavailable
    #[arg(long, value_name = "S", default_value_t = 60,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    patience_s: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs what was typed.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Some(Command::List(list)) => serve::block_on(list.run()),
        None => serve::block_on(arguments.options.run()),
    }
}

impl Options {
    async fn run(&self) -> Result<(), Failure> {
        let stop = serve::Stop::on_signals()?;
        let path = self.plan.clone().unwrap_or_default();
        let plan = Plan::read(&path)?;
        let own = || path.with_added_extension("report");
        let mut report = Report::open(self.report.clone().unwrap_or_else(own), &plan)?;
        let began = Instant::now();
        let moved = tokio::select! {
            moved = self.move_all(&plan, &mut report) => moved,
            () = stop.asked() => Err(Failure::said(
                Exit::Interrupted,
                format!("stopped by a signal; moves that were ordered go on; {RESUME}"),
            )),
        };
        if self.json {
            say(report.json(began.elapsed()))?;
        } else {
            say(report.table(began.elapsed()))?;
        }
        moved?;
        if report.all_moved() {
            return Ok(());
        }
        let text =
            format!("not everyone moved; {}: the same command tries them again", report.name());
        Err(Failure::said(Exit::Differs, text))
    }

    /// Orders one move after another, and waits for their ends.
    async fn move_all(&self, plan: &Plan, report: &mut Report) -> Result<(), Failure> {
        let mover = Arc::new(self.mover().await?);
        let left: Vec<Row> = report.left(plan);
        let seconds = left.len().div_ceil(usize::try_from(self.rate).unwrap_or(1));
        warn(format!(
            "{} persons of {} are left: {seconds} s at the least",
            left.len(),
            plan.len()
        ));
        let bar = progress("{wide_bar} {pos} of {len} persons, {per_sec}, {eta}");
        bar.set_length(u64::try_from(plan.len()).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(plan.len() - left.len()).unwrap_or(0));
        let places = Arc::new(Semaphore::new(usize::try_from(self.at_once).unwrap_or(1)));
        let mut turns = interval(Duration::from_secs(1) / self.rate);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut under_way: JoinSet<Result<Ended, Error>> = JoinSet::new();
        let mut rows = left.into_iter();
        let mut waiting = rows.next();
        loop {
            let turn = async {
                let place = Arc::clone(&places).acquire_owned().await.ok()?;
                turns.tick().await;
                Some(place)
            };
            tokio::select! {
                Some(ended) = under_way.join_next() => {
                    let ended = ended.map_err(|error| Failure::new(Exit::Failed, error))?;
                    report.add(&ended.map_err(|error| self.away(&error))?)?;
                    bar.inc(1);
                }
                Some(place) = turn, if waiting.is_some() => {
                    let (mover, row) = (Arc::clone(&mover), waiting.take());
                    waiting = rows.next();
                    if let Some(row) = row {
                        under_way.spawn(async move {
                            let ended = mover.one(row).await;
                            drop(place);
                            ended
                        });
                    }
                }
                else => break,
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    async fn mover(&self) -> Result<Mover, Failure> {
        let patience = Duration::from_secs(self.patience_s);
        let settings =
            Settings { deadline: patience, attempts_max: ATTEMPTS_MAX, ..Settings::DEFAULT };
        let client = Client::connect_with(&self.gateway, settings, self.access.read().await?).await;
        let client = client.map_err(|error| self.away(&error))?;
        let reason = self.reason.clone();
        Ok(Mover { client, reason, prove: self.receipts })
    }

    /// A gateway that does not answer ends the whole run.
    fn away(&self, error: &Error) -> Failure {
        let text = format!("{}; {RESUME}", call_failed(&self.gateway, error));
        Failure::said(Exit::from(error), text)
    }
}

/// Moves one person after another.
struct Mover {
    client: Client,
    reason: String,
    prove: bool,
}

impl Mover {
    /// Orders one move, and waits for its end. What is refused is an end too.
    async fn one(&self, row: Row) -> Result<Ended, Error> {
        let subject = Some(row.subject());
        let request = api::RelocateSubjectRequest {
            subject: subject.clone(),
            region: row.to.clone(),
            request_id: row.request_id(),
            reason: self.reason.clone(),
            evidence: row.evidence.clone(),
            findings: Vec::new(),
            validate_only: false,
        };
        let ordered = self.client.relocate_subject(&request).await;
        let request = api::GetOperationRequest { subject, prove: self.prove };
        let look = api::GetOperationRequest { prove: false, ..request.clone() };
        let mut at = match ordered {
            Ok(at) => at,
            Err(error) => match self.ordered_before(&row, &look, error).await {
                Ok(at) => at,
                Err(error) => return refused(row, error),
            },
        };
        while goes_on(&at) {
            sleep(LOOK_EVERY).await;
            match self.client.operation(&look).await {
                Ok(next) => at = next,
                Err(error) => return refused(row, error),
            }
        }
        if self.prove && at.state() == api::OperationState::Done {
            match self.client.operation(&request).await {
                Ok(proven) => at = proven,
                // It has moved all the same.
                Err(error) if error.refused().is_some() => {}
                Err(error) => return Err(error),
            }
        }
        let done = at.state() == api::OperationState::Done;
        let end = if done { End::Moved } else { End::GivenUp(at.refusal.clone()) };
        let records = u64::try_from(at.record_count).unwrap_or(0);
        Ok(Ended { row, end, records, receipt: at.receipt })
    }
}

impl Mover {
    /// The move that an earlier run has ordered under the same id, with another reason or evidence.
    async fn ordered_before(
        &self,
        row: &Row,
        look: &api::GetOperationRequest,
        error: Error,
    ) -> Result<api::Operation, Error> {
        let reason = error.refused().and_then(|refused| refused.known());
        if reason != Some(Reason::RequestIdReused) {
            return Err(error);
        }
        let at = self.client.operation(look).await?;
        if at.region == row.to { Ok(at) } else { Err(error) }
    }
}

/// What became of a person of whom a call was refused. An error: the region or the gateway does not answer.
fn refused(row: Row, error: Error) -> Result<Ended, Error> {
    let Some(refused) = error.refused() else { return Err(error) };
    // One person who cannot move just now stops no other: the same command tries again.
    if refused.known() == Some(Reason::RegionUnavailable) {
        return Err(error);
    }
    let there =
        refused.known() == Some(Reason::SubjectMoved) && refused.region() == Some(row.to.as_str());
    let end = if there { End::Moved } else { End::Refused(refused.reason.clone()) };
    Ok(Ended { row, end, records: 0, receipt: None })
}
