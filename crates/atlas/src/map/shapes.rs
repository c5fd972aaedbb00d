//! The shapes of the texts of maps and annexes.

use crate::geo::territory::territories;
use crate::toml::schema::{Form, Json, Shape};

pub(super) const TRUST_DOMAIN: Form = Form::Shape(&Shape {
    name: "trust domain",
    code: "NAME_INVALID",
    wanted: "a trust domain of a-z, 0-9, '.', '-' and '_', at most 255 bytes",
    json: Json::Pattern("^[a-z0-9._-]{1,255}$"),
});

pub(super) const HOME_FOR: Form = Form::Shape(&Shape {
    name: "territory or `*`",
    code: "TERRITORY_UNKNOWN",
    wanted: "a country, EEA or *",
    json: Json::Words(|| territories().chain(["*"]).collect()),
});

pub(super) const ATTRIBUTE_NAME: Form = Form::Shape(&Shape {
    name: "attribute name",
    code: "NAME_INVALID",
    wanted: "a name of a-z, 0-9 and '_' that begins with a letter, at most 63 bytes, and is not `key`",
    json: Json::Pattern("^(?!key$)[a-z][a-z0-9_]{0,62}$"),
});

pub(super) const LIFETIME: Form = Form::Shape(&Shape {
    name: "length of time",
    code: "VALUE_INVALID",
    wanted: "a number of minutes, hours or days, such as 30m, 12h or 90d, at most 36500d",
    json: Json::Pattern("^[1-9][0-9]{0,7}[mhd]$"),
});

pub(super) const DIGEST: Form = Form::Shape(&Shape {
    name: "digest",
    code: "VALUE_INVALID",
    wanted: "sha256: and 64 hexadecimal digits",
    json: Json::Pattern("^sha256:[0-9a-f]{64}$"),
});

pub(super) const VKEY: Form = Form::Shape(&Shape {
    name: "key",
    code: "VALUE_INVALID",
    wanted: "a key as `bailiwick map key` printed it: <name>+<id>+<key>",
    json: Json::Pattern("^[^+\\s]{1,255}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$"),
});

pub(super) const EXEMPT: Form = Form::Shape(&Shape {
    name: "`<statute>/<exemption>`",
    code: "NAME_INVALID",
    wanted: "the name of a statute and of one of its exemptions, such as ru-152fz/6-1-3",
    json: Json::Pattern("^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$"),
});

/// One collection, or `*`.
const COLLECTION: Form = Form::Shape(&Shape {
    name: "collection or `*`",
    code: "NAME_INVALID",
    wanted: "a name of a-z, 0-9 and inner '-', at most 63 bytes, or \"*\" alone",
    json: Json::Pattern("^(\\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$"),
});

pub(super) const COLLECTIONS: Form = Form::Filled(&COLLECTION);

pub(super) const ADDRESSES: Form = Form::Shape(&Shape {
    name: "prefix of addresses",
    code: "PREFIX_INVALID",
    wanted: "a prefix of addresses such as 203.0.113.0/24 or 2001:db8::/32",
    json: Json::Pattern("^[0-9A-Fa-f.:]+/[0-9]{1,3}$"),
});

pub(super) const NUMBERS: Form = Form::Shape(&Shape {
    name: "prefix of numbers",
    code: "PREFIX_INVALID",
    wanted: "+ and the first digits of a number, such as +7978",
    json: Json::Pattern("^\\+[0-9]{1,15}$"),
});

pub(super) const ADDRESS: Form = Form::Shape(&Shape {
    name: "address",
    code: "ADDRESS_INVALID",
    wanted: "an address such as https://host:443, or http:// on loopback",
    json: Json::Pattern("^https?://.+:[0-9]{1,5}$"),
});

pub(super) const SLOTS: Form = Form::Shape(&Shape {
    name: "range of slots",
    code: "SLOTS_INVALID",
    wanted: "a range of slots such as 0-1023",
    json: Json::Pattern("^[0-9]{1,4}( *- *[0-9]{1,4})?$"),
});
