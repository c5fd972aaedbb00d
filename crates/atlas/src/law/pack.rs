//! From TOML to a statute pack.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::geo::country::Countries;
use crate::law::moment::Offsets;
use crate::law::schema::PACK;
use crate::law::statute::{Exemption, Rule, Scope, Source, StatutePack, Transfers};
use crate::limits::PACK_BYTES_MAX;
use crate::toml::{File, Section, SizeLimit};
use crate::{
    Constraint, Diagnostic, ErasureGround, ErasureTerm, ExemptionId, Sector, StatuteId, TermUnit,
    Territory, Trigger, UnknownCitizenship, Verified,
};

impl StatutePack {
    /// Reads a pack from its file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let pack = file
            .document(SizeLimit::file(PACK_BYTES_MAX))
            .and_then(|document| read(&Section::root(&file, &document, &PACK), text));
        file.finish(pack)
    }
}

fn read(root: &Section<'_>, text: &str) -> Option<StatutePack> {
    let id = root.parse("id", StatuteId::parse);
    let jurisdiction = root.parse("jurisdiction", Territory::parse);
    let unknown = root.parse("unknown", UnknownCitizenship::parse);
    let own = |key| root.text(key).map(|text| text.it.to_owned());
    let [title, citation, data] = ["title", "citation", "data"].map(own);
    let source = source(root);
    let (from, until) = (root.date("from"), root.date("until"));
    let first = scope(root);
    let readings = readings(root);
    let draft = draft(root);
    let inside = root.list("in_territory_under", Constraint::parse);
    let more: Vec<Scope> = root.sections("scopes").iter().filter_map(scope).collect();
    let deny = territories(root, "deny");
    let transfers = transfers(root);
    let (exemptions, erasures, rules) = (exemptions(root), erasures(root), rules(root));
    let jurisdiction = jurisdiction?.it;
    // The dates of the pack itself are those of the law.
    let first = Scope { from: None, until: None, ..first? };
    let scopes = std::iter::once(first).chain(more).collect();
    let denied = deny.iter().map(|territory| territory.members());
    let denied = denied.fold(Countries::EMPTY, Countries::or).without(jurisdiction.members());
    Some(StatutePack {
        id: id?.it,
        text: text.to_owned(),
        digest: Sha256::digest(text).into(),
        jurisdiction,
        title: title?,
        citation: citation?,
        source: source?,
        scopes,
        readings,
        inside: inside.into_iter().map(|reading| reading.it).collect(),
        unknown: unknown.map_or(UnknownCitizenship::AnyHint, |u| u.it),
        from: from?.it,
        until: until.map(|until| until.it),
        offsets: Offsets::of(jurisdiction),
        draft,
        data,
        deny,
        denied,
        transfers,
        exemptions,
        erasures,
        rules,
    })
}

/// Those to whom the law applies, by the keys of a table.
fn scope(section: &Section<'_>) -> Option<Scope> {
    let trigger = section.parse("trigger", Trigger::parse);
    let constraint = section.parse("constraint", Constraint::parse);
    let sectors = section.distinct("sectors", "NAME_DUPLICATE", usize::MAX, Sector::parse);
    let (from, until) = (section.date("from"), section.date("until"));
    Some(Scope {
        trigger: trigger?.it,
        constraint: constraint?.it,
        sectors,
        from: from.map(|date| date.it),
        until: until.map(|date| date.it),
    })
}

/// The readings that are in dispute, of which `constraint` is one.
fn readings(root: &Section<'_>) -> Vec<Constraint> {
    let readings = root.distinct("readings", "NAME_DUPLICATE", usize::MAX, Constraint::parse);
    if let Some(at) = root.place("readings") {
        let stated = root.known_text("constraint").and_then(Constraint::parse);
        if readings.len() < 2 || stated.is_some_and(|stated| !readings.contains(&stated)) {
            let problem = "`readings` is not a list of two or more with `constraint` among them";
            let help = "list every reading that is in dispute, or remove the key";
            root.wrong(at, "VALUE_INVALID", problem, help);
        }
    }
    readings
}

/// Why the pack is a draft, if it is one.
fn draft(root: &Section<'_>) -> Option<String> {
    let because = root.text("draft_because");
    let status = root.parse("status", |text| (text == "draft").then_some(()));
    match (root.place("status"), because) {
        (None, Some(because)) => {
            let problem = "this pack has `draft_because` and is not a draft";
            root.wrong(because.at, "SETTING_UNUSED", problem, "add status = \"draft\"");
        }
        (Some(_), None) if root.place("draft_because").is_none() => root.missing("draft_because"),
        (Some(_) | None, _) => {}
    }
    status.and(because).map(|because| because.it.to_owned())
}

fn transfers(root: &Section<'_>) -> Option<Transfers> {
    let section = root.section("transfers")?;
    let listed = territories(&section, "listed");
    let working_days = u32::try_from(section.number("working_days")?.it).ok()?;
    Some(Transfers { working_days, listed })
}

fn exemptions(root: &Section<'_>) -> Vec<Exemption> {
    let mut seen = BTreeSet::new();
    let read = |section: &Section<'_>| {
        let id = section.parse("id", ExemptionId::parse);
        if let Some(id) = id.as_ref().filter(|id| !seen.insert(id.it.clone())) {
            let problem = format!("there is an exemption `{}` already", id.it);
            section.wrong(id.at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
        let Rule { says, citation, verified, source, .. } = rule(section)?;
        Some(Exemption { id: id?.it, says, citation, verified, source })
    };
    root.sections("exemptions").iter().filter_map(read).collect()
}

fn erasures(root: &Section<'_>) -> Vec<ErasureTerm> {
    let mut seen = BTreeSet::new();
    let read = |section: &Section<'_>| {
        let ground = section.parse("ground", ErasureGround::parse);
        if let Some(ground) = ground.as_ref().filter(|ground| !seen.insert(ground.it)) {
            let problem = format!("there is a term for `{}` already", ground.it);
            section.wrong(ground.at, "NAME_DUPLICATE", problem, "remove one of them");
        }
        let (within, unit) = (section.number("within"), section.parse("unit", TermUnit::parse));
        let Rule { says, citation, verified, source, .. } = rule(section)?;
        let within = u32::try_from(within?.it).ok()?;
        let (ground, unit) = (ground?.it, unit?.it);
        Some(ErasureTerm { ground, within, unit, says, citation, verified, source })
    };
    root.sections("erasures").iter().filter_map(read).collect()
}

fn rules(root: &Section<'_>) -> Vec<Rule> {
    let with_dates = |section: &Section<'_>| {
        let (from, until) = (section.date("from"), section.date("until"));
        let rule = rule(section)?;
        Some(Rule { from: from.map(|date| date.it), until: until.map(|date| date.it), ..rule })
    };
    root.sections("rules").iter().filter_map(with_dates).collect()
}

/// A statement of the law, and how well it was verified.
fn rule(section: &Section<'_>) -> Option<Rule> {
    let (says, citation) = (section.text("says"), section.text("citation"));
    let verified = section.parse("verified", Verified::parse);
    let source = source(section);
    if let Some(verified) = verified.filter(|verified| verified.it.has_source())
        && source.is_none()
    {
        let problem = format!("a fact that is `{}` has no `source`", verified.it);
        section.wrong(verified.at, "SOURCE_MISSING", problem, "add the address of the page");
    }
    Some(Rule {
        says: says?.it.to_owned(),
        citation: citation?.it.to_owned(),
        verified: verified?.it,
        source,
        from: None,
        until: None,
    })
}

/// A page in which something was read, when, and whether it is official.
fn source(section: &Section<'_>) -> Option<Source> {
    let (looked_at, official) = (section.date("looked_at"), section.flag("official"));
    let address = section.text("source");
    if section.place("source").is_none() && (looked_at.is_some() || official.is_some()) {
        let problem = "`looked_at` and `official` describe a `source`, and there is none";
        section.wrong(section.at(), "SETTING_UNUSED", problem, "add the address of the page");
    }
    Some(Source {
        address: address?.it.to_owned(),
        looked_at: looked_at.map(|day| day.it),
        official: official.unwrap_or(false),
    })
}

/// A list of territories.
fn territories(section: &Section<'_>, key: &str) -> Vec<Territory> {
    section.list(key, Territory::parse).into_iter().map(|territory| territory.it).collect()
}
