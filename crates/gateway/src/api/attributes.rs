//! Attributes of records, from requests to shards and back to callers.

use atlas::{
    AttributeName, AttributeRules, AttributeValue, AttributesFull, CollectionRules,
    RecordAttributes, Timestamp, limits,
};
use bytes::Bytes;
use terms::{Detail, Reason, Rejection};
use wire::v1;
use wire::v1::attribute::Value;

/// Reads the attributes of a put, each by what the collection declares.
///
/// # Errors
/// `TOO_MANY_ITEMS`, `ATTRIBUTE_UNKNOWN`, `ATTRIBUTE_INVALID`, `FIELD_MISSING`.
pub(crate) fn read(
    sent: &[v1::Attribute],
    rules: Option<&CollectionRules>,
) -> Result<RecordAttributes, Rejection> {
    let mut all = RecordAttributes::new();
    if sent.len() > limits::ATTRIBUTES_MAX {
        return Err(too_many("attributes"));
    }
    for (n, attribute) in sent.iter().enumerate() {
        let own = AttributeName::parse(&attribute.name);
        let own = own.as_ref().and_then(|name| rules?.attribute(name));
        let own = own.ok_or_else(|| unknown(format!("attributes[{n}].name"), rules))?;
        let value = value(n, attribute.value.as_ref(), own)?;
        all.insert(own.name().clone(), value).map_err(|full| match full {
            AttributesFull::Twice => invalid(n, own).problem("is there twice"),
            AttributesFull::TooMany => too_many("attributes"),
        })?;
    }
    Ok(all)
}

/// Reads the names of the attributes that a patch removes; `set` are those that it sets.
///
/// # Errors
/// `TOO_MANY_ITEMS`, `ATTRIBUTE_UNKNOWN`, `FIELD_INVALID`. Whether the record has one that the map
/// does not declare is known to the shard.
pub(crate) fn removed(
    sent: &[String],
    set: &RecordAttributes,
    rules: Option<&CollectionRules>,
) -> Result<Vec<AttributeName>, Rejection> {
    if sent.len() > limits::ATTRIBUTES_MAX {
        return Err(too_many("remove_attributes"));
    }
    let mut names = Vec::with_capacity(sent.len());
    for (n, name) in sent.iter().enumerate() {
        let path = format!("remove_attributes[{n}]");
        let Some(name) = AttributeName::parse(name) else { return Err(unknown(path, rules)) };
        let problem = match (set.get(&name), names.contains(&name)) {
            (Some(_), _) => "is also in attributes",
            (None, true) => "is there twice",
            (None, false) => {
                names.push(name);
                continue;
            }
        };
        return Err(Rejection::new(Reason::FieldInvalid).field(path).problem(problem));
    }
    Ok(names)
}

fn value(
    n: usize,
    sent: Option<&Value>,
    own: &AttributeRules,
) -> Result<AttributeValue, Rejection> {
    let value = match sent {
        None => {
            let path = format!("attributes[{n}].value");
            return Err(Rejection::new(Reason::FieldMissing).field(path));
        }
        Some(Value::StringValue(text)) => {
            AttributeValue::text(text).map_err(|why| invalid(n, own).problem(why.to_string()))?
        }
        Some(Value::IntegerValue(number)) => AttributeValue::Integer(*number),
        Some(Value::BoolValue(flag)) => AttributeValue::Bool(*flag),
        Some(Value::TimestampValue(at)) => {
            let nanos = u32::try_from(at.nanos).ok();
            let at = nanos.and_then(|nanos| Timestamp::new(at.seconds, nanos));
            let problem = "is no moment from the year 1 to the year 9999";
            AttributeValue::Timestamp(at.ok_or_else(|| invalid(n, own).problem(problem))?)
        }
    };
    if own.takes(&value) {
        return Ok(value);
    }
    let problem =
        format!("is of another type than {}, as the map declares it", own.kind().as_str());
    Err(invalid(n, own).problem(problem))
}

fn too_many(field: &'static str) -> Rejection {
    let fault = Rejection::new(Reason::TooManyItems).field(field);
    fault.with(Detail::Limit, limits::ATTRIBUTES_MAX)
}

fn invalid(n: usize, own: &AttributeRules) -> Rejection {
    let fault = Rejection::new(Reason::AttributeInvalid).field(format!("attributes[{n}].value"));
    fault.with(Detail::Attribute, own.name())
}

fn unknown(field: String, rules: Option<&CollectionRules>) -> Rejection {
    let names: Vec<&str> = rules
        .into_iter()
        .flat_map(CollectionRules::attributes)
        .map(|own| own.name().as_str())
        .collect();
    let fault = Rejection::new(Reason::AttributeUnknown).field(field);
    if names.is_empty() { fault } else { fault.cure(format!("use one of: {}", names.join(", "))) }
}

/// The attributes of a record, as a shard sent them.
///
/// # Errors
/// `INTERNAL`.
pub(crate) fn to_api(bytes: &Bytes) -> Result<Vec<v1::Attribute>, Rejection> {
    let all = RecordAttributes::decode(bytes).map_err(|_| Rejection::new(Reason::Internal))?;
    let one = |(name, value): (&AttributeName, &AttributeValue)| v1::Attribute {
        name: name.as_str().to_owned(),
        value: Some(match value {
            AttributeValue::String(text) => Value::StringValue(text.expose().clone()),
            AttributeValue::Integer(number) => Value::IntegerValue(*number),
            AttributeValue::Bool(flag) => Value::BoolValue(*flag),
            AttributeValue::Timestamp(at) => Value::TimestampValue(prost_types::Timestamp {
                seconds: at.seconds(),
                nanos: i32::try_from(at.nanos()).unwrap_or_default(),
            }),
        }),
    };
    Ok(all.iter().map(one).collect())
}
