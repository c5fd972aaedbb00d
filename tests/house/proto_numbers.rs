//! Fails when the protocol changes without notice: every field, enum value and method of our
//! protos stands with its number and type in `golden/proto-numbers.txt`, and every field of the
//! public package says how it behaves (AIP-203).
//!
//! `UPDATE_EXPECT=1 cargo test --test house` writes that file again. A line that is gone or changed
//! there breaks callers who have the old protos: add fields, reserve old numbers.
//!
//! `golden/proto-released.txt` is the public package as it was last released, by the same lines and the
//! file of each message, enum and service. `UPDATE_EXPECT` never writes it: a break fails until its line
//! is deleted there by hand (`docs/compatibility.md`). It finds what `buf breaking` finds in a file, and
//! needs no network.

#![expect(clippy::indexing_slicing, reason = "a test that goes astray may panic")]

use prost::Message as _;
use prost_types::descriptor_proto::ReservedRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet,
    MethodDescriptorProto,
};

/// The packages that are ours. What is vendored changes with its owners.
const OURS: &str = "bailiwick.";
/// The package whose fields callers read about.
const PUBLIC: &str = "bailiwick.v1";
const GOLDEN: &str = "tests/golden/proto-numbers.txt";
const RELEASED: &str = "tests/golden/proto-released.txt";

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(wire::DESCRIPTORS).expect("the build wrote its own descriptors")
}

/// One line for everything whose number or type a caller relies on.
fn surface(set: &FileDescriptorSet) -> Vec<String> {
    let mut lines = Vec::new();
    for file in set.file.iter().filter(|file| file.package().starts_with(OURS)) {
        let package = file.package();
        for message in &file.message_type {
            add_message(package, message, &mut lines);
        }
        for own in &file.enum_type {
            add_enum(package, own, &mut lines);
        }
        for service in &file.service {
            for method in &service.method {
                lines.push(format!("{package}.{}.{}", service.name(), method_line(method)));
            }
        }
    }
    lines
}

fn add_message(above: &str, message: &DescriptorProto, lines: &mut Vec<String>) {
    let name = format!("{above}.{}", message.name());
    let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().collect();
    fields.sort_by_key(|field| field.number());
    for field in fields {
        lines.push(format!("{name}.{}", field_line(field, message)));
    }
    for range in &message.reserved_range {
        // The end of a message's reserved range is outside of it.
        for number in range.start()..range.end() {
            lines.push(format!("{name} reserved {number}"));
        }
    }
    for nested in &message.nested_type {
        add_message(&name, nested, lines);
    }
    for own in &message.enum_type {
        add_enum(&name, own, lines);
    }
}

fn field_line(field: &FieldDescriptorProto, message: &DescriptorProto) -> String {
    let kind = match field.type_name() {
        "" => field.r#type().as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        named => named.trim_start_matches('.').to_owned(),
    };
    let label = match field.label() {
        Label::Repeated => "repeated ",
        Label::Required => "required ",
        Label::Optional if field.proto3_optional() => "optional ",
        Label::Optional => "",
    };
    let one_of = match field.oneof_index {
        Some(at) if !field.proto3_optional() => {
            let at = usize::try_from(at).expect("an index is not negative");
            format!(" oneof {}", message.oneof_decl[at].name())
        }
        _ => String::new(),
    };
    format!("{} = {} {label}{kind}{one_of}", field.name(), field.number())
}

fn add_enum(above: &str, own: &EnumDescriptorProto, lines: &mut Vec<String>) {
    for value in &own.value {
        lines.push(format!("{above}.{}.{} = {}", own.name(), value.name(), value.number()));
    }
}

fn method_line(method: &MethodDescriptorProto) -> String {
    let stream = |streams: bool| if streams { "stream " } else { "" };
    let (input, output) = (method.input_type(), method.output_type());
    format!(
        "{}({}{}) returns ({}{})",
        method.name(),
        stream(method.client_streaming()),
        input.trim_start_matches('.'),
        stream(method.server_streaming()),
        output.trim_start_matches('.'),
    )
}

/// The lines that are gone, with `-`, then those that are new, with `+`.
fn changes(expected: &[String], found: &[String]) -> Vec<String> {
    let gone = expected.iter().filter(|line| !found.contains(line)).map(|line| format!("- {line}"));
    let new = found.iter().filter(|line| !expected.contains(line)).map(|line| format!("+ {line}"));
    gone.chain(new).collect()
}

#[test]
fn no_number_or_type_changes_without_notice() {
    let path = crate::root().join(GOLDEN);
    let found = surface(&descriptors());
    assert!(found.len() > 100, "only {} lines: the descriptors were not read", found.len());
    #[expect(clippy::disallowed_methods, reason = "the switch of a test, read nowhere else")]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    if update {
        std::fs::write(&path, found.join("\n") + "\n").expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(&path).expect("the golden file can be read");
    let expected: Vec<String> = golden.lines().map(str::to_owned).collect();
    let changes = changes(&expected, &found);
    assert!(
        changes.is_empty() && expected == found,
        "the protocol is not the one of {GOLDEN}; a line with `-` breaks callers:\n{}",
        changes.join("\n"),
    );
}

/// What callers of the public package rely on: the surface, and in which file each thing is, because
/// generated code is by files. What is reserved may become more.
fn released(set: &FileDescriptorSet) -> Vec<String> {
    let own = format!("{PUBLIC}.");
    let mut lines = surface(set);
    lines.retain(|line| line.starts_with(&own));
    for file in set.file.iter().filter(|file| file.package() == PUBLIC) {
        let messages = file.message_type.iter().map(DescriptorProto::name);
        let enums = file.enum_type.iter().map(EnumDescriptorProto::name);
        let services = file.service.iter().map(prost_types::ServiceDescriptorProto::name);
        for name in messages.chain(enums).chain(services) {
            lines.push(format!("{PUBLIC}.{name} in {}", file.name()));
        }
    }
    lines
}

/// What of `before` is not there any more.
fn breaks(before: &[String], set: &FileDescriptorSet) -> Vec<String> {
    let now = released(set);
    before.iter().filter(|line| !now.contains(line)).cloned().collect()
}

#[test]
fn nothing_that_was_released_is_broken() {
    let path = crate::root().join(RELEASED);
    #[expect(clippy::disallowed_methods, reason = "the switch of a release, read nowhere else")]
    let release = std::env::var_os("RELEASE_PROTOS").is_some();
    if release {
        std::fs::write(&path, released(&descriptors()).join("\n") + "\n").expect("it is written");
    }
    let before = std::fs::read_to_string(&path).expect("the released surface can be read");
    let before: Vec<String> = before.lines().map(str::to_owned).collect();
    assert!(before.len() > 100, "only {} lines: nothing was released", before.len());
    let broken = breaks(&before, &descriptors());
    assert!(
        broken.is_empty(),
        "this breaks callers of the released protos. Keep it; or, before 1.0, break it on purpose as \
         docs/compatibility.md says:\n{}",
        broken.join("\n"),
    );
}

#[test]
fn every_kind_of_break_is_found_and_what_is_added_is_none() {
    let before = descriptors();
    let released = released(&before);
    let edit = |file: &str, change: &dyn Fn(&mut prost_types::FileDescriptorProto)| {
        let mut set = before.clone();
        let own =
            set.file.iter_mut().find(|own| own.name() == format!("bailiwick/v1/{file}.proto"));
        change(own.expect("a file of the package"));
        breaks(&released, &set).len()
    };
    // Removed: a field, a value, a method; a message is all of its fields and its file.
    assert_eq!(edit("records", &|file| drop(file.message_type[0].field.remove(0))), 1);
    assert_eq!(edit("jurisdiction", &|file| drop(file.enum_type[0].value.remove(1))), 1);
    assert_eq!(edit("records", &|file| drop(file.service[0].method.remove(0))), 1);
    let fields = before.file.iter().find(|file| file.name().ends_with("v1/records.proto"));
    let fields = fields.expect("records").message_type[0].field.len();
    assert_eq!(edit("records", &|file| drop(file.message_type.remove(0))), fields + 1);
    // Changed: a type, a name, a value's name, a method's answer; moved out of a one-of.
    let field = |change: &dyn Fn(&mut FieldDescriptorProto)| {
        edit("records", &|file| change(&mut file.message_type[0].field[0]))
    };
    assert_eq!(
        field(&|field| (field.type_name, field.r#type) = (None, Some(Type::Bool.into()))),
        1
    );
    assert_eq!(field(&|field| field.name = Some("other".to_owned())), 1);
    assert_eq!(field(&|field| field.set_label(Label::Repeated)), 1);
    let value = |change: &dyn Fn(&mut prost_types::EnumValueDescriptorProto)| {
        edit("jurisdiction", &|file| change(&mut file.enum_type[0].value[1]))
    };
    assert_eq!(value(&|value| value.name = Some("OTHER".to_owned())), 1);
    assert_eq!(value(&|value| value.number = Some(99)), 1);
    let method = |change: &dyn Fn(&mut MethodDescriptorProto)| {
        edit("records", &|file| change(&mut file.service[0].method[0]))
    };
    assert_eq!(method(&|method| method.output_type = Some(".bailiwick.v1.Record".to_owned())), 1);
    assert_eq!(method(&|method| method.client_streaming = Some(true)), 1);
    let one_of = |file: &mut prost_types::FileDescriptorProto| {
        let ruling = file.message_type.iter_mut().find(|own| own.name() == "Ruling");
        ruling.expect("a ruling").field[1].oneof_index = None;
    };
    assert_eq!(edit("jurisdiction", &one_of), 1);
    // Another file is another module of generated code.
    assert!(edit("records", &|file| file.name = Some("bailiwick/v1/other.proto".to_owned())) > 1);
    // What is added breaks nothing.
    let added = FieldDescriptorProto {
        name: Some("added".to_owned()),
        number: Some(999),
        r#type: Some(Type::Bool.into()),
        ..Default::default()
    };
    let add = |file: &mut prost_types::FileDescriptorProto| {
        file.message_type[0].field.push(added.clone());
        let method = file.service[0].method[0].clone();
        file.service[0].method.push(MethodDescriptorProto { name: Some("New".into()), ..method });
    };
    assert_eq!(edit("records", &add), 0);
}

#[test]
fn a_change_of_number_type_label_or_method_is_found() {
    let before = descriptors();
    let expected = surface(&before);
    let edit = |change: &dyn Fn(&mut FileDescriptorSet)| {
        let mut set = before.clone();
        change(&mut set);
        changes(&expected, &surface(&set))
    };
    assert_eq!(edit(&|_| {}), Vec::<String>::new());
    let records = before.file.iter().position(|file| file.name().ends_with("v1/records.proto"));
    let records = records.expect("there are records");
    let put = before.file[records].message_type.iter().position(|m| m.name() == "PutRecordRequest");
    let put = put.expect("there is a put");
    let found = edit(&|set| set.file[records].message_type[put].field[0].number = Some(99));
    assert_eq!(
        found,
        [
            "- bailiwick.v1.PutRecordRequest.subject = 1 bailiwick.v1.SubjectRef",
            "+ bailiwick.v1.PutRecordRequest.subject = 99 bailiwick.v1.SubjectRef",
        ]
    );
    let field = |change: &dyn Fn(&mut FieldDescriptorProto)| {
        edit(&|set| change(&mut set.file[records].message_type[put].field[1])).len()
    };
    assert_eq!(field(&|field| field.set_type(Type::Bytes)), 2);
    assert_eq!(field(&|field| field.set_label(Label::Repeated)), 2);
    assert_eq!(field(&|field| field.name = Some("kind".to_owned())), 2);
    assert_eq!(edit(&|set| drop(set.file[records].message_type[put].field.remove(1))).len(), 1);
    let reserve = |set: &mut FileDescriptorSet| {
        let reserved = ReservedRange { start: Some(1_000), end: Some(1_001) };
        set.file[records].message_type[put].reserved_range.push(reserved);
    };
    assert_eq!(edit(&reserve).len(), 1);
    assert_eq!(edit(&|set| drop(set.file[records].service[0].method.remove(0))).len(), 1);
    let stream = |set: &mut FileDescriptorSet| {
        set.file[records].service[0].method[0].server_streaming = Some(true);
    };
    assert_eq!(edit(&stream).len(), 2);
}

/// The names of the fields that a proto file defines, and whether each says how it behaves. (The
/// build keeps no options of others in the descriptors, so the text is read.)
fn behaviours(text: &str) -> Vec<(String, bool)> {
    let lines = text.lines().map(|line| line.split("//").next().unwrap_or(""));
    let text = lines.collect::<Vec<_>>().join("\n");
    // A field is a statement with a type before its name: `string id = 1`, not `UNKNOWN = 0`.
    let field = |statement: &str| {
        let (before, _) = statement.split_once('=')?;
        let words: Vec<&str> = before.split_whitespace().collect();
        let [first, .., name] = words.as_slice() else { return None };
        let other = ["option", "reserved", "syntax", "returns"].contains(first);
        (!other).then(|| ((*name).to_owned(), statement.contains("field_behavior")))
    };
    text.split([';', '{', '}']).filter_map(field).collect()
}

/// The names of the fields of the public package by the compiler's account.
fn public_fields() -> Vec<String> {
    fn add(message: &DescriptorProto, found: &mut Vec<String>) {
        found.extend(message.field.iter().map(|field| field.name().to_owned()));
        message.nested_type.iter().for_each(|nested| add(nested, found));
    }
    let (set, mut found) = (descriptors(), Vec::new());
    for file in set.file.iter().filter(|file| file.package() == PUBLIC) {
        file.message_type.iter().for_each(|message| add(message, &mut found));
    }
    found.sort();
    found
}

#[test]
fn every_public_field_says_how_it_behaves() {
    let mut found = Vec::new();
    for path in crate::files(&crate::root().join("proto/bailiwick/v1")) {
        let text = std::fs::read_to_string(&path).expect("a proto can be read");
        for (name, says) in behaviours(&text) {
            assert!(says, "{}: no field_behavior: {name}", crate::relative(&path));
            found.push(name);
        }
    }
    // The text was read as the compiler reads it: no field escaped.
    found.sort();
    assert_eq!(found, public_fields());
}

#[test]
fn a_field_that_does_not_say_how_it_behaves_is_found() {
    let text = "package bailiwick.v1; import \"x\"; option a = 1;
        service S { rpc A(B) returns (C); }
        message B { // d = 9 [(google.api.field_behavior) = REQUIRED];
          string id = 1; reserved 5;
          oneof o { B b = 2; C c = 3 [(google.api.field_behavior) = OPTIONAL]; }
          message N { repeated int32 n = 1 [(google.api.field_info).format = UUID4]; }
          enum E { X = 0; } }";
    let found = behaviours(text);
    let found: Vec<_> = found.iter().map(|(name, says)| (name.as_str(), *says)).collect();
    assert_eq!(found, [("id", false), ("b", false), ("c", true), ("n", false)]);
}
