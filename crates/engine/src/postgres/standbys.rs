//! Where a server may stream what it writes: its standbys, and all others that read its journal.

use std::net::IpAddr;
use std::str::FromStr;

use tokio_postgres::Client;

use crate::Error;
use crate::postgres::{fault, sql};

/// A network, such as `10.2.0.0/16`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// What is wrong with the text of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkInvalid(&'static str);

impl FromStr for Network {
    type Err = NetworkInvalid;

    fn from_str(text: &str) -> Result<Self, NetworkInvalid> {
        const FORM: NetworkInvalid =
            NetworkInvalid("it is no network such as 10.2.0.0/16, and no address");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| FORM)?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => all,
            // Rust reads `+8` and `08` as numbers.
            Some(bits) if bits != "0" && bits.starts_with(['0', '+']) => return Err(FORM),
            Some(bits) => bits.parse().map_err(|_| FORM)?,
        };
        if bits > all {
            return Err(FORM);
        }
        let network = Self { address, bits };
        if network.first(address) != number(address) {
            return Err(NetworkInvalid("it has bits of an address after the network's"));
        }
        Ok(network)
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4() && self.first(address) == number(self.address)
    }

    /// The first address of the network of this size in which an address lies.
    fn first(self, address: IpAddr) -> u128 {
        let host_bits = if address.is_ipv4() { 32 } else { 128 } - self.bits;
        number(address).checked_shr(host_bits).map_or(0, |kept| kept << host_bits)
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Refuses a server that streams what it writes to an address outside these networks. One on a
/// socket of its own machine is inside. A standby of a standby is not seen.
pub(super) async fn check(client: &Client, networks: &[Network]) -> Result<(), Error> {
    let refused = |why| Err(Error::Cluster { why });
    let rows = match client.query(sql::STREAMED_TO, &[]).await {
        Ok(rows) => rows,
        Err(error) if error.as_db_error().is_some() => {
            return refused("it does not show where it streams to, and `standby_networks` is set");
        }
        Err(error) => return Err(fault::of("read where it streams to", &error)),
    };
    for row in rows {
        let (address, port): (Option<String>, Option<i32>) = (row.get(0), row.get(1));
        match address.map(|address| address.parse::<IpAddr>()) {
            Some(Ok(address)) => {
                let address = address.to_canonical();
                if !networks.iter().any(|network| network.holds(address)) {
                    return refused(
                        "it streams to an address that `standby_networks` does not name: see \
                         pg_stat_replication",
                    );
                }
            }
            // PostgreSQL gives this port to a socket of the machine.
            None if port == Some(-1) => {}
            None => {
                return refused(
                    "its user may not see where it streams to: grant pg_read_all_stats to it",
                );
            }
            Some(Err(_)) => return refused("it streams to an address that cannot be read"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_other() {
        let network = |text: &str| text.parse::<Network>();
        let holds = |text: &str, address: &str| {
            network(text).expect("a network").holds(address.parse().expect("an address"))
        };
        for (text, inside, outside) in [
            ("10.2.0.0/16", "10.2.255.1", "10.3.0.0"),
            ("10.2.3.4", "10.2.3.4", "10.2.3.5"),
            ("10.2.3.4/31", "10.2.3.5", "10.2.3.6"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::1", "::1", "::2"),
        ] {
            assert!(holds(text, inside), "{text} {inside}");
            assert!(!holds(text, outside), "{text} {outside}");
        }
        assert!(holds("0.0.0.0/0", "255.1.2.3") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("::/0", "::1") && !holds("::/0", "127.0.0.1"));
        for wrong in [
            "",
            "/",
            "10.2.0.0/",
            "10.2.0.0/33",
            "10.2.0.0/-1",
            "10.2.0.0/+8",
            "10.2.0.0/08",
            "10.2.0.1/16",
            "10.2/16",
            "::/129",
            "db.example",
            " 10.2.0.0/16",
            "10.2.0.0/16/8",
        ] {
            assert!(network(wrong).is_err(), "{wrong}");
        }
    }
}
