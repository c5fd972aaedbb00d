//! Finds every path that a Rust file names, with its `use` declarations resolved, and checks them
//! against the bans.

use std::collections::BTreeMap;

use super::bans::{BANS, Ban, Shape, Where};
use crate::source::{Token, closing};

/// A path as it is meant, not as it is abbreviated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    pub(crate) is_macro: bool,
}

/// Every path in `tokens`.
pub(crate) fn paths(tokens: &[Token]) -> Vec<Named> {
    let (leaves, rest) = uses(tokens);
    let mut aliases = BTreeMap::new();
    for (named, alias) in &leaves {
        aliases.entry(alias.clone()).or_insert_with(|| named.segments.clone());
    }
    let mut found: Vec<Named> = leaves.into_iter().map(|(named, _)| named).collect();
    found.extend(spelled(&rest));
    for named in &mut found {
        resolve(&mut named.segments, &aliases);
    }
    found
}

/// Replaces what `use` abbreviates, as often as one `use` rests on another.
fn resolve(segments: &mut Vec<String>, aliases: &BTreeMap<String, Vec<String>>) {
    const CHAIN_MAX: usize = 8;
    for _ in 0..CHAIN_MAX {
        let Some(full) = segments.first().and_then(|first| aliases.get(first)) else { return };
        let starts_with_itself = full.first() == segments.first();
        segments.splice(..1, full.iter().cloned());
        if starts_with_itself {
            return;
        }
    }
}

type Leaf = (Named, String);

/// The leaves of all `use` declarations, each with the name it goes by, and the tokens that are
/// left.
fn uses(tokens: &[Token]) -> (Vec<Leaf>, Vec<Token>) {
    let (mut leaves, mut rest, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        // `use<'a>` in a type captures a lifetime and names nothing.
        let captures = tokens.get(at + 1).is_some_and(|next| next.text == "<");
        if tokens[at].text == "use" && !captures {
            let end = (at..tokens.len()).find(|i| tokens[*i].text == ";").unwrap_or(tokens.len());
            tree(&tokens[at + 1..end], &[], &mut leaves);
            at = end;
        } else {
            rest.push(tokens[at].clone());
        }
        at += 1;
    }
    (leaves, rest)
}

/// One tree of a `use`, or several between commas.
fn tree(tokens: &[Token], above: &[String], leaves: &mut Vec<Leaf>) {
    let mut segments = above.to_vec();
    let (mut at, mut line, mut alias) = (0, 0, None);
    let mut end = |segments: &mut Vec<String>, alias: &mut Option<String>, line| {
        if segments.len() > above.len() || alias.is_some() {
            let named = Named { segments: segments.clone(), line, is_macro: false };
            let own = segments.last().cloned().unwrap_or_default();
            leaves.push((named, alias.take().unwrap_or(own)));
        }
        *segments = above.to_vec();
    };
    let mut nested = Vec::new();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "," => end(&mut segments, &mut alias, line),
            "{" => {
                let close = closing(tokens, at);
                nested.push((at + 1..close - 1, segments.clone()));
                segments = above.to_vec();
                at = close - 1;
            }
            "as" => {
                alias = tokens.get(at + 1).map(|token| token.text.clone());
                at += 1;
            }
            "self" if !above.is_empty() => {
                alias = segments.last().cloned();
                line = token.line;
            }
            "::" => {}
            segment => {
                segments.push(segment.to_owned());
                line = token.line;
            }
        }
        at += 1;
    }
    end(&mut segments, &mut alias, line);
    for (range, above) in nested {
        tree(&tokens[range], &above, leaves);
    }
}

/// The paths outside of `use`. What follows a `.` is a field or a method, and no path.
fn spelled(tokens: &[Token]) -> Vec<Named> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if !tokens[at].is_word() {
            at += 1;
            continue;
        }
        let start = at;
        let mut segments = vec![tokens[at].text.clone()];
        while text(at + 1) == "::" && tokens.get(at + 2).is_some_and(Token::is_word) {
            at += 2;
            segments.push(tokens[at].text.clone());
        }
        at += 1;
        if start == 0 || text(start - 1) != "." {
            let is_macro = text(at) == "!" && text(at + 1) != "=";
            found.push(Named { segments, line: tokens[start].line, is_macro });
        }
    }
    found
}

/// Whether `ban` holds in the file at `place`.
pub(crate) fn holds(ban: &Ban, place: &str) -> bool {
    match ban.holds {
        Where::Outside(homes) => !homes.iter().any(|home| place.starts_with(home)),
        Where::Inside(places) => places.iter().any(|inside| place.starts_with(inside)),
        Where::InsideBut(inside, but) => place.starts_with(inside) && !but.contains(&place),
    }
}

/// The lines of a file that break `ban`, wherever the file lies.
pub(crate) fn broken(ban: &Ban, tokens: &[Token], paths: &[Named]) -> Vec<usize> {
    let lines = |hit: &dyn Fn(&Named) -> bool| {
        paths.iter().filter(|named| hit(named)).map(|named| named.line).collect()
    };
    match ban.shape {
        Shape::Path(start) => lines(&|named| begins(&named.segments, start)),
        Shape::Maker(owner, makers) => lines(&|named| {
            let [.., of, maker] = named.segments.as_slice() else { return false };
            of == owner && makers.contains(&maker.as_str())
        }),
        Shape::Macro(name) => {
            lines(&|named| named.is_macro && named.segments.last().is_some_and(|l| l == name))
        }
        Shape::Define(name) => {
            const KINDS: &[&str] = &["struct", "enum", "trait", "type", "union"];
            let pairs = tokens.windows(2);
            let hits = pairs.filter(|p| KINDS.contains(&p[0].text.as_str()) && p[1].text == name);
            hits.map(|pair| pair[1].line).collect()
        }
        Shape::Words(words) => {
            let runs = tokens.windows(words.len());
            let hits = runs.filter(|run| run.iter().map(|token| &token.text).eq(words));
            hits.map(|run| run[0].line).collect()
        }
    }
}

/// Whether a path lies at or below `start`, or takes in all that is around it with `*`.
fn begins(segments: &[String], start: &str) -> bool {
    let start: Vec<&str> = start.split("::").collect();
    match segments {
        [around @ .., star] if star == "*" && !around.is_empty() => {
            start.iter().zip(around).all(|(a, b)| a == b)
        }
        _ => segments.len() >= start.len() && start.iter().zip(segments).all(|(a, b)| a == b),
    }
}

/// What a source file breaks, as `place:line: why`.
pub(crate) fn check(place: &str, tokens: &[Token]) -> Vec<String> {
    let paths = paths(tokens);
    let mut found = Vec::new();
    for ban in BANS.iter().filter(|ban| holds(ban, place)) {
        for line in broken(ban, tokens, &paths) {
            found.push(format!("{place}:{line}: {:?}: {}", ban.shape, ban.why));
        }
    }
    found.sort();
    found.dedup();
    found
}
