//! Reads Rust files the way the house's own tests need it: as words with their lines, so that a
//! rule about code is never set off, or hidden, by a comment or a string.
//!
//! This is not a parser. It knows comments, strings, characters, lifetimes and numbers, and that
//! is enough to see every path and every macro that a file names.

use std::path::{Path, PathBuf};

/// One thing that is neither space nor comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// A word, `::`, one punctuation mark, or `""` for any literal.
    pub(crate) text: String,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
}

impl Token {
    /// Whether it is a name or a keyword.
    pub(crate) fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c == '_' || c.is_alphabetic())
    }
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files under `folder`, in order, without what git or cargo keep for themselves.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    const NOT_OURS: &[&str] = &[".git", "target", "bailiwick-data", "__pycache__"];
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return found };
    for entry in entries {
        let entry = entry.expect("a folder of the repository can be listed");
        let kind = entry.file_type().expect("a listed file has a type");
        if kind.is_dir() {
            if !NOT_OURS.contains(&entry.file_name().to_string_lossy().as_ref()) {
                found.extend(files(&entry.path()));
            }
        } else if kind.is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// `path` as the findings name it: relative to the root, with `/`.
pub(crate) fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

/// The tokens of a Rust file.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text, line: 1, found: Vec::new() };
    while lexer.step() {}
    lexer.found
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
    found: Vec<Token>,
}

impl Lexer<'_> {
    fn step(&mut self) -> bool {
        let Some(first) = self.rest.chars().next() else { return false };
        if first.is_whitespace() {
            self.pass(first.len_utf8());
        } else if self.rest.starts_with("//") {
            self.pass(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.pass(block_comment(self.rest));
        } else if let Some(length) = string(self.rest).or_else(|| character(self.rest)) {
            self.keep(String::from("\"\""), length);
        } else if let Some(rest) = self.rest.strip_prefix('\'') {
            self.pass(1 + word(rest));
        } else if self.rest.starts_with("::") {
            self.keep(String::from("::"), 2);
        } else if first.is_ascii_digit() {
            self.keep(String::from("\"\""), number(self.rest));
        } else if first == '_' || first.is_alphabetic() {
            let raw = if self.rest.starts_with("r#") { 2 } else { 0 };
            let length = word(&self.rest[raw..]);
            self.keep(self.rest[raw..raw + length].to_owned(), raw + length);
        } else {
            self.keep(first.to_string(), first.len_utf8());
        }
        true
    }

    fn keep(&mut self, text: String, length: usize) {
        self.found.push(Token { text, line: self.line });
        self.pass(length);
    }

    fn pass(&mut self, length: usize) {
        let (passed, rest) = self.rest.split_at(length);
        self.line += passed.matches('\n').count();
        self.rest = rest;
    }
}

fn word(text: &str) -> usize {
    text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len())
}

fn number(text: &str) -> usize {
    let whole = word(text);
    match text[whole..].strip_prefix('.') {
        Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => whole + 1 + word(rest),
        _ => whole,
    }
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The length of the string literal that `text` starts with, of whatever kind.
fn string(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        text.strip_prefix(prefix)
            .map(|rest| if prefix.ends_with('r') { rest.trim_start_matches('#') } else { rest })
            .is_some_and(|rest| rest.starts_with('"'))
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &rest[hashes + 1..];
        let length = body.find(&end).map_or(body.len(), |at| at + end.len());
        return Some(prefix.len() + hashes + 1 + length);
    }
    let bytes = rest.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    Some(prefix.len() + (at + 1).min(rest.len()))
}

/// The length of the character literal that `text` starts with; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let prefix = usize::from(text.starts_with("b'"));
    let body = text[prefix..].strip_prefix('\'')?;
    let first = body.chars().next()?;
    let close = if first == '\\' { 2 + body[2..].find('\'')? } else { first.len_utf8() };
    body[close..].starts_with('\'').then_some(prefix + close + 2)
}

/// `tokens` without the modules under `#[cfg(test)]`, and the names of those that lie in files of
/// their own.
pub(crate) fn without_tests(tokens: &[Token]) -> (Vec<Token>, Vec<String>) {
    const CFG_TEST: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let (mut kept, mut elsewhere, mut at) = (Vec::new(), Vec::new(), 0);
    while at < tokens.len() {
        let mut next = at + CFG_TEST.len();
        let marked = (at..next).map(text).eq(CFG_TEST);
        while marked && text(next) == "#" {
            next = closing(tokens, next + 1);
        }
        if marked && text(next) == "mod" {
            if text(next + 2) == ";" {
                elsewhere.push(text(next + 1).to_owned());
                at = next + 3;
            } else {
                at = closing(tokens, next + 2);
            }
            continue;
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    (kept, elsewhere)
}

/// The place after the bracket that closes the one at `open`.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

/// What the lexer must see, and must not: called by a test of every binary that uses it.
pub(crate) fn check_reading() {
    let words = |text: &str| {
        let words = tokens(text).into_iter().filter(Token::is_word);
        words.map(|token| format!("{}@{}", token.text, token.line)).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words("a // b\nc /* d /* e */ f\n */ g"), "a@1 c@2 g@3");
    assert_eq!(words(r##"a "b\"c" r#"d"e"# b'\'' 'x' '\u{1f}' '"' f"##), "a@1 f@1");
    assert_eq!(words("fn a<'b>(c: &'b str) {}"), "fn@1 a@1 c@1 str@1");
    assert_eq!(words("0..a 1.5e3 0xff_u8 r#type"), "a@1 type@1");
    let source = "a; #[cfg(test)] #[x(y)] mod t { b { c } } d; #[cfg(test)] mod u; e;";
    let (kept, elsewhere) = without_tests(&tokens(source));
    let kept: Vec<_> = kept.iter().filter(|t| t.is_word()).map(|t| t.text.as_str()).collect();
    assert_eq!(kept, ["a", "d", "e"]);
    assert_eq!(elsewhere, ["u"]);
}
