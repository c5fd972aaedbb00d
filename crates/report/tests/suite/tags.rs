//! A tiny checker of pages: whether every tag that opens is closed, in order.

/// Elements that have no end.
const VOID: &[&str] = &["meta", "br", "hr", "img", "link", "input"];

/// What is wrong with the tags of a page, if anything.
pub(crate) fn unbalanced(page: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page.strip_prefix("<!DOCTYPE html>")?;
    while let Some((_, after)) = rest.split_once('<') {
        let Some((tag, after)) = after.split_once('>') else {
            return Some("a tag without an end".to_owned());
        };
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let last = open.pop();
            if last != Some(name) {
                return Some(format!("</{name}> closes {last:?}"));
            }
            continue;
        }
        if tag.matches('"').count() % 2 != 0 {
            return Some(format!("an open quote in <{tag}>"));
        }
        let name = tag.split([' ', '\n']).next().unwrap_or_default();
        if !name.chars().all(|c| c.is_ascii_alphanumeric()) || name.is_empty() {
            return Some(format!("<{tag}> is no tag"));
        }
        if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
    }
    if rest.contains('>') {
        return Some("a stray >".to_owned());
    }
    open.pop().map(|name| format!("<{name}> is not closed"))
}

/// Every `id` of a page.
pub(crate) fn ids(page: &str) -> Vec<&str> {
    page.split(" id=\"").skip(1).filter_map(|part| part.split('"').next()).collect()
}
