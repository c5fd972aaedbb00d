//! From a call on a session to an op for the committer: everything that needs no state. The body
//! is sealed here, in parallel with the commits.
//!
//! The gateway has checked all of this; the shard checks again, since it trusts no gateway.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use atlas::{Country, Findings, RegionMap};
use ledger::entry::{Caller, Role};
use terms::{Collection, Detail, Reason, RecordKey, Rejection, SubjectId, TenantId, limits};
use tokio::time::Instant;
use wire::session as proto;
use zeroize::Zeroizing;

use crate::node::Node;
use crate::policy::egress::Stands;
use crate::store::keys::Owner;
use crate::store::record::{Address, SealedBody};
use crate::store::types::TenantTag;
use crate::write::command::{Action, Condition, Content, Create, Delete, Given, Put, Request};

/// Bytes of a data version that an entry can hold.
const DATA_VERSION_BYTES_MAX: usize = 64;

/// Who asks, as the log knows them.
#[derive(Clone)]
pub(crate) struct Asker {
    pub(crate) tenant: TenantId,
    pub(crate) tenant_tag: TenantTag,
    pub(crate) caller: Arc<Caller>,
    pub(crate) stands: Stands,
}

/// Prepares the calls of one session. It remembers who asked last: mostly it is the same again.
pub(crate) struct Prepare {
    node: Arc<Node>,
    /// Where the gateway of this session stands.
    gateway: Country,
    last: Option<(String, proto::Caller, Asker)>,
}

/// A read, ready to be looked up.
pub(crate) struct Lookup {
    pub(crate) address: Address,
    pub(crate) asker: Asker,
}

impl Prepare {
    pub(crate) const fn new(node: Arc<Node>, gateway: Country) -> Self {
        Self { node, gateway, last: None }
    }

    /// Until when a call may be begun.
    pub(crate) fn deadline(deadline_ms: u32) -> Instant {
        Instant::now() + Duration::from_millis(u64::from(deadline_ms).min(limits::DEADLINE_MS_MAX))
    }

    /// Who asks, checked.
    pub(crate) fn asker(
        &mut self,
        tenant: &str,
        caller: Option<proto::Caller>,
    ) -> Result<Asker, Rejection> {
        let caller = caller.unwrap_or_default();
        if let Some((of, by, asker)) = &self.last
            && of == tenant
            && *by == caller
        {
            return Ok(asker.clone());
        }
        let id = TenantId::parse(tenant).map_err(|why| Rejection::id("tenant", why))?;
        if caller.name.len() > limits::CALLER_NAME_BYTES_MAX {
            return Err(Rejection::new(Reason::FieldInvalid).field("caller.name"));
        }
        let role = Role::parse(&caller.role).ok_or_else(|| Rejection::new(Reason::NotPermitted))?;
        let stands = match (caller.territory.as_str(), caller.beside_gateway) {
            ("", true) => Some(self.gateway),
            ("", false) => None,
            (code, beside) => match Country::parse(code).filter(|_| !beside) {
                Some(country) => Some(country),
                None => return Err(Rejection::new(Reason::FieldInvalid).field("caller.territory")),
            },
        };
        let territory = stands.map(|country| country.as_str().to_owned());
        let namer = &self.node.namer;
        let tag = namer.caller_tag(&caller.name).0;
        let asker = Asker {
            tenant_tag: namer.tenant_tag(tenant),
            tenant: id,
            caller: Arc::new(Caller { role, tag, territory }),
            stands: Stands { gateway: self.gateway, caller: stands },
        };
        self.last = Some((tenant.to_owned(), caller, asker.clone()));
        Ok(asker)
    }

    /// A read.
    pub(crate) fn get(&self, asker: Asker, get: &proto::Get) -> Result<Lookup, Rejection> {
        let address = address(&self.node, &asker, (&get.subject, &get.collection, &get.key))?;
        Ok(Lookup { address, asker })
    }
}

/// A put, with its body sealed.
pub(crate) fn put(node: &Node, asker: &Asker, put: proto::Put) -> Result<Action, Rejection> {
    let address = address(node, asker, (&put.subject, &put.collection, &put.key))?;
    within(&node.map(), &address.collection, put.body.len())?;
    let given = given(&put.findings, put.phone_data, put.ip_data)?;
    let condition = condition(put.if_version, put.etag)?;
    let fingerprint = node.namer.fingerprint(&[
        b"put",
        &address.row,
        &put.body,
        &condition.if_version.map_or([0xff; 8], u64::to_be_bytes),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
        &[u8::from(put.create_subject)],
    ]);
    let (opening, body_key, nonce) = chance(node)?;
    let content = Content {
        digest: ledger::statement::content_digest(&opening, &put.body),
        sealed: SealedBody::new(&address, &node.region, node.cipher, &body_key, &put.body),
        opening,
        body_key,
        nonce,
    };
    Ok(Action::Put(Box::new(Put {
        request: Request { id: request_id(&put.request_id)?, fingerprint },
        address,
        condition,
        create_subject: put.create_subject,
        given,
        validate_only: put.validate_only,
        content,
        body_bytes: put.body.len(),
    })))
}

/// Whether a body is within the map's limit for its collection.
pub(crate) fn within(
    map: &RegionMap,
    collection: &Collection,
    bytes: usize,
) -> Result<(), Rejection> {
    let rules = map.collection(collection);
    let most = rules.map_or(limits::BODY_BYTES_DEFAULT, atlas::CollectionRules::body_bytes_max);
    if bytes <= most {
        return Ok(());
    }
    Err(Rejection::new(Reason::BodyTooLarge).field("body").with(Detail::Limit, most))
}

/// A deletion.
pub(crate) fn delete(
    node: &Node,
    asker: &Asker,
    delete: proto::Delete,
) -> Result<Action, Rejection> {
    let address = address(node, asker, (&delete.subject, &delete.collection, &delete.key))?;
    let condition = condition(delete.if_version, delete.etag)?;
    let fingerprint = node.namer.fingerprint(&[
        b"delete",
        &address.row,
        &condition.if_version.map_or([0xff; 8], u64::to_be_bytes),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
    ]);
    let (opening, _, nonce) = chance(node)?;
    Ok(Action::Delete(Box::new(Delete {
        request: Request { id: request_id(&delete.request_id)?, fingerprint },
        address,
        condition,
        validate_only: delete.validate_only,
        content: Content::none(opening, nonce),
    })))
}

/// The creation of a subject.
pub(crate) fn create(
    node: &Node,
    asker: &Asker,
    create: proto::Create,
) -> Result<Action, Rejection> {
    let owner = owner(node, asker, &create.subject)?;
    let collection = collection(&create.collection)?;
    let given = given(&create.findings, create.phone_data, create.ip_data)?;
    let fingerprint =
        node.namer.fingerprint(&[b"create", &owner.tag.0, collection.as_str().as_bytes()]);
    let (opening, _, _) = chance(node)?;
    Ok(Action::Create(Box::new(Create {
        owner,
        collection,
        request: Request { id: request_id(&create.request_id)?, fingerprint },
        given,
        validate_only: create.validate_only,
        opening,
    })))
}

fn owner(node: &Node, asker: &Asker, subject: &str) -> Result<Owner, Rejection> {
    let subject = SubjectId::parse(subject).map_err(|why| Rejection::id("subject.id", why))?;
    let owner = node.namer.owner(asker.tenant.clone(), subject);
    if node.owns(owner.slot) { Ok(owner) } else { Err(Rejection::new(Reason::SlotNotOwned)) }
}

/// A collection's name. Whether the map still has it matters to writes only (the ruling asks):
/// what lies in one that it dropped can be read and deleted.
fn collection(name: &str) -> Result<Collection, Rejection> {
    Collection::parse(name).map_err(|why| Rejection::id("collection", why))
}

fn address(
    node: &Node,
    asker: &Asker,
    (subject, of, key): (&str, &str, &str),
) -> Result<Address, Rejection> {
    let owner = owner(node, asker, subject)?;
    let collection = collection(of)?;
    let key = RecordKey::parse(key).map_err(|why| Rejection::id("key", why))?;
    let row = node.namer.record(&owner, &collection, &key);
    Ok(Address { owner, collection, key, row })
}

fn request_id(bytes: &[u8]) -> Result<[u8; 16], Rejection> {
    bytes.try_into().map_err(|_| Rejection::new(Reason::FieldInvalid).field("request_id"))
}

fn condition(if_version: Option<i64>, etag: String) -> Result<Condition, Rejection> {
    let if_version = match if_version.map(u64::try_from) {
        None => None,
        Some(Ok(version)) => Some(version),
        Some(Err(_)) => {
            let fault = Rejection::new(Reason::FieldInvalid).field("if_version");
            return Err(fault.problem("is negative"));
        }
    };
    if etag.len() > limits::ETAG_BYTES_MAX {
        return Err(Rejection::new(Reason::FieldInvalid)
            .field("etag")
            .problem("is no etag of ours"));
    }
    Ok(Condition { if_version, etag: Some(etag).filter(|etag| !etag.is_empty()) })
}

/// The findings that came with a call, if any did.
fn given(bytes: &[u8], phone_data: String, ip_data: String) -> Result<Option<Given>, Rejection> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let malformed = |_| Rejection::new(Reason::FieldInvalid).field("findings");
    let findings = Findings::decode(bytes).map_err(malformed)?;
    Ok(Some(Given { findings, phone_data: version(phone_data)?, ip_data: version(ip_data)? }))
}

/// A data version goes into the log: a short word, or nothing.
fn version(text: String) -> Result<Option<String>, Rejection> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || b"._/+:-".contains(&byte);
    if !text.bytes().all(word) || text.len() > DATA_VERSION_BYTES_MAX {
        return Err(Rejection::new(Reason::FieldInvalid).field(Cow::Borrowed("data_versions")));
    }
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// The opening of the entry, the key of the body, the nonce of the head.
type Chance = ([u8; 32], Zeroizing<[u8; 32]>, [u8; 12]);

/// Draws all that a write needs, at once.
fn chance(node: &Node) -> Result<Chance, Rejection> {
    let drawn: Zeroizing<[u8; 76]> = Zeroizing::new(node.random()?);
    let (opening, rest) = drawn.split_first_chunk().expect("76 is 32 and 32 and 12");
    let (key, rest) = rest.split_first_chunk().expect("44 is 32 and 12");
    let nonce = rest.first_chunk().expect("12 are left");
    Ok((*opening, Zeroizing::new(*key), *nonce))
}
