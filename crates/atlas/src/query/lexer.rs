//! The words of a filter.

use terms::{Reason, Rejection};

/// What is wrong at a place of the text. It never repeats the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    place: usize,
    what: &'static str,
}

impl Problem {
    pub(super) const fn at(place: usize, what: &'static str) -> Self {
        Self { place, what }
    }
}

impl From<Problem> for Rejection {
    fn from(Problem { place, what }: Problem) -> Self {
        let problem = format!("what begins at character {place} {what}");
        Self::new(Reason::FilterInvalid).field("filter").problem(problem)
    }
}

/// A word, and where it begins. It may hold a person's data: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Token {
    Name(String),
    And,
    In,
    True,
    False,
    Text(String),
    Integer(i64),
    Open,
    Close,
    Comma,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads the words of a text one by one.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word with the character at which it begins, from 1. `None`: the end.
    pub(super) fn next(&mut self) -> Result<Option<(Token, usize)>, Problem> {
        let rest = self.rest().trim_start_matches([' ', '\t', '\r', '\n']);
        self.at = self.text.len() - rest.len();
        let at = self.place();
        let Some(first) = rest.chars().next() else { return Ok(None) };
        let token = match first {
            '"' | '\'' => self.text(first)?,
            '-' | '0'..='9' => self.integer()?,
            'a'..='z' | 'A'..='Z' | '_' => self.word(),
            _ => self.sign()?,
        };
        Ok(Some((token, at)))
    }

    /// The character at which the next word begins, from 1.
    pub(super) fn place(&self) -> usize {
        self.text.get(..self.at).map_or(0, |before| before.chars().count()) + 1
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Takes what stands in front as long as `is` says so.
    fn take(&mut self, is: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c| !is(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    fn word(&mut self) -> Token {
        match self.take(|c| c.is_ascii_alphanumeric() || c == '_') {
            "AND" => Token::And,
            "IN" => Token::In,
            "true" => Token::True,
            "false" => Token::False,
            name => Token::Name(name.to_owned()),
        }
    }

    fn integer(&mut self) -> Result<Token, Problem> {
        let place = self.place();
        let text = self.take(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        let number = text.parse().ok().filter(|_| !text.starts_with('+'));
        number
            .map(Token::Integer)
            .ok_or_else(|| Problem::at(place, "is no whole number of 64 bits"))
    }

    fn sign(&mut self) -> Result<Token, Problem> {
        const SIGNS: [(&str, Token); 9] = [
            ("!=", Token::NotEqual),
            ("<=", Token::LessOrEqual),
            (">=", Token::GreaterOrEqual),
            ("<", Token::Less),
            (">", Token::Greater),
            ("=", Token::Equal),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        for (sign, token) in SIGNS {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                return Ok(token);
            }
        }
        Err(Problem::at(self.place(), "is a character that has no meaning outside of quotes"))
    }

    fn text(&mut self, quote: char) -> Result<Token, Problem> {
        let place = self.place();
        let mut text = String::new();
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => match chars.next() {
                    Some((_, c @ ('"' | '\'' | '\\'))) => text.push(c),
                    _ => {
                        return Err(Problem::at(place, "has a \\ that no quote and no \\ follows"));
                    }
                },
                _ if c == quote => {
                    self.at += at + 1;
                    return Ok(Token::Text(text));
                }
                _ => text.push(c),
            }
        }
        Err(Problem::at(place, "begins with a quote that has no end"))
    }
}
