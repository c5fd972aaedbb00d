//! What a file may hold: tables of keys. The reader, the JSON Schema and the reference page are
//! made from them.

/// One table of a file: what it is, and its keys.
#[derive(Debug)]
pub struct Table {
    /// What one of them is called in messages, such as `region`.
    pub what: &'static str,
    /// What it is for.
    pub means: &'static str,
    /// How many there may be in one list.
    pub count_max: usize,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

/// One key.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What its value may be.
    pub form: Form,
    /// Whether it is required. A key that is required only with another is not: `default` says so.
    pub needed: bool,
    /// What applies when it is left out.
    pub default: &'static str,
    /// What it means.
    pub means: &'static str,
}

/// What the value of a key may be.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// A text that is not blank.
    Text,
    /// A text of a certain shape.
    Shape(&'static Shape),
    /// One of these words.
    Word(&'static [&'static str]),
    /// A day.
    Date,
    /// A whole number from the first to the second.
    Number(u64, u64),
    /// True or false.
    Flag,
    /// One item of that form, or a list of them.
    List(&'static Self),
    /// The same, at least one.
    Filled(&'static Self),
    /// A table.
    Table(&'static Table),
    /// A list of tables.
    Tables(&'static Table),
}

/// The shape of a text, such as that of a name or a digest.
#[derive(Debug)]
pub struct Shape {
    /// What it is called on the reference page and in the JSON Schema.
    pub name: &'static str,
    /// The code of the diagnostic about a text of another shape.
    pub code: &'static str,
    /// What is wanted, in messages.
    pub wanted: &'static str,
    /// The same for the JSON Schema.
    pub json: Json,
}

/// The shape of a text as JSON Schema can say it.
#[derive(Debug, Clone, Copy)]
pub enum Json {
    /// Any text.
    Any,
    /// A text that matches this regular expression.
    Pattern(&'static str),
    /// One of these words.
    Words(fn() -> Vec<&'static str>),
}

impl Table {
    /// The key of that name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether it, or a table within it, has a key of that name and form.
    pub(crate) fn has_day(&self, name: &str) -> bool {
        self.keys.iter().any(|key| {
            let day = key.name == name && matches!(key.form, Form::Date);
            day || key.form.table().is_some_and(|inner| inner.has_day(name))
        })
    }
}

impl Form {
    /// What the tables of the key may hold, if it is a key of tables.
    pub const fn table(&self) -> Option<&'static Table> {
        if let Self::Table(inner) | Self::Tables(inner) = self { Some(inner) } else { None }
    }

    /// The form of one item.
    pub(crate) const fn item(&self) -> &Self {
        if let Self::List(item) | Self::Filled(item) = self { item } else { self }
    }
}

/// A key that is required.
pub const fn needed(name: &'static str, form: Form, means: &'static str) -> Key {
    Key { name, form, needed: true, default: "", means }
}

/// A key that may be left out, and what applies then.
pub const fn optional(
    name: &'static str,
    form: Form,
    default: &'static str,
    means: &'static str,
) -> Key {
    Key { name, form, needed: false, default, means }
}

/// A name of `a-z`, `0-9` and inner `-`, at most 63 bytes.
pub const NAME: Form = Form::Shape(&Shape {
    name: "name",
    code: "NAME_INVALID",
    wanted: "a name of a-z, 0-9 and inner '-', at most 63 bytes",
    json: Json::Pattern("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
});
