//! One checkpoint's note, of two that differ in who has cosigned it.

use ledger::note::{NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, Verifier};

use crate::policy::Policy;

/// The note with the signatures of both, of which each begins with the same signed text: the log's
/// own first, then those of the policy's witnesses, then the others, as far as a note can hold
/// them. Of equals, those of `newer` go first.
pub(super) fn united(newer: &str, kept: &str, log: &Verifier, policy: Option<&Policy>) -> String {
    let (Some((text, new)), Some((same, old))) = (split(newer), split(kept)) else {
        return kept.to_owned();
    };
    if text != same {
        return kept.to_owned();
    }
    let rank = |line: &str| {
        let alone = format!("{text}\n{line}\n");
        if ledger::note::open(&alone, std::slice::from_ref(log)).is_ok() {
            0
        } else if policy.is_some_and(|policy| policy.knows_cosigner(&alone)) {
            1
        } else {
            2
        }
    };
    // What is kept stays where it is if nothing new has come: then nothing is written.
    if new.lines().all(|line| old.lines().any(|own| own == line)) {
        return kept.to_owned();
    }
    let mut lines: Vec<(u8, &str)> = Vec::new();
    for line in new.lines().chain(old.lines()) {
        if !lines.iter().any(|(_, own)| *own == line) {
            lines.push((rank(line), line));
        }
    }
    lines.sort_by_key(|(rank, _)| *rank);
    let mut note = format!("{text}\n");
    for (_, line) in lines.into_iter().take(NOTE_SIGNATURES_MAX) {
        if note.len() + line.len() < NOTE_BYTES_MAX {
            note.push_str(line);
            note.push('\n');
        }
    }
    note
}

/// The signed text with its last line's end, and the lines of the signatures.
fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    Some((note.get(..=at)?, note.get(at + 2..)?))
}

#[cfg(test)]
mod tests {
    use ledger::Checkpoint;
    use ledger::hash::empty_root;
    use ledger::note::Signer;

    use super::*;

    #[test]
    fn nobody_s_signature_is_given_away() {
        let signer = Signer::from_seed("d/a/b/1", &[1; 32]).unwrap();
        let at = Checkpoint { origin: "d/a/b/1".to_owned(), size: 0, root: empty_root() };
        let note = at.sign(&signer).unwrap();
        let with = |line: &str| format!("{note}\u{2014} {line} AAAAAAAA\n");
        let log = signer.verifier();
        assert_eq!(united(&note, &with("w"), &log, None), with("w"));
        let both = united(&with("x"), &with("w"), &log, None);
        assert_eq!(both, format!("{}\u{2014} w AAAAAAAA\n", with("x")));
        assert_eq!(Checkpoint::open(&both, &log), Ok(at));
        let many = (0..200).fold(note.clone(), |all, n| all + &format!("\u{2014} n{n} AAAAAAAA\n"));
        let cut = united(&many, &with("w"), &log, None);
        assert!(Checkpoint::open(&cut, &log).is_ok() && cut.lines().count() == 104);
        assert_eq!(united("no note", &note, &log, None), note);
    }
}
