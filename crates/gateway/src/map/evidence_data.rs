//! The data by which evidence is read, and their versions.

use evidence::Sources;
use wire::v1;

/// The sources of findings, with the versions that rulings and placement logs name.
pub(crate) struct EvidenceData {
    pub(crate) sources: Sources,
    /// As every ruling lists them.
    pub(crate) versions: Vec<v1::DataVersion>,
    /// The numbering plans.
    pub(crate) phone: String,
    /// The IP database; empty if there is none.
    pub(crate) ip: String,
}

impl EvidenceData {
    pub(crate) fn new(sources: Sources) -> Self {
        let versions = sources.versions();
        let phone = versions.phone.to_owned();
        let ip = versions.ip.map(|ip| ip.to_string());
        let list = [
            ("phone-metadata", phone.clone()),
            ("ip-database", ip.clone().unwrap_or_else(|| "none".to_owned())),
            ("mcc", versions.mcc.to_owned()),
            ("iso-3166", versions.countries.to_owned()),
        ];
        let version =
            |(name, version): (&str, String)| v1::DataVersion { name: name.to_owned(), version };
        let versions = list.into_iter().map(version).collect();
        Self { sources, versions, phone, ip: ip.unwrap_or_default() }
    }
}
