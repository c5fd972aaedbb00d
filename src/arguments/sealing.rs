//! Whether the bodies of a command pass gateways sealed.

use client::{Access, Client, Error};

/// The regions' identity keys, and the tenant to which sealed bodies are bound.
#[derive(Debug, clap::Args)]
#[group(id = "sealing")]
pub(crate) struct Options {
    /// Public key that signs the transit keys of a region, as `bailiwick shard show-transit-key` prints it
    /// there; may be repeated, once for each region. Then bodies pass the gateway sealed
    #[arg(long = "transit-identity", value_name = "KEY", requires = "tenant")]
    identities: Vec<String>,
    /// The caller's tenant, to which sealed bodies are bound
    #[arg(long, value_name = "TENANT", requires = "identities")]
    tenant: Option<String>,
}

impl Options {
    /// What the client presents, with its tenant.
    pub(crate) fn access(&self, access: Access) -> Access {
        Access { tenant: self.tenant.clone(), ..access }
    }

    /// The client as it is to be used.
    pub(crate) fn client(&self, client: Client) -> Result<Client, Error> {
        if self.identities.is_empty() { Ok(client) } else { client.sealed(self.identities.clone()) }
    }
}
