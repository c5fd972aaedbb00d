//! Charts as SVG that stands inside a page. Told apart by dashes and marks as well as by colour,
//! so that they can be read in print and by those who do not tell colours apart.

use std::fmt::Write as _;

use super::escape;

/// A chart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chart {
    pub(crate) kind: ChartKind,
    /// Its title and caption.
    pub(crate) title: String,
    /// The names of the places along the bottom.
    pub(crate) labels: Vec<String>,
    /// Name and values of each series; none: not shown.
    pub(crate) series: Vec<(String, Vec<Option<u64>>)>,
}

/// How values are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChartKind {
    /// A line for each series.
    Lines,
    /// Bars that stand on one another.
    Stacked,
    /// One series, a bar from the left for each label.
    Bars,
}

/// Series of a chart at most; the page has a table with all of them.
pub(crate) const SERIES_MAX: usize = 8;
const COLOURS: [&str; SERIES_MAX] =
    ["#1b4f8a", "#b3541e", "#2e7d4f", "#7a3b8f", "#8a6d00", "#a3213f", "#146a73", "#555555"];
const DASHES: [&str; SERIES_MAX] = ["", "6 3", "2 3", "8 3 2 3", "12 4", "4 2", "1 2", "10 2 2 2"];

const WIDTH: u64 = 760;
const HEIGHT: u64 = 260;
const LEFT: u64 = 70;
const RIGHT: u64 = 20;
const TOP: u64 = 16;
const BOTTOM: u64 = 40;
const PLOT_WIDTH: u64 = WIDTH - LEFT - RIGHT;
const PLOT_HEIGHT: u64 = HEIGHT - TOP - BOTTOM;
/// Height of one bar from the left, with its space.
const BAR: u64 = 26;
/// Labels along the bottom at most.
const LABELS_MAX: u64 = 14;
/// Where a bar from the left begins: reasons are long.
const BAR_LEFT: u64 = 300;

/// The chart as an element.
pub(crate) fn draw(chart: &Chart, id: &str) -> String {
    let mut out = String::new();
    let height = match chart.kind {
        ChartKind::Lines | ChartKind::Stacked => HEIGHT,
        ChartKind::Bars => number(chart.labels.len()) * BAR + 10,
    };
    let title = escape::html(&chart.title);
    put(
        &mut out,
        format_args!(
            "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}\">\
         <title id=\"{id}\">{title}</title>\n"
        ),
    );
    match chart.kind {
        ChartKind::Lines => lines(&mut out, chart),
        ChartKind::Stacked => stacked(&mut out, chart),
        ChartKind::Bars => bars(&mut out, chart),
    }
    out.push_str("</svg>\n");
    out
}

/// The colour of a series, for the legend.
pub(crate) fn colour(series: usize) -> &'static str {
    COLOURS.get(series % SERIES_MAX).copied().unwrap_or("#000000")
}

fn dashes(series: usize) -> &'static str {
    DASHES.get(series % SERIES_MAX).copied().unwrap_or("")
}

fn put(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _done = out.write_fmt(text);
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// The least of 1, 2 and 5 times a power of ten that is not below `max`.
fn ceiling(max: u64) -> u64 {
    let mut ten: u64 = 1;
    loop {
        for step in [1, 2, 5] {
            match ten.checked_mul(step) {
                Some(top) if top >= max => return top,
                Some(_) => {}
                None => return u64::MAX,
            }
        }
        let Some(next) = ten.checked_mul(10) else { return u64::MAX };
        ten = next;
    }
}

/// `value` of `top` on a length of `of`.
fn scaled(value: u64, top: u64, of: u64) -> u64 {
    let scaled = u128::from(value) * u128::from(of) / u128::from(top.max(1));
    u64::try_from(scaled).unwrap_or(of).min(of)
}

/// The height of a value above the bottom of the picture.
fn y(value: u64, top: u64) -> u64 {
    HEIGHT - BOTTOM - scaled(value, top, PLOT_HEIGHT)
}

/// The middle of a place along the bottom.
fn x(at: usize, of: usize) -> u64 {
    LEFT + (2 * number(at) + 1) * PLOT_WIDTH / (2 * number(of).max(1))
}

/// Lines across with their values, and labels along the bottom.
fn axes(out: &mut String, top: u64, labels: &[String]) {
    // Quarters only where they are whole numbers.
    let parts: u64 = if top.is_multiple_of(4) {
        4
    } else if top.is_multiple_of(5) {
        5
    } else {
        1
    };
    for part in 0..=parts {
        let value = top / parts * part;
        let at = y(value, top);
        put(
            out,
            format_args!(
                "<line x1=\"{LEFT}\" y1=\"{at}\" x2=\"{}\" y2=\"{at}\" class=\"grid\"/>\
             <text x=\"{}\" y=\"{}\" text-anchor=\"end\">{value}</text>\n",
                WIDTH - RIGHT,
                LEFT - 6,
                at + 4
            ),
        );
    }
    let every = number(labels.len()).div_ceil(LABELS_MAX).max(1);
    for (at, label) in labels.iter().enumerate() {
        if number(at).is_multiple_of(every) {
            put(
                out,
                format_args!(
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                    x(at, labels.len()),
                    HEIGHT - BOTTOM + 18,
                    escape::html(label)
                ),
            );
        }
    }
}

fn lines(out: &mut String, chart: &Chart) {
    let all = chart.series.iter().flat_map(|(_, values)| values.iter().flatten());
    let top = ceiling(all.copied().max().unwrap_or(0));
    axes(out, top, &chart.labels);
    for (series, (_, values)) in chart.series.iter().take(SERIES_MAX).enumerate() {
        let (colour, dashes) = (colour(series), dashes(series));
        let mut path = String::new();
        let mut drawn = false;
        for (at, value) in values.iter().enumerate() {
            let Some(value) = value else {
                drawn = false;
                continue;
            };
            let (x, y) = (x(at, values.len()), y(*value, top));
            put(&mut path, format_args!("{}{x} {y} ", if drawn { "L" } else { "M" }));
            put(out, format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>"));
            drawn = true;
        }
        put(
            out,
            format_args!(
                "<path d=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" \
             stroke-dasharray=\"{dashes}\"/>\n",
                path.trim_end()
            ),
        );
    }
}

fn stacked(out: &mut String, chart: &Chart) {
    let value = |values: &[Option<u64>], at: usize| values.get(at).copied().flatten().unwrap_or(0);
    let sums = (0..chart.labels.len()).map(|at| {
        chart.series.iter().fold(0_u64, |sum, (_, values)| sum.saturating_add(value(values, at)))
    });
    let top = ceiling(sums.max().unwrap_or(0));
    axes(out, top, &chart.labels);
    let width = (PLOT_WIDTH / number(chart.labels.len()).max(1) * 6 / 10).clamp(2, 60);
    for at in 0..chart.labels.len() {
        let mut below = 0_u64;
        for (series, (_, values)) in chart.series.iter().enumerate() {
            let above = below.saturating_add(value(values, at));
            let (high, low) = (y(above, top), y(below, top));
            below = above;
            if high < low {
                put(
                    out,
                    format_args!(
                        "<rect x=\"{}\" y=\"{high}\" width=\"{width}\" height=\"{}\" fill=\"{}\" \
                     stroke=\"#ffffff\"/>\n",
                        x(at, chart.labels.len()) - width / 2,
                        low - high,
                        colour(series)
                    ),
                );
            }
        }
    }
}

fn bars(out: &mut String, chart: &Chart) {
    let values = chart.series.first().map_or(&[][..], |(_, values)| values);
    let top = values.iter().flatten().copied().max().unwrap_or(0);
    for (at, (label, value)) in chart.labels.iter().zip(values).enumerate() {
        let (high, value) = (number(at) * BAR + 5, value.unwrap_or(0));
        let width = scaled(value, top, WIDTH - BAR_LEFT - 80);
        put(
            out,
            format_args!(
                "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{BAR_LEFT}\" y=\"{high}\" width=\"{width}\" height=\"18\" fill=\"{}\"/>\
             <text x=\"{}\" y=\"{}\">{value}</text>\n",
                BAR_LEFT - 8,
                high + 14,
                escape::html(&shortened(label)),
                colour(0),
                BAR_LEFT + width + 6,
                high + 14
            ),
        );
    }
}

/// A label that fits beside its bar.
fn shortened(label: &str) -> String {
    const CHARS_MAX: usize = 38;
    match label.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", label.get(..at).unwrap_or("")),
        None => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_at_a_round_number() {
        for (max, top) in
            [(0, 1), (1, 1), (3, 5), (10, 10), (11, 20), (51, 100), (u64::MAX, u64::MAX)]
        {
            assert_eq!(ceiling(max), top, "{max}");
        }
    }

    #[test]
    fn what_is_not_shown_breaks_the_line() {
        let series = vec![("a".to_owned(), vec![Some(1), None, Some(2), Some(3)])];
        let labels = ["1", "2", "3", "4"].map(str::to_owned).to_vec();
        let chart = Chart { kind: ChartKind::Lines, title: "<t>".to_owned(), labels, series };
        let drawn = draw(&chart, "x");
        let path = drawn.split("<path d=\"").nth(1).unwrap_or_default();
        assert_eq!(path.split('"').next().unwrap_or_default().matches('M').count(), 2, "{drawn}");
        assert!(drawn.contains("&lt;t&gt;") && !drawn.contains("<t>"));
    }
}
