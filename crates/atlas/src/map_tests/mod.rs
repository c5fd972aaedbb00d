//! Tests of a map: people with the answers that it must give, the file of `map test`.

mod schema;

use std::fmt;

use terms::{Collection, Reason, RegionId, TenantId, limits};

use crate::limits::PEOPLE_BYTES_MAX;
use crate::toml::{At, File, Section, SizeLimit};
use crate::{
    ClauseId, Date, Diagnostic, EvidenceKind, Finding, Findings, Jurisdiction, Outcome, Question,
    RegionMap, Ruling, Tenant, Territory, decide,
};
pub use schema::PEOPLE;

/// One piece of a person's evidence. Like a finding, it shows no value in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Given {
    /// As a finding: a kind and a country.
    Finding(Finding),
    /// As a raw value, which the caller turns into a finding, if it is one: an address, a
    /// number, a mobile country code.
    Raw {
        /// Of which kind.
        kind: EvidenceKind,
        /// As it stands in the file.
        value: String,
    },
}

/// What a map must answer. What is left out may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// A placement.
    Placed {
        /// In this region.
        region: RegionId,
        /// With copies in exactly these regions, by name.
        mirrors: Option<Vec<RegionId>>,
        /// Resting on exactly these clauses, by id.
        clauses: Option<Vec<ClauseId>>,
    },
    /// A refusal, for this reason.
    Refused(Reason),
}

/// A person of the file: not a real one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// What the person is called in reports.
    pub name: String,
    /// The line of the file on which the person begins.
    pub line: usize,
    /// The platform. None: the only one of the map.
    pub tenant: Option<TenantId>,
    /// The collection.
    pub collection: Collection,
    /// The day. None: the one that the caller gives.
    pub date: Option<Date>,
    /// What is known of the person.
    pub evidence: Vec<Given>,
    /// What the map must answer.
    pub expected: Expected,
    /// The jurisdictions that must attach, exactly these, by code.
    pub jurisdictions: Option<Vec<Jurisdiction>>,
}

/// What became of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What differs from what was expected, a sentence each. None: it is as expected.
    pub differences: Vec<String>,
    /// What the map answered, and why: one sentence.
    pub answer: String,
}

impl Verdict {
    /// Whether the map answered as expected.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The people of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapTests {
    people: Vec<Person>,
}

impl MapTests {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<Self, Vec<Diagnostic>> {
        let file = File::new(text);
        let people = file.document(SizeLimit::file(PEOPLE_BYTES_MAX)).map(|document| {
            let sections = Section::root(&file, &document, &PEOPLE).sections("people");
            let people: Vec<At<Person>> =
                sections.iter().filter_map(|section| person(section, text)).collect();
            unique(&file, &people);
            people.into_iter().map(|person| person.it).collect()
        });
        file.finish(people.map(|people| Self { people }))
    }

    /// The people, in the order of the file.
    pub fn people(&self) -> &[Person] {
        &self.people
    }
}

/// Reports each name that is there twice: a report would be ambiguous.
fn unique(file: &File<'_>, people: &[At<Person>]) {
    let mut seen = std::collections::BTreeSet::new();
    for person in people {
        if !seen.insert(&person.it.name) {
            let problem = format!("there is a person `{}` already", person.it.name.escape_debug());
            file.wrong(person.at, "NAME_DUPLICATE", problem, "remove one of them, or rename it");
        }
    }
}

fn person(section: &Section<'_>, text: &str) -> Option<At<Person>> {
    let name = section.text("name");
    let tenant = section.parse("tenant", |text| TenantId::parse(text).ok());
    let collection = section.parse("collection", |text| Collection::parse(text).ok());
    let date = section.date("date").map(|date| date.it);
    let evidence = section.list("evidence", Given::parse);
    if let Some(over) = evidence.get(limits::EVIDENCE_ITEMS_MAX) {
        let problem = format!("more than {} pieces of evidence", limits::EVIDENCE_ITEMS_MAX);
        section.wrong(over.at, "LIMIT_RANGE", problem, "give those that count");
    }
    let evidence = evidence.into_iter().map(|given| given.it).collect();
    let (expected, jurisdictions) = expected(&section.section("expect")?)?;
    let name = name?;
    let line = text.get(..section.at()).map_or(1, |before| before.matches('\n').count() + 1);
    Some(name.with(Person {
        name: name.it.to_owned(),
        line,
        tenant: tenant.map(|tenant| tenant.it),
        collection: collection?.it,
        date,
        evidence,
        expected,
        jurisdictions,
    }))
}

/// What must be answered, and the jurisdictions that must attach.
fn expected(section: &Section<'_>) -> Option<(Expected, Option<Vec<Jurisdiction>>)> {
    let region = section.parse("region", |text| RegionId::parse(text).ok());
    let refused = section.parse("refused", Reason::parse);
    let mirrors = list(section, "mirrors", |text| RegionId::parse(text).ok());
    let clauses = list(section, "clauses", ClauseId::parse);
    let jurisdictions = list(section, "jurisdictions", Territory::parse);
    let expected = match (region, refused) {
        (Some(region), None) => Expected::Placed { region: region.it, mirrors, clauses },
        (None, Some(refused)) => {
            if mirrors.is_some() || clauses.is_some() {
                let problem = "what is refused has neither `mirrors` nor `clauses`";
                section.wrong(section.at(), "SETTING_UNUSED", problem, "leave them out");
            }
            Expected::Refused(refused.it)
        }
        (Some(_), Some(_)) => {
            let problem = "this expectation has a `region` and is `refused`";
            section.wrong(section.at(), "VALUE_INVALID", problem, "keep one of them");
            return None;
        }
        (None, None) => {
            if section.place("region").is_none() && section.place("refused").is_none() {
                let problem = "this expectation has neither `region` nor `refused`";
                section.wrong(section.at(), "KEY_MISSING", problem, "add one of them");
            }
            return None;
        }
    };
    Some((expected, jurisdictions))
}

/// A list that may be left out, in order.
fn list<T: Ord>(
    section: &Section<'_>,
    key: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<Vec<T>> {
    section.place(key)?;
    let mut all: Vec<T> = section.list(key, parse).into_iter().map(|parsed| parsed.it).collect();
    all.sort();
    all.dedup();
    Some(all)
}

// === impl Given ===

impl Given {
    /// Reads a kind and its value, with a space between them: a country's code for a finding of any
    /// kind (`XX` for no citizenship), or what `ip`, `phone` and `sim` have.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, value) = text.split_once(' ')?;
        let (kind, value) = (EvidenceKind::parse(kind)?, value.trim());
        if let Ok(finding) = Finding::parse(kind, value) {
            return Some(Self::Finding(finding));
        }
        let raw = match kind {
            EvidenceKind::Ip | EvidenceKind::Phone | EvidenceKind::Sim => true,
            EvidenceKind::Citizenship
            | EvidenceKind::Document
            | EvidenceKind::Residence
            | EvidenceKind::CollectedIn => false,
        };
        // Letters alone are a code that is none, and no address or number.
        let letters = value.bytes().all(|c| c.is_ascii_alphabetic());
        let fits = raw && !letters && value.len() <= limits::EVIDENCE_VALUE_BYTES_MAX;
        fits.then(|| Self::Raw { kind, value: value.to_owned() })
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(finding) => finding.fmt(f),
            Self::Raw { kind, value: _ } => write!(f, "Raw({kind}, …)"),
        }
    }
}

// === impl Person ===

impl Person {
    /// The findings, if every piece of evidence is one. None: some are raw, and the
    /// caller turns them into findings first.
    pub fn findings(&self) -> Option<Findings> {
        let mut findings = Findings::new();
        for given in &self.evidence {
            match given {
                // The file's limit lies below that of findings.
                Given::Finding(finding) => findings.insert(*finding).ok()?,
                Given::Raw { .. } => return None,
            };
        }
        Some(findings)
    }

    /// Whether a map answers as expected. `found`: the findings that the evidence gives, or why it
    /// gives none; `date`: the day for people who have none of their own.
    pub fn judge(&self, map: &RegionMap, found: Result<&Findings, Reason>, date: Date) -> Verdict {
        let tenant = match self.tenant(map) {
            Ok(tenant) => tenant,
            Err(problem) => {
                return Verdict { differences: vec![problem.clone()], answer: problem };
            }
        };
        let findings = match found {
            Ok(findings) => findings,
            Err(reason) => return self.refused(reason, None),
        };
        let (collection, date) = (&self.collection, self.date.unwrap_or(date));
        let ruling = decide(map, &Question { tenant, collection, findings, date: date.into() });
        match ruling {
            Err(unknown) => self.refused(terms::Rejection::from(unknown).reason, None),
            Ok(ruling) => match ruling.outcome() {
                Outcome::Refused(refusal) => self.refused(refusal.reason(), Some(&ruling)),
                Outcome::Placed(placement) => self.placed(placement, &ruling),
            },
        }
    }

    /// The tenant that is asked about.
    fn tenant<'a>(&'a self, map: &'a RegionMap) -> Result<&'a TenantId, String> {
        let tenant = map.tenant_or_only(self.tenant.as_ref());
        let help = "name one by `tenant = \"…\"` under this person's [[people]]";
        tenant.map(Tenant::name).map_err(|problem| format!("{problem}; {help}"))
    }

    fn refused(&self, reason: Reason, ruling: Option<&Ruling>) -> Verdict {
        let mut differences = Vec::new();
        let given = reason.as_str();
        match &self.expected {
            Expected::Refused(expected) if *expected == reason => {}
            Expected::Refused(expected) => {
                differences.push(format!("refused with {given}, not {}", expected.as_str()));
            }
            Expected::Placed { region, .. } => {
                differences.push(format!("refused with {given}, not placed in {region}"));
            }
        }
        self.attach(ruling, &mut differences);
        let why = ruling.map_or_else(|| reason.cure().to_owned(), Ruling::reason);
        Verdict { differences, answer: format!("refused with {given}: {why}") }
    }

    fn placed(&self, placement: &crate::Placement, ruling: &Ruling) -> Verdict {
        let mut differences = Vec::new();
        let given = placement.region();
        match &self.expected {
            Expected::Refused(expected) => {
                differences.push(format!("placed in {given}, not refused ({})", expected.as_str()));
            }
            Expected::Placed { region, mirrors, clauses } => {
                if region != given {
                    differences.push(format!("placed in {given}, not in {region}"));
                }
                differs("mirrors", mirrors.as_deref(), placement.mirrors(), &mut differences);
                differs("clauses", clauses.as_deref(), placement.clauses(), &mut differences);
            }
        }
        self.attach(Some(ruling), &mut differences);
        Verdict { differences, answer: format!("placed in {given}: {}", ruling.reason()) }
    }

    /// Adds what differs in the jurisdictions that attach. Without a ruling, none does.
    fn attach(&self, ruling: Option<&Ruling>, differences: &mut Vec<String>) {
        let given = ruling.map_or(&[][..], Ruling::jurisdictions);
        differs("jurisdictions", self.jurisdictions.as_deref(), given, differences);
    }
}

/// Adds that a list is not the one that was expected, in whatever order.
fn differs<T: Ord + Clone + fmt::Display>(
    what: &str,
    expected: Option<&[T]>,
    given: &[T],
    differences: &mut Vec<String>,
) {
    let Some(expected) = expected else { return };
    let mut given = given.to_vec();
    given.sort();
    if given != expected {
        let list = |all: &[T]| {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            format!("[{}]", all.join(", "))
        };
        differences.push(format!("{what} are {}, not {}", list(&given), list(expected)));
    }
}
