//! Renders the API reference from the descriptors of the protos and the comments in them.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use prost_types::field_descriptor_proto::Label;
use prost_types::source_code_info::Location;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet, ServiceDescriptorProto,
};

const HEAD: &str = "\
# API reference

<!-- Made by `UPDATE_EXPECT=1 cargo test --workspace --test house` from proto/bailiwick/v1. Do not edit this page. -->

Package `bailiwick.v1`.
`Records`, `Subjects`, `Operations`, `RegionMaps` and `Transit` are served by gateways, `Ledger` by shards on their auditor listener.
[Errors](errors.md) lists every reason; [the quick start](quick-start.md#rules-for-callers) has the rules for callers.
";
const FILES: [&str; 8] = [
    "records",
    "copies",
    "subjects",
    "operations",
    "jurisdiction",
    "ledger",
    "region_maps",
    "transit",
];
/// How a field may behave, in the protos and on the page.
const BEHAVIOURS: [(&str, &str); 3] =
    [("= REQUIRED", "required"), ("= OPTIONAL", "optional"), ("= OUTPUT_ONLY", "answer")];

/// The page.
pub(crate) fn render(set: &FileDescriptorSet) -> String {
    let mut page = HEAD.to_owned();
    for name in FILES {
        let name = format!("bailiwick/v1/{name}.proto");
        let file = set.file.iter().find(|file| file.name() == name).expect("a file of the package");
        Section::of(file).write(file, &mut page).expect("memory");
    }
    page
}

/// One file's text and where things stand in it, by the path that descriptors use.
struct Section<'a> {
    places: BTreeMap<&'a [i32], &'a Location>,
    lines: Vec<String>,
}

impl<'a> Section<'a> {
    fn of(of: &'a FileDescriptorProto) -> Self {
        let info = of.source_code_info.as_ref().expect("the build keeps source info");
        let text =
            fs::read_to_string(crate::root().join("proto").join(of.name())).expect("a proto");
        Self {
            places: info.location.iter().map(|place| (place.path.as_slice(), place)).collect(),
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    /// The comment before a thing, in one paragraph.
    fn comment(&self, path: &[i32]) -> String {
        let text = self.places.get(path).map_or("", |place| place.leading_comments());
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What the text of a field says of its behaviour: the descriptors keep no options of others.
    fn behaviour(&self, path: &[i32]) -> &'static str {
        let span = &self.places.get(path).expect("a field has a place").span;
        let line = |at: usize| usize::try_from(span[at]).expect("a line");
        let last = if span.len() == 4 { line(2) } else { line(0) };
        let text = self.lines[line(0)..=last].join(" ");
        let found = BEHAVIOURS.iter().find(|(word, _)| text.contains(word));
        found.map_or("", |(_, shown)| shown)
    }

    fn write(&self, file: &FileDescriptorProto, page: &mut String) -> std::fmt::Result {
        for (at, service) in (0..).zip(&file.service) {
            self.service(service, at, page)?;
        }
        if file.service.is_empty() {
            // The comment of a file stands before its package.
            let title = self.comment(&[12]);
            let copies = file.name().ends_with("copies.proto");
            let heading = if copies { "Copies" } else { "Rulings and evidence" };
            writeln!(page, "\n## {heading}\n\n{title}")?;
        }
        for (at, message) in (0..).zip(&file.message_type) {
            self.message(message, at, page)?;
        }
        for (at, own) in (0..).zip(&file.enum_type) {
            self.values(own, at, page)?;
        }
        Ok(())
    }

    fn service(
        &self,
        service: &ServiceDescriptorProto,
        at: i32,
        page: &mut String,
    ) -> std::fmt::Result {
        writeln!(page, "\n## {}\n", service.name())?;
        let comment = self.comment(&[6, at]);
        if !comment.is_empty() {
            writeln!(page, "{comment}\n")?;
        }
        writeln!(page, "| RPC | request | answer | description |\n|---|---|---|---|")?;
        for (number, method) in (0..).zip(&service.method) {
            let side = |name: &str, stream| format!("{}{}", stream_of(stream), link(name));
            writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                method.name(),
                side(method.input_type(), method.client_streaming()),
                side(method.output_type(), method.server_streaming()),
                cell(&self.comment(&[6, at, 2, number])),
            )?;
        }
        Ok(())
    }

    fn message(&self, message: &DescriptorProto, at: i32, page: &mut String) -> std::fmt::Result {
        assert!(message.nested_type.is_empty(), "{}: nested messages", message.name());
        writeln!(page, "\n### {}\n", message.name())?;
        let comment = self.comment(&[4, at]);
        if !comment.is_empty() {
            writeln!(page, "{comment}\n")?;
        }
        if message.field.is_empty() {
            return writeln!(page, "No fields.");
        }
        writeln!(page, "| field | type | presence | description |\n|---|---|---|---|")?;
        for (number, field) in (0..).zip(&message.field) {
            let path = [4, at, 2, number];
            writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                field.name(),
                type_of(field, message),
                self.behaviour(&path),
                cell(&self.comment(&path)),
            )?;
        }
        Ok(())
    }

    fn values(&self, own: &EnumDescriptorProto, at: i32, page: &mut String) -> std::fmt::Result {
        writeln!(page, "\n### {}\n", own.name())?;
        let comment = self.comment(&[5, at]);
        if !comment.is_empty() {
            writeln!(page, "{comment}\n")?;
        }
        writeln!(page, "| value | number | description |\n|---|---|---|")?;
        for (number, value) in (0..).zip(&own.value) {
            let comment = cell(&self.comment(&[5, at, 2, number]));
            writeln!(page, "| `{}` | {} | {comment} |", value.name(), value.number())?;
        }
        Ok(())
    }
}

fn stream_of(stream: bool) -> &'static str {
    if stream { "stream of " } else { "" }
}

/// A message or an enumeration: a link, if it is on this page.
fn link(name: &str) -> String {
    match name.strip_prefix(".bailiwick.v1.") {
        Some(own) => format!("[{own}](#{})", own.to_lowercase()),
        None => format!("`{}`", name.trim_start_matches('.')),
    }
}

fn type_of(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let kind = match field.type_name() {
        "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        named => link(named),
    };
    let list = if field.label() == Label::Repeated { "list of " } else { "" };
    let one_of =
        field.oneof_index.filter(|_| !field.proto3_optional()).map_or(String::new(), |at| {
            let at = usize::try_from(at).expect("an index is not negative");
            format!(", one of `{}`", message.oneof_decl[at].name())
        });
    format!("{list}{kind}{one_of}")
}

/// Text as a cell of a table holds it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
