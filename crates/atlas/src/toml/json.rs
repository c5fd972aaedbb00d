//! From a table of keys to JSON Schema (draft 2020-12).

use serde_json::{Map, Value, json};

use crate::limits::LIST_ITEMS_MAX;
use crate::toml::schema::{Form, Json, Key, Shape, Table};

/// The JSON Schema of a file, for editors. In it a day is a text, as editors see it.
pub fn json_schema(file: &Table) -> String {
    let mut defs = Map::new();
    let mut schema = table(file, &mut defs);
    schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".to_owned(), json!(format!("Bailiwick {}", file.what)));
    schema.insert("$defs".to_owned(), Value::Object(defs));
    format!("{:#}\n", Value::Object(schema))
}

fn table(table: &Table, defs: &mut Map<String, Value>) -> Map<String, Value> {
    let needed: Vec<&str> = table.keys.iter().filter(|k| k.needed).map(|k| k.name).collect();
    let keys = table.keys.iter().map(|key| (key.name.to_owned(), property(key, defs)));
    let mut schema = Map::new();
    schema.insert("properties".to_owned(), Value::Object(keys.collect()));
    schema.insert("type".to_owned(), json!("object"));
    schema.insert("description".to_owned(), json!(table.means));
    schema.insert("required".to_owned(), json!(needed));
    schema.insert("additionalProperties".to_owned(), json!(false));
    schema
}

fn property(key: &Key, defs: &mut Map<String, Value>) -> Value {
    let mut schema = form(&key.form, defs);
    let means = match key.needed {
        true => key.means.to_owned(),
        false => format!("{} Left out: {}.", key.means, key.default),
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), json!(means));
    }
    schema
}

fn form(of: &Form, defs: &mut Map<String, Value>) -> Value {
    match of {
        Form::Text => json!({"type": "string", "minLength": 1}),
        Form::Shape(shape) => reference(shape, defs),
        Form::Word(words) => json!({"enum": words}),
        Form::Date => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
        Form::Number(least, u64::MAX) => json!({"type": "integer", "minimum": least}),
        Form::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Form::Flag => json!({"type": "boolean"}),
        // One item may stand alone.
        Form::List(item) | Form::Filled(item) => {
            let item = form(item, defs);
            let least = u64::from(matches!(of, Form::Filled(_)));
            let list = json!({
                "type": "array", "items": item, "minItems": least, "maxItems": LIST_ITEMS_MAX
            });
            json!({"anyOf": [item, list]})
        }
        Form::Table(inner) => Value::Object(table(inner, defs)),
        Form::Tables(inner) => {
            json!({"type": "array", "items": table(inner, defs), "maxItems": inner.count_max})
        }
    }
}

/// A reference to a shape, which is defined once.
fn reference(shape: &Shape, defs: &mut Map<String, Value>) -> Value {
    defs.entry(shape.name).or_insert_with(|| match shape.json {
        Json::Any => json!({"type": "string", "minLength": 1}),
        Json::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
        Json::Words(words) => json!({"enum": words()}),
    });
    json!({"$ref": format!("#/$defs/{}", shape.name.replace(' ', "%20"))})
}
