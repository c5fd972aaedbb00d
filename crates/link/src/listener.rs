//! Sockets that take connections, and the rule under which they may do so without TLS.

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;

/// A listener that this configuration may not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListenerRefused {
    /// Without TLS, and nobody said that this is meant.
    #[error("without TLS a listener needs `plaintext = true`, and a loopback address")]
    PlaintextNotAllowed,
    /// Without TLS on an address that other machines can reach.
    #[error("plaintext is allowed on a loopback address only")]
    NotLoopback,
}

/// Whether `addr` may be listened on without TLS: on loopback only, and only if the configuration
/// says `plaintext = true`.
///
/// # Errors
/// [`ListenerRefused`], which says what is in the way.
pub const fn require_loopback(addr: SocketAddr, plaintext: bool) -> Result<(), ListenerRefused> {
    if !plaintext {
        return Err(ListenerRefused::PlaintextNotAllowed);
    }
    if !addr.ip().is_loopback() {
        return Err(ListenerRefused::NotLoopback);
    }
    Ok(())
}

/// Listens on `addr`; port 0 takes a free one.
///
/// # Errors
/// What the operating system says: the address is taken, or is none of this machine.
pub async fn bind(addr: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(addr).await
}

/// The connections of a listener, for tonic's `serve_with_incoming`. `TCP_NODELAY` is on: small
/// frames must not wait for each other's acknowledgements.
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_for_loopback_and_must_be_asked_for() {
        let check = |addr: &str, plaintext| require_loopback(addr.parse().unwrap(), plaintext);
        assert_eq!(check("127.0.0.1:7400", true), Ok(()));
        assert_eq!(check("[::1]:7400", true), Ok(()));
        assert_eq!(check("127.0.0.1:7400", false), Err(ListenerRefused::PlaintextNotAllowed));
        for open in ["0.0.0.0:7400", "[::]:7400", "10.0.0.1:7400"] {
            assert_eq!(check(open, true), Err(ListenerRefused::NotLoopback), "{open}");
        }
    }

    #[tokio::test]
    async fn a_taken_address_is_an_error() {
        let first = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        assert!(bind(first.local_addr().unwrap()).await.is_err());
    }
}
