//! Links of Markdown pages: which there are, and which lead nowhere.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A page, by its place in the repository.
pub(crate) struct Page {
    place: PathBuf,
    text: String,
}

/// Every Markdown page of the repository.
pub(crate) fn pages() -> Vec<Page> {
    let files = crate::files(&crate::root()).into_iter();
    files
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        // Templates of generated pages, whose links are those of `docs`.
        .filter(|path| !crate::relative(path).starts_with("crates/atlas/data/"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a page is UTF-8");
            Page { place: PathBuf::from(crate::relative(&path)), text }
        })
        .collect()
}

/// The links of a page to files and headings that do not exist.
pub(crate) fn broken(page: &Page, pages: &[Page]) -> Vec<String> {
    let links = links(&page.text).into_iter().filter(|(_, link)| !link.contains("://"));
    links
        .filter(|(_, link)| !leads(page, link, pages))
        .map(|(line, link)| format!("{}:{line}: {link}", page.place.display()))
        .collect()
}

fn leads(page: &Page, link: &str, pages: &[Page]) -> bool {
    let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
    let folder = page.place.parent().unwrap_or_else(|| Path::new(""));
    let place = if path.is_empty() { page.place.clone() } else { plain(&folder.join(path)) };
    if !crate::root().join(&place).exists() {
        return false;
    }
    let target = pages.iter().find(|page| page.place == place);
    anchor.is_empty() || target.is_some_and(|page| anchors(&page.text).contains(&anchor.to_owned()))
}

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
        plain
    })
}

/// The lines of a page outside of blocks of code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut code = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        (!code && !fence).then_some((at + 1, line))
    })
}

/// The targets of `[text](target)`, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let of_line = |(at, line): (usize, &str)| {
        let targets = line.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        targets.map(|(target, _)| (at, target.to_owned())).collect::<Vec<_>>()
    };
    prose(text).flat_map(of_line).collect()
}

/// The anchors of the headings, as Git hosts make them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = BTreeMap::new();
    let headings = prose(text).filter_map(|(_, line)| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim())
    });
    headings
        .map(|title| {
            let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            let slug: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
            let times = seen.entry(slug.clone()).or_insert(0);
            *times += 1;
            if *times == 1 { slug } else { format!("{slug}-{}", *times - 1) }
        })
        .collect()
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let page = |text: &str| Page { place: "docs/README.md".into(), text: text.to_owned() };
    let text = "# A `b.toml` [x]\n[1](#a-btoml-x) [2](../README.md) [3](#no) [4](none.md)\n\
                ```\n[5](none.md)\n```\n[6](https://a.example/none)\n";
    let found = broken(&page(text), &[page(text)]);
    assert_eq!(found, ["docs/README.md:2: #no", "docs/README.md:2: none.md"]);
}
