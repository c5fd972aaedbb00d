//! IP addresses, by a database in MaxMind's format that the operator supplies.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use atlas::Country;
use maxminddb::{MaxMindDbError, PathElement, Reader};

/// The bytes are no database in MaxMind's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an IP database in MaxMind's format: {0}")]
pub struct DatabaseDamaged(String);

/// Which IP database it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseVersion {
    /// Its type, as its maker named it.
    pub database_type: String,
    /// When it was built, in seconds since 1970-01-01.
    pub build_epoch_s: u64,
}

impl fmt::Display for DatabaseVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A word of at most 40 characters, whatever the database calls itself: it goes into logs.
        for letter in self.database_type.chars().take(40) {
            let plain = letter.is_ascii_alphanumeric() || "._-".contains(letter);
            f.write_char(if plain { letter } else { '-' })?;
        }
        write!(f, "/{}", self.build_epoch_s)
    }
}

/// An IP database, in memory.
#[derive(Debug)]
pub(crate) struct Database(Reader<Vec<u8>>);

impl Database {
    pub(crate) fn new(bytes: Vec<u8>) -> Result<Self, DatabaseDamaged> {
        Reader::from_source(bytes).map(Self).map_err(damaged)
    }

    pub(crate) fn version(&self) -> DatabaseVersion {
        let metadata = self.0.metadata();
        DatabaseVersion {
            database_type: metadata.database_type.clone(),
            build_epoch_s: metadata.build_epoch,
        }
    }

    /// The country at `country.iso_code`: where the network is used. None if the address is not
    /// found, or what is found names no country.
    ///
    /// # Errors
    /// When the database cannot be read there: that must not pass as "not found".
    pub(crate) fn country(&self, address: IpAddr) -> Result<Option<Country>, DatabaseDamaged> {
        // An IPv4 address in IPv6 clothes is that IPv4 address, whatever the database does.
        let address = address.to_canonical();
        if address.is_ipv6() && self.0.metadata().ip_version == 4 {
            return Ok(None);
        }
        let found = self.0.lookup(address).map_err(damaged)?;
        let path = [PathElement::Key("country"), PathElement::Key("iso_code")];
        let code: Option<&str> = found.decode_path(&path).map_err(damaged)?;
        Ok(code.and_then(Country::parse))
    }
}

/// The library's errors speak of the file's structure, never of the address that was asked for.
fn damaged(error: MaxMindDbError) -> DatabaseDamaged {
    DatabaseDamaged(error.to_string())
}
