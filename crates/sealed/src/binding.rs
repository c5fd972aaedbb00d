//! What a sealed body is bound to, besides its region and key.

use crate::keyed::parts;

/// The call that brings a sealed body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A put, alone, in a batch or on a stream.
    Put,
    /// A patch with a new body.
    Patch,
    /// A get: it has no body, and its answer is sealed.
    Get,
    /// A list of bodies, in one region.
    List,
    /// A scan of bodies.
    Scan,
    /// The export of a subject: of all collections.
    Export,
}

/// The names and conditions of one request. A gateway that changes one of them makes the body one that
/// does not open. It has no `Debug`: it names a person's record.
#[derive(Clone, Copy)]
#[expect(missing_debug_implementations, reason = "it names a person's record")]
pub struct Binding<'a> {
    /// The call.
    pub call: Call,
    /// The platform.
    pub tenant: &'a str,
    /// The person, by the tenant's own id.
    pub subject: &'a str,
    /// The kind of record.
    pub collection: &'a str,
    /// The record's key within it.
    pub key: &'a str,
    /// The 16 bytes of the request's id. Of a get: none.
    pub request_id: &'a [u8],
    /// The version on which the request insists.
    pub if_version: Option<i64>,
    /// The etag on which it insists; empty: on none.
    pub etag: &'a str,
    /// Of a list or scan: its filter, order, participant, that one's region, and purpose. Of an export: its
    /// purpose. Of the get of a copy: the record's home. Of all else: none.
    pub asks: &'a [&'a str],
}

impl Binding<'_> {
    /// The additional data: the label, then each part with its length in front.
    pub(crate) fn additional(&self) -> Vec<u8> {
        let call: &[u8] = match self.call {
            Call::Put => b"put",
            Call::Patch => b"patch",
            Call::Get => b"get",
            Call::List => b"list",
            Call::Scan => b"scan",
            Call::Export => b"export",
        };
        let version = self.if_version.map_or([0xff; 8], i64::to_be_bytes);
        let Self { tenant, subject, collection, key, request_id, etag, asks, .. } = self;
        let names = [tenant, subject, collection, key].map(|name| name.as_bytes());
        let [tenant, subject, collection, key] = names;
        let first = [call, tenant, subject, collection, key, request_id, &version, etag.as_bytes()];
        let all: Vec<&[u8]> =
            first.into_iter().chain(asks.iter().map(|ask| ask.as_bytes())).collect();
        parts("bailiwick sealed body v1", &all)
    }
}
