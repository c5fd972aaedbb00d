//! Witnesses (C2SP `tlog-witness`): checkpoints are submitted to them on a steady interval, and
//! shown with their cosignatures. A witness signs only what extends the last that it has seen, so
//! a log that went back, or split, is cosigned no more.
//!
//! What travels is origin, size, root and hashes: nothing of an entry leaves the region.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use ledger::cosignature::Cosigner;
use link::fetch::{Address, post};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::chronicle::{Chronicle, Chronicles, Signed};
use crate::node::Node;

/// Milliseconds for which a cosigned checkpoint is shown in place of newer ones.
pub(crate) const STALE_MS_MAX: u64 = 60_000;
/// Time in which a witness must answer.
const WITHIN: Duration = Duration::from_secs(5);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Times that one checkpoint is submitted: once more after the witness has said what it has seen.
const TRIES: usize = 2;

/// A witness, and how it is reached.
#[derive(Debug, Clone)]
pub struct Witness {
    /// Its key.
    pub key: Cosigner,
    /// Its submission prefix, to which `/add-checkpoint` is added.
    pub address: Address,
    /// The authorities of its certificate as PEM; the system's without it.
    pub authorities: Option<Vec<u8>>,
}

/// What a witness has answered.
enum Answer {
    /// Its cosignatures, one line each.
    Cosigned(String),
    /// It has seen another size than we said.
    Seen(u64),
    /// No.
    Refused(u16),
}

/// Submits what is new. Never done.
pub(crate) async fn keep(
    node: Arc<Node>,
    chronicles: Chronicles,
    (witnesses, every): (Vec<Witness>, Duration),
    cosigned: watch::Sender<Option<Arc<Signed>>>,
) {
    let mut seen = vec![0; witnesses.len()];
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let log = Arc::new(chronicles.growing());
        let shown = cosigned.borrow().as_ref().map(|signed| signed.size());
        if log.size() == 0 || shown == Some(log.size()) {
            continue;
        }
        let (mut note, mut all) = (log.signed.note.clone(), true);
        for (witness, seen) in witnesses.iter().zip(&mut seen) {
            match submit(witness, &log, seen).await {
                Ok(lines) => note.push_str(&lines),
                Err(problem) => {
                    all = false;
                    node.metrics.witness_failures.inc();
                    if let Some(unsaid) = node.refusals.line(node.clock.now()) {
                        let witness = witness.key.name();
                        tracing::error!(witness, problem, unsaid, "no cosignature");
                    }
                }
            }
        }
        if note.len() > log.signed.note.len() {
            let (edge, at) = (log.signed.edge.clone(), log.signed.at);
            cosigned.send_replace(Some(Arc::new(Signed { note, edge, at })));
        }
        if all {
            node.metrics.witnessed_size.set(i64::try_from(log.size()).unwrap_or(i64::MAX));
        }
    }
}

/// One witness's cosignature lines over the log's checkpoint; `seen` is the size that it has seen.
async fn submit(witness: &Witness, log: &Arc<Chronicle>, seen: &mut u64) -> Result<String, String> {
    for _ in 0..TRIES {
        let (old, log) = (*seen, Arc::clone(log));
        let shared = Arc::clone(&log);
        let asked = tokio::task::spawn_blocking(move || request(&shared, old)).await;
        let text = asked.map_err(|_| "the proof was not made".to_owned())?;
        let text = text.map_err(|fault| fault.message())?;
        match ask(witness, text).await? {
            Answer::Cosigned(lines) => {
                let lines = own_lines(witness, &log.signed.note, &lines)?;
                *seen = log.size();
                return Ok(lines);
            }
            Answer::Seen(size) if size > log.size() => {
                return Err(format!(
                    "it has cosigned {size} entries of this log, which has {}: entries are lost, \
                     or another writes under this log's key",
                    log.size(),
                ));
            }
            Answer::Seen(size) => *seen = size,
            Answer::Refused(422) => {
                return Err("it refuses: this log does not extend what it has cosigned".to_owned());
            }
            Answer::Refused(404) => return Err("it does not know this log: add its key".to_owned()),
            Answer::Refused(status) => return Err(format!("it answers {status}")),
        }
    }
    Err("it says again that it has seen another size".to_owned())
}

/// The body of a submission.
fn request(log: &Chronicle, old: u64) -> Result<String, terms::Fault> {
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

/// The lines that are this witness's, good for this checkpoint. Whatever else it sends is not
/// shown to anybody.
fn own_lines(witness: &Witness, note: &str, lines: &str) -> Result<String, String> {
    let mine = format!("\u{2014} {} ", witness.key.name());
    let own: String = lines.lines().filter(|line| line.starts_with(&mine)).fold(
        String::new(),
        |mut own, line| {
            own.push_str(line);
            own.push('\n');
            own
        },
    );
    match witness.key.cosigned(&format!("{note}{own}")) {
        Ok(Some(_)) => Ok(own),
        Ok(None) | Err(_) => Err("its cosignature is not good".to_owned()),
    }
}
