//! A shard that takes sessions with TLS, and the sessions of other processes with it.

use wire::session as proto;

use super::pki::{Pki, dial};
use super::{Place, Running, Session, open};

/// The regions of the map.
pub(crate) const REGIONS: &[&str] = &["ru-msk", "eu-fra", "kz-ala", "in-bom", "us-iad"];

pub(crate) struct SecureShard {
    pub(crate) place: Place,
    pub(crate) shard: Running,
    pki: Pki,
    uri: String,
}

impl SecureShard {
    pub(crate) async fn start(region: &'static str) -> Self {
        let pki = Pki::new(REGIONS);
        let mut place = Place::new(region);
        place.map = pki.pin(&place.map);
        let uri = format!("spiffe://sample/region/{region}/shard/s1");
        let tls = pki.tls(&place.map(), &uri);
        let shard = place.open().await.expect("the shard opens");
        let shard = Running::serve_with(shard, region, Some(tls)).await;
        Self { place, shard, pki, uri }
    }

    /// What another shard says of itself.
    pub(crate) fn hello(&self, region: &str, shard: &str) -> proto::Hello {
        proto::Hello {
            gateway: String::new(),
            from_region: region.into(),
            from_shard: shard.into(),
            ..self.shard.hello()
        }
    }

    /// The session of a process, or why there is none.
    pub(crate) async fn session(&self, uri: &str, hello: proto::Hello) -> Result<Session, String> {
        let tls = self.pki.tls(&self.place.map(), uri);
        let client = dial(&tls, self.shard.port, &self.uri).await.expect("both take each other");
        let (session, first) = open(client, hello).await.expect("an answer");
        first.goodbye.map_or(Ok(session), |fault| Err(format!("{} {}", fault.reason, fault.field)))
    }
}
