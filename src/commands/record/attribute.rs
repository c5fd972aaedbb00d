//! Attributes as they are typed and printed.

use client::api;
use prost_types::Timestamp;
use serde_json::{Map, Value};

/// `name=value`, read: a whole number, `true` or `false`, and a time of RFC 3339 are sent as such,
/// everything else as a text. A value in double quotes is a text, whatever is in them.
#[derive(Clone)]
pub(in crate::commands) struct Attribute(api::Attribute);

impl std::fmt::Debug for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attribute").finish_non_exhaustive()
    }
}

impl std::str::FromStr for Attribute {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("is not of the form name=value")?;
        Ok(Self(api::Attribute { name: name.to_owned(), value: Some(read(value)) }))
    }
}

impl Attribute {
    /// As the gateway gets it.
    pub(in crate::commands) fn to_api(&self) -> api::Attribute {
        self.0.clone()
    }
}

fn read(text: &str) -> api::attribute::Value {
    use api::attribute::Value::{BoolValue, IntegerValue, StringValue, TimestampValue};
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    if let Some(quoted) = quoted {
        return StringValue(quoted.to_owned());
    }
    let time = atlas::Timestamp::parse(text);
    match (text, text.parse(), time) {
        ("true", ..) => BoolValue(true),
        ("false", ..) => BoolValue(false),
        (_, Ok(number), _) if !text.starts_with('+') => IntegerValue(number),
        (.., Some(at)) => TimestampValue(Timestamp {
            seconds: at.seconds(),
            nanos: i32::try_from(at.nanos()).unwrap_or_default(),
        }),
        _ => StringValue(text.to_owned()),
    }
}

/// The attributes of a record as JSON: by name.
pub(in crate::commands) fn json(all: &[api::Attribute]) -> Value {
    let one = |attribute: &api::Attribute| (attribute.name.clone(), json_value(attribute));
    Value::Object(all.iter().map(one).collect::<Map<String, Value>>())
}

fn json_value(attribute: &api::Attribute) -> Value {
    use api::attribute::Value::{BoolValue, IntegerValue, StringValue, TimestampValue};
    match &attribute.value {
        None => Value::Null,
        Some(StringValue(text)) => text.clone().into(),
        Some(IntegerValue(number)) => (*number).into(),
        Some(BoolValue(flag)) => (*flag).into(),
        Some(TimestampValue(at)) => at.to_string().into(),
    }
}

/// The attributes of a record as text: a line for each.
pub(in crate::commands) fn lines(all: &[api::Attribute]) -> String {
    let line = |attribute: &api::Attribute| {
        let value = json_value(attribute);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{}={value}", attribute.name)
    };
    all.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_sent_as_what_it_looks_like() {
        for (text, printed) in [
            ("n=7", "7"),
            ("n=-7", "-7"),
            ("n=+7", "\"+7\""),
            ("n=\"7\"", "\"7\""),
            ("n=true", "true"),
            ("n=True", "\"True\""),
            ("n=2026-11-30T08:45:00+02:00", "\"2026-11-30T06:45:00Z\""),
            ("n=a=b", "\"a=b\""),
            ("n=", "\"\""),
            ("n=9223372036854775808", "\"9223372036854775808\""),
        ] {
            let attribute: Attribute = text.parse().unwrap();
            assert_eq!(json_value(&attribute.to_api()).to_string(), printed, "{text}");
        }
        assert!("n".parse::<Attribute>().is_err());
    }
}
