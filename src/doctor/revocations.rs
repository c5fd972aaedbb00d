//! Revocation lists: an authority whose list has ended is not trusted, so each list must be renewed
//! before.

use std::path::{Path, PathBuf};

use link::tls::{Ending, revocation_endings};
use terms::{UnixMillis, with_causes};

use crate::doctor::line::{Line, days};
use crate::doctor::target::Target;

const CHECK: &str = "revocations";
/// Days before a list's end from which on it should have been renewed: `pki` makes lists for 90,
/// to be renewed every month.
const DAYS_MIN: u64 = 14;
const CURE: &str = "`bailiwick pki revoke --authority DIR` renews it; concatenate the lists of all \
                    authorities into that file";

/// What is said of the lists that the server reads.
pub(super) fn all(target: &Target, now: UnixMillis) -> Vec<Line> {
    let own = target.tls.iter().map(|(files, _)| (&files.authorities, &files.revoked));
    let callers = target.callers.iter();
    let callers = callers.filter_map(|files| Some((files.authorities.as_ref()?, &files.revoked)));
    let mut lines = Vec::new();
    for (authorities, revoked) in own.chain(callers) {
        match revoked {
            Some(path) => lines.extend(file(path, authorities, now)),
            None => {
                let what = format!("none for {}: no certificate is revoked", authorities.display());
                lines.push(Line::ok(CHECK, what));
            }
        }
    }
    lines
}

fn file(path: &PathBuf, authorities: &Path, now: UnixMillis) -> Vec<Line> {
    // By the same reader as a server's. The list of an authority that is out of use does no harm.
    let lists = match revocation_endings(authorities, path) {
        Ok(lists) => lists,
        Err(error) => return vec![Line::bad(CHECK, with_causes(&error), "correct the file")],
    };
    let mut lines: Vec<Line> = lists.iter().filter_map(|list| late(list, path, now)).collect();
    if lines.is_empty() {
        let least = lists.iter().map(|list| days(now, list.at)).min();
        let least = least.map_or_else(String::new, |least| format!(", {least} days left or more"));
        let what = format!("{} lists of authorities in {}{least}", lists.len(), path.display());
        lines.push(Line::ok(CHECK, what));
    }
    lines
}

/// What is to be said of a list's end, if anything is.
fn late(list: &Ending, path: &Path, now: UnixMillis) -> Option<Line> {
    let (shown, path) = (&list.what, path.display());
    if list.at <= now {
        let what = format!("{shown} in {path} ended: that authority is not trusted");
        return Some(Line::bad(CHECK, what, CURE));
    }
    let left = days(now, list.at);
    let what = format!("{shown} in {path} ends in {left} days");
    (left < DAYS_MIN).then(|| Line::warn(CHECK, what, CURE))
}
