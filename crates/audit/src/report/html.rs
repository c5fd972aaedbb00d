//! The document as one page of HTML that needs nothing else.

use std::fmt::Write as _;

use super::document::{Block, Cell, Document, Part, Table};
use super::escape;
use super::input::Language;
use super::svg::{self, Chart, ChartKind};

/// How the page looks, on a screen and on paper.
const STYLE: &str = include_str!("report.css");

/// The page.
pub(crate) fn page(document: &Document, language: Language) -> String {
    let mut page = Page { out: String::new(), charts: 0 };
    page.put(format_args!(
        "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n",
        language.as_str()
    ));
    let title = escape::html(&document.title);
    page.put(format_args!("<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"));
    page.put(format_args!("<header>\n<h1>{title}</h1>\n"));
    document.head.iter().for_each(|line| page.text(line));
    let contents = escape::html(&document.contents);
    page.put(format_args!("</header>\n<nav aria-label=\"{contents}\">\n<ol>\n"));
    for part in &document.parts {
        let title = escape::html(&part.title);
        page.put(format_args!("<li><a href=\"#{}\">{title}</a></li>\n", part.id));
    }
    page.put(format_args!("</ol>\n</nav>\n<main>\n"));
    for (number, part) in document.parts.iter().enumerate() {
        page.part(number + 1, part);
    }
    page.put(format_args!("</main>\n</body>\n</html>\n"));
    page.out
}

struct Page {
    out: String,
    charts: usize,
}

impl Page {
    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _done = self.out.write_fmt(text);
    }

    fn text(&mut self, text: &str) {
        self.put(format_args!("<p>{}</p>\n", escape::html(text)));
    }

    fn part(&mut self, number: usize, part: &Part) {
        let (id, title) = (part.id, escape::html(&part.title));
        self.put(format_args!("<section id=\"{id}\">\n<h2>{number}. {title}</h2>\n"));
        for block in &part.blocks {
            match block {
                Block::Text(text) => self.text(text),
                Block::List(items) => {
                    self.put(format_args!("<ul>\n"));
                    for item in items {
                        self.put(format_args!("<li>{}</li>\n", escape::html(item)));
                    }
                    self.put(format_args!("</ul>\n"));
                }
                Block::Code(code) => {
                    self.put(format_args!("<pre>{}</pre>\n", escape::html(code)));
                }
                // Where rows end in the keys of logs, the table of sources says what they are.
                Block::Table(table) => self.table(table, part.id == "sources"),
                Block::Chart(chart) => self.chart(chart),
            }
        }
        self.put(format_args!("</section>\n"));
    }

    fn table(&mut self, table: &Table, sources: bool) {
        let caption = escape::html(&table.caption);
        self.put(format_args!(
            "<div class=\"wide\" tabindex=\"0\" role=\"region\" aria-label=\"{caption}\">\n\
             <table>\n<caption>{caption}</caption>\n<thead>\n<tr>"
        ));
        for column in &table.columns {
            self.put(format_args!("<th scope=\"col\">{}</th>", escape::html(column)));
        }
        self.put(format_args!("</tr>\n</thead>\n<tbody>\n"));
        for (number, row) in table.rows.iter().enumerate() {
            if sources {
                self.put(format_args!("<tr id=\"L{}\">", number + 1));
            } else {
                self.put(format_args!("<tr>"));
            }
            for (at, cell) in row.iter().enumerate() {
                self.cell(cell, at < table.heads);
            }
            self.put(format_args!("</tr>\n"));
        }
        self.put(format_args!("</tbody>\n</table>\n</div>\n"));
    }

    fn cell(&mut self, cell: &Cell, head: bool) {
        let (class, content) = match cell {
            Cell::Text(text) => ("", escape::html(text)),
            Cell::Number(text) => (" class=\"number\"", escape::html(text)),
            Cell::Code(text) => (" class=\"code\"", escape::html(text)),
            Cell::Logs(logs) => (" class=\"logs\"", keys(logs)),
        };
        if head {
            self.put(format_args!("<th scope=\"row\"{class}>{content}</th>"));
        } else {
            self.put(format_args!("<td{class}>{content}</td>"));
        }
    }

    fn chart(&mut self, chart: &Chart) {
        self.charts += 1;
        let drawn = svg::draw(chart, &format!("chart-{}", self.charts));
        let title = escape::html(&chart.title);
        self.put(format_args!("<figure>\n{drawn}<figcaption>{title}"));
        if chart.kind != ChartKind::Bars {
            for (number, (name, _)) in chart.series.iter().enumerate() {
                let (colour, name) = (svg::colour(number), escape::html(name));
                self.put(format_args!(
                    " <span class=\"key\"><span style=\"background:{colour}\"></span> {name}</span>"
                ));
            }
        }
        self.put(format_args!("</figcaption>\n</figure>\n"));
    }
}

/// Keys of logs, as links to what they stand for.
fn keys(logs: &[usize]) -> String {
    let keys = logs.iter().map(|log| format!("<a href=\"#L{0}\">[L{0}]</a>", log + 1));
    keys.collect::<Vec<_>>().join(" ")
}
