//! From what a caller gives to what it says: raw evidence to findings.
//!
//! **Architecture invariant:** nothing is guessed. A value that is not of its kind's form is an
//! error, a value that says nothing for certain is no finding, and neither is ever repeated in an
//! error, a log or `Debug`. No IO: whoever has the IP database reads it and hands over its bytes.

mod ip;
mod phone;
mod sim;

use std::fmt;
use std::net::IpAddr;

use atlas::{COUNTRIES_VERSION, EvidenceKind, Finding, Findings};
use terms::{Detail, Fault, Pii, Reason, limits};

pub use ip::{DatabaseDamaged, DatabaseVersion};

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
    /// Kind and value, for [`Sources::findings`].
    pub fn as_item(&self) -> (EvidenceKind, &str) {
        (self.kind, self.value.expose())
    }
}

/// The versions of the data with which evidence is read. Recorded beside every ruling.
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
    phone: phone::Plans,
    ip: Option<ip::Database>,
    sim: sim::Codes,
}

impl Sources {
    /// Loads the numbering plans and the tables, and the IP database whose bytes are given, if
    /// any. It takes some milliseconds, so that the first number does not.
    ///
    /// # Errors
    /// [`DatabaseDamaged`] when the bytes are no database in MaxMind's format.
    pub fn new(ip_database: Option<Vec<u8>>) -> Result<Self, DatabaseDamaged> {
        Ok(Self {
            phone: phone::Plans::new(),
            ip: ip_database.map(ip::Database::new).transpose()?,
            sim: sim::Codes::new(),
        })
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

    /// What the evidence says. What says nothing for certain (an address or a code that is not
    /// found, a number that is not valid) is no finding.
    ///
    /// # Errors
    /// `TOO_MANY_ITEMS` for more than [`limits::EVIDENCE_ITEMS_MAX`], and `EVIDENCE_MALFORMED`
    /// for the first value that is not of its kind's form, by its field `evidence[i].value` and
    /// never by what it held. `INTERNAL` when the IP database turns out to be damaged where it is
    /// asked: then nobody knows whether it would have said something.
    pub fn findings(&self, items: &[(EvidenceKind, &str)]) -> Result<Findings, Fault> {
        too_many(items.len(), "evidence")?;
        let mut findings = Findings::new();
        for (n, (kind, value)) in items.iter().enumerate() {
            let read = self.finding(*kind, value);
            let finding = read.map_err(|wrong| match wrong {
                Wrong::Form(problem) => malformed(format!("evidence[{n}].value"), problem),
                Wrong::Database => {
                    Fault::new(Reason::Internal).problem("the IP database is damaged")
                }
            })?;
            if let Some(finding) = finding {
                findings.insert(finding).map_err(|_| full("evidence"))?;
            }
        }
        Ok(findings)
    }

    /// What one value says, or what is wrong with its form.
    fn finding(&self, kind: EvidenceKind, value: &str) -> Result<Option<Finding>, Wrong> {
        if value.len() > limits::EVIDENCE_VALUE_BYTES_MAX {
            return Err(Wrong::Form("is too long for evidence"));
        }
        let country = match kind {
            EvidenceKind::Citizenship
            | EvidenceKind::Document
            | EvidenceKind::Residence
            | EvidenceKind::CollectedIn => {
                return Finding::parse(kind, value).map(Some).map_err(|_| Wrong::Form(COUNTRY));
            }
            EvidenceKind::Ip => {
                let address: IpAddr =
                    value.parse().map_err(|_| Wrong::Form("is not an IP address"))?;
                let country = self.ip.as_ref().map(|database| database.country(address));
                country.transpose().map_err(|_| Wrong::Database)?.flatten()
            }
            EvidenceKind::Phone => {
                if !phone::is_e164(value) {
                    return Err(Wrong::Form(E164));
                }
                self.phone.country(value)
            }
            EvidenceKind::Sim => {
                let code = sim::parse(value).ok_or(Wrong::Form(SIM))?;
                self.sim.country(code)
            }
        };
        Ok(country.map(|country| Finding::new(kind, country)))
    }
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
pub fn findings_sent(items: &[(EvidenceKind, &str)]) -> Result<Findings, Fault> {
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
pub fn kind(name: &str, field: impl Into<String>) -> Result<EvidenceKind, Fault> {
    EvidenceKind::parse(name)
        .ok_or_else(|| Fault::new(Reason::EvidenceKindUnknown).field(field.into()))
}

fn malformed(field: String, problem: &'static str) -> Fault {
    Fault::new(Reason::EvidenceMalformed).field(field).problem(problem)
}

fn too_many(items: usize, field: &'static str) -> Result<(), Fault> {
    if items <= limits::EVIDENCE_ITEMS_MAX { Ok(()) } else { Err(full(field)) }
}

fn full(field: &'static str) -> Fault {
    let fault = Fault::new(Reason::TooManyItems).field(field);
    fault.with(Detail::Limit, limits::EVIDENCE_ITEMS_MAX)
}
