//! Every built-in law, on people to whom it attaches and on people to whom it does not.
//!
//! The cases are the lines of `golden/regimes.txt`: `packs; tenant; collection; day; findings =>
//! answer  # what it shows`. The answer has the laws that attach with their constraints, then the
//! country and the clauses, or the refusal. The map is made for each case: the packs named, one
//! region where the law requires it, one abroad.
//!
//! - packs: ids with `+` between; `/reading` behind one chooses it; `@XX` at the end puts the home
//!   of the law's territory into that country; what stands in `()` are clauses, each a country to
//!   which it leads, behind a `=` the day of its notification, and behind `from` its first day;
//! - tenants: `none` is established nowhere and of no sector, `local` is established in the law's
//!   territory, `sector` is of the law's sectors besides, `far` is of them and established abroad,
//!   `stranger` is not in the map;
//! - collections: `listed` is what a law of one kind of data lists, `exempt` has every ground that
//!   the packs know, `profiles` is neither.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use atlas::{
    Attachment, Date, Diagnostic, EvidenceKind, Finding, Findings, Outcome, Question, RegionMap,
    Ruling, Scope, StatutePack, Territory, Trigger, decide, packs,
};
use terms::{Collection, TenantId};

/// One line of the file.
#[derive(Debug, Clone)]
struct Case {
    laws: Vec<(Arc<StatutePack>, Option<String>)>,
    home: Option<String>,
    clauses: Vec<String>,
    tenant: String,
    collection: String,
    date: Date,
    findings: String,
}

fn pack(id: &str) -> Arc<StatutePack> {
    let mut all = packs().iter();
    all.find(|pack| pack.id().as_str() == id).unwrap_or_else(|| panic!("no pack {id}")).clone()
}

impl Case {
    fn parse(line: &str) -> Self {
        let parts: Vec<&str> = line.split(';').map(str::trim).collect();
        let [head, tenant, collection, date, findings] = parts.as_slice() else {
            panic!("five parts: {line}")
        };
        let (head, clauses) = match head.split_once(" (") {
            Some((head, clauses)) => (head, clauses.strip_suffix(')').expect("a bracket")),
            None => (*head, ""),
        };
        let (ids, home) = match head.split_once(" @") {
            Some((ids, home)) => (ids, Some(home.to_owned())),
            None => (head, None),
        };
        let law = |text: &str| match text.split_once('/') {
            Some((id, reading)) => (pack(id), Some(reading.to_owned())),
            None => (pack(text), None),
        };
        Self {
            laws: ids.split('+').map(law).collect(),
            home,
            clauses: clauses.split(", ").filter(|c| !c.is_empty()).map(str::to_owned).collect(),
            tenant: (*tenant).to_owned(),
            collection: (*collection).to_owned(),
            date: Date::parse(date).unwrap_or_else(|| panic!("a day: {date}")),
            findings: (*findings).to_owned(),
        }
    }

    /// Whose laws they are: all of one jurisdiction.
    fn jurisdiction(&self) -> Territory {
        self.laws.first().expect("a law").0.jurisdiction()
    }

    /// The country in which the region stands that the law asks for.
    fn inside(&self) -> &str {
        match self.jurisdiction() {
            Territory::Country(country) => country.as_str(),
            Territory::Group(_) => "DE",
        }
    }

    fn map(&self) -> Result<RegionMap, Vec<Diagnostic>> {
        let (place, inside) = (self.jurisdiction(), self.inside());
        let home = self.home.as_deref().unwrap_or(inside);
        let sectors = self.laws.iter().flat_map(|(pack, _)| pack.sectors());
        let sectors = quoted(sectors.map(|sector| sector.as_str().to_owned()));
        let grounds = self.laws.iter().flat_map(|(pack, _)| {
            pack.exemptions().iter().map(|ground| format!("{}/{}", pack.id(), ground.id))
        });
        let grounds = quoted(grounds);
        let mut text = format!(
            "name = \"regimes\"\ndeployment = \"regimes\"\nversion = 1\n\
             tenants = [\n{{ name = \"none\" }},\n\
             {{ name = \"local\", establishments = [\"{inside}\"] }},\n\
             {{ name = \"sector\", establishments = [\"{inside}\"], sectors = {sectors} }},\n\
             {{ name = \"far\", establishments = [\"SG\"], sectors = {sectors} }},\n]\n"
        );
        for name in ["profiles", "listed", "exempt"] {
            let exempt =
                if name == "exempt" { format!("exempt = {grounds}\n") } else { String::new() };
            write!(
                text,
                "[[collections]]\nname = \"{name}\"\ncategory = \"test\"\nreads = \"logged\"\n{exempt}"
            )
            .expect("a string");
        }
        write!(
            text,
            "[[regions]]\nname = \"home\"\nterritory = \"{home}\"\n\
             [[regions]]\nname = \"abroad\"\nterritory = \"SG\"\n\
             [[homes]]\nfor = \"{place}\"\nregion = \"home\"\n\
             [[homes]]\nfor = \"*\"\nregion = \"abroad\"\n"
        )
        .expect("a string");
        text.extend(self.laws.iter().map(|(pack, reading)| statute(pack, reading.as_deref())));
        text.extend(self.clauses.iter().map(|one| clause(place, one)));
        RegionMap::parse(&text)
    }

    fn rule(&self) -> Result<Ruling, Vec<Diagnostic>> {
        let mut findings = Findings::new();
        for item in self.findings.split(", ") {
            let (kind, code) = item.split_once(' ').expect("kind and code");
            let kind = EvidenceKind::parse(kind).expect("a kind");
            findings.insert(Finding::parse(kind, code).expect("a finding")).expect("room");
        }
        let tenant = TenantId::parse(&self.tenant).expect("a name");
        let collection = Collection::parse(&self.collection).expect("a name");
        let date = self.date;
        let question = Question {
            tenant: &tenant,
            collection: &collection,
            findings: &findings,
            date: date.into(),
        };
        let map = self.map()?;
        Ok(decide(&map, &question).expect("a known collection"))
    }

    /// Whether that law attaches.
    fn attaches(&self, pack: &StatutePack) -> bool {
        self.attached(|law| law.statute() == pack.id())
    }

    /// Whether a law attaches of which that holds. None does under a map that is not sound.
    fn attached(&self, holds: impl Fn(&Attachment) -> bool) -> bool {
        self.rule().is_ok_and(|ruling| ruling.attachments().iter().any(holds))
    }
}

/// A list of texts, each once.
fn quoted(all: impl Iterator<Item = String>) -> String {
    let all: BTreeSet<String> = all.map(|one| format!("\"{one}\"")).collect();
    format!("[{}]", all.into_iter().collect::<Vec<_>>().join(", "))
}

/// A law in force, with whatever it asks a map for.
fn statute(pack: &StatutePack, reading: Option<&str>) -> String {
    let digest = hex::encode(pack.digest());
    let mut text = format!("[[statutes]]\nid = \"{}\"\ndigest = \"sha256:{digest}\"\n", pack.id());
    let reading = reading.or_else(|| pack.readings().first().map(|first| first.as_str()));
    for (key, value) in [
        ("reading", reading.map(|reading| format!("\"{reading}\""))),
        ("citizens_abroad", pack.asks_citizenship().then(|| "\"ignore\"".to_owned())),
        ("collections", pack.data().map(|_| "[\"listed\"]".to_owned())),
        ("accept_draft", pack.draft().map(|_| "true".to_owned())),
    ] {
        if let Some(value) = value {
            writeln!(text, "{key} = {value}").expect("a string");
        }
    }
    text
}

/// The clause of `XX`, `XX=day` or `XX=day from day`.
fn clause(territory: Territory, text: &str) -> String {
    let (text, begins) = text.split_once(" from ").unwrap_or((text, "2000-01-01"));
    let (to, notified) = match text.split_once('=') {
        Some((to, day)) => (to, format!("notified = {day}\n")),
        None => (text, String::new()),
    };
    let id = to.to_lowercase();
    format!(
        "[[clauses]]\nid = \"to-{id}\"\nfrom = \"{territory}\"\nto = \"{to}\"\n\
         collections = \"*\"\nlegal_basis = \"made up\"\nimporter = \"made up\"\n\
         reference = \"made up\"\nnot_before = {begins}\nexpires = 2099-01-01\n{notified}"
    )
}

/// The answer as the file has it.
fn show(ruled: &Result<Ruling, Vec<Diagnostic>>) -> String {
    let ruling = match ruled {
        Ok(ruling) => ruling,
        Err(wrong) => {
            let codes: Vec<&str> = wrong.iter().map(|one| one.code).collect();
            return format!("no map: {}", codes.join(", "));
        }
    };
    let laws = ruling.attachments().iter();
    let laws: Vec<String> =
        laws.map(|law| format!("{} {}", law.statute(), law.constraint())).collect();
    let outcome = match ruling.outcome() {
        Outcome::Placed(placement) => {
            let clauses: Vec<&str> = placement.clauses().iter().map(|id| id.as_str()).collect();
            let under = if clauses.is_empty() { "" } else { " under " };
            format!("in {}{under}{}", placement.territory(), clauses.join(", "))
        }
        Outcome::Refused(refusal) => {
            let conflicting: Vec<_> = refusal.conflicting().iter().map(|j| j.as_str()).collect();
            format!("{} [{}]", refusal.reason(), conflicting.join(", "))
        }
    };
    let between = if laws.is_empty() { "" } else { "; " };
    format!("{}{between}{outcome}", laws.join(", "))
}

/// The lines of the file: the case, the answer, and what it shows.
fn cases() -> Vec<(Case, String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/regimes.txt");
    let text = std::fs::read_to_string(path).expect("a file");
    let parts = |line: &str| {
        let (question, rest) = line.split_once(" => ").expect("an answer");
        let (answer, shows) = rest.split_once("  # ").expect("what it shows");
        (Case::parse(question), answer.to_owned(), shows.to_owned())
    };
    text.lines().map(parts).collect()
}

#[test]
fn the_laws_attach_as_written() {
    for (case, answer, shows) in cases() {
        assert_eq!(show(&case.rule()), answer, "{shows}: {case:?}");
    }
}

#[test]
fn every_law_attaches_to_somebody_and_not_to_somebody_else() {
    let cases = cases();
    for pack in packs() {
        let cases = cases.iter().map(|(case, ..)| case);
        let own = cases.filter(|case| case.laws.iter().any(|(law, _)| law == pack));
        let (does, not): (Vec<_>, Vec<_>) = own.partition(|case| case.attaches(pack));
        assert!(!does.is_empty(), "{} attaches in no case", pack.id());
        let others = not.iter().filter(|case| pack.in_force(case.date));
        let apart: BTreeSet<&str> = others.map(|case| case.findings.as_str()).collect();
        assert!(!apart.is_empty(), "{} attaches in every case while in force", pack.id());
        for reading in pack.readings() {
            let chosen = does.iter().any(|case| case.attached(|law| law.constraint() == *reading));
            assert!(chosen, "{} is never read as {reading}", pack.id());
        }
    }
}

/// For each law the first case in which it attaches.
fn attached() -> impl Iterator<Item = (&'static Arc<StatutePack>, Case)> {
    let cases = cases();
    packs().iter().map(move |pack| {
        let (case, ..) = cases
            .iter()
            .find(|(case, ..)| case.laws.iter().any(|(law, _)| law == pack) && case.attaches(pack))
            .unwrap_or_else(|| panic!("{} attaches in no case", pack.id()));
        (pack, case.clone())
    })
}

#[test]
fn every_law_attaches_from_its_first_to_its_last_day() {
    for (pack, case) in attached() {
        let on = |day: u32| Case { date: Date::from_day(u64::from(day)), ..case.clone() };
        let first = pack.from().day();
        assert!(on(first).attaches(pack), "{} on its first day", pack.id());
        assert!(!on(first - 1).attaches(pack), "{} before its first day", pack.id());
        if let Some(last) = pack.until().map(Date::day) {
            assert!(on(last).attaches(pack), "{} on its last day", pack.id());
            assert!(!on(last + 1).attaches(pack), "{} after its last day", pack.id());
        }
    }
}

#[test]
fn a_law_of_a_sector_is_for_those_who_declare_it() {
    for (pack, case) in
        attached().filter(|(pack, _)| pack.scopes().iter().all(|scope| !scope.sectors().is_empty()))
    {
        let of = |tenant: &str| Case { tenant: tenant.to_owned(), ..case.clone() }.attaches(pack);
        assert!(of("sector") && of("stranger"), "{}", pack.id());
        assert!(!of("local") && !of("none"), "{}", pack.id());
        let by_operator = |scope: &Scope| scope.trigger() == Trigger::Operator;
        assert_eq!(of("far"), !pack.scopes().iter().all(by_operator), "{}", pack.id());
    }
}

#[test]
fn a_law_of_one_kind_of_data_is_for_what_the_map_lists() {
    for (pack, case) in attached() {
        let on = |name: &str| Case { collection: name.to_owned(), ..case.clone() }.attaches(pack);
        assert!(on("listed"), "{}", pack.id());
        assert_eq!(on("profiles"), pack.data().is_none(), "{}", pack.id());
        let exempt = pack.data().is_some() || !pack.exemptions().is_empty();
        assert_eq!(on("exempt"), !exempt, "{}", pack.id());
    }
}
