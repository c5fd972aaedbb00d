//! From a call on a session to a typed request: the one place that knows what calls look like on the
//! wire. The body is sealed here, in parallel with the commits.
//!
//! The gateway has checked all of this; the shard checks again, since it trusts no gateway.

mod amend;
mod get;
mod list;
pub(crate) mod locate;
pub(crate) mod moves;
pub(crate) mod participants;
mod patch;
pub(crate) mod person;
mod transit;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use atlas::{Country, Findings, RecordAttributes, SignedMap};
use bytes::Bytes;
use ledger::entry::Role;
use terms::{Collection, Reason, RecordKey, Rejection, SubjectId, TenantId, UnixMillis, limits};
use tokio::time::Instant;
use wire::session as proto;
use wire::session::call::Op;
use zeroize::Zeroizing;

use crate::node::Node;
use crate::policy::asker::{Asker, Stands};
use crate::policy::egress::Right;
use crate::policy::rulings::body_fits;
use crate::policy::standing_ruling::Given;
use crate::read::list::ListQuery;
use crate::store::keys::Owner;
use crate::store::principal::Principal;
use crate::store::record::{Address, SealedBody};
use crate::store::types::{EpochNumber, Version};
use crate::write::command::{Action, Condition, Content, Put, Request};

/// Bytes of a ticket at most.
const TICKET_BYTES_MAX: usize = 64;
/// Bytes of a data version that an entry can hold.
const DATA_VERSION_BYTES_MAX: usize = 64;

/// A call, by who asks it.
#[expect(clippy::large_enum_variant, reason = "a write is the usual case, and is moved once")]
pub(crate) enum Call {
    /// The gateway itself.
    Gateway(GatewayCall),
    /// A caller of the gateway.
    Caller(CallerCall),
}

/// What a gateway asks by itself, before any caller asks it.
pub(crate) enum GatewayCall {
    /// For the map of that number, or the first that was taken after it.
    MapFetch { epoch: EpochNumber, after: bool },
    /// To take a map.
    MapOffer(SignedMap),
    /// For the key by which subjects are asked for.
    LocateKey,
    /// Which indexes are being built.
    IndexStatus,
    /// For the key to which callers seal bodies.
    TransitKey,
}

/// What a caller asks. Names and contents are looked at once it is known that the caller may ask.
pub(crate) enum CallerCall {
    Get(proto::Get),
    List(Box<proto::List>),
    /// What is held of a subject.
    Person(proto::Person),
    /// Whether a subject is here.
    Locate(proto::Locate),
    /// What binds a subject that a record is to name.
    AskBinding(proto::AskBinding),
    /// What has become of moves to other regions.
    Moves(proto::moves::Of),
    Write(Write),
    /// Puts of which all are done or none.
    PutAll(Vec<proto::Put>),
    /// One step of an upload.
    Upload(Box<proto::Upload>),
    /// For the maps that were taken after that number.
    MapHistory(EpochNumber),
    /// What a map would do on that day; none: today.
    MapImpact(SignedMap, Option<u32>),
}

/// A write, as it came.
pub(crate) enum Write {
    Put(proto::Put),
    Delete(proto::Delete),
    Create(proto::Create),
    Touch(proto::Touch),
    Patch(proto::Patch),
    Erase(proto::Erase),
    Block(proto::Block),
    RotateKey(proto::RotateKey),
    Claim(proto::Claim),
    Reassess(proto::Reassess),
    Adjudicate(proto::Adjudicate),
    Relocate(proto::Relocate),
    /// Gives up the move of a subject.
    GiveUpMove(GiveUpMove),
}

/// Which move is given up, and why.
pub(crate) struct GiveUpMove {
    subject: String,
    reason: String,
    /// The id of the request that ordered it. Empty: whichever goes on.
    move_id: Bytes,
}

/// The map by which a gateway ruled. None: the gateway names none.
pub(crate) const fn map_epoch(number: u64) -> Option<EpochNumber> {
    if number == 0 { None } else { Some(EpochNumber(number)) }
}

/// What a call asks. None: something that this version does not know.
pub(crate) fn call(op: Option<Op>) -> Option<Call> {
    let map = |map: Option<proto::SignedMap>| {
        let proto::SignedMap { text, note, packs } = map.unwrap_or_default();
        SignedMap { text, note, packs }
    };
    Some(match op? {
        Op::Put(put) => Call::Caller(CallerCall::Write(Write::Put(put))),
        Op::Delete(delete) => Call::Caller(CallerCall::Write(Write::Delete(delete))),
        Op::Touch(touch) => Call::Caller(CallerCall::Write(Write::Touch(touch))),
        Op::Patch(patch) => Call::Caller(CallerCall::Write(Write::Patch(patch))),
        Op::Erase(erase) => Call::Caller(CallerCall::Write(Write::Erase(erase))),
        Op::Block(block) => Call::Caller(CallerCall::Write(Write::Block(block))),
        Op::RotateKey(of) => Call::Caller(CallerCall::Write(Write::RotateKey(of))),
        Op::Person(person) => Call::Caller(CallerCall::Person(person)),
        Op::Locate(locate) => Call::Caller(CallerCall::Locate(locate)),
        Op::AskBinding(of) => Call::Caller(CallerCall::AskBinding(of)),
        Op::Claim(claim) => Call::Caller(CallerCall::Write(Write::Claim(claim))),
        Op::Reassess(of) => Call::Caller(CallerCall::Write(Write::Reassess(of))),
        Op::Adjudicate(of) => Call::Caller(CallerCall::Write(Write::Adjudicate(of))),
        Op::Relocate(of) => Call::Caller(CallerCall::Write(Write::Relocate(of))),
        Op::Moves(moves) => match moves.of? {
            proto::moves::Of::Cancel(subject) => {
                let (reason, move_id) = (moves.reason, moves.request_id);
                let of = GiveUpMove { subject, reason, move_id };
                Call::Caller(CallerCall::Write(Write::GiveUpMove(of)))
            }
            of @ (proto::moves::Of::Subject(_)
            | proto::moves::Of::Arrived(_)
            | proto::moves::Of::All(_)) => Call::Caller(CallerCall::Moves(of)),
        },
        // Asked by shards alone.
        Op::Arrival(_) | Op::Copy(_) | Op::HeldCopies(_) => return None,
        Op::AskSlots(_) | Op::SlotMove(_) => return None,
        Op::LocateKey(_) => Call::Gateway(GatewayCall::LocateKey),
        Op::IndexStatus(_) => Call::Gateway(GatewayCall::IndexStatus),
        Op::TransitKey(_) => Call::Gateway(GatewayCall::TransitKey),
        Op::Create(create) => Call::Caller(CallerCall::Write(Write::Create(create))),
        Op::Get(get) => Call::Caller(CallerCall::Get(get)),
        Op::List(list) => Call::Caller(CallerCall::List(Box::new(list))),
        Op::PutAll(all) => Call::Caller(CallerCall::PutAll(all.puts)),
        Op::Upload(upload) => Call::Caller(CallerCall::Upload(Box::new(upload))),
        Op::MapHistory(history) => Call::Caller(CallerCall::MapHistory(EpochNumber(history.after))),
        Op::Survey(survey) => {
            let day = Some(survey.day).filter(|day| *day > 0);
            Call::Caller(CallerCall::MapImpact(map(survey.map), day))
        }
        Op::MapFetch(fetch) => Call::Gateway(GatewayCall::MapFetch {
            epoch: EpochNumber(fetch.epoch),
            after: fetch.after,
        }),
        Op::MapOffer(offer) => Call::Gateway(GatewayCall::MapOffer(map(offer.map))),
    })
}

impl CallerCall {
    pub(crate) const fn right(&self) -> Right {
        match self {
            Self::Get(_) | Self::List(_) | Self::Person(_) | Self::Locate(_) => Right::Read,
            Self::Write(Write::Erase(_) | Write::Block(_) | Write::RotateKey(_)) => Right::Erase,
            Self::Write(Write::Adjudicate(of)) => Right::adjudicate(of.confirm),
            Self::Write(_) | Self::PutAll(_) | Self::Upload(_) | Self::Moves(_) => Right::Write,
            Self::AskBinding(_) => Right::Write,
            Self::MapHistory(_) => Right::MapHistory,
            Self::MapImpact(..) => Right::MapImpact,
        }
    }
}

impl Write {
    /// Bytes of its body.
    pub(crate) fn body_bytes(&self) -> usize {
        match self {
            Self::Put(put) => put.body.len(),
            Self::Patch(patch) => patch.body.as_ref().map_or(0, Bytes::len),
            Self::Delete(_) | Self::Create(_) | Self::Touch(_) => 0,
            Self::Erase(_) | Self::Block(_) | Self::Claim(_) | Self::Reassess(_) => 0,
            Self::Relocate(_) | Self::GiveUpMove(_) | Self::RotateKey(_) => 0,
            Self::Adjudicate(_) => 0,
        }
    }

    /// Whether the answer is to bear a proof.
    pub(crate) const fn prove(&self) -> bool {
        match self {
            Self::Put(put) => put.prove && !put.validate_only,
            Self::Delete(delete) => delete.prove && !delete.validate_only,
            Self::Create(create) => create.prove && !create.validate_only,
            Self::Touch(touch) => touch.prove && !touch.validate_only,
            Self::Patch(patch) => patch.prove && !patch.validate_only,
            Self::Erase(erase) => erase.prove && !erase.validate_only,
            Self::Block(block) => block.prove && !block.validate_only,
            Self::RotateKey(of) => of.prove && !of.validate_only,
            Self::Reassess(of) => of.prove && !of.validate_only,
            Self::Adjudicate(of) => of.prove && !of.validate_only,
            Self::Claim(_) | Self::Relocate(_) | Self::GiveUpMove(_) => false,
        }
    }

    /// Whether it reads what is stored before it is queued.
    pub(crate) const fn reads(&self) -> bool {
        matches!(self, Self::Relocate(_))
    }

    /// Checks it, and seals its body.
    pub(crate) fn prepare(self, node: &Node, asker: &Asker) -> Result<Action, Rejection> {
        match self {
            Self::Put(of) => put(node, asker, of),
            Self::Delete(of) => amend::delete(node, asker, of),
            Self::Create(of) => person::create(node, asker, of),
            Self::Touch(of) => amend::touch(node, asker, of),
            Self::Patch(of) => patch::patch(node, asker, of),
            Self::Erase(of) => person::erase(node, asker, of),
            Self::Block(of) => person::block(node, asker, &of),
            Self::RotateKey(of) => person::rotate_key(node, asker, of),
            Self::Reassess(of) => person::reassess(node, asker, of),
            Self::Adjudicate(of) => person::adjudicate(node, asker, of),
            Self::Claim(of) => locate::claim(node, asker, &of),
            Self::Relocate(of) => moves::relocate(node, asker, of),
            Self::GiveUpMove(GiveUpMove { subject, reason, move_id }) => {
                moves::give_up(node, asker, &subject, reason, &move_id)
            }
        }
    }
}

/// Prepares the calls of one session. It remembers who asked last: mostly it is the same again.
pub(crate) struct Prepare {
    node: Arc<Node>,
    /// Where the gateway of this session stands.
    gateway: Country,
    last: Option<LastAsker>,
}

/// Who asked last, as it came and as it was checked.
struct LastAsker {
    tenant: String,
    caller: proto::Caller,
    asker: Asker,
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
        let log = self.node.growing.load();
        if let Some(last) = &self.last
            && last.asker.who.period == log.name.period
            && last.tenant == tenant
            && last.caller == caller
        {
            return Ok(last.asker.clone());
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
        let who = Principal::new(&log, Some(id.clone()), &caller.name, role, territory);
        let asker = Asker {
            tenant: id,
            who: Arc::new(who),
            stands: Stands { gateway: self.gateway, caller: stands },
        };
        self.last = Some(LastAsker { tenant: tenant.to_owned(), caller, asker: asker.clone() });
        Ok(asker)
    }

    /// A list or count.
    pub(crate) fn list(&self, asker: &Asker, list: proto::List) -> Result<ListQuery, Rejection> {
        // Who asks was checked just now, and so is the last.
        let caller = self.last.as_ref().map(|last| last.caller.name.clone());
        list::query(&self.node, asker, caller.unwrap_or_default(), list)
    }
}

/// Whether it may be an etag of ours.
fn etag_fits(etag: &str) -> Result<(), Rejection> {
    if etag.len() <= limits::ETAG_BYTES_MAX {
        return Ok(());
    }
    Err(Rejection::new(Reason::FieldInvalid).field("etag").problem("is no etag of ours"))
}

/// A ticket, as the shard gave it: none is longer.
pub(super) fn ticket(asked: Bytes) -> Result<Bytes, Rejection> {
    if asked.len() <= TICKET_BYTES_MAX {
        return Ok(asked);
    }
    Err(Rejection::new(Reason::FieldInvalid).field("asked"))
}

/// What a caller states for the log: printable ASCII, and short.
fn stated(field: &'static str, text: &str) -> Result<(), Rejection> {
    let printable = text.bytes().all(|c| (0x20..=0x7e).contains(&c));
    if printable && text.len() <= limits::PURPOSE_BYTES_MAX {
        return Ok(());
    }
    Err(Rejection::new(Reason::FieldInvalid).field(field))
}

/// A put, with its body sealed.
fn put(node: &Node, asker: &Asker, put: proto::Put) -> Result<Action, Rejection> {
    let address = address(node, asker, &put.subject, &put.collection, &put.key)?;
    let body = transit::body_of_put(node, &address, &put)?;
    body_fits(&node.map(), &address.collection, body.len())?;
    let attributes = attributes(&put.attributes)?;
    let given = given(&put.findings, put.phone_data, put.ip_data)?;
    let condition = condition(put.if_version, put.etag)?;
    let participants = participants::participants(node, &address.owner, &put.participants)?;
    let fingerprint = node.namer.fingerprint(&[
        b"put",
        &address.row,
        &body,
        &condition.if_version.map_or([0xff; 8], |version| version.0.to_be_bytes()),
        condition.etag.as_deref().unwrap_or_default().as_bytes(),
        &[u8::from(put.create_subject)],
        &put.attributes,
        &put.expire_ms.to_be_bytes(),
        &participants::fingerprint(&participants),
    ]);
    let content = encrypted(node, &address, &body)?;
    Ok(Action::Put(Box::new(Put {
        request: Request { id: request_id(&put.request_id)?, fingerprint },
        address,
        condition,
        create_subject: put.create_subject,
        asked: ticket(put.asked)?,
        given,
        validate_only: put.validate_only,
        content,
        body_bytes: body.len(),
        attributes,
        participants,
        participants_epoch: EpochNumber(put.participants_epoch),
        expires: expires(put.expire_ms)?,
        uploaded: None,
    })))
}

/// A new body, encrypted under random values of its own.
fn encrypted(node: &Node, address: &Address, body: &[u8]) -> Result<Content, Rejection> {
    let Chance { opening, body_key, nonce } = Chance::draw(node)?;
    Ok(Content {
        digest: ledger::statement::content_digest(&opening, body),
        sealed: SealedBody::new(address, &node.region, node.cipher, &body_key, body),
        opening,
        body_key,
        nonce,
    })
}

/// A time of expiry; 0: none. Whether it is past is asked where it is committed.
pub(super) fn expires(ms: u64) -> Result<Option<UnixMillis>, Rejection> {
    if ms > limits::EXPIRE_MS_MAX {
        let fault = Rejection::new(Reason::FieldInvalid).field("expire_time");
        return Err(fault.problem("is after the year 9999"));
    }
    Ok(Some(ms).filter(|ms| *ms > 0).map(UnixMillis))
}

fn owner(node: &Node, asker: &Asker, subject: &str) -> Result<Owner, Rejection> {
    let subject = SubjectId::parse(subject).map_err(|why| Rejection::id("subject.id", why))?;
    let owner = node.namer.owner(asker.tenant.clone(), subject);
    if node.owns(owner.slot) { Ok(owner) } else { Err(Rejection::new(Reason::SlotNotOwned)) }
}

/// A collection's name. Whether the map still has it matters to writes only (the ruling asks):
/// what lies in one that it dropped can be read and deleted.
pub(super) fn collection(name: &str) -> Result<Collection, Rejection> {
    Collection::parse(name).map_err(|why| Rejection::id("collection", why))
}

pub(super) fn address(
    node: &Node,
    asker: &Asker,
    subject: &str,
    of: &str,
    key: &str,
) -> Result<Address, Rejection> {
    let (owner, collection) = (owner(node, asker, subject)?, collection(of)?);
    let key = RecordKey::parse(key).map_err(|why| Rejection::id("key", why))?;
    let row = node.namer.record(&owner, &collection, &key);
    Ok(Address { owner, collection, key, row })
}

pub(super) fn request_id(bytes: &[u8]) -> Result<[u8; 16], Rejection> {
    bytes.try_into().map_err(|_| Rejection::new(Reason::FieldInvalid).field("request_id"))
}

pub(super) fn condition(if_version: Option<i64>, etag: String) -> Result<Condition, Rejection> {
    let if_version = match if_version.map(u64::try_from) {
        None => None,
        Some(Ok(version)) => Some(Version(version)),
        Some(Err(_)) => {
            let fault = Rejection::new(Reason::FieldInvalid).field("if_version");
            return Err(fault.problem("is negative"));
        }
    };
    etag_fits(&etag)?;
    Ok(Condition { if_version, etag: Some(etag).filter(|etag| !etag.is_empty()) })
}

/// The attributes of a record. Whether the map declares them is asked at the commit.
pub(super) fn attributes(bytes: &Bytes) -> Result<RecordAttributes, Rejection> {
    let malformed = |_| Rejection::new(Reason::FieldInvalid).field("attributes");
    RecordAttributes::decode(bytes).map_err(malformed)
}

/// The findings that came with a call, if any did.
pub(super) fn given(
    bytes: &[u8],
    phone_data: String,
    ip_data: String,
) -> Result<Option<Given>, Rejection> {
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

/// The random values of one write.
struct Chance {
    /// Of the entry.
    opening: [u8; 32],
    body_key: Zeroizing<[u8; 32]>,
    /// Of the head.
    nonce: [u8; 12],
}

impl Chance {
    /// Draws all of them at once.
    fn draw(node: &Node) -> Result<Self, Rejection> {
        let drawn: Zeroizing<[u8; 76]> = Zeroizing::new(node.random()?);
        let (opening, rest) = drawn.split_first_chunk().expect("76 is 32 and 32 and 12");
        let (key, rest) = rest.split_first_chunk().expect("44 is 32 and 12");
        let nonce = rest.first_chunk().expect("12 are left");
        Ok(Self { opening: *opening, body_key: Zeroizing::new(*key), nonce: *nonce })
    }
}
