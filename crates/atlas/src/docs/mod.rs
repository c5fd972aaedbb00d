//! Pages made from the data.

pub(crate) mod statute_pages;
