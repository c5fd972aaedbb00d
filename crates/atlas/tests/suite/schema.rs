//! The JSON Schemas: they take what the readers take, as far as a schema can tell, and refuse an
//! unknown key.

#![expect(clippy::panic, reason = "a test that goes astray may panic")]

use crate::support::{files, golden, read, with_digests};
use atlas::schema;
use serde_json::{Map, Value, json};

/// A TOML file as JSON, the way editors see it: a day is a text.
fn json_of(text: &str) -> Value {
    fn value(item: toml::Value) -> Value {
        match item {
            toml::Value::String(text) => json!(text),
            toml::Value::Integer(number) => json!(number),
            toml::Value::Float(number) => json!(number),
            toml::Value::Boolean(flag) => json!(flag),
            toml::Value::Datetime(day) => json!(day.to_string()),
            toml::Value::Array(items) => items.into_iter().map(value).collect(),
            toml::Value::Table(table) => table
                .into_iter()
                .map(|(key, item)| (key, value(item)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }
    value(toml::Value::Table(text.parse().expect("TOML")))
}

/// Whether a value satisfies a schema: the few words of JSON Schema that ours use, and no others.
fn takes(root: &Value, schema: &Value, value: &Value) -> bool {
    let words = schema.as_object().expect("a schema");
    words.iter().all(|(word, of)| match word.as_str() {
        "$schema" | "$defs" | "title" | "description" => true,
        "$ref" => {
            let name = of.as_str().and_then(|path| path.strip_prefix("#/$defs/")).expect("a name");
            let of = root["$defs"].get(name.replace("%20", " ")).expect("a definition");
            takes(root, of, value)
        }
        "type" => match of.as_str().expect("a type") {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            other => panic!("{other}"),
        },
        "properties" => value.as_object().is_none_or(|object| {
            object.iter().all(|(key, item)| of.get(key).is_none_or(|s| takes(root, s, item)))
        }),
        "additionalProperties" => {
            assert_eq!(*of, json!(false));
            let known = words.get("properties").expect("properties beside it");
            value.as_object().is_none_or(|object| object.keys().all(|key| known.get(key).is_some()))
        }
        "required" => {
            let mut keys = of.as_array().expect("a list").iter().filter_map(Value::as_str);
            value.as_object().is_none_or(|object| keys.all(|key| object.contains_key(key)))
        }
        "items" => value.as_array().is_none_or(|all| all.iter().all(|item| takes(root, of, item))),
        "maxItems" => value.as_array().is_none_or(|all| Some(all.len() as u64) <= of.as_u64()),
        "anyOf" => of.as_array().expect("a list").iter().any(|one| takes(root, one, value)),
        "enum" => of.as_array().expect("a list").contains(value),
        "minItems" => value.as_array().is_none_or(|all| Some(all.len() as u64) >= of.as_u64()),
        "minLength" => value.as_str().is_none_or(|text| !text.is_empty()),
        "minimum" | "maximum" | "pattern" => true,
        other => panic!("{other} is no word of ours"),
    })
}

fn accepts(table: &atlas::toml::Table, text: &str) -> bool {
    let schema = atlas::toml::json_schema(table);
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    takes(&schema, &schema, &json_of(text))
}

#[test]
fn the_schemas_take_what_the_readers_take() {
    let deploy = golden().join("../../../../deploy/sample");
    let sample = read(&deploy.join("map.toml"));
    assert!(accepts(&schema::MAP, &sample));
    for path in files(&golden().join("maps")) {
        assert!(accepts(&schema::MAP, &with_digests(&read(&path))), "{}", path.display());
    }
    for path in files(&deploy.join("annex")) {
        assert!(accepts(&schema::ANNEX, &read(&path)), "{}", path.display());
    }
    for path in files(&golden().join("../../statutes")) {
        assert!(accepts(&schema::PACK, &read(&path)), "{}", path.display());
    }
}

#[test]
fn the_schemas_refuse_what_is_unknown_or_missing() {
    let map = read(&golden().join("../../../../deploy/sample/map.toml"));
    for (from, to) in [
        ("version = 1", "version = 1\nversoin = 2"),
        ("version = 1", ""),
        ("version = 1", "version = \"1\""),
        ("territory = \"KZ\"", "territory = \"KZ\"\nterritorry = \"KZ\""),
        ("territory = \"KZ\"", "territory = \"UK\""),
        ("reads = \"logged\"", "reads = \"never\""),
        ("for = \"GB\"", "for = \"EU\""),
        ("reading = \"primary-first\"", "reading = \"first\""),
    ] {
        assert!(map.contains(from), "{from}");
        assert!(!accepts(&schema::MAP, &map.replacen(from, to, 1)), "{to}");
    }
    assert!(!accepts(&schema::ANNEX, "region = \"x\"\nshards = []\nslots = 1\n"));
    assert!(!accepts(&schema::PACK, "id = \"x\"\n"));
}
