//! Tables for a terminal of any width.

use std::fmt;

use comfy_table::presets::{NOTHING, UTF8_FULL_CONDENSED};
use comfy_table::{ColumnConstraint, ContentArrangement, Width};

/// Characters that a column of longer texts has at least.
const TEXT_MIN: usize = 20;

/// Rows below headings. Where a terminal is too narrow for words to stay whole, each row is shown
/// as a list of its cells, each beside its heading.
#[derive(Debug, Default)]
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
    width: Option<usize>,
}

impl Table {
    /// An empty one. Without a width, each line of a cell is one line.
    pub(crate) fn new(headings: &[&str], width: Option<usize>) -> Self {
        let headings = headings.iter().map(|&text| text.to_owned()).collect();
        Self { headings, width, ..Self::default() }
    }

    /// Adds a row, with a cell for each heading.
    pub(crate) fn add_row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Rows so far.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Characters that each column needs so that words stay whole.
    fn needs(&self) -> Vec<usize> {
        let mut needs = Vec::new();
        for row in std::iter::once(&self.headings).chain(&self.rows) {
            needs.resize(row.len().max(needs.len()), 1);
            for (need, cell) in needs.iter_mut().zip(row) {
                let length = |part: &str| part.chars().count();
                let word = cell.split_whitespace().map(length).max().unwrap_or(0);
                let line = cell.lines().map(length).max().unwrap_or(0);
                *need = word.max(line.min(TEXT_MIN)).max(*need);
            }
        }
        needs
    }

    fn grid(&self, needs: &[usize]) -> comfy_table::Table {
        let mut table = comfy_table::Table::new();
        table.load_style(UTF8_FULL_CONDENSED).force_no_tty();
        if !self.headings.is_empty() {
            table.set_header(&self.headings);
        }
        for row in &self.rows {
            table.add_row(row);
        }
        arrange(&mut table, self.width);
        for (column, need) in table.column_iter_mut().zip(needs) {
            if self.width.is_some() {
                // With a space on either side.
                let least = Width::Fixed(short(*need).saturating_add(2));
                column.set_constraint(ColumnConstraint::LowerBoundary(least));
            }
        }
        table
    }

    /// Each row as a list; without headings, all of them as one.
    fn list(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.headings.is_empty() {
            return f.write_str(&self.block(self.rows.iter()));
        }
        for (n, row) in self.rows.iter().enumerate() {
            let cells = self.headings.iter().zip(row).map(|(heading, cell)| [heading, cell]);
            write!(f, "{}{}", if n == 0 { "" } else { "\n\n" }, self.block(cells))?;
        }
        Ok(())
    }

    /// Pairs without lines between them.
    fn block(&self, rows: impl Iterator<Item = impl Into<comfy_table::Row>>) -> String {
        let mut block = comfy_table::Table::new();
        block.load_style(NOTHING).force_no_tty();
        for row in rows {
            block.add_row(row);
        }
        arrange(&mut block, self.width);
        if let Some(first) = block.column_mut(0) {
            first.set_constraint(ColumnConstraint::ContentWidth);
        }
        block.trim_fmt()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let needs = self.needs();
        // A line between and beside columns, and a space on either side of a cell.
        let all = needs.iter().sum::<usize>() + 3 * needs.len() + 1;
        match self.width {
            Some(width) if all > width => self.list(f),
            _ => self.grid(&needs).fmt(f),
        }
    }
}

fn arrange(table: &mut comfy_table::Table, width: Option<usize>) {
    match width {
        Some(width) => {
            table.set_width(short(width)).set_content_arrangement(ContentArrangement::Dynamic)
        }
        None => table.set_content_arrangement(ContentArrangement::Disabled),
    };
}

fn short(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: [&str; 6] = ["id", "jurisdictions", "region", "mirrors", "findings", "why"];

    fn explained(width: Option<usize>) -> Table {
        let mut table = Table::new(&HEADINGS, width);
        table.add_row([
            "p-00017",
            "EEA, RU",
            "ru-msk",
            "eu-fra",
            "citizenship RU\nresidence RU",
            "ru-152fz attaches: a citizen of RU who lives there, by citizenship and residence",
        ]);
        table.add_row(["p-00018", "", "JURISDICTION_UNDETERMINED", "", "", "nothing is known"]);
        table
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_no_word_is_broken() {
        for width in [60, 80, 100, 120, 200] {
            let text = explained(Some(width)).to_string();
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{width}: {line}\n{text}");
            }
            for row in &explained(None).rows {
                for word in row.iter().flat_map(|cell| cell.split_whitespace()) {
                    assert!(text.contains(word), "{width}: {word}\n{text}");
                }
            }
            // Below that, words would break.
            assert_eq!(text.contains('│'), width >= 120, "{width}:\n{text}");
        }
    }

    #[test]
    fn a_narrow_terminal_gets_a_list_with_headings() {
        let text = explained(Some(60)).to_string();
        let second = text.split("\n\n").nth(1).expect("two rows");
        let lines: Vec<&str> = second.lines().map(str::trim).collect();
        assert_eq!(lines.len(), HEADINGS.len(), "{text}");
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["id", "p-00018"]);
    }

    #[test]
    fn a_pair_of_columns_stays_a_table_at_sixty() {
        let mut table = Table::new(&[], Some(60));
        table.add_row(["done", "stored"]);
        table.add_row(["why", "gdpr attaches: a person who lives in DE, by residence; and so on"]);
        let text = table.to_string();
        assert!(text.contains('│') && text.lines().all(|l| l.chars().count() <= 60), "{text}");
        // Where a word is too long for that, one list.
        table.add_row(["digest", &"0".repeat(64)]);
        let text = table.to_string();
        assert!(!text.contains('│') && !text.contains("\n\n"), "{text}");
        let column = |word: &str| text.lines().find_map(|line| line.find(word));
        assert_eq!(column("stored"), column("gdpr"), "{text}");
    }

    #[test]
    fn without_a_terminal_each_line_of_a_cell_is_one_line() {
        let text = explained(None).to_string();
        assert_eq!(text.lines().count(), 7, "{text}");
    }
}
