//! A statute pack as a page to read, and all of them as a table.

use std::fmt::Write as _;
use std::sync::Arc;

use crate::map::digest_text;
use crate::{Constraint, Date, Scope, Source, StatutePack, Trigger, UnknownCitizenship, Verified};

/// What stands at the head of every page.
const HEAD: &str = "Facts for operators and auditors, not legal advice.";

impl StatutePack {
    /// The pack as a page in Markdown: to whom it applies, what it demands, its citations, how
    /// well they were verified, and what to write in a map.
    pub fn page(&self) -> String {
        let parts = [
            self.head(),
            section("To whom it applies", &self.covers()),
            section("What it demands", &self.demands()),
            section("Exemptions", &self.grounds()),
            section("What the law says", &self.written()),
            section("How this pack reads it", &self.drawn()),
            section("In a map", &[self.snippet()]),
            section("What this pack cannot express", &self.limits()),
        ];
        parts.join("\n")
    }

    /// Title and table of what is known of the law as a whole.
    fn head(&self) -> String {
        let mut text = format!("# {}\n\n{HEAD}\n\n", self.title());
        let Source { address, looked_at, official } = self.source();
        let looked_at = looked_at.map_or_else(|| "not noted".to_owned(), |day| day.to_string());
        for (name, value) in [
            ("id", format!("`{}`", self.id())),
            ("jurisdiction", self.jurisdiction().to_string()),
            ("law", self.citation().to_owned()),
            ("read in", page(address)),
            ("looked at", looked_at),
            ("kind of source", if *official { "official" } else { "not official" }.to_owned()),
            ("in force", span(Some(self.from()), self.until())),
            ("status", self.status_words().to_owned()),
            ("least verified", self.least_verified().to_string()),
        ] {
            line(&mut text, &format!("| {name} | {} |", cell(&value)));
            if name == "id" {
                line(&mut text, "| --- | --- |");
            }
        }
        text
    }

    /// What makes it attach, in sentences.
    fn covers(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (n, scope) in self.scopes().iter().enumerate() {
            if n > 0 {
                lines.push("\nAs well:\n".to_owned());
            }
            lines.extend(self.scope(scope));
        }
        if let Some(data) = self.data() {
            lines.push(format!("Only for {data}: the map lists in `collections` what holds them."));
        }
        lines
    }

    /// What makes one scope attach, in sentences.
    fn scope(&self, scope: &Scope) -> Vec<String> {
        let place = self.jurisdiction();
        let mut lines = match scope.trigger() {
            Trigger::Citizen => vec![
                format!("It attaches to citizens of {place}."),
                "Of those who live elsewhere the map decides by `citizens_abroad`; there is no \
                 default."
                    .to_owned(),
                match self.unknown() {
                    UnknownCitizenship::AnyHint => format!(
                        "Where nothing is known of citizenship, residence, presence or a contact \
                         in {place} is enough, unless the map's `unknown` says otherwise."
                    ),
                    UnknownCitizenship::Territory => format!(
                        "Where nothing is known of citizenship, residence or presence in {place} \
                         is enough, unless the map's `unknown` says otherwise."
                    ),
                    UnknownCitizenship::Never => "Where nothing is known of citizenship it does \
                         not attach, unless the map's `unknown` says otherwise."
                        .to_owned(),
                },
            ],
            Trigger::Located => vec![
                format!("It attaches to people who live or are in {place}, of any citizenship."),
                if scope.constraint() == Constraint::Mirror {
                    "A contact, such as a telephone number, never makes it attach.".to_owned()
                } else {
                    format!(
                        "Where nothing is known of either, a contact in {place}, such as a \
                         telephone number, is enough."
                    )
                },
            ],
            Trigger::Operator => vec![
                format!(
                    "It attaches to all people of a tenant that is established in {place}, as the \
                     map declares."
                ),
                "A tenant that the map does not declare is taken as established there.".to_owned(),
            ],
        };
        if !scope.sectors().is_empty() {
            let sectors = words(scope.sectors().iter().map(|sector| format!("`{sector}`")));
            lines.push(format!("Only for tenants that declare one of these `sectors`: {sectors}."));
            lines
                .push("A tenant that the map does not declare is taken as one of them.".to_owned());
        }
        if scope.from().is_some() || scope.until().is_some() {
            lines.push(format!("In force {}.", span(scope.from(), scope.until())));
        }
        lines
    }

    /// What it asks for once it attaches, in sentences.
    fn demands(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.readings().is_empty() {
            for constraint in self.constraints() {
                lines.extend(self.demand(constraint));
            }
        } else {
            let readings = words(self.readings().iter().map(|one| format!("`{one}`")));
            lines.push(format!("It is read in more than one way: {readings}."));
            lines.push("The map chooses by `reading`; there is no default.\n".to_owned());
            for reading in self.readings() {
                lines.push(format!("- {}", self.demand(*reading).join("\n  ")));
            }
        }
        for reading in self.inside() {
            lines.push(format!(
                "Read as `{reading}`, records come in through gateways in {} only.",
                self.jurisdiction()
            ));
        }
        if !self.deny().is_empty() {
            let deny = words(self.deny().iter().map(ToString::to_string));
            lines
                .push(format!("Neither copy nor reader is ever in {deny}: no clause opens these."));
        }
        if let Some(transfers) = self.transfers() {
            lines.push(format!(
                "A transfer waits {} working days (Monday to Friday) after its notification, so a \
                 clause from here gives the day in `notified`.",
                transfers.working_days()
            ));
            if !transfers.listed().is_empty() {
                let listed = words(transfers.listed().iter().map(ToString::to_string));
                lines.push(format!("To these it does not wait, only notify: {listed}."));
            }
        }
        for term in self.erasures() {
            lines.push(format!(
                "Erasure on the ground `{}` within {} {}: {} ({}; {}).",
                term.ground,
                term.within,
                term.unit,
                term.says,
                term.citation,
                term.verified.as_str()
            ));
        }
        lines
    }

    /// What one constraint asks for, in sentences.
    fn demand(&self, constraint: Constraint) -> Vec<String> {
        let place = self.jurisdiction();
        let lines: &[&str] = match constraint {
            Constraint::Exclusive => {
                &["the record lies in PLACE, with no copy and no reader abroad."]
            }
            Constraint::PrimaryFirst => &[
                "the first and authoritative copy lies in PLACE.",
                "Copies and readers abroad need a transfer clause.",
            ],
            Constraint::Mirror => &["a copy lies in PLACE; where others lie is free."],
            // A law that names the destinations that it closes finds none adequate.
            Constraint::ConditionalTransfer if !self.deny().is_empty() => {
                &["outside of PLACE the record lies, and is read, under a transfer clause only."]
            }
            Constraint::ConditionalTransfer => &[
                "outside of PLACE the record lies, and is read, under a transfer clause only.",
                "A destination that the law finds adequate needs a clause as well, which says so.",
            ],
            Constraint::None => &["nothing."],
        };
        let mut lines: Vec<String> =
            lines.iter().map(|line| line.replace("PLACE", place.as_str())).collect();
        if let Some(first) = lines.first_mut() {
            first.insert_str(0, &format!("`{constraint}`: "));
        }
        lines
    }

    /// The exemptions as a table.
    fn grounds(&self) -> Vec<String> {
        if self.exemptions().is_empty() {
            return vec!["This pack has none.".to_owned()];
        }
        let mut lines = vec![
            "A collection that rests on one of these says so in `exempt`, and the law does not \
             attach to it.\n"
                .to_owned(),
            "| exempt | ground | citation | verified | source |".to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
        ];
        lines.extend(self.exemptions().iter().map(|ground| {
            let source = read_in(ground.source.as_ref());
            let id = format!("`{}/{}`", self.id(), ground.id);
            row(&[&id, &ground.says, &ground.citation, ground.verified.as_str(), &source])
        }));
        lines
    }

    /// The rules as a table.
    fn written(&self) -> Vec<String> {
        let mut lines = vec![
            "| rule | citation | in force | verified | source |".to_owned(),
            "| --- | --- | --- | --- | --- |".to_owned(),
        ];
        lines.extend(self.rules().iter().filter(|rule| rule.verified.is_of_law()).map(|rule| {
            let (dates, source) = (span(rule.from, rule.until), read_in(rule.source.as_ref()));
            row(&[&rule.says, &rule.citation, &dates, rule.verified.as_str(), &source])
        }));
        lines
    }

    /// What is drawn here, and no statement of law.
    fn drawn(&self) -> Vec<String> {
        let drawn = self.rules().iter().filter(|rule| !rule.verified.is_of_law());
        let lines: Vec<String> =
            drawn.map(|rule| format!("- {} ({}).", rule.says, rule.citation)).collect();
        if lines.is_empty() { vec!["As it stands.".to_owned()] } else { lines }
    }

    /// The lines of a map that put it in force, with a `?` for what has no default.
    fn snippet(&self) -> String {
        let mut text = String::from("```toml\n[[statutes]]\n");
        line(&mut text, &format!("id = \"{}\"", self.id()));
        line(&mut text, &format!("digest = \"{}\"", digest_text(self.digest())));
        if self.asks_citizenship() {
            line(&mut text, "citizens_abroad = \"?\"  # attach, ignore or refuse");
        }
        if !self.readings().is_empty() {
            let readings = self.readings().iter().map(|one| one.as_str().to_owned());
            line(&mut text, &format!("reading = \"?\"  # {}", words(readings)));
        }
        if let Some(data) = self.data() {
            line(&mut text, &format!("collections = [\"?\"]  # those that hold {data}"));
        }
        if self.draft().is_some() {
            line(&mut text, "# accept_draft = true  # read first what this pack cannot express");
        }
        text.push_str("```");
        text
    }

    /// What only the operator can know, and what the pack's authors decided.
    fn limits(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(because) = self.draft() {
            lines.push(format!("- It is a draft: {because}."));
        }
        let by_operator = |scope: &Scope| scope.trigger() == Trigger::Operator;
        if self.scopes().iter().any(by_operator) {
            lines.push("- Where a tenant is established is what the map says.".to_owned());
        }
        if !self.scopes().iter().all(by_operator) {
            lines.push(
                "- Who the person is and where they live or are is what callers say.".to_owned(),
            );
        }
        if self.sectors().next().is_some() {
            lines.push("- Whether a tenant is of the sector is what the map says.".to_owned());
        }
        if self.data().is_some() {
            lines.push(
                "- What a collection holds is what the map says; it is not checked.".to_owned(),
            );
        }
        let clauses = [Constraint::PrimaryFirst, Constraint::ConditionalTransfer];
        if self.constraints().iter().any(|own| clauses.contains(own)) {
            lines.push("- Whether the ground that a clause names holds is not checked.".to_owned());
        }
        if self.transfers().is_some() {
            lines.push("- Public holidays are not known: Monday to Friday count.".to_owned());
        }
        lines
    }

    /// All of its demands, each once, as in the file.
    fn constraints(&self) -> Vec<Constraint> {
        let mut all = Vec::new();
        for scope in self.scopes() {
            if !all.contains(&scope.constraint()) {
                all.push(scope.constraint());
            }
        }
        all
    }

    fn status_words(&self) -> &'static str {
        match self.draft() {
            Some(_) => "draft: in force only where a map says `accept_draft = true`",
            None => "ready",
        }
    }

    /// The mark of the rule or ground that needs checking most.
    fn least_verified(&self) -> Verified {
        let rules = self.rules().iter().map(|rule| rule.verified);
        let marks = rules.chain(self.exemptions().iter().map(|ground| ground.verified));
        let marks = marks.chain(self.erasures().iter().map(|term| term.verified));
        let order = [Verified::Memory, Verified::Weak, Verified::Inference, Verified::Seen];
        let rank = |mark: &Verified| order.iter().position(|own| own == mark);
        marks.min_by_key(rank).unwrap_or(Verified::Memory)
    }
}

/// A table of packs in Markdown, each with a link to its page.
pub fn statute_index(packs: &[Arc<StatutePack>]) -> String {
    let mut text = format!("# Statute packs\n\n{HEAD}\n");
    text.push_str(
        "Each page is made from the pack's file in `crates/atlas/statutes`.\n\
         `least verified` is the mark of the rule that needs checking most: `memory` (check before \
         relying on it), `weak` (partly visible, or of low quality), `inference` (how the pack \
         reads the law), `seen` (in a public page).\n\
         A `draft` is put in force only by a map that accepts it.\n\n",
    );
    line(
        &mut text,
        "| id | jurisdiction | title | demands | attaches by | in force | status | least verified |",
    );
    line(&mut text, "| --- | --- | --- | --- | --- | --- | --- | --- |");
    for pack in packs {
        let id = format!("[{0}]({0}.md)", pack.id());
        let demands = match pack.readings() {
            [] => pack.constraints().iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", "),
            readings => readings.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(" or "),
        };
        let mut triggers: Vec<&str> = Vec::new();
        for scope in pack.scopes() {
            let word = scope.trigger().as_str();
            if !triggers.contains(&word) {
                triggers.push(word);
            }
        }
        let status = if pack.draft().is_some() { "draft" } else { "ready" };
        line(
            &mut text,
            &row(&[
                &id,
                pack.jurisdiction().as_str(),
                pack.title(),
                &demands,
                &triggers.join(", "),
                &span(Some(pack.from()), pack.until()),
                status,
                pack.least_verified().as_str(),
            ]),
        );
    }
    text
}

fn section(title: &str, lines: &[String]) -> String {
    format!("## {title}\n\n{}\n", lines.join("\n"))
}

fn line(text: &mut String, it: &str) {
    text.push_str(it);
    text.push('\n');
}

fn row(cells: &[&str]) -> String {
    let mut text = String::from("|");
    for it in cells {
        // Writing to a string cannot fail.
        let _infallible = write!(text, " {} |", cell(it));
    }
    text
}

/// A text that does not break the table it stands in.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// A source: its address, whether it is official, and when it was looked at, if that was noted.
fn read_in(source: Option<&Source>) -> String {
    let Some(Source { address, looked_at, official }) = source else { return String::new() };
    let official = if *official { ", official" } else { "" };
    let looked_at = looked_at.map_or_else(String::new, |day| format!(", looked at {day}"));
    format!("{}{official}{looked_at}", page(address))
}

fn page(address: &str) -> String {
    if address.starts_with("none") { address.to_owned() } else { format!("`{address}`") }
}

fn span(from: Option<Date>, until: Option<Date>) -> String {
    match (from, until) {
        (None, None) => String::new(),
        (Some(from), None) => format!("from {from}"),
        (None, Some(until)) => format!("until {until}"),
        (Some(from), Some(until)) => format!("{from} to {until}"),
    }
}

fn words(all: impl Iterator<Item = String>) -> String {
    all.collect::<Vec<_>>().join(", ")
}
