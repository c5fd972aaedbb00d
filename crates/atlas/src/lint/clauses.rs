//! Clauses that open nothing.

use std::collections::BTreeMap;

use crate::geo::country::Countries;
use crate::lint::Check;
use crate::{Clause, Constraint, Jurisdiction, Severity, Statute};

impl Check<'_> {
    pub(super) fn clauses(&self) {
        let mut by_from = BTreeMap::<Jurisdiction, Vec<&Clause>>::new();
        for clause in self.map.clauses() {
            by_from.entry(clause.from()).or_default().push(clause);
        }
        for (n, clause) in self.map.clauses().iter().enumerate() {
            if self.file.is_full(Severity::Warning) {
                continue;
            }
            let others = by_from.get(&clause.from()).map(Vec::as_slice).unwrap_or_default();
            if let Some(why) = self.opens_nothing(clause, others) {
                let problem = format!("`{}` opens nothing: {why}", clause.id());
                self.note(&self.places.clauses, n, "CLAUSE_UNUSED", problem, "remove it");
            }
        }
    }

    /// Why a clause opens nothing, if it does not. `others`: all clauses of the same jurisdiction.
    fn opens_nothing(&self, clause: &Clause, others: &[&Clause]) -> Option<String> {
        let (from, to) = (clause.from(), clause.to());
        if to.members().without(from.members()).is_empty() {
            return Some(format!("{to} is in {from}"));
        }
        let laws: Vec<&Statute> =
            self.map.statutes().iter().filter(|law| law.jurisdiction() == from).collect();
        let mut asked = false;
        let mut opened = false;
        for rules in self.map.collections().filter(|rules| clause.covers(rules.name())) {
            let laws = laws.iter().filter(|law| law.covers(rules.name()));
            let mut denied = Countries::EMPTY;
            let mut asks = false;
            for law in laws {
                denied = denied.or(law.pack().denied);
                asks |= law.constraints().iter().any(|constraint| match constraint {
                    Constraint::PrimaryFirst | Constraint::ConditionalTransfer => true,
                    Constraint::Exclusive | Constraint::Mirror | Constraint::None => false,
                });
            }
            let reachable = to.members().without(from.members()).without(denied);
            asked |= asks;
            opened |= asks && !reachable.is_empty();
            if opened {
                break;
            }
        }
        if !asked {
            return Some(format!("no statute of the map lets records of {from} leave by a clause"));
        }
        if !opened {
            return Some(format!("the law of {from} denies {to}"));
        }
        let wider = others.iter().find(|other| is_within(clause, other))?;
        Some(format!("`{}` opens all of it", wider.id()))
    }
}

/// Whether another clause opens all that this one opens. Of two that are alike, the first by id.
fn is_within(clause: &Clause, other: &Clause) -> bool {
    let dates = other.not_before() <= clause.not_before() && clause.expires() <= other.expires();
    if clause.id() == other.id() || !dates {
        return false;
    }
    let to = clause.to().members().without(other.to().members()).is_empty();
    let collections = match (clause.collections(), other.collections()) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(these), Some(_)) => to && these.iter().all(|name| other.covers(name)),
    };
    let alike = clause.to() == other.to()
        && clause.collections() == other.collections()
        && (clause.not_before(), clause.expires()) == (other.not_before(), other.expires());
    to && collections && (!alike || other.id() < clause.id())
}
