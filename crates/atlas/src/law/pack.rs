//! From TOML to a statute pack.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::geo::country::Countries;
use crate::law::statute::{Exemption, Rule, Scope, Source, StatutePack, Transfers};
use crate::limits::{PACK_BYTES_MAX, WORKING_DAYS_MAX};
use crate::time::moment::Offsets;
use crate::toml::file::FILE_TOO_LARGE;
use crate::toml::reader::{At, File, Section};
use crate::toml::schema::PACK;
use crate::{
    Constraint, Diagnostic, ExemptionId, Sector, StatuteId, Territory, Trigger, UnknownCitizenship,
    Verified,
};

/// What a name is, in messages.
pub(crate) const NAME: &str = "a name of a-z, 0-9 and inner '-', at most 63 bytes";
/// What a territory is, in messages.
pub(crate) const TERRITORY: &str = "a country or EEA";

impl StatutePack {
    /// Reads a pack from its file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let pack = file
            .document((FILE_TOO_LARGE, PACK_BYTES_MAX))
            .and_then(|document| read(&file, &Section::root(&file, &document, &PACK), text));
        match (pack, file.into_findings()) {
            (Some(pack), wrong) if wrong.is_empty() => Ok(pack),
            (_, wrong) => Err(wrong),
        }
    }
}

fn read(file: &File<'_>, root: &Section<'_>, text: &str) -> Option<StatutePack> {
    let id = root.needed("id", "NAME_INVALID", NAME, StatuteId::parse);
    let jurisdiction =
        root.needed("jurisdiction", "TERRITORY_UNKNOWN", TERRITORY, Territory::parse);
    let trigger = trigger(root);
    let unknown = root.text("unknown").and_then(|text| {
        let wanted = "any-hint, territory or never";
        file.parsed(text, "VALUE_INVALID", wanted, UnknownCitizenship::parse)
    });
    let (constraint, readings) = demand(file, root);
    let own = |text: At<&str>| text.it.to_owned();
    let (title, citation) = (root.needed_text("title"), root.needed_text("citation"));
    let source = source(file, root, root.needed_text("source"));
    let from = root.needed_date("from");
    let until = root.date("until").map(|until| until.it);
    let draft = draft(file, root);
    let data = root.said("data").map(own);
    let sectors = names(file, root, "sectors", Sector::parse);
    let inside = constraints(file, root, "in_territory_under");
    let more = scopes(file, root);
    let deny = territories(file, root, "deny");
    let transfers = transfers(file, root);
    let (exemptions, rules) = (exemptions(file, root), rules(file, root));
    let jurisdiction = jurisdiction?.it;
    let first =
        Scope { trigger: trigger?, constraint: constraint?, sectors, from: None, until: None };
    let scopes = std::iter::once(first).chain(more).collect();
    let denied = deny.iter().map(|territory| territory.members());
    let denied = denied.fold(Countries::EMPTY, Countries::or).without(jurisdiction.members());
    Some(StatutePack {
        id: id?.it,
        text: text.to_owned(),
        digest: Sha256::digest(text).into(),
        jurisdiction,
        title: own(title?),
        citation: own(citation?),
        source: source?,
        scopes,
        readings,
        inside,
        unknown: unknown.map_or(UnknownCitizenship::AnyHint, |u| u.it),
        from: from?.it,
        until,
        offsets: Offsets::of(jurisdiction),
        draft,
        data,
        deny,
        denied,
        transfers,
        exemptions,
        rules,
    })
}

fn trigger(section: &Section<'_>) -> Option<Trigger> {
    let wanted = "citizen, located or operator";
    section.needed("trigger", "VALUE_INVALID", wanted, Trigger::parse).map(|trigger| trigger.it)
}

/// Those beside the first to whom the law applies.
fn scopes(file: &File<'_>, root: &Section<'_>) -> Vec<Scope> {
    let read = |section: &Section<'_>| {
        let trigger = trigger(section);
        let (from, until) = (section.date("from"), section.date("until"));
        let constraint =
            section.needed("constraint", "VALUE_INVALID", "a constraint", Constraint::parse);
        let sectors = names(file, section, "sectors", Sector::parse);
        Some(Scope {
            trigger: trigger?,
            constraint: constraint?.it,
            sectors,
            from: from.map(|date| date.it),
            until: until.map(|date| date.it),
        })
    };
    root.sections("scopes").iter().filter_map(read).collect()
}

/// A list of constraints that may be left out.
fn constraints(file: &File<'_>, section: &Section<'_>, key: &str) -> Vec<Constraint> {
    let texts = section.texts(key).unwrap_or_default().into_iter();
    let read = |text| file.parsed(text, "VALUE_INVALID", "a constraint", Constraint::parse);
    texts.filter_map(read).map(|constraint| constraint.it).collect()
}

/// What the law demands, and the readings that are in dispute, of which that is one.
fn demand(file: &File<'_>, root: &Section<'_>) -> (Option<Constraint>, Vec<Constraint>) {
    let constraint = root.needed("constraint", "VALUE_INVALID", "a constraint", Constraint::parse);
    let mut readings = Vec::new();
    let listed = root.texts("readings");
    for text in listed.iter().flatten() {
        if let Some(reading) =
            file.parsed(*text, "VALUE_INVALID", "a constraint", Constraint::parse)
        {
            if readings.contains(&reading.it) {
                let problem = "this reading is listed already";
                file.wrong(text.at, "NAME_DUPLICATE", problem, "remove one of them");
            }
            readings.push(reading.it);
        }
    }
    if let Some(constraint) = constraint
        && listed.is_some()
        && (readings.len() < 2 || !readings.contains(&constraint.it))
    {
        let problem = "`readings` is not a list of two or more with `constraint` among them";
        let cure = "list every reading that is in dispute, or leave the key out";
        file.wrong(constraint.at, "VALUE_INVALID", problem, cure);
    }
    (constraint.map(|constraint| constraint.it), readings)
}

/// Why the pack is a draft, if it is one.
fn draft(file: &File<'_>, root: &Section<'_>) -> Option<String> {
    let because = root.said("draft_because");
    let Some(status) = root.text("status") else {
        if let Some(because) = because {
            let problem = "`draft_because` stands in a pack that is no draft";
            file.wrong(because.at, "SETTING_UNUSED", problem, "add status = \"draft\"");
        }
        return None;
    };
    file.parsed(status, "VALUE_INVALID", "draft", |text| (text == "draft").then_some(()))?;
    root.needed_text("draft_because").map(|because| because.it.to_owned())
}

fn transfers(file: &File<'_>, root: &Section<'_>) -> Option<Transfers> {
    let section = root.section("transfers")?;
    let days = section.needed_number("working_days");
    let listed = territories(file, &section, "listed");
    let days = days?;
    if days.it > WORKING_DAYS_MAX {
        let problem = format!("`working_days` is over {WORKING_DAYS_MAX}");
        file.wrong(days.at, "LIMIT_RANGE", problem, format!("give {WORKING_DAYS_MAX} or less"));
    }
    let working_days = u32::try_from(days.it).ok()?;
    Some(Transfers { working_days, listed })
}

fn exemptions(file: &File<'_>, root: &Section<'_>) -> Vec<Exemption> {
    let mut seen = BTreeSet::new();
    let mut exemptions = Vec::new();
    for section in root.sections("exemptions") {
        let id = section.needed("id", "NAME_INVALID", NAME, ExemptionId::parse);
        let (says, citation) = (section.needed_text("says"), section.needed_text("citation"));
        let (verified, source) = verified(file, &section);
        if let Some(id) = &id
            && !seen.insert(id.it.clone())
        {
            let problem = format!("there is an exemption `{}` already", id.it);
            file.wrong(id.at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
        if let (Some(id), Some(says), Some(citation), Some(verified)) =
            (id, says, citation, verified)
        {
            let (says, citation) = (says.it.to_owned(), citation.it.to_owned());
            exemptions.push(Exemption { id: id.it, says, citation, verified, source });
        }
    }
    exemptions
}

fn rules(file: &File<'_>, root: &Section<'_>) -> Vec<Rule> {
    let rules = root.sections("rules");
    if rules.is_empty() {
        file.wrong(0, "KEY_MISSING", "this statute pack has no rule", "cite at least one");
    }
    rules.iter().filter_map(|section| rule(file, section)).collect()
}

fn rule(file: &File<'_>, section: &Section<'_>) -> Option<Rule> {
    let (says, citation) = (section.needed_text("says"), section.needed_text("citation"));
    let (verified, source) = verified(file, section);
    let (from, until) = (section.date("from"), section.date("until"));
    Some(Rule {
        says: says?.it.to_owned(),
        citation: citation?.it.to_owned(),
        verified: verified?,
        source,
        from: from.map(|date| date.it),
        until: until.map(|date| date.it),
    })
}

/// How well a fact was verified, and where it was read: whoever has read it can say where.
fn verified(file: &File<'_>, section: &Section<'_>) -> (Option<Verified>, Option<Source>) {
    let verified = section.needed(
        "verified",
        "VALUE_INVALID",
        "seen, weak, memory or inference",
        Verified::parse,
    );
    let source = source(file, section, section.said("source"));
    if let Some(verified) = verified
        && verified.it.has_source()
        && source.is_none()
    {
        let problem = format!("a fact that is `{}` has no `source`", verified.it);
        file.wrong(verified.at, "SOURCE_MISSING", problem, "add the address of the page");
    }
    (verified.map(|verified| verified.it), source)
}

/// Where something was read, when, and whether that is official.
fn source(file: &File<'_>, section: &Section<'_>, address: Option<At<&str>>) -> Option<Source> {
    let (looked_at, official) = (section.date("looked_at"), section.flag("official"));
    if address.is_none() && (looked_at.is_some() || official.is_some()) {
        let problem = "`looked_at` and `official` say of a `source` what there is not";
        file.wrong(section.at, "SETTING_UNUSED", problem, "add the address of the page");
    }
    Some(Source {
        address: address?.it.to_owned(),
        looked_at: looked_at.map(|day| day.it),
        official: official.unwrap_or(false),
    })
}

/// A list of territories that may be left out.
fn territories(file: &File<'_>, section: &Section<'_>, key: &str) -> Vec<Territory> {
    let texts = section.texts(key).unwrap_or_default().into_iter();
    let read = |text| file.parsed(text, "TERRITORY_UNKNOWN", TERRITORY, Territory::parse);
    texts.filter_map(read).map(|territory| territory.it).collect()
}

/// A list of names, each once, that may be left out.
pub(crate) fn names<T: Ord + Clone>(
    file: &File<'_>,
    section: &Section<'_>,
    key: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
    for text in section.texts(key).unwrap_or_default() {
        let Some(name) = file.parsed(text, "NAME_INVALID", NAME, &parse) else { continue };
        if !seen.insert(name.it.clone()) {
            let problem = format!("`{}` is listed already", text.it);
            file.wrong(text.at, "NAME_DUPLICATE", problem, "remove one of them");
            continue;
        }
        names.push(name.it);
    }
    names
}
