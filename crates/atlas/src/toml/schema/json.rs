//! From the table of keys to JSON Schema (draft 2020-12).

use serde_json::{Map, Value, json};

use crate::toml::schema::{Form, Key, Table};
use crate::{Country, Group};

const NAME: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

/// The schema of a file. TOML has no schema language of its own: editors check it by this one, in
/// which a day is a text.
pub(super) fn schema(file: &Table) -> String {
    let mut schema = table(file);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(format!("Bailiwick {}", file.what)));
    let countries: Vec<&str> = Country::all().map(Country::as_str).collect();
    let groups: Vec<&str> = Group::ALL.iter().map(|group| group.as_str()).collect();
    let territory = json!({"anyOf": [{"$ref": "#/$defs/country"}, {"enum": groups}]});
    let defs = json!({
        "name": {"type": "string", "pattern": NAME},
        "country": {"enum": countries},
        "territory": territory,
        "day": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
        "digest": {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    });
    schema.insert("$defs".to_owned(), defs);
    let mut text = format!("{:#}", Value::Object(schema));
    text.push('\n');
    text
}

fn table(table: &Table) -> Map<String, Value> {
    let keys = table.keys.iter().map(|key| (key.name.to_owned(), property(key)));
    let needed: Vec<&str> = table.keys.iter().filter(|k| k.needed).map(|k| k.name).collect();
    let mut schema = Map::new();
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(table.means));
    schema.insert("properties".to_owned(), Value::Object(keys.collect()));
    schema.insert("required".to_owned(), json!(needed));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn property(key: &Key) -> Value {
    let mut schema = form(&key.form);
    if let Value::Object(schema) = &mut schema {
        let means = match key.needed {
            true => key.means.to_owned(),
            false => format!("{} Left out: {}.", key.means, key.default),
        };
        schema.insert("description".to_owned(), json!(means));
    }
    schema
}

fn form(form: &Form) -> Value {
    let reference = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    match form {
        Form::Text => json!({"type": "string"}),
        Form::Name => reference("name"),
        Form::TrustDomain => pattern("^[a-z0-9._-]{1,255}$"),
        Form::Country => reference("country"),
        Form::Territory => reference("territory"),
        Form::HomeFor => json!({"anyOf": [reference("territory"), {"enum": ["*"]}]}),
        Form::Date => reference("day"),
        Form::Number(u64::MAX) => json!({"type": "integer", "minimum": 0}),
        Form::Number(most) => json!({"type": "integer", "minimum": 0, "maximum": most}),
        Form::Flag => json!({"type": "boolean"}),
        Form::Digest => reference("digest"),
        Form::Vkey => pattern("^[^+\\s]{1,255}\\+[0-9a-f]{8}\\+[A-Za-z0-9+/]{44}$"),
        Form::Word(words) => json!({"enum": words}),
        Form::Exempt => pattern("^[a-z0-9-]{1,63}/[a-z0-9-]{1,63}$"),
        Form::Addresses => pattern("^[0-9A-Fa-f.:]+/[0-9]{1,3}$"),
        Form::Numbers => pattern("^\\+[0-9]{1,15}$"),
        Form::Address => pattern("^https?://.+:[0-9]{1,5}$"),
        Form::Slots => pattern("^[0-9]{1,4}( *- *[0-9]{1,4})?$"),
        Form::List(item) => list(crate::toml::schema::json::form(item)),
        Form::Collections => list(json!({"anyOf": [reference("name"), {"enum": ["*"]}]})),
        Form::Table(inner) => Value::Object(table(inner)),
        Form::Tables(inner) => {
            json!({"type": "array", "items": table(inner), "maxItems": inner.count_max})
        }
    }
}

/// One of these, or a list of them.
fn list(item: Value) -> Value {
    let most = crate::limits::LIST_ITEMS_MAX;
    json!({"anyOf": [item.clone(), {"type": "array", "items": item, "maxItems": most}]})
}
