//! IP addresses, by a database in MaxMind's format that the operator supplies.

use std::fmt;
use std::net::IpAddr;

use atlas::Country;
use maxminddb::{MaxMindDbError, PathElement, Reader, WithinOptions};

/// Bytes that are no database of countries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseRefused {
    /// They are not in MaxMind's format, or damaged.
    #[error("not an IP database in MaxMind's format: {0}")]
    Damaged(String),
    /// They are a database of something else, or of another maker's shape.
    #[error("the IP database `{0}` is of another kind: {1}")]
    Kind(String, &'static str),
}

/// Records that are looked at before a database is taken.
const PROBED: usize = 10_000;
/// Where a record names the country in which the network is used.
const COUNTRY: [PathElement<'static>; 2] =
    [PathElement::Key("country"), PathElement::Key("iso_code")];

/// Which IP database it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseVersion {
    /// Its type, as its maker named it.
    pub database_type: String,
    /// When it was built, in seconds since 1970-01-01.
    pub build_epoch_s: u64,
}

impl DatabaseVersion {
    /// A word of at most 40 characters, whatever the database calls itself: it goes into logs.
    fn name(&self) -> String {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let letters = self.database_type.chars().take(40);
        letters.map(|letter| if plain(letter) { letter } else { '-' }).collect()
    }
}

impl fmt::Display for DatabaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name(), self.build_epoch_s)
    }
}

/// An IP database, in memory.
#[derive(Debug)]
pub(crate) struct Database(Reader<Vec<u8>>);

impl Database {
    /// Takes a database whose first records can be read, and of which one names a country: one of
    /// another kind would say nothing of every address, or fail at each.
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self, DatabaseRefused> {
        let database = Self(Reader::from_source(bytes).map_err(damaged)?);
        let kind = |why| DatabaseRefused::Kind(database.version().name(), why);
        let mut names_a_country = false;
        for record in database.0.networks(WithinOptions::default()).map_err(damaged)?.take(PROBED) {
            let code: Option<&str> =
                record.map_err(damaged)?.decode_path(&COUNTRY).map_err(|_| {
                    kind(
                        "`country` is no table with an `iso_code`, as it is in MaxMind's databases",
                    )
                })?;
            names_a_country |= code.is_some_and(|code| Country::parse(code).is_some());
        }
        if !names_a_country {
            return Err(kind("no record names a country at `country.iso_code`"));
        }
        Ok(database)
    }

    pub(crate) fn version(&self) -> DatabaseVersion {
        let metadata = self.0.metadata();
        DatabaseVersion {
            database_type: metadata.database_type.clone(),
            build_epoch_s: metadata.build_epoch,
        }
    }

    /// The country at `country.iso_code`: where the network is used. None if the address is not
    /// found, or what is found names no country. `address` is one of [`atlas::client_address`].
    ///
    /// # Errors
    /// When the database cannot be read there: that must not pass as "not found".
    pub(crate) fn country(&self, address: IpAddr) -> Result<Option<Country>, DatabaseRefused> {
        if address.is_ipv6() && self.0.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.0.lookup(address).map_err(damaged)?;
        let code: Option<&str> = found.decode_path(&COUNTRY).map_err(damaged)?;
        Ok(code.and_then(Country::parse))
    }
}

/// Whether an address is used in many places at once, or in none: what a database says of it would
/// be said of all of them.
pub(crate) fn is_placeless(address: IpAddr) -> bool {
    let shared = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    shared
        || match address {
            IpAddr::V4(v4) => match v4.octets() {
                // A provider's inner addresses, and any relay of 6to4.
                [100, 64..128, ..] | [192, 88, 99, _] | [0, ..] => true,
                _ => v4.is_private() || v4.is_link_local() || v4.is_broadcast(),
            },
            IpAddr::V6(v6) => v6.is_unique_local() || v6.is_unicast_link_local(),
        }
}

/// The library's errors speak of the file's structure, never of the address that was asked for.
fn damaged(error: MaxMindDbError) -> DatabaseRefused {
    DatabaseRefused::Damaged(error.to_string())
}
