//! From a table of keys to the tables of a reference page, in Markdown.

use crate::toml::schema::{Form, Key, Table};

/// The keys of a file, then those of the tables in it, under headings of the third level. A table
/// that several tables of `done` have is described once: give the same `done` for several files.
pub fn reference(file: &'static Table, done: &mut Vec<&'static str>) -> String {
    let mut page = keys(file);
    inner(&mut page, file, "", done);
    page
}

fn keys(table: &Table) -> String {
    let mut rows = "| key | type | left out | meaning |\n|---|---|---|---|\n".to_owned();
    for Key { name, form, needed, default, means } in table.keys {
        let default = if *needed { "**required**" } else { default };
        let form = describe(form);
        rows.push_str(&format!("| `{name}` | {form} | {default} | {means} |\n"));
    }
    rows.push('\n');
    rows
}

fn inner(page: &mut String, table: &'static Table, path: &str, done: &mut Vec<&'static str>) {
    for key in table.keys {
        let Some(inner_table) = key.form.table() else { continue };
        if done.contains(&inner_table.what) {
            continue;
        }
        done.push(inner_table.what);
        let path =
            if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
        let many = matches!(key.form, Form::Tables(_));
        let head = if many { format!("[[{path}]]") } else { format!("[{path}]") };
        let most = match inner_table.count_max {
            0 | 1 => String::new(),
            most => format!("\nAt most {most}."),
        };
        page.push_str(&format!("### `{head}`\n\n{}{most}\n\n", inner_table.means));
        page.push_str(&keys(inner_table));
        inner(page, inner_table, &path, done);
    }
}

/// What the form is called on the page.
fn describe(form: &Form) -> String {
    match form {
        Form::Text => "text".to_owned(),
        Form::Shape(shape) => shape.name.to_owned(),
        Form::Word(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Form::Date => "day".to_owned(),
        Form::Number(0, u64::MAX) => "whole number".to_owned(),
        Form::Number(least, u64::MAX) => format!("whole number from {least}"),
        Form::Number(least, most) => format!("whole number, {least} to {most}"),
        Form::Flag => "`true` or `false`".to_owned(),
        Form::List(item) => format!("list: {}", describe(item)),
        Form::Filled(item) => format!("list, at least one: {}", describe(item)),
        Form::Table(_) => "table".to_owned(),
        Form::Tables(_) => "list of tables".to_owned(),
    }
}
