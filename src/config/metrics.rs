//! Who may see the pages of health and metrics from another machine.
//!
//! By default they are served on loopback only. `plaintext_metrics = true` serves them to every
//! client that reaches them; `[metrics]` requires a token or a certificate, over TLS.

use std::path::PathBuf;

use link::tls::{CallerFiles, Files};

use super::reading::Section;

/// Characters of the shortest token that is taken.
const TOKEN_CHARS_MIN: usize = 16;

/// How the pages of health and metrics are guarded.
#[derive(Debug)]
pub(crate) struct MetricsConfig {
    /// The files of the listener's certificates. None: plaintext.
    pub(crate) files: Option<CallerFiles>,
    /// The URIs of the certificates that are let in.
    pub(crate) uris: Vec<String>,
    /// The file with the token that is let in.
    pub(crate) token: Option<PathBuf>,
}

/// Whether the configuration lets other machines see these pages.
pub(super) fn are_for_others(root: &Section<'_>) -> bool {
    root.switch("plaintext_metrics") || root.place("metrics").is_some()
}

/// `[metrics]`. Its certificate is that of `[tls]` unless it names another.
pub(super) fn metrics(root: &Section<'_>, tls: Option<&Files>) -> Option<MetricsConfig> {
    let section = root.section("metrics")?;
    let named = |key| section.path(key).map(|path| path.it);
    let token = token(&section);
    let uris = section.texts("uris").unwrap_or_default();
    let uris: Vec<String> = uris.iter().map(|uri| uri.it.to_owned()).collect();
    let authorities = named("authorities");
    if token.is_none() && (uris.is_empty() || authorities.is_none()) {
        let problem = "[metrics] gives access to no client";
        let help = "name a `token_file`, or `authorities` and the `uris` of their certificates";
        section.wrong(section.at(), "KEY_MISSING", problem, help);
    } else if uris.is_empty() != authorities.is_none() {
        let problem = "`uris` and `authorities` go together";
        let help = "name both, or none of them";
        section.wrong(section.at(), "KEY_MISSING", problem, help);
    }
    if root.switch("plaintext_metrics") {
        if let Some(at) = section.place("authorities").or_else(|| section.place("uris")) {
            let problem = "a plaintext listener sees no certificates";
            let help = "remove `plaintext_metrics`, or `authorities` and `uris`";
            section.wrong(at, "CERTIFICATES_NEED_TLS", problem, help);
        }
        return Some(MetricsConfig { files: None, uris, token });
    }
    let own = |key, of_tls: Option<&PathBuf>| named(key).or_else(|| of_tls.cloned());
    let certificate = own("certificate", tls.map(|tls| &tls.certificate));
    let key = own("key", tls.map(|tls| &tls.key));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        let problem = "[metrics] has no certificate: a token would travel in plaintext";
        let help = "add a [tls] table, or `certificate` and `key` here";
        section.wrong(section.at(), "KEY_MISSING", problem, help);
        return None;
    };
    let revoked = named("revoked");
    let files = CallerFiles { certificate, key, authorities, revoked, pages: true };
    Some(MetricsConfig { files: Some(files), uris, token })
}

/// The file of the token, which must hold one.
fn token(section: &Section<'_>) -> Option<PathBuf> {
    let named = section.path("token_file")?;
    if let Some(text) = section.read(&named)
        && text.trim().len() < TOKEN_CHARS_MIN
    {
        let problem =
            format!("{} has no token of {TOKEN_CHARS_MIN} characters", named.it.display());
        let help = "write one, as `openssl rand -hex 32` makes";
        section.wrong(named.at, "TOKEN_SHORT", problem, help);
    }
    Some(named.it)
}
