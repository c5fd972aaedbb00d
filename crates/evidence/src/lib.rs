//! Turns raw evidence that a caller sends into findings.
//!
//! **Architecture invariant:** nothing is guessed. A value that is not of its kind's form is an
//! error, a value that says nothing for certain is no finding, and neither is ever repeated in an
//! error, a log or `Debug`. No IO: the caller reads the IP database and passes its bytes.

mod ip;
mod json_line;
mod phone;
mod sim;

use std::fmt;
use std::sync::Arc;

use atlas::{COUNTRIES_VERSION, Disputed, EvidenceKind, Finding, Findings, RegionMap};
use terms::{Detail, Pii, Reason, Rejection, limits};

pub use ip::{DatabaseRefused, DatabaseVersion};
pub use json_line::JsonLine;

/// One piece of evidence, as the caller gave it.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Of what kind.
    pub kind: EvidenceKind,
    /// The value: personal data.
    pub value: Pii<String>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({}, …)", self.kind)
    }
}

impl Evidence {
    /// Piece `n` of those given: the name of a kind, and a value.
    ///
    /// # Errors
    /// `EVIDENCE_KIND_UNKNOWN`.
    pub fn read(n: usize, kind_name: &str, value: String) -> Result<Self, Rejection> {
        let kind = kind(kind_name, format!("evidence[{n}].kind"))?;
        Ok(Self { kind, value: Pii::new(value) })
    }

    /// Kind and value, for [`Sources::findings`].
    pub fn as_item(&self) -> (EvidenceKind, &str) {
        (self.kind, self.value.expose())
    }
}

/// The versions of the data with which evidence is read. Recorded with every ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataVersions {
    /// The release of the numbering-plan metadata.
    pub phone: &'static str,
    /// The IP database, if there is one.
    pub ip: Option<DatabaseVersion>,
    /// The table of mobile country codes.
    pub mcc: &'static str,
    /// The table of countries.
    pub countries: &'static str,
}

impl DataVersions {
    /// Name and version of each, as rulings list them.
    pub fn list(&self) -> Vec<(&'static str, String)> {
        let ip = self.ip.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
        vec![
            ("phone", self.phone.to_owned()),
            ("ip", ip),
            ("mcc", self.mcc.to_owned()),
            ("countries", self.countries.to_owned()),
        ]
    }
}

/// Everything that is needed to read evidence. Made once, shared by all.
#[derive(Debug)]
pub struct Sources {
    phone: Arc<phone::Plans>,
    ip: Option<ip::Database>,
    sim: Arc<sim::Codes>,
}

impl Sources {
    /// Loads the numbering plans and the tables, and the IP database whose bytes are given, if
    /// any. It takes some milliseconds, so that the first number does not.
    ///
    /// # Errors
    /// [`DatabaseRefused`] when the bytes are no database of countries in MaxMind's format.
    pub fn new(ip_database: Option<Vec<u8>>) -> Result<Self, DatabaseRefused> {
        Ok(Self {
            phone: Arc::new(phone::Plans::new()),
            ip: ip_database.map(ip::Database::new).transpose()?,
            sim: Arc::new(sim::Codes::new()),
        })
    }

    /// The same with another IP database, while these are in use.
    ///
    /// # Errors
    /// As [`Sources::new`].
    pub fn with_ip_database(&self, bytes: Vec<u8>) -> Result<Self, DatabaseRefused> {
        let ip = Some(ip::Database::new(bytes)?);
        Ok(Self { phone: Arc::clone(&self.phone), ip, sim: Arc::clone(&self.sim) })
    }

    /// The versions of the data in use.
    pub fn versions(&self) -> DataVersions {
        DataVersions {
            phone: phone::VERSION,
            ip: self.ip.as_ref().map(ip::Database::version),
            mcc: sim::VERSION,
            countries: COUNTRIES_VERSION,
        }
    }

    /// What the evidence says under a map, together with `given`: findings that came with it. What
    /// says nothing for certain is no finding: an address or a code that is not found, an address
    /// that hides its client, a number that is not valid, and one that several countries share.
    ///
    /// An address or a number in one of the map's disputed areas points to the countries for which
    /// the map has decided it, whatever databases and numbering plans say. Both are compared as
    /// parsed: in how many ways a text can write them does not matter.
    ///
    /// # Errors
    /// `TOO_MANY_ITEMS` for more than [`limits::EVIDENCE_ITEMS_MAX`], and `EVIDENCE_MALFORMED`
    /// for the first value that is not of its kind's form, by its field `evidence[i].value` and
    /// never by what it held. `JURISDICTION_DISPUTED` for a value in a disputed area without a
    /// decision, unless the other findings make it irrelevant (see [`Findings::counted`]).
    /// `INTERNAL` when the IP database turns out to be damaged where it is asked: then nobody
    /// knows whether it would have said something.
    pub fn findings(
        &self,
        map: &RegionMap,
        items: &[(EvidenceKind, &str)],
        given: &Findings,
    ) -> Result<Findings, Rejection> {
        too_many(items.len(), "evidence")?;
        let mut findings = given.clone();
        let mut disputes = Vec::new();
        for (n, (kind, value)) in items.iter().enumerate() {
            let field = || format!("evidence[{n}].value");
            let read = self.says(map, *kind, value).map_err(|wrong| match wrong {
                Wrong::Form(problem) => malformed(field(), problem),
                Wrong::Database => {
                    Rejection::new(Reason::Internal).problem("the IP database is damaged")
                }
            })?;
            match read {
                Says::Nothing => {}
                Says::One(finding) => {
                    findings.insert(finding).map_err(|_| full("evidence"))?;
                }
                Says::Area(area) if area.decided().is_empty() => {
                    disputes.push((*kind, disputed(field(), area)));
                }
                Says::Area(area) => {
                    for country in area.decided() {
                        let finding = Finding::new(*kind, *country);
                        findings.insert(finding).map_err(|_| full("evidence"))?;
                    }
                }
            }
        }
        // What another piece makes idle need not be decided: it plays no part in the ruling.
        let kinds = disputes.iter().fold(findings.kinds(), |kinds, (kind, _)| kinds.with(*kind));
        let counted = kinds.counted();
        match disputes.into_iter().find(|(kind, _)| counted.contains(*kind)) {
            Some((_, fault)) => Err(fault),
            None => Ok(findings),
        }
    }

    /// What one value says under a map, or what is wrong with its form.
    fn says<'m>(
        &self,
        map: &'m RegionMap,
        kind: EvidenceKind,
        value: &str,
    ) -> Result<Says<'m>, Wrong> {
        if value.len() > limits::EVIDENCE_VALUE_BYTES_MAX {
            return Err(Wrong::Form("is too long for evidence"));
        }
        let country = match kind {
            EvidenceKind::Citizenship
            | EvidenceKind::Document
            | EvidenceKind::Residence
            | EvidenceKind::CollectedIn => {
                return Finding::parse(kind, value)
                    .map(Says::One)
                    .map_err(|_| Wrong::Form(COUNTRY));
            }
            EvidenceKind::Ip => {
                let address = value.parse().map_err(|_| Wrong::Form("is not an IP address"))?;
                let Some(address) = atlas::client_address(address) else {
                    return Ok(Says::Nothing);
                };
                if let Some(area) = map.disputed_address(address) {
                    return Ok(Says::Area(area));
                }
                if ip::is_placeless(address) {
                    return Ok(Says::Nothing);
                }
                let country = self.ip.as_ref().map(|database| database.country(address));
                country.transpose().map_err(|_| Wrong::Database)?.flatten()
            }
            EvidenceKind::Phone => {
                if !phone::is_e164(value) {
                    return Err(Wrong::Form(E164));
                }
                let Some(number) = self.phone.parse(value) else { return Ok(Says::Nothing) };
                if let Some(area) = map.disputed_number(&self.phone.e164(&number)) {
                    return Ok(Says::Area(area));
                }
                self.phone.country(&number)
            }
            EvidenceKind::Sim => {
                let code = sim::parse(value).ok_or(Wrong::Form(SIM))?;
                self.sim.country(code)
            }
        };
        Ok(country.map_or(Says::Nothing, |country| Says::One(Finding::new(kind, country))))
    }
}

/// What one value says.
enum Says<'m> {
    /// Nothing for certain.
    Nothing,
    /// A country, or that there is none.
    One(Finding),
    /// That it lies in a disputed area.
    Area(&'m Disputed),
}

/// Why a value gives no answer.
#[derive(Debug)]
enum Wrong {
    Form(&'static str),
    Database,
}

const E164: &str = "is not a number of the form +<country code><number>, digits only";
const SIM: &str = "is not a mobile country code of three digits";
/// What is wrong with a value that should be a country.
const COUNTRY: &str =
    "is not an ISO 3166-1 alpha-2 code (XX, stateless, for citizenship and document only)";

/// Reads findings that a caller made itself and sent in place of raw evidence: a kind and an
/// alpha-2 code each, or `XX` where citizenship is spoken of.
///
/// # Errors
/// `TOO_MANY_ITEMS`, and `EVIDENCE_MALFORMED` with the field `findings[i].country`.
pub fn findings_sent(items: &[(EvidenceKind, &str)]) -> Result<Findings, Rejection> {
    too_many(items.len(), "findings")?;
    let mut findings = Findings::new();
    for (n, (kind, code)) in items.iter().enumerate() {
        let finding = Finding::parse(*kind, code)
            .map_err(|_| malformed(format!("findings[{n}].country"), COUNTRY))?;
        findings.insert(finding).map_err(|_| full("findings"))?;
    }
    Ok(findings)
}

/// Reads the name of an evidence kind that stands in the field `field`.
///
/// # Errors
/// `EVIDENCE_KIND_UNKNOWN`.
pub fn kind(name: &str, field: impl Into<String>) -> Result<EvidenceKind, Rejection> {
    EvidenceKind::parse(name)
        .ok_or_else(|| Rejection::new(Reason::EvidenceKindUnknown).field(field.into()))
}

fn malformed(field: String, problem: &'static str) -> Rejection {
    Rejection::new(Reason::EvidenceMalformed).field(field).problem(problem)
}

/// A value lies in a disputed area without a decision. Which area is not said: it tells where
/// the person is.
fn disputed(field: String, area: &Disputed) -> Rejection {
    let claims: Vec<&str> = area.claims().iter().map(|country| country.as_str()).collect();
    let problem = "lies in an area that several countries claim, and the map has not decided it";
    let fault = Rejection::new(Reason::JurisdictionDisputed).field(field).problem(problem);
    fault.with(Detail::Conflicting, claims.join(","))
}

fn too_many(items: usize, field: &'static str) -> Result<(), Rejection> {
    if items <= limits::EVIDENCE_ITEMS_MAX { Ok(()) } else { Err(full(field)) }
}

fn full(field: &'static str) -> Rejection {
    let fault = Rejection::new(Reason::TooManyItems).field(field);
    fault.with(Detail::Limit, limits::EVIDENCE_ITEMS_MAX)
}
