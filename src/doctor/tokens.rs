//! Checks the keys with which a gateway verifies tokens: without them every token is refused.

use std::time::Duration;

use gateway::{KeySource, usable_keys};
use link::net::https_client::https_get;
use terms::with_causes;

use crate::doctor::line::Line;
use crate::doctor::target::Target;

const CHECK: &str = "token keys";
/// Time in which an issuer must answer, and bytes of its answer: as gateways have it.
const ANSWER: Duration = Duration::from_secs(10);
const DOCUMENT_BYTES_MAX: usize = 256 << 10;

/// Whether there are keys: in the file, or at the address. None: no tokens are taken.
pub(super) async fn keys(target: &Target) -> Option<Line> {
    let settings = target.gateway()?;
    let gateway::Callers::Known(known) = &settings.callers else { return None };
    let (_, source) = known.tokens.as_ref()?;
    Some(match source {
        KeySource::File(path) => {
            let cure = "have the issuer write its JWKS document there";
            let read = link::host::file_watch::read(path).map_err(|error| with_causes(&error));
            judged(&path.display().to_string(), read, cure)
        }
        KeySource::Url { address, authorities } => {
            let cure = "check the issuer and the network, or correct `jwks` and `jwks_ca`";
            let (most, within) = (DOCUMENT_BYTES_MAX, ANSWER);
            let read = https_get(address, authorities.as_deref(), most, within).await;
            judged(&address.to_string(), read.map_err(|error| with_causes(&error)), cure)
        }
    })
}

/// What a document is good for, as a gateway would take it.
fn judged(place: &str, read: Result<impl AsRef<[u8]>, String>, cure: &str) -> Line {
    let usable =
        read.and_then(|bytes| usable_keys(bytes.as_ref()).map_err(|error| with_causes(&error)));
    match usable {
        Ok((0, why)) => {
            let what = format!("{place} has no usable key{}", left_out(&why));
            Line::bad(CHECK, what, cure)
        }
        Ok((1, why)) => Line::ok(CHECK, format!("{place} has one usable key{}", left_out(&why))),
        Ok((keys, why)) => {
            Line::ok(CHECK, format!("{place} has {keys} usable keys{}", left_out(&why)))
        }
        Err(why) => Line::bad(CHECK, format!("{place}: {why}"), cure),
    }
}

/// Why keys of a document are not used.
fn left_out(why: &[&str]) -> String {
    let mut why = why.to_vec();
    why.sort_unstable();
    why.dedup();
    if why.is_empty() { String::new() } else { format!("; left out: {}", why.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    #[test]
    fn a_document_has_keys_or_none() {
        let judge = |document: Result<&'static [u8], String>| {
            judged("there", document, "cure").state == State::Bad
        };
        // A key of RFC 8037, appendix A.2.
        let one = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a",
            "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        assert!(!judge(Ok(one)));
        for none in [r#"{"keys":[]}"#, r#"{"keys":[7]}"#, r#"{"keys":{}}"#, "[]", "", "<html>"] {
            assert!(judge(Ok(none.as_bytes())), "{none}");
        }
        assert!(judge(Err("nobody answers".to_owned())));
    }
}
