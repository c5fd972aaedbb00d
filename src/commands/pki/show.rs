//! `pki show`: prints certificates and revocation lists.

use std::path::Path;

use pki::inspect;
use serde_json::Value;
use terms::one_line;

use crate::error::Failure;
use crate::terminal::Output;

/// What the text shows, in order: a label and the member of the object.
const SHOWN: [(&str, &str); 13] = [
    ("subject", "subject"),
    ("issuer", "issuer"),
    ("number", "number"),
    ("name", "names"),
    ("dns", "dns"),
    ("ip", "ips"),
    ("usage", "client"),
    ("serial", "serial"),
    ("from", "valid_from"),
    ("until", "valid_until"),
    ("until", "next_update"),
    ("digest", "digest"),
    ("revoked", "revoked"),
];

/// Prints every certificate and revocation list of a PEM file; of a key, only that it is one.
pub(super) fn run(path: &Path, json: bool) -> Result<(), Failure> {
    let mut output = Output::new();
    for part in inspect(path)? {
        if json {
            output.line(part)?;
        } else {
            lines(&part).iter().try_for_each(|line| output.line(line))?;
        }
    }
    output.flush()
}

fn lines(part: &Value) -> Vec<String> {
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(one_line);
    if let Some(label) = text(part, "not_shown") {
        return vec![format!("{}: not shown", label.escape_debug())];
    }
    let mut lines = vec![text(part, "kind").unwrap_or_default()];
    for (label, name) in SHOWN {
        let mut line = |value: &str| lines.push(format!("  {label:<10} {}", one_line(value)));
        match part.get(name) {
            Some(Value::String(value)) if label == "until" => {
                let left = part.get("days_left").and_then(Value::as_u64);
                let left =
                    left.map_or_else(|| "over".to_owned(), |days| format!("{days} days left"));
                line(&format!("{value} ({left})"));
            }
            Some(Value::String(value)) => line(value),
            Some(Value::Bool(client)) => {
                let server = part.get("server").and_then(Value::as_bool).unwrap_or_default();
                let both = [client.then_some("client"), server.then_some("server")];
                line(&both.into_iter().flatten().collect::<Vec<_>>().join(", "));
            }
            Some(Value::Array(all)) => all.iter().for_each(|one| match one.as_str() {
                Some(value) => line(value),
                None => {
                    let [serial, time] = ["serial", "revoked"].map(|name| text(one, name));
                    line(&format!("{} {}", serial.unwrap_or_default(), time.unwrap_or_default()));
                }
            }),
            _ => {}
        }
    }
    if let (Some("authority"), Some(digest)) = (text(part, "kind").as_deref(), text(part, "digest"))
    {
        lines.push(format!("  map        authorities = [\"{digest}\"]"));
    }
    lines
}
