//! The address of a server of objects, as maps list it.

use std::fmt;

use crate::toml::schema::{Form, Json, Shape};

/// Bytes of an address at the most.
const BYTES_MAX: usize = 300;
/// The ports of HTTPS, and of HTTP on this machine.
const PORT: u16 = 443;
const PORT_PLAIN: u16 = 80;

/// Where backups may be stored: scheme, host and port, in one text for each address. The port is always
/// there, so that two texts of one address are equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

/// The address of a server, in files.
pub const ENDPOINT: Form = Form::Shape(&Shape {
    name: "address of a server",
    code: "VALUE_INVALID",
    wanted: "https://host or https://host:port in small letters, without a path; http:// on this machine alone",
    json: Json::Pattern("^https?://[a-z0-9.:\\[\\]-]{1,290}$"),
});

impl Endpoint {
    /// The address that a text gives: `https://host[:port]`, or `http://` on this machine. The host is a
    /// name in small letters, an IPv4 address or an IPv6 address in brackets. `None` for all else: a path,
    /// a user, a password.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > BYTES_MAX {
            return None;
        }
        let (secure, authority) = match text.strip_prefix("https://") {
            Some(authority) => (true, authority),
            None => (false, text.strip_prefix("http://")?),
        };
        let (host, port) = if let Some(address) = authority.strip_prefix('[') {
            let (address, port) = address.split_once(']')?;
            let parsed: std::net::Ipv6Addr = address.parse().ok()?;
            // One text of an address: its shortest.
            (format!("[{parsed}]"), port)
        } else {
            let at = authority.find(':').unwrap_or(authority.len());
            let (host, port) = authority.split_at_checked(at)?;
            (host.to_owned(), port)
        };
        let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        let named =
            host.bytes().all(letter) && host.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !named && !host.starts_with('[') {
            return None;
        }
        // Other texts of an IPv4 address, and a name with a point at its end.
        let last = host.rsplit('.').next().unwrap_or_default();
        let number = last.bytes().all(|b| b.is_ascii_digit())
            || last.strip_prefix("0x").is_some_and(|it| it.bytes().all(|b| b.is_ascii_hexdigit()));
        if number && host.parse::<std::net::Ipv4Addr>().is_err() {
            return None;
        }
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok()?,
            None if port.is_empty() => {
                if secure {
                    PORT
                } else {
                    PORT_PLAIN
                }
            }
            Some(_) | None => return None,
        };
        // Not `localhost`: a name may lead anywhere.
        let local = ["127.0.0.1", "[::1]"].contains(&&*host);
        if port == 0 || !(secure || local) {
            return None;
        }
        let scheme = if secure { "https" } else { "http" };
        Some(Self(format!("{scheme}://{host}:{port}")))
    }

    /// Whether it is on the machine itself, whichever that is.
    pub(crate) fn is_local(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// Its text: scheme, host and port.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Endpoint;

    #[test]
    fn one_address_has_one_text() {
        for (text, whole) in [
            ("https://s3.eu-fra.example", "https://s3.eu-fra.example:443"),
            ("https://s3.eu-fra.example:443", "https://s3.eu-fra.example:443"),
            ("https://10.1.2.3:9000", "https://10.1.2.3:9000"),
            ("https://[2001:db8:0::1]:9000", "https://[2001:db8::1]:9000"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
            ("http://[::1]", "http://[::1]:80"),
        ] {
            let read = Endpoint::parse(text);
            assert_eq!(read.as_ref().map(Endpoint::as_str), Some(whole), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_or_more_than_one_is_refused() {
        for text in [
            "",
            "https://",
            "https://:443",
            "ftp://s3.example",
            "s3.example",
            "http://s3.example",
            "http://10.1.2.3:9000",
            "http://127.0.0.1.example",
            "https://S3.example",
            "https://s3.example/",
            "https://s3.example/bucket",
            "https://s3.example?x",
            "https://s3.example#x",
            "https://user@s3.example",
            "https://user:word@s3.example",
            "https://s3.example:",
            "https://s3.example:0",
            "https://s3.example:+443",
            "https://s3.example:65536",
            "https://s3.example:443:443",
            "https://[2001:db8::1",
            "https://[s3.example]",
            "https://[::1]x",
            "https://s3.example\n",
            "https://s3.exämple",
            "https://-s3.example",
            "https://s3.example.",
            "https://127.1",
            "https://2130706433",
            "https://0x7f000001",
            "https://127.0.0.0x1",
            "https://127.0.0.01",
            "http://localhost:9000",
            " https://s3.example",
        ] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
        assert_eq!(Endpoint::parse(&format!("https://{}", "a".repeat(300))), None);
    }
}
