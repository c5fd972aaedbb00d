//! Maps, annexes and packs in their one layout. Comments stay, and so does every order: only
//! spaces, blank lines, quotes, days and the commas of lists are set right.

use toml_edit::{Array, Decor, DocumentMut, Item, RawString, Table, Value};

use crate::law::schema::PACK;
use crate::map::annex_schema::ANNEX;
use crate::map::reader::MAP_SIZE;
use crate::map::schema::MAP;
use crate::toml::File;
use crate::{Date, Diagnostic};

/// Characters of a line at which a list is given a line for each item.
const LINE_CHARS_MAX: usize = 100;
/// What stands before an item that has a line of its own.
const INDENT: &str = "\n    ";

/// The file in its one layout: what it says is the same, and formatting it again changes nothing.
///
/// # Errors
/// What keeps it from being read as TOML. Whether it is a sound map is not asked.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let file = File::new(text);
    if file.document(MAP_SIZE).is_none() {
        return Err(file.into_diagnostics());
    }
    let mut document: DocumentMut = match text.parse() {
        Ok(document) => document,
        Err(error) => {
            let error: toml_edit::TomlError = error;
            let at = error.span().map_or(0, |span| span.start);
            file.wrong(at, "TOML_SYNTAX", error.message(), "write it as TOML 1.0 asks");
            return Err(file.into_diagnostics());
        }
    };
    // A note may be the file's end, without an end of its line.
    let trailing = notes(&format!("{}\n", document.trailing().as_str().unwrap_or_default()));
    document.set_trailing(trailing);
    keys(document.as_table_mut(), true);
    let text = document.to_string();
    let text = text.trim_matches('\n');
    Ok(if text.is_empty() { String::new() } else { format!("{text}\n") })
}

/// Sets right the keys of a table, and the tables in it.
fn keys(table: &mut Table, mut is_first: bool) {
    for (mut key, item) in table.iter_mut() {
        let name = key.get().to_owned();
        let dotted = key.dotted_decor_mut();
        dotted.set_prefix("");
        dotted.set_suffix("");
        match item {
            Item::None => {}
            Item::Value(value) => {
                let decor = key.leaf_decor_mut();
                let before = notes(text_of(decor.prefix()));
                // Nothing stands between a table's head and its first key but notes.
                let before = if is_first { before.trim_start_matches('\n') } else { &before };
                decor.set_prefix(before);
                decor.set_suffix(" ");
                is_first = false;
                self::value(&name, value);
                let decor = value.decor_mut();
                let note = note(text_of(decor.suffix()));
                decor.set_prefix(" ");
                decor.set_suffix(note);
            }
            Item::Table(inner) if inner.is_dotted() => {
                keys(inner, is_first);
                is_first = false;
            }
            Item::Table(inner) => {
                bare(key.leaf_decor_mut());
                head(inner.decor_mut());
                keys(inner, true);
            }
            Item::ArrayOfTables(all) => {
                bare(key.leaf_decor_mut());
                for inner in all.iter_mut() {
                    head(inner.decor_mut());
                    keys(inner, true);
                }
            }
        }
    }
}

/// Sets right what stands around the head of a table: notes, and a blank line before it. Notes
/// that follow a key at once, and not the head, belong to the table before.
fn head(decor: &mut Decor) {
    let before = notes(text_of(decor.prefix()));
    let of_the_table_before = !before.starts_with('\n') && before.ends_with("\n\n");
    let before =
        if of_the_table_before { before } else { format!("\n{}", before.trim_start_matches('\n')) };
    let note = note(text_of(decor.suffix()));
    decor.set_prefix(before);
    decor.set_suffix(note);
}

fn bare(decor: &mut Decor) {
    decor.set_prefix("");
    decor.set_suffix("");
}

/// Sets right a value; what stands around it is for the caller.
fn value(key: &str, value: &mut Value) {
    let day = value.as_str().filter(|_| is_day(key)).and_then(Date::parse);
    if let Some(day) = day.and_then(|day| day.to_string().parse().ok()) {
        let decor = value.decor().clone();
        *value = Value::Datetime(toml_edit::Formatted::new(day));
        *value.decor_mut() = decor;
    }
    match value {
        Value::String(text) => {
            let decor = text.decor().clone();
            text.fmt();
            *text.decor_mut() = decor;
        }
        Value::Array(array) => list(key, array),
        Value::InlineTable(_) | Value::Integer(_) | Value::Float(_) => {}
        Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// Whether a key holds days, in any file.
fn is_day(key: &str) -> bool {
    [&MAP, &ANNEX, &PACK].iter().any(|file| file.has_day(key))
}

/// Sets right a list: in one line if it was in one and fits, else with a line for each item.
fn list(key: &str, array: &mut Array) {
    let mut apart = text_of(Some(array.trailing())).contains('\n');
    for item in array.iter_mut() {
        value(key, item);
        let (before, after) = (text_of(item.decor().prefix()), text_of(item.decor().suffix()));
        apart |= before.contains('\n') || after.contains('\n');
    }
    if !apart {
        for (n, item) in array.iter_mut().enumerate() {
            let before = if n == 0 { "" } else { " " };
            item.decor_mut().set_prefix(before);
            item.decor_mut().set_suffix("");
        }
        array.set_trailing("");
        array.set_trailing_comma(false);
        let line = format!("{key} = {array}");
        if line.trim_end().chars().count() <= LINE_CHARS_MAX || array.is_empty() {
            return;
        }
    }
    // A note before a comma goes behind it.
    let mut behind = String::new();
    for item in array.iter_mut() {
        let decor = item.decor_mut();
        let before = format!("{behind}{}", text_of(decor.prefix()));
        text_of(decor.suffix()).clone_into(&mut behind);
        decor.set_prefix(item_notes(&before, INDENT));
        decor.set_suffix("");
    }
    let trailing = item_notes(&format!("{behind}{}", text_of(Some(array.trailing()))), "\n");
    array.set_trailing(trailing);
    array.set_trailing_comma(!array.is_empty());
}

fn text_of(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

/// Whole lines of notes, with one blank line where there were any.
fn notes(text: &str) -> String {
    let mut out = String::new();
    let mut blank = false;
    // What follows the last line's end is the indentation of what comes next.
    let lines = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
    for line in lines.split('\n').map(str::trim) {
        if line.is_empty() {
            blank = text.contains('\n');
            continue;
        }
        if blank {
            out.push('\n');
        }
        blank = false;
        out.push_str(line);
        out.push('\n');
    }
    if blank {
        out.push('\n');
    }
    out
}

/// The note at the end of a line.
fn note(text: &str) -> String {
    let note = text.trim();
    if note.is_empty() { String::new() } else { format!(" {note}") }
}

/// The notes around an item of a list: one at the end of the line before, then whole lines. `end`
/// leads to what comes next.
fn item_notes(text: &str, end: &str) -> String {
    let mut lines = text.split('\n');
    let mut out = note(lines.next().unwrap_or_default());
    for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
        out.push_str(INDENT);
        out.push_str(line);
    }
    out.push_str(end);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(format(text).as_deref(), Ok(expected), "{text}");
        assert_eq!(format(expected).as_deref(), Ok(expected), "again: {text}");
    }

    #[test]
    fn spaces_quotes_and_days() {
        check("", "");
        check("\n\n", "");
        check("# alone", "# alone\n");
        check(
            "\n\n  # first\nname='x'# why\nvalid_until = \"2026-11-23\"\n\n\n\nversion   =  16_000\n",
            "# first\nname = \"x\" # why\nvalid_until = 2026-11-23\n\nversion = 16_000\n",
        );
        check("from = \"RU\"\r\nto = 'KZ'\r\n", "from = \"RU\"\nto = \"KZ\"\n");
        check("a . b = 1\n", "a.b = 1\n");
        check("name = 'say \"x\"'\n", "name = 'say \"x\"'\n");
    }

    #[test]
    fn tables_have_a_blank_line_before_them() {
        check(
            "version=1\n[[ regions ]] # here\n\nname=\"a\"\n[ regions . site ]\naddress='b'\n# of c\n\n[[regions]]\nname='c'\n#end\n\n\n# really",
            "version = 1\n\n[[regions]] # here\nname = \"a\"\n\n[regions.site]\naddress = \"b\"\n# of c\n\n[[regions]]\nname = \"c\"\n#end\n\n# really\n",
        );
        check("[limits]\nbody_bytes_max=1\n", "[limits]\nbody_bytes_max = 1\n");
    }

    #[test]
    fn lists_are_in_one_line_or_in_many() {
        check("a=[ 'x','y' , ]\n", "a = [\"x\", \"y\"]\n");
        check("a=[ ]\n", "a = []\n");
        check("a = [\n'x',\n'y']\n", "a = [\n    \"x\",\n    \"y\",\n]\n");
        check(
            "a = [ # all\n  # of x\n'x', # x\n\n# of y\n'y' # y\n, 'z' # z\n# end\n]\n",
            "a = [ # all\n    # of x\n    \"x\", # x\n    # of y\n    \"y\", # y\n    \"z\", # z\n    # end\n]\n",
        );
        let item = format!("\"{}\"", "x".repeat(30));
        let long = format!("a = [{item}, {item}, {item}]\n");
        check(&long, &format!("a = [\n    {item},\n    {item},\n    {item},\n]\n"));
    }

    #[test]
    fn what_is_no_toml_is_told() {
        let wrong = format("name = \"x\nversion = 1\n").unwrap_err();
        assert_eq!(wrong.first().map(|finding| finding.code), Some("TOML_SYNTAX"));
    }
}
