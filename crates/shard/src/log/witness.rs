//! Witnesses (C2SP `tlog-witness`): checkpoints are submitted to them on a steady interval, and
//! shown with their cosignatures. A witness signs only what extends the last that it has seen, so
//! a log that went back, or split, is cosigned no more.
//!
//! What travels is origin, size, root and hashes: nothing of an entry leaves the region. What comes
//! back is believed for one signature by the witness's own key, and nothing else of it is shown.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use link::net::https_client::post;
use link::ops::log_throttle::LogThrottle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::log::view::{Cosigned, LogView, LogViews, Signed};
use crate::node::Node;
use crate::settings::Witness;

/// Time in which a witness must answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer, and lines of it that are looked at.
const ANSWER_BYTES_MAX: usize = 16 << 10;
const LINES_MAX: usize = 16;
/// Times that one checkpoint is submitted: once more after the witness has said what it has seen.
const TRIES: usize = 2;
/// Sealed logs whose last checkpoints are submitted: the newest.
const SEALED_MAX: usize = 16;

/// What a witness has answered.
enum Answer {
    /// Its cosignatures, one line each.
    Cosigned(String),
    /// It has seen another size than we said.
    Seen(u64),
    /// No.
    Refused(u16),
}

/// Why there is no cosignature.
enum Failed {
    /// It may come yet.
    Away(String),
    /// By what it has seen, this log has lost entries, or is not the one that it knows.
    Contradicted(String),
}

/// Who submits, and to whom.
struct Rounds {
    node: Arc<Node>,
    chronicles: LogViews,
    witnesses: Vec<Arc<Witness>>,
    cosigned: watch::Sender<Cosigned>,
    /// What each witness has seen of each log.
    seen: HashMap<(usize, Arc<str>), u64>,
    told: LogThrottle,
}

/// Submits what is new. Never done.
pub(crate) async fn keep(
    node: Arc<Node>,
    chronicles: LogViews,
    witnesses: Vec<Witness>,
    every: Duration,
    cosigned: watch::Sender<Cosigned>,
) {
    let witnesses = witnesses.into_iter().map(Arc::new).collect();
    let (seen, told) = (HashMap::new(), LogThrottle::default());
    let mut rounds = Rounds { node, chronicles, witnesses, cosigned, seen, told };
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut period = None;
    loop {
        let growing = rounds.chronicles.growing().signed.log.period;
        if period.replace(growing) != Some(growing) {
            rounds.sealed().await;
        }
        ticks.tick().await;
        rounds.growing().await;
    }
}

impl Rounds {
    /// The last checkpoints of sealed logs: at a start, and where another log has begun to grow.
    async fn sealed(&mut self) {
        let chronicles = self.chronicles.clone();
        let read = tokio::task::spawn_blocking(move || chronicles.sealed()).await;
        let Ok(Ok(logs)) = read else { return };
        for (period, log) in logs.into_iter().rev().take(SEALED_MAX) {
            let mut note = log.signed.note.clone();
            let cosigned = self.cosigned.clone();
            self.round(&Arc::new(log), |line| {
                note.push_str(line);
                cosigned.send_modify(|all| drop(all.sealed.insert(period, note.clone())));
            })
            .await;
        }
    }

    /// What is new in the log that grows, unless everybody has cosigned it.
    async fn growing(&mut self) {
        let log = Arc::new(self.chronicles.growing());
        if log.size() == 0 || !self.lacks(&log) {
            return;
        }
        // Those who have cosigned this size before are asked again, which changes nothing: so the
        // note has all who answer now.
        let mut note = log.signed.note.clone();
        let cosigned = self.cosigned.clone();
        self.round(&log, |line| {
            note.push_str(line);
            let Signed { log: name, edge, at, .. } = &*log.signed;
            let (log, edge, at) = (name.clone(), edge.clone(), *at);
            let growing = Some(Arc::new(Signed { log, note: note.clone(), edge, at }));
            cosigned.send_modify(|all| all.growing = growing);
        })
        .await;
        if !self.lacks(&log) {
            let size = i64::try_from(log.size()).unwrap_or(i64::MAX);
            self.node.metrics.witnessed_size.set(size);
        }
    }

    /// Whether a witness has not cosigned all of that log.
    fn lacks(&self, log: &LogView) -> bool {
        let seen = |n| self.seen.get(&(n, Arc::clone(log.origin())));
        (0..self.witnesses.len()).any(|n| seen(n) != Some(&log.size()))
    }

    /// Asks all at once, so that none waits for another, and gives each line as it comes.
    async fn round(&mut self, log: &Arc<LogView>, mut each: impl FnMut(&str)) {
        let mut asked = JoinSet::new();
        for (n, witness) in self.witnesses.iter().enumerate() {
            let seen = self.seen.get(&(n, Arc::clone(log.origin()))).copied().unwrap_or(0);
            let (witness, log) = (Arc::clone(witness), Arc::clone(log));
            asked.spawn(async move { (n, submit(&witness, &log, seen).await) });
        }
        while let Some(answered) = asked.join_next().await {
            let Ok((n, answer)) = answered else { continue };
            match answer {
                Ok(line) => {
                    self.seen.insert((n, Arc::clone(log.origin())), log.size());
                    each(&line);
                }
                Err(failed) => self.say(n, &failed),
            }
        }
    }

    fn say(&self, n: usize, failed: &Failed) {
        let witness = self.witnesses.get(n).map_or("", |witness| witness.key.name());
        self.node.metrics.witness_failures.inc();
        match failed {
            // At most once an interval and witness: no flood can drown it.
            Failed::Contradicted(problem) => {
                self.node.metrics.witness_contradictions.inc();
                tracing::error!(witness, problem, "a witness contradicts this log");
            }
            Failed::Away(problem) => {
                if let Some(unsaid) = self.told.allow(self.node.clock.now()) {
                    tracing::warn!(witness, problem, unsaid, "no cosignature");
                }
            }
        }
    }
}

/// One witness's cosignature line over the log's checkpoint; `seen` is the size that it has seen.
async fn submit(witness: &Witness, log: &Arc<LogView>, seen: u64) -> Result<String, Failed> {
    let away = |problem: &str| Failed::Away(problem.to_owned());
    let mut seen = seen;
    for _ in 0..TRIES {
        let (old, shared) = (seen, Arc::clone(log));
        let asked = tokio::task::spawn_blocking(move || request(&shared, old)).await;
        let text = asked.map_err(|_| away("the proof was not made"))?;
        let text = text.map_err(|fault| Failed::Away(fault.message()))?;
        match ask(witness, text).await.map_err(Failed::Away)? {
            Answer::Cosigned(lines) => {
                let line = witness.key.line_among(&lines, &log.signed.note, LINES_MAX);
                return line.ok_or_else(|| away("its cosignature is not good"));
            }
            Answer::Seen(size) if size > log.size() => {
                return Err(Failed::Contradicted(format!(
                    "it has cosigned {size} entries of this log, which has {}: entries are lost, \
                     or another writes under this log's key",
                    log.size(),
                )));
            }
            Answer::Seen(size) => seen = size,
            Answer::Refused(422) => {
                let text = "it refuses: this log does not extend what it has cosigned";
                return Err(Failed::Contradicted(text.to_owned()));
            }
            Answer::Refused(404) => return Err(away("it does not know this log: add its key")),
            Answer::Refused(status) => return Err(Failed::Away(format!("it answers {status}"))),
        }
    }
    Err(away("it says again that it has seen another size"))
}

/// The body of a submission.
fn request(log: &LogView, old: u64) -> Result<String, terms::Rejection> {
    let (_, hashes) = log.consistency(old, log.size())?;
    let mut text = format!("old {old}\n");
    for hash in hashes {
        // Writing to a String cannot fail.
        writeln!(text, "{}", hash.to_base64()).unwrap_or_default();
    }
    text.push('\n');
    text.push_str(&log.signed.note);
    Ok(text)
}

async fn ask(witness: &Witness, text: String) -> Result<Answer, String> {
    let Witness { address, authorities, .. } = witness;
    let answered = post(address, authorities.as_deref(), text, ANSWER_BYTES_MAX, WITHIN).await;
    let (status, body) = answered.map_err(|error| error.to_string())?;
    let body = String::from_utf8(body.to_vec()).map_err(|_| "its answer is no text".to_owned())?;
    Ok(match status {
        200 => Answer::Cosigned(body),
        409 => match body.trim_end().parse() {
            Ok(size) => Answer::Seen(size),
            Err(_) => Answer::Refused(409),
        },
        other => Answer::Refused(other),
    })
}
