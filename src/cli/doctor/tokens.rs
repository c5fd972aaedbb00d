//! The keys by which a gateway verifies tokens: without them every token is refused.

use std::sync::Arc;
use std::time::Duration;

use gateway::{Gateway, KeySource};
use link::admin::Health;
use link::fetch::https_get;
use link::metrics::Registry;
use link::system::{SystemClock, SystemEntropy};

use super::Line;
use super::patient::Patient;
use super::peers::whole;

const CHECK: &str = "token keys";
/// Time in which an issuer must answer, and bytes of its answer: as gateways have it.
const ANSWER: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Whether there are keys: in the file, or at the address. None: no tokens are taken.
pub(super) async fn keys(patient: &Patient) -> Option<Line> {
    let settings = patient.gateway()?;
    let gateway::Callers::Known(known) = &settings.callers else { return None };
    let (_, source) = known.tokens.as_ref()?;
    Some(match source {
        KeySource::File(path) => match make(patient, settings) {
            Ok(()) => Line::ok(CHECK, format!("{} has keys that can be used", path.display())),
            Err(why) => {
                let cure = "let the issuer write its JWKS document there";
                Line::bad(CHECK, format!("{}: {why}", path.display()), cure)
            }
        },
        KeySource::Url { url, authorities } => {
            let cure = "see to the issuer and to the way there, or correct `jwks` and `jwks_ca`";
            match https_get(url, authorities.as_deref(), DOCUMENT_BYTES_MAX, ANSWER).await {
                Ok(document) if has_keys(&document) => {
                    Line::ok(CHECK, format!("{url} answers, and has keys"))
                }
                Ok(_) => Line::bad(CHECK, format!("{url} answers, but with no keys"), cure),
                Err(error) => Line::bad(CHECK, format!("{url}: {}", whole(&error)), cure),
            }
        }
    })
}

/// Makes the gateway, as its process does before it serves: that reads the file.
fn make(patient: &Patient, settings: &gateway::Settings) -> Result<(), String> {
    // What it knows of persons' addresses plays no part in it.
    let sources = evidence::Sources::new(None).map_err(|error| whole(&error))?;
    let made = Gateway::new(
        settings.clone(),
        Arc::clone(&patient.map),
        patient.annexes.clone(),
        sources,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        &mut Registry::new(),
        Health::new(),
    );
    made.map(drop).map_err(|error| whole(&error))
}

/// Whether a document lists keys at all (RFC 7517).
fn has_keys(document: &[u8]) -> bool {
    let document: serde_json::Value = serde_json::from_slice(document).unwrap_or_default();
    let keys = document.get("keys").and_then(serde_json::Value::as_array);
    keys.is_some_and(|keys| keys.iter().any(|key| key.get("kty").is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_keys_or_none() {
        assert!(has_keys(br#"{"keys":[{"kty":"EC"}]}"#));
        for none in [r#"{"keys":[]}"#, r#"{"keys":[7]}"#, r#"{"keys":{}}"#, "[]", "", "<html>"] {
            assert!(!has_keys(none.as_bytes()), "{none}");
        }
    }
}
