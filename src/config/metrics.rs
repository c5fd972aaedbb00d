//! Who may read the health and metrics pages from another machine.
//!
//! By default they listen on loopback only. `plaintext_metrics = true` shows them to everyone who
//! reaches them; `[metrics]` requires a token or a certificate, over TLS.

use std::fs;
use std::path::PathBuf;

use link::tls::{CallerFiles, Files};

use super::read::Section;
use super::unreadable;

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
    let section = root.table("metrics", "[metrics]")?;
    section.only(&["token_file", "uris", "authorities", "revoked", "certificate", "key"]);
    let named = |key| section.text(key).map(|text| section.file.beside(text.it));
    let token = token(&section);
    let uris = section.place("uris").map(|_| section.texts("uris")).unwrap_or_default();
    let uris: Vec<String> = uris.iter().map(|uri| uri.it.to_owned()).collect();
    let authorities = named("authorities");
    if token.is_none() && (uris.is_empty() || authorities.is_none()) {
        let problem = "[metrics] admits no client";
        let cure = "name a `token_file`, or `authorities` and the `uris` of their certificates";
        section.file.wrong(section.at(), "KEY_MISSING", problem, cure);
    } else if uris.is_empty() != authorities.is_none() {
        let problem = "`uris` and `authorities` go together";
        let cure = "name both, or none of them";
        section.file.wrong(section.at(), "KEY_MISSING", problem, cure);
    }
    if root.switch("plaintext_metrics") {
        if let Some(at) = section.place("authorities").or_else(|| section.place("uris")) {
            let problem = "a plaintext listener sees no certificates";
            let cure = "leave out `plaintext_metrics`, or `authorities` and `uris`";
            section.file.wrong(at, "CERTIFICATES_NEED_TLS", problem, cure);
        }
        return Some(MetricsConfig { files: None, uris, token });
    }
    let own = |key, of_tls: Option<&PathBuf>| named(key).or_else(|| of_tls.cloned());
    let certificate = own("certificate", tls.map(|tls| &tls.certificate));
    let key = own("key", tls.map(|tls| &tls.key));
    let (Some(certificate), Some(key)) = (certificate, key) else {
        let problem = "[metrics] has no certificate: a token would travel in plaintext";
        let cure = "add a [tls] table, or `certificate` and `key` here";
        section.file.wrong(section.at(), "KEY_MISSING", problem, cure);
        return None;
    };
    let revoked = named("revoked");
    let files = CallerFiles { certificate, key, authorities, revoked, pages: true };
    Some(MetricsConfig { files: Some(files), uris, token })
}

/// The file of the token, which must hold one.
fn token(section: &Section<'_>) -> Option<PathBuf> {
    let named = section.text("token_file")?;
    let file = section.file.beside(named.it);
    match fs::read_to_string(&file) {
        Ok(text) if text.trim().len() >= TOKEN_CHARS_MIN => {}
        Ok(_) => {
            let problem =
                format!("{} has no token of {TOKEN_CHARS_MIN} characters", file.display());
            let cure = "write one, as `openssl rand -hex 32` makes";
            section.file.wrong(named.at, "TOKEN_SHORT", problem, cure);
        }
        Err(error) => unreadable(section, named.at, &file, &error),
    }
    Some(file)
}
