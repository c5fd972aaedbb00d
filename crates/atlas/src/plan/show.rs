//! A plan for people to read, and for machines.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::{Effect, Move, Plan};
use crate::map::diff::Change;
use crate::map::digest_text;
use crate::{Country, Epoch};

/// Countries of one class that a table names; of more it says how many there are.
const NAMED_MAX: usize = 8;
/// Grounds that a table tells of one effect.
const GROUNDS_MAX: usize = 4;

impl Plan {
    /// As text: what changes, then the effects.
    pub fn table(&self) -> String {
        let mut table = String::new();
        // Writing to a string does not fail.
        let _done = self.write(&mut table);
        table
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        let (from, to) = (self.old.number, self.new.number);
        writeln!(out, "map {from} to {to}, as of {}", self.as_of)?;
        let opening = self.changes.iter().filter(|change| change.widens.is_some()).count();
        let signers = if opening > 0 { "two signers" } else { "one signer" };
        let changes = count(self.changes.len(), "change");
        writeln!(out, "\n{changes}, of which {opening} widen: it needs {signers}")?;
        for change in &self.changes {
            let mark = if change.widens.is_some() { '+' } else { ' ' };
            writeln!(out, "{mark} {change}")?;
            if let Some(why) = change.widens {
                writeln!(out, "    {why}")?;
            }
        }
        self.write_effects(out)?;
        let single = self.classes.len();
        writeln!(out, "\n{} of countries that the maps tell apart", count(single, "class"))?;
        for class in &self.classes {
            writeln!(out, "  {}", class_words(class))?;
        }
        writeln!(out, "\n{} put to each map", count(self.questions, "question"))?;
        if let Some(cut) = self.cut {
            if cut.findings < super::FINDINGS_MAX {
                let (findings, questions) = (cut.findings, cut.questions);
                writeln!(
                    out,
                    "CUT: people with more than {findings} findings were not asked about: it takes \
                     {questions} questions, and {} is the limit",
                    super::QUESTIONS_MAX
                )?;
            }
            if cut.unlisted > 0 {
                let unlisted = count(cut.unlisted, "class");
                writeln!(out, "CUT: what follows for {unlisted} of people is not listed")?;
            }
        }
        Ok(())
    }

    fn write_effects(&self, out: &mut String) -> fmt::Result {
        if self.effects.is_empty() {
            return writeln!(out, "\nnobody is placed or refused otherwise than before");
        }
        // Each effect has one row; its grounds follow below.
        let alike = |a: &Effect, b: &Effect| a.moved == b.moved;
        let groups: Vec<&[Effect]> = self.effects.chunk_by(alike).collect();
        let heads =
            ["", "what", "collections (tenants)", "cases", "for example"].map(str::to_owned);
        let rows = groups.iter().zip(1..).filter_map(|(group, n): (_, usize)| row(n, group));
        let rows: Vec<[String; 5]> = [heads].into_iter().chain(rows).collect();
        let width = |n: usize| {
            let cells = rows.iter().filter_map(|row| row.get(n));
            cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
        };
        let (number, what, collections, cases) = (width(0), width(1), width(2), width(3));
        writeln!(out)?;
        for [n, a, b, c, d] in &rows {
            writeln!(out, "{n:>number$}  {a:what$}  {b:collections$}  {c:>cases$}  {d}")?;
        }
        writeln!(out, "a case is one class of people in one class of collections and tenants")?;
        for (group, n) in groups.iter().zip(1_usize..) {
            let Some(Effect { moved, before, after, .. }) = first(group) else { continue };
            writeln!(out, "\n{n}. {moved}\n   before: {before}\n   after:  {after}")?;
            let by = grounds(group);
            for (words, cases) in by.iter().take(GROUNDS_MAX) {
                writeln!(out, "   {words}: {}", count(*cases, "case"))?;
            }
            if let Some(more) = by.len().checked_sub(GROUNDS_MAX).filter(|more| *more > 0) {
                writeln!(out, "   and {more} more such grounds, all in the JSON")?;
            }
        }
        Ok(())
    }

    /// For machines: one JSON document. Its members are in the order of their names.
    pub fn json(&self) -> String {
        let cut = self.cut.map(|cut| {
            json!({
                "findings": cut.findings,
                "questions_needed": cut.questions,
                "unlisted_classes": cut.unlisted,
            })
        });
        let codes = |class: &Vec<Country>| class.iter().map(|c| c.as_str()).collect::<Vec<_>>();
        let document = json!({
            "acts": self.acts(),
            "as_of": self.as_of.to_string(),
            "changes": self.changes.iter().map(change_json).collect::<Vec<_>>(),
            "countries": self.classes.iter().map(codes).collect::<Vec<_>>(),
            "cut": cut,
            "effects": self.effects.iter().map(effect_json).collect::<Vec<_>>(),
            "new": epoch_json(&self.new),
            "old": epoch_json(&self.old),
            "questions": self.questions,
            "widens": self.widens(),
        });
        document.to_string()
    }
}

/// `1 case`, `2 classes`.
fn count(n: usize, what: &str) -> String {
    let ending = match (n, what.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{n} {what}{ending}")
}

fn class_words(class: &[Country]) -> String {
    let named: Vec<&str> = class.iter().take(NAMED_MAX).map(|c| c.as_str()).collect();
    match class.len().saturating_sub(NAMED_MAX) {
        0 => named.join(" "),
        more => format!("{} and {more} more", named.join(" ")),
    }
}

/// The effect of a group whose example is the simplest.
fn first(group: &[Effect]) -> Option<&Effect> {
    group.iter().min_by_key(|effect| effect.findings)
}

/// What came and went in a group, in words, with the number of cases; the most frequent first.
fn grounds(group: &[Effect]) -> Vec<(String, usize)> {
    let mut by = BTreeMap::<String, usize>::new();
    for effect in group {
        *by.entry(effect.differences.words()).or_default() += effect.classes;
    }
    let mut by: Vec<(String, usize)> =
        by.into_iter().filter(|(words, _)| !words.is_empty()).collect();
    by.sort_by_key(|(_, cases)| std::cmp::Reverse(*cases));
    by
}

fn row(n: usize, group: &[Effect]) -> Option<[String; 5]> {
    let Effect { moved, tenants, example, .. } = first(group)?;
    let one_class = group.iter().all(|effect| effect.tenants == *tenants);
    let place = |effect: &Effect| {
        let collections: Vec<&str> =
            effect.collections.iter().map(terms::Collection::as_str).collect();
        let tenants: Vec<&str> = effect.tenants.iter().map(terms::TenantId::as_str).collect();
        let (collections, tenants) = (collections.join(", "), tenants.join(", "));
        if one_class { collections } else { format!("{collections} ({tenants})") }
    };
    let places: BTreeSet<String> = group.iter().map(place).collect();
    let mut places = places.into_iter().collect::<Vec<_>>().join(", ");
    if one_class {
        let tenants: Vec<&str> = tenants.iter().map(terms::TenantId::as_str).collect();
        places = format!("{places} ({})", tenants.join(", "));
    }
    let cases: usize = group.iter().map(|effect| effect.classes).sum();
    Some([n.to_string(), moved.to_string(), places, cases.to_string(), example.clone()])
}

fn epoch_json(epoch: &Epoch) -> Value {
    json!({ "digest": digest_text(&epoch.digest), "version": epoch.number })
}

fn change_json(change: &Change) -> Value {
    let Change { part, name, key, before, after, widens } = change;
    json!({
        "after": after,
        "before": before,
        "key": key,
        "name": name,
        "part": part.as_str(),
        "widens": widens,
    })
}

fn effect_json(effect: &Effect) -> Value {
    let Effect {
        moved,
        collections,
        tenants,
        differences,
        example,
        findings,
        before,
        after,
        classes,
    } = effect;
    let super::Differences {
        laws_gained,
        laws_lost,
        clauses_gained,
        clauses_lost,
        copies_gained,
        copies_lost,
        conflicting,
    } = differences;
    json!({
        "acts": moved.acts(),
        "after": after,
        "before": before,
        "classes": classes,
        "clauses_gained": clauses_gained,
        "clauses_lost": clauses_lost,
        "collections": collections.iter().map(terms::Collection::as_str).collect::<Vec<_>>(),
        "conflicting": conflicting,
        "copies_gained": copies_gained,
        "copies_lost": copies_lost,
        "example": example,
        "example_findings": findings,
        "key": moved.key(),
        "laws_gained": laws_gained,
        "laws_lost": laws_lost,
        "move": move_json(moved),
        "tenants": tenants.iter().map(terms::TenantId::as_str).collect::<Vec<_>>(),
    })
}

fn move_json(moved: &Move) -> Value {
    let kind = moved.kind();
    match moved {
        Move::Stays => json!({ "kind": kind }),
        Move::Elsewhere { from, to } => {
            json!({ "from": from.as_str(), "kind": kind, "to": to.as_str() })
        }
        Move::Refused { from, reason } => {
            json!({ "from": from.as_str(), "kind": kind, "reason": reason.as_str() })
        }
        Move::NewlyAllowed { reason, to } => {
            json!({ "kind": kind, "reason_before": reason.as_str(), "to": to.as_str() })
        }
        Move::Copies { region } | Move::Grounds { region } => {
            json!({ "kind": kind, "region": region.as_str() })
        }
        Move::StillRefused { before, after } => {
            json!({ "kind": kind, "reason": after.as_str(), "reason_before": before.as_str() })
        }
    }
}
