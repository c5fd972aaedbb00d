//! Where a gateway listens: `https://host:port`, or `http://host:port` on this machine.

use std::fmt;
use std::net::IpAddr;

use tonic::transport::Uri;

use crate::Error;

/// What an address must look like.
const FORM: &str = "is not of the form https://host:port";

/// An address of a gateway, in its one form: two that are equal lead to the same place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    secure: bool,
    host: String,
    port: u16,
}

impl Address {
    /// Reads an address. Plaintext is for this machine only: a body or a token that leaves it
    /// unprotected cannot be taken back.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let uri: Uri = url.parse().map_err(|_| Error::Address(FORM))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(Error::Address(FORM)),
        };
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        let authority = uri.authority().ok_or(Error::Address(FORM))?;
        if !bare || authority.as_str().contains('@') {
            return Err(Error::Address(FORM));
        }
        let host = authority.host().to_ascii_lowercase();
        let port = uri.port_u16();
        // A port that is no number is none for `Uri`, and would become the scheme's own.
        if host.is_empty() || (port.is_none() && authority.as_str().len() != host.len()) {
            return Err(Error::Address(FORM));
        }
        if !secure && !is_loopback(&host) {
            return Err(Error::Address(
                "is plaintext to another machine: use https://, or http:// on loopback",
            ));
        }
        let port = port.unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { secure, host, port })
    }

    /// Whether it is reached over TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        self.secure
    }
}

/// Whether a host is this machine, by its own words: a name is never looked up for that.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The URL of an auditor listener, from its address in an annex. Without a scheme it is TLS, unless
/// the host is this machine.
pub fn ledger_url(address: &str) -> String {
    if address.contains("://") {
        return address.to_owned();
    }
    let socket = address.parse::<std::net::SocketAddr>();
    let plain = socket.is_ok_and(|socket| socket.ip().is_loopback());
    format!("{}://{address}", if plain { "http" } else { "https" })
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_form() {
        let of = |url: &str| Address::parse(url).unwrap().to_string();
        assert_eq!(of("https://RU.Example.org"), "https://ru.example.org:443");
        assert_eq!(of("https://ru.example.org:443/"), "https://ru.example.org:443");
        assert_eq!(of("https://[2001:db8::1]:7400"), "https://[2001:db8::1]:7400");
        assert_eq!(of("http://127.0.0.1:7400"), "http://127.0.0.1:7400");
        assert_eq!(of("http://localhost"), "http://localhost:80");
        assert_eq!(of("http://[::1]:7400"), "http://[::1]:7400");
    }

    #[test]
    fn plaintext_stays_on_this_machine() {
        for url in [
            "http://192.0.2.1:7400",
            "http://gateway:7400",
            "http://localhost.example.org:7400",
            "http://127.0.0.1.example.org:7400",
        ] {
            let Err(Error::Address(why)) = Address::parse(url) else { panic!("{url}") };
            assert!(why.contains("plaintext"), "{why}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for url in [
            "",
            "gateway:7400",
            "ftp://gateway",
            "https://",
            "https://a:b@gateway:7400",
            "https://127.0.0.1@gateway:7400",
            "https://gateway:7400/path",
            "https://gateway:7400?query",
            "https://gateway:99999",
            "https://gateway:7400\n",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }
}
