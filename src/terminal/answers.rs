//! How answers of a gateway are worded.

use client::{Error, Refused, api};

/// The message of a failed call, with the gateway's address unless the gateway itself refused.
pub(crate) fn call_failed(gateway: &str, error: &Error) -> String {
    match error.refused() {
        Some(_) => error.to_string(),
        None => format!("{gateway}: {error}"),
    }
}

/// One line for each of reason, field, cure and call id.
pub(crate) fn refusal_text(refused: &Refused) -> String {
    let mut text = refused.to_string();
    // A gateway's sentence ends with the cure, which has a line of its own here.
    if let Some(cure) = &refused.cure
        && let Some(problem) = text.strip_suffix(cure.as_str())
    {
        text = problem.trim_end_matches([';', ' ']).to_owned();
    }
    for (name, value) in
        [("field", &refused.field), ("cure", &refused.cure), ("call_id", &refused.call_id)]
    {
        if let Some(value) = value {
            text.push_str(&format!("\n  {name}: {value}"));
        }
    }
    for (name, value) in &refused.metadata {
        text.push_str(&format!("\n  {name}: {value}"));
    }
    text
}

/// A sentence for each law that attaches, and one for what follows.
pub(crate) fn why(ruling: &api::Ruling) -> Vec<String> {
    let attachments = ruling.attachments.iter();
    let mut all: Vec<String> =
        attachments.map(|a| format!("{} attaches: {}", a.statute, a.why)).collect();
    if let Some(api::ruling::Outcome::Placement(placement)) = &ruling.outcome {
        if all.is_empty() {
            all.push(format!(
                "no law fixes the region; a home of the map, or a choice, is {}",
                placement.region
            ));
        }
        if !placement.mirrors.is_empty() {
            all.push(format!("copies in {}", placement.mirrors.join(", ")));
        }
        if !placement.clauses.is_empty() {
            all.push(format!("under {}", placement.clauses.join(", ")));
        }
    }
    all
}
