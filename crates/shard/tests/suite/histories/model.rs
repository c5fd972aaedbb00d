//! What one record must do, as a machine that does one thing after the other. It is naive on purpose,
//! and shares no line with the shard. Each of its rules can be broken, so that a test can show that the
//! histories need the rule.

use std::collections::BTreeMap;

/// Bytes of a body that has a row of its own in the store.
const LARGE_BYTES: usize = 5_000;

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Value {
    Integer(i64),
    Text(&'static str),
    Bool(bool),
}

/// Attributes by name.
pub(crate) type Attributes = BTreeMap<&'static str, Value>;

/// A body that no other write has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Body {
    pub(crate) n: u64,
    /// Whether it has [`LARGE_BYTES`].
    pub(crate) large: bool,
}

impl Body {
    pub(crate) fn bytes(self) -> Vec<u8> {
        let mut bytes = self.n.to_be_bytes().to_vec();
        bytes.resize(if self.large { LARGE_BYTES } else { 8 }, 7);
        bytes
    }

    /// The body that has these bytes. None: no write has had it.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let n = u64::from_be_bytes(bytes.first_chunk().copied()?);
        let body = Self { n, large: bytes.len() == LARGE_BYTES };
        (body.bytes() == bytes).then_some(body)
    }
}

/// What a write changes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Change {
    /// `expires`: milliseconds since 1970; 0: never.
    Put {
        body: Body,
        attributes: Attributes,
        expires: u64,
    },
    Patch {
        body: Option<Body>,
        set: Attributes,
        remove: Vec<&'static str>,
    },
    Touch {
        expires: u64,
    },
    Delete,
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Write {
    pub(crate) request: u64,
    /// Two writes with one request id and another number are different requests.
    pub(crate) of: u64,
    pub(crate) dry: bool,
    pub(crate) if_version: Option<u64>,
    /// The etag on which it insists, and the version that has it.
    pub(crate) etag: Option<(u64, String)>,
    pub(crate) change: Change,
}

/// What is asked of a record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Ask {
    Write(Write),
    Get,
    /// A list of the whole collection, by [`FILTERS`].
    List(usize),
    /// The clock is set.
    Tick(u64),
}

/// A record as a read shows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    pub(crate) version: u64,
    /// None: a list does not show it.
    pub(crate) body: Option<Body>,
    pub(crate) attributes: Attributes,
    pub(crate) expires: u64,
}

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Written {
        version: u64,
        replayed: bool,
    },
    Refused(String),
    Seen(Seen),
    /// It is not in the list.
    Absent,
    Done,
}

/// A filter, and whether attributes pass it.
pub(crate) type Filter = (&'static str, fn(&Attributes) -> bool);

/// The filters of lists and counts. The first is none.
pub(crate) const FILTERS: [Filter; 5] = [
    ("", |_| true),
    ("age >= 0", |all| older(all, 0)),
    ("mail = \"a@x\"", |all| of(all, "a@x")),
    ("mail IN (\"b@x\", \"\") AND age >= -1", |all| {
        (of(all, "b@x") || of(all, "")) && older(all, -1)
    }),
    ("seen = true", |all| all.get("seen") == Some(&Value::Bool(true))),
];

fn older(all: &Attributes, n: i64) -> bool {
    matches!(all.get("age"), Some(Value::Integer(age)) if *age >= n)
}

fn of(all: &Attributes, mail: &'static str) -> bool {
    all.get("mail") == Some(&Value::Text(mail))
}

/// A rule that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// A request that was done is not done again.
    Retries,
    /// A request id belongs to one request.
    RequestIds,
    /// A write is done only in the state on which it insists.
    Conditions,
    /// The same, by an etag.
    Etags,
    /// A deletion and an expiry are versions too.
    VersionsGoOn,
    /// A record is not read from its expiry on.
    Expiry,
    /// A time that has passed is no expiry.
    ExpiryInFuture,
    /// A patch keeps what it does not name.
    PatchKeeps,
    /// A touch keeps body and attributes.
    TouchKeeps,
    /// A put replaces all.
    PutReplaces,
    /// A patch or a touch makes no record.
    NothingMade,
    /// A dry run changes nothing.
    DryRuns,
    /// A list has what passes its filter, and nothing else.
    Filters,
}

impl Rule {
    pub(crate) const ALL: [Self; 13] = [
        Self::Retries,
        Self::RequestIds,
        Self::Conditions,
        Self::Etags,
        Self::VersionsGoOn,
        Self::Expiry,
        Self::ExpiryInFuture,
        Self::PatchKeeps,
        Self::TouchKeeps,
        Self::PutReplaces,
        Self::NothingMade,
        Self::DryRuns,
        Self::Filters,
    ];
}

/// The content of a live record.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Content {
    body: Body,
    attributes: Attributes,
    expires: u64,
}

/// The state of one record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    now: u64,
    version: u64,
    live: Option<Content>,
    /// Request, its number, and the version that it made. No history has so many that one is forgotten.
    done: Vec<(u64, u64, u64)>,
}

impl Record {
    /// A record that was never written, at that time.
    pub(crate) fn new(now: u64) -> Self {
        Self { now, ..Self::default() }
    }
}

/// The machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Model {
    pub(crate) broken: Option<Rule>,
}

impl Model {
    fn keeps(self, rule: Rule) -> bool {
        self.broken != Some(rule)
    }

    /// What is asked of a record in that state leaves which state, and is answered how.
    pub(crate) fn step(self, before: &Record, ask: &Ask) -> (Record, Told) {
        let mut record = before.clone();
        let told = match ask {
            Ask::Tick(now) => {
                record.now = *now;
                self.expire(&mut record);
                Told::Done
            }
            Ask::Get => match &record.live {
                Some(content) => Told::Seen(seen(&record, content, true)),
                None => Told::Refused("RECORD_NOT_FOUND".to_owned()),
            },
            Ask::List(filter) => {
                let passes = FILTERS.get(*filter).expect("a filter").1;
                let passes =
                    |content: &&Content| !self.keeps(Rule::Filters) || passes(&content.attributes);
                let content = record.live.as_ref().filter(passes);
                content.map_or(Told::Absent, |content| Told::Seen(seen(&record, content, false)))
            }
            Ask::Write(write) => self.write(&mut record, write),
        };
        (record, told)
    }

    fn expire(self, record: &mut Record) {
        let due = |content: &Content| content.expires != 0 && content.expires <= record.now;
        if self.keeps(Rule::Expiry) && record.live.as_ref().is_some_and(due) {
            record.live = None;
            record.version += u64::from(self.keeps(Rule::VersionsGoOn));
        }
    }

    fn write(self, record: &mut Record, write: &Write) -> Told {
        let done = record.done.iter().find(|(request, ..)| *request == write.request);
        if let Some((_, of, version)) = done
            && self.keeps(Rule::Retries)
        {
            return if *of == write.of || !self.keeps(Rule::RequestIds) {
                Told::Written { version: *version, replayed: true }
            } else {
                Told::Refused("REQUEST_ID_REUSED".to_owned())
            };
        }
        if let Some(reason) = self.refuses(record, write) {
            return Told::Refused(reason.to_owned());
        }
        let version = record.version + 1;
        if !write.dry || !self.keeps(Rule::DryRuns) {
            let keeps_version =
                matches!(write.change, Change::Delete) && !self.keeps(Rule::VersionsGoOn);
            record.version = version - u64::from(keeps_version);
            record.live = self.changed(record.live.take(), &write.change);
            record.done.push((write.request, write.of, version));
        }
        Told::Written { version, replayed: false }
    }

    /// Why a write is not done.
    fn refuses(self, record: &Record, write: &Write) -> Option<&'static str> {
        if let Change::Put { expires, .. } | Change::Touch { expires } = &write.change
            && self.keeps(Rule::ExpiryInFuture)
            && *expires != 0
            && *expires <= record.now
        {
            return Some("FIELD_INVALID");
        }
        let makes = matches!(write.change, Change::Put { .. }) || !self.keeps(Rule::NothingMade);
        if !makes && record.live.is_none() {
            return Some("RECORD_NOT_FOUND");
        }
        let version = if record.live.is_some() { record.version } else { 0 };
        if let Some(wanted) = write.if_version
            && self.keeps(Rule::Conditions)
            && wanted != version
        {
            return Some(if wanted == 0 { "RECORD_EXISTS" } else { "VERSION_MISMATCH" });
        }
        match write.etag {
            Some((of, _)) if self.keeps(Rule::Etags) && of != version => Some("VERSION_MISMATCH"),
            _ => None,
        }
    }

    /// What a write makes of the content.
    fn changed(self, before: Option<Content>, change: &Change) -> Option<Content> {
        let empty = || Content {
            body: Body { n: 0, large: false },
            attributes: Attributes::new(),
            expires: 0,
        };
        match change {
            Change::Delete => None,
            Change::Put { body, attributes, expires } => {
                let mut all = attributes.clone();
                if !self.keeps(Rule::PutReplaces) {
                    all.extend(before.into_iter().flat_map(|before| before.attributes));
                }
                Some(Content { body: *body, attributes: all, expires: *expires })
            }
            Change::Patch { body, set, remove } => {
                let before = before.unwrap_or_else(empty);
                let mut attributes = before.attributes;
                if !self.keeps(Rule::PatchKeeps) {
                    attributes.clear();
                }
                attributes.retain(|name, _| !remove.contains(name));
                attributes.extend(set.clone());
                Some(Content { body: body.unwrap_or(before.body), attributes, ..before })
            }
            Change::Touch { expires } => {
                let before = before.unwrap_or_else(empty);
                let kept = if self.keeps(Rule::TouchKeeps) { before } else { empty() };
                Some(Content { expires: *expires, ..kept })
            }
        }
    }
}

fn seen(record: &Record, content: &Content, whole: bool) -> Seen {
    Seen {
        version: record.version,
        body: whole.then_some(content.body),
        attributes: content.attributes.clone(),
        expires: content.expires,
    }
}
