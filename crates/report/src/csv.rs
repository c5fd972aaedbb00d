//! The figures as one table. Keys are the same in all languages.

use serde_json::Value;

use crate::fold::MEASURES;
use crate::member;

/// The table, in UTF-8, lines ended as RFC 4180 has it.
pub(crate) fn table(report: &Value) -> String {
    let mut table = Table(String::new());
    table.line(["region", "of", "what", "at_least", "at_most"]);
    for region in member(report, "regions").as_array().into_iter().flatten() {
        let name = text(member(region, "region"));
        for row in member(region, "records").as_array().into_iter().flatten() {
            let claimed = match member(row, "jurisdictions").as_array() {
                None => "(not stated)".to_owned(),
                Some(all) if all.is_empty() => "(no law)".to_owned(),
                Some(all) => words(all, "+"),
            };
            table.records(&name, &claimed, row);
        }
        table.records(&name, "(all)", member(region, "total"));
    }
    for figure in member(report, "figures").as_array().into_iter().flatten() {
        let keys = ["clause", "act", "reason", "collection", "noted", "role", "territory"];
        let keys = keys.iter().chain(&["counted", "scope", "outcome", "copy", "other", "end"]);
        let labels: Vec<Value> = keys.filter_map(|key| figure.get(*key)).cloned().collect();
        let (region, of) = (text(member(figure, "region")), text(member(figure, "of")));
        table.count(&region, &of, &words(&labels, " | "), member(figure, "count"));
    }
    table.0
}

struct Table(String);

impl Table {
    fn records(&mut self, region: &str, claimed: &str, counts: &Value) {
        for measure in MEASURES {
            self.count(
                region,
                "records",
                &format!("{claimed} | {measure}"),
                member(counts, measure),
            );
        }
    }

    fn count(&mut self, region: &str, of: &str, what: &str, count: &Value) {
        let bounds = ["at_least", "at_most"].map(|bound| text(member(count, bound)));
        self.line([region, of, what, &bounds[0], &bounds[1]]);
    }

    fn line(&mut self, cells: [&str; 5]) {
        self.0.push_str(&cells.map(cell).join(","));
        self.0.push_str("\r\n");
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn words(all: &[Value], between: &str) -> String {
    all.iter().map(text).collect::<Vec<_>>().join(between)
}

/// A cell: quoted where needed, and never a formula. Reasons are texts from the log.
fn cell(text: &str) -> String {
    // Some programs look past spaces before a formula, and some take the wide signs for the others.
    let formula = text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
        || text.starts_with(['\t', '\r', '\n']);
    let text = crate::page::harmless(text);
    let text = if formula { format!("'{text}") } else { text };
    if text.contains(['"', ',', '\n', '\r', ';', '\'']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cell_is_no_formula() {
        for (text, cell) in [
            ("=1+1", "\"'=1+1\""),
            ("  =1", "\"'  =1\""),
            ("-", "\"'-\""),
            ("@x", "\"'@x\""),
            ("\tx", "\"'\tx\""),
            ("＝1", "\"'＝1\""),
            ("a\"b", "\"a\"\"b\""),
            ("a,b", "\"a,b\""),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(super::cell(text), cell, "{text:?}");
        }
    }
}
