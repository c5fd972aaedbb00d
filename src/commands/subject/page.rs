//! The page of an export, for the person: in English and in Russian, with no script and nothing that
//! is loaded from elsewhere.

use std::fmt::Write as _;

use client::api;

use crate::commands::subject::show::{accessed, kind, state};
use crate::terminal::answers::why;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Your data / Ваши данные</title>
<style>
body { font: 16px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #999; padding: .3em .6em; text-align: left; vertical-align: top; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; }
</style>
</head>
<body>
<h1>Your data / <span lang="ru">Ваши данные</span></h1>
"#;

/// One record of the export, as the page lists it.
pub(super) struct Row {
    pub(super) collection: String,
    pub(super) key: String,
    pub(super) version: i64,
    pub(super) expires: String,
    pub(super) attributes: String,
    /// The file of the body, within the folder.
    pub(super) file: String,
    pub(super) bytes: usize,
    /// The body, if it is a short text.
    pub(super) text: Option<String>,
}

/// The whole page.
pub(super) fn html(subject: &api::Subject, rows: &[Row]) -> String {
    let mut page = String::from(HEAD);
    let of = subject.subject.clone().unwrap_or_default();
    heading(&mut page, "Where it is", "Где хранится");
    page.push_str("<table>\n");
    let mut row = |en, ru, value: &str| pair(&mut page, en, ru, value);
    row("Identifier", "Идентификатор", &of.id);
    row("State", "Состояние", state(subject));
    row("Region", "Регион", &of.domicile);
    row("Country", "Страна", &subject.territory);
    row("Site", "Площадка", &subject.site_address);
    row("Operator of the site", "Оператор площадки", &subject.site_operator);
    row("Region chosen for you", "Выбранный для вас регион", &subject.chosen_region);
    let since = subject.create_time.as_ref().map_or_else(String::new, ToString::to_string);
    row("Since", "С", &since);
    for finding in &subject.findings {
        let text = format!("{} {}", kind(finding.kind), finding.country);
        row("Known of you", "Известно о вас", &text);
    }
    page.push_str("</table>\n");
    heading(&mut page, "Under which laws", "По каким законам");
    page.push_str("<table>\n");
    for collection in &subject.collections {
        let mut text = format!("Records / Записи: {}\n", collection.record_count);
        text.push_str(&collection.ruling.as_ref().map(why).unwrap_or_default().join("\n"));
        if !collection.mirrors.is_empty() {
            text.push_str(&format!("\ncopies / копии: {}", collection.mirrors.join(", ")));
        }
        pair(&mut page, &collection.collection, "", &text);
    }
    page.push_str("</table>\n");
    heading(&mut page, "Who read it", "Кто читал");
    page.push_str(concat!(
        "<p>Reads of your records in collections whose reads are logged: one by one, and in pages ",
        "of the whole collection, of which each day is counted once. ",
        "/ <span lang=\"ru\">Чтения ваших записей в коллекциях, чтения которых журналируются: ",
        "по одной и в составе страниц всей коллекции; для страниц каждый день считается ",
        "один раз.</span></p>\n<table>\n",
    ));
    for access in &subject.accesses {
        let text = accessed(access);
        pair(&mut page, &access.collection, "", &text);
    }
    page.push_str("</table>\n");
    heading(&mut page, "Records", "Записи");
    records(&mut page, rows);
    page.push_str("</body>\n</html>\n");
    page
}

fn heading(page: &mut String, en: &str, ru: &str) {
    page.push_str(&format!("<h2>{en} / <span lang=\"ru\">{ru}</span></h2>\n"));
}

/// A row of a name in both languages and a value; none for an empty value.
fn pair(page: &mut String, en: &str, ru: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let (en, value) = (escaped(en), escaped(value));
    let ru =
        if ru.is_empty() { String::new() } else { format!(" / <span lang=\"ru\">{ru}</span>") };
    page.push_str(&format!("<tr><th>{en}{ru}</th><td><pre>{value}</pre></td></tr>\n"));
}

fn records(page: &mut String, rows: &[Row]) {
    page.push_str(concat!(
        "<table>\n<tr><th>Collection / <span lang=\"ru\">Коллекция</span></th>",
        "<th>Key / <span lang=\"ru\">Ключ</span></th>",
        "<th>Content / <span lang=\"ru\">Содержание</span></th></tr>\n",
    ));
    for row in rows {
        let Row { collection, key, version, expires, attributes, file, bytes, text } = row;
        let (collection, key) = (escaped(collection), escaped(key));
        page.push_str(&format!("<tr><td>{collection}</td><td>{key}</td><td>"));
        if let Some(text) = text {
            page.push_str(&format!("<pre>{}</pre>", escaped(text)));
        }
        if !attributes.is_empty() {
            page.push_str(&format!("<pre>{}</pre>", escaped(attributes)));
        }
        let ends =
            if expires.is_empty() { String::new() } else { format!(", until / до {expires}") };
        let file = format!("<a href=\"{file}\">{file}</a>, {bytes} B, v{version}{ends}");
        page.push_str(&format!("{file}</td></tr>\n"));
    }
    page.push_str("</table>\n");
}

/// A text with nothing that HTML reads as its own.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // A control character, or one that turns text round, is shown as its number.
            c if c != '\n' && terms::escape_hidden(&c.to_string()) != c.to_string() => {
                write!(safe, "\\u{{{:x}}}", u32::from(c)).unwrap_or_default();
            }
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_record_is_read_as_html() {
        let hostile = "<script>alert(1)</script>\u{202e}\"'&";
        let row = Row {
            collection: hostile.into(),
            key: hostile.into(),
            version: 1,
            expires: String::new(),
            attributes: hostile.into(),
            file: "bodies/000001.txt".into(),
            bytes: 9,
            text: Some(hostile.into()),
        };
        let subject = api::Subject {
            subject: Some(api::SubjectRef { id: hostile.into(), domicile: "eu-fra".into() }),
            site_address: hostile.into(),
            ..Default::default()
        };
        let page = html(&subject, &[row]);
        assert!(!page.contains("<script"));
        assert!(!page.contains('\u{202e}'));
        assert_eq!(page.matches("&lt;script&gt;alert(1)&lt;/script&gt;").count(), 6);
    }
}
