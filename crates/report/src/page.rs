//! The report as a page: `report.html` is the template, and `text.<language>.json` has every
//! sentence of it, `{0}`, `{1}` … standing for what is filled in.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, Serde, Value as Shown};
use minijinja::{Environment, Error, ErrorKind, UndefinedBehavior, context};
use serde_json::Value;

use crate::input::Language;
use crate::member;

/// The name ends so that what is filled in is escaped for HTML.
const TEMPLATE: &str = "report.html";

/// The texts of a language.
const fn texts(language: Language) -> &'static str {
    match language {
        Language::En => include_str!("text.en.json"),
        Language::Ru => include_str!("text.ru.json"),
    }
}

/// The page.
pub(crate) fn render(report: &Value, language: Language) -> Result<String, Error> {
    let no_texts = |error| Error::new(ErrorKind::BadSerialization, "the texts").with_source(error);
    let texts: Value = serde_json::from_str(texts(language)).map_err(no_texts)?;
    let none = member(&texts, "none").as_str().unwrap_or("").to_owned();
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?;
    environment.set_syntax(syntax);
    // A text that is missing is a mistake, never a gap on the page.
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_filter("fill", fill);
    environment.add_filter("range", move |count: Shown| range(&count, &none));
    environment.add_template(TEMPLATE, include_str!("report.html"))?;
    let mut report = report.clone();
    all_harmless(&mut report);
    let page = environment.get_template(TEMPLATE)?;
    page.render(context! { t => Serde(texts), r => Serde(report), lang => language.as_str() })
}

/// A sentence with its places filled.
fn fill(text: String, values: Rest<Shown>) -> String {
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((place, after)) = after.split_once('}') else { break };
        let value = place.parse().ok().and_then(|place: usize| values.get(place));
        out.push_str(&value.map(ToString::to_string).unwrap_or_default());
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A range: one number, two, or the word for none.
fn range(count: &Shown, none: &str) -> String {
    let bound = |name| count.get_attr(name).ok().and_then(|bound| u64::try_from(bound).ok());
    match (bound("at_least"), bound("at_most")) {
        (_, Some(0)) => none.to_owned(),
        (Some(at_least), Some(at_most)) => format!("{at_least}–{at_most}"),
        _ => String::new(),
    }
}

/// Texts of others without what changes how a text is read without being seen: controls, and marks
/// that turn the direction of writing.
fn all_harmless(value: &mut Value) {
    match value {
        Value::String(text) => *text = harmless(text),
        Value::Array(all) => all.iter_mut().for_each(all_harmless),
        Value::Object(all) => all.values_mut().for_each(all_harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The same of one text.
pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if terms::is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The texts of both languages, as paths of keys with the places that each fills.
    fn paths(value: &Value, path: &str, all: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                members.iter().for_each(|(key, value)| paths(value, &format!("{path}.{key}"), all));
            }
            Value::String(text) => {
                let places = (0..6).filter(|place| text.contains(&format!("{{{place}}}")));
                all.push(format!("{path} {:?}", places.collect::<Vec<_>>()));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                panic!("{path} is {value}")
            }
        }
    }

    #[test]
    fn both_languages_say_the_same_with_the_same_places() {
        let of = |language| {
            let mut all = Vec::new();
            let texts: Value = serde_json::from_str(texts(language)).unwrap();
            let mut texts = texts.as_object().unwrap().clone();
            // Titles of laws: English ones stand in the packs.
            texts.remove("law");
            paths(&Value::Object(texts), "", &mut all);
            all
        };
        assert_eq!(of(Language::En), of(Language::Ru));
    }

    #[test]
    fn every_law_of_this_program_has_a_russian_title() {
        let texts: Value = serde_json::from_str(texts(Language::Ru)).unwrap();
        for pack in atlas::packs() {
            let law = &texts["law"][pack.id().as_str()];
            assert!(law["title"].is_string() && law["citation"].is_string(), "{}", pack.id());
        }
    }

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(harmless("a\u{202e}b\u{1}c\td"), "a\u{fffd}b\u{fffd}c\td");
        assert_eq!(fill("{1} of {0}".to_owned(), Rest(vec!["a".into(), 2.into()])), "2 of a");
    }
}
