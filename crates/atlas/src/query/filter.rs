//! A filter: comparisons that must all hold.

use terms::{Detail, Reason, Rejection};

use crate::attributes::{
    AttributeName, AttributeType, AttributeValue, Index, RecordAttributes, Timestamp,
};
use crate::limits::{
    FILTER_BYTES_MAX, FILTER_COMPARISONS_MAX, FILTER_DEPTH_MAX, FILTER_VALUES_MAX,
};
use crate::map::{AttributeRules, CollectionRules};
use crate::query::lexer::{Lexer, Problem, Token};
use crate::toml::one_of;

/// Comparisons, all of which must hold. It may hold a person's data: it has no `Debug`.
#[derive(Clone, Default)]
#[expect(missing_debug_implementations, reason = "content must never be formatted")]
pub struct Filter(Vec<Comparison>);

/// One comparison.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "content must never be formatted")]
pub struct Comparison {
    /// What is compared.
    pub attribute: AttributeName,
    /// How.
    pub operator: Operator,
    /// With what: one value, or those of a list, in order and each once.
    pub values: Vec<AttributeValue>,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`, or `IN`: it is one of them.
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Filter {
    /// Reads a filter over the attributes that a collection declares.
    ///
    /// # Errors
    /// `FILTER_INVALID`, `TOO_MANY_ITEMS`, `ATTRIBUTE_UNKNOWN`, `ATTRIBUTE_INVALID` (a value of
    /// another type), `INDEX_REQUIRED`; each with the field `filter`.
    pub fn parse(text: &str, rules: &CollectionRules) -> Result<Self, Rejection> {
        if text.len() > FILTER_BYTES_MAX {
            let fault = Rejection::new(Reason::FilterInvalid).field("filter");
            let problem = format!("is longer than {FILTER_BYTES_MAX} bytes");
            return Err(fault.problem(problem).with(Detail::Limit, FILTER_BYTES_MAX));
        }
        let mut parser = Parser { lexer: Lexer::new(text), rules, values: 0, all: Vec::new() };
        parser.filter()?;
        Ok(Self(parser.all))
    }

    /// The comparisons.
    pub fn comparisons(&self) -> &[Comparison] {
        &self.0
    }

    /// Whether a record with these attributes is wanted.
    pub fn matches(&self, attributes: &RecordAttributes) -> bool {
        self.0.iter().all(|one| attributes.get(&one.attribute).is_some_and(|it| one.holds(it)))
    }
}

impl Comparison {
    /// Whether it holds for a value. One of another type, from before the map changed, is not found.
    fn holds(&self, value: &AttributeValue) -> bool {
        let Some(first) = self.values.first() else { return false };
        if value.kind() != first.kind() {
            return false;
        }
        match self.operator {
            Operator::Equal => self.values.contains(value),
            Operator::NotEqual => value != first,
            Operator::Less => value < first,
            Operator::LessOrEqual => value <= first,
            Operator::Greater => value > first,
            Operator::GreaterOrEqual => value >= first,
        }
    }
}

/// Reads the words of a filter, by the grammar in [`crate::query`].
struct Parser<'a> {
    lexer: Lexer<'a>,
    rules: &'a CollectionRules,
    /// Values so far.
    values: usize,
    all: Vec<Comparison>,
}

const COMPARISON_WANTED: &str = "should be the name of an attribute, or `(`";

impl Parser<'_> {
    /// A conjunction within parentheses is part of the one around it: so there is one loop, and
    /// no call within a call.
    fn filter(&mut self) -> Result<(), Rejection> {
        let mut depth = 0_usize;
        let Some(mut next) = self.lexer.next()? else { return Ok(()) };
        loop {
            match next {
                (Token::Open, place) => {
                    depth += 1;
                    if depth > FILTER_DEPTH_MAX {
                        return Err(Problem::at(place, "is nested too deeply").into());
                    }
                    next = self.wanted(COMPARISON_WANTED)?;
                    continue;
                }
                (Token::Name(name), place) => self.comparison(&name, place)?,
                (_, place) => return Err(Problem::at(place, COMPARISON_WANTED).into()),
            }
            loop {
                match self.lexer.next()? {
                    None if depth == 0 => return Ok(()),
                    None => {
                        let place = self.lexer.place();
                        return Err(Problem::at(place, "lacks a `)`").into());
                    }
                    Some((Token::Close, place)) => {
                        depth = depth
                            .checked_sub(1)
                            .ok_or_else(|| Problem::at(place, "is a `)` that closes nothing"))?;
                    }
                    Some((Token::And, _)) => break,
                    Some((_, place)) => {
                        return Err(Problem::at(place, "should be `AND`, `)` or the end").into());
                    }
                }
            }
            next = self.wanted(COMPARISON_WANTED)?;
        }
    }

    /// The next word, which must be there.
    fn wanted(&mut self, what: &'static str) -> Result<(Token, usize), Rejection> {
        let next = self.lexer.next()?;
        next.ok_or_else(|| Problem::at(self.lexer.place(), what).into())
    }

    fn comparison(&mut self, name: &str, place: usize) -> Result<(), Rejection> {
        if self.all.len() >= FILTER_COMPARISONS_MAX {
            let fault = Rejection::new(Reason::TooManyItems).field("filter");
            let problem = format!("has more than {FILTER_COMPARISONS_MAX} comparisons");
            return Err(fault.problem(problem).with(Detail::Limit, FILTER_COMPARISONS_MAX));
        }
        let own = AttributeName::parse(name).and_then(|name| self.rules.attribute(&name));
        let own = own.ok_or_else(|| unknown("filter", place, self.rules))?;
        let (operator, values) = match self.wanted("should be an operator")? {
            (Token::In, _) => (Operator::Equal, self.list(own)?),
            (sign, place) => {
                let operator = operator(&sign)
                    .ok_or_else(|| Problem::at(place, "should be =, !=, <, <=, >, >= or IN"))?;
                (operator, vec![self.value(own)?])
            }
        };
        let by_order = !matches!(operator, Operator::Equal | Operator::NotEqual);
        needs("filter", own, by_order)?;
        self.all.push(Comparison { attribute: own.name().clone(), operator, values });
        Ok(())
    }

    fn list(&mut self, own: &AttributeRules) -> Result<Vec<AttributeValue>, Rejection> {
        let (Token::Open, _) = self.wanted("should be `(`")? else {
            return Err(Problem::at(self.lexer.place(), "comes after IN without a `(`").into());
        };
        let mut values = Vec::new();
        loop {
            values.push(self.value(own)?);
            match self.wanted("should be `,` or `)`")? {
                (Token::Comma, _) => {}
                (Token::Close, _) => break,
                (_, place) => return Err(Problem::at(place, "should be `,` or `)`").into()),
            }
        }
        values.sort();
        values.dedup();
        Ok(values)
    }

    fn value(&mut self, own: &AttributeRules) -> Result<AttributeValue, Rejection> {
        self.values += 1;
        if self.values > FILTER_VALUES_MAX {
            let fault = Rejection::new(Reason::TooManyItems).field("filter");
            let problem = format!("has more than {FILTER_VALUES_MAX} values");
            return Err(fault.problem(problem).with(Detail::Limit, FILTER_VALUES_MAX));
        }
        let (token, place) = self.wanted("should be a value")?;
        let value = match (own.kind(), token) {
            (AttributeType::String, Token::Text(text)) => AttributeValue::text(&text).ok(),
            (AttributeType::Timestamp, Token::Text(text)) => {
                Timestamp::parse(&text).map(AttributeValue::Timestamp)
            }
            (AttributeType::Integer, Token::Integer(n)) => Some(AttributeValue::Integer(n)),
            (AttributeType::Bool, Token::True) => Some(AttributeValue::Bool(true)),
            (AttributeType::Bool, Token::False) => Some(AttributeValue::Bool(false)),
            (_, Token::Text(_) | Token::Integer(_) | Token::True | Token::False) => None,
            _ => return Err(Problem::at(place, "should be a value: texts stand in quotes").into()),
        };
        value.ok_or_else(|| {
            let wanted = match own.kind() {
                AttributeType::String => "a text in quotes, of at most 256 bytes",
                AttributeType::Integer => "a whole number",
                AttributeType::Bool => "true or false",
                AttributeType::Timestamp => "a time such as \"2026-11-30T06:45:00Z\", in quotes",
            };
            let problem = format!(
                "compares `{}`, at character {place}, with something else than {wanted}",
                own.name()
            );
            let fault = Rejection::new(Reason::AttributeInvalid).field("filter");
            fault.problem(problem).with(Detail::Attribute, own.name())
        })
    }
}

const fn operator(token: &Token) -> Option<Operator> {
    Some(match token {
        Token::Equal => Operator::Equal,
        Token::NotEqual => Operator::NotEqual,
        Token::Less => Operator::Less,
        Token::LessOrEqual => Operator::LessOrEqual,
        Token::Greater => Operator::Greater,
        Token::GreaterOrEqual => Operator::GreaterOrEqual,
        Token::Name(_)
        | Token::And
        | Token::In
        | Token::True
        | Token::False
        | Token::Text(_)
        | Token::Integer(_)
        | Token::Open
        | Token::Close
        | Token::Comma => return None,
    })
}

/// That the collection declares no such attribute.
pub(super) fn unknown(field: &'static str, place: usize, rules: &CollectionRules) -> Rejection {
    let problem =
        format!("what begins at character {place} is no attribute that the collection declares");
    let fault = Rejection::new(Reason::AttributeUnknown).field(field).problem(problem);
    let mut names = rules.attributes().iter().map(AttributeRules::name).peekable();
    if names.peek().is_some() { fault.cure(one_of(names)) } else { fault }
}

/// Whether the attribute has the index that a comparison or an order needs.
pub(super) fn needs(
    field: &'static str,
    own: &AttributeRules,
    by_order: bool,
) -> Result<(), Rejection> {
    let wanted = match (own.index(), by_order) {
        (Index::Range, _) | (Index::Exact, false) => return Ok(()),
        (Index::Exact | Index::None, true) => "\"range\"",
        (Index::None, false) => "\"exact\" or \"range\"",
    };
    let name = own.name();
    Err(Rejection::new(Reason::IndexRequired)
        .field(field)
        .problem(format!("`{name}` would need the index {wanted}"))
        .cure(format!("declare index = {wanted} for `{name}` in the region map, or leave it out"))
        .with(Detail::Attribute, name))
}
