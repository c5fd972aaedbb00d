//! The JSON mapping of protobuf, by the descriptors of our protos.
//!
//! JSON is counted before anything is made of it, as protobuf is (`wire::bounded`): a few bytes of
//! JSON can become a hundred times as many in memory. An error never repeats what was sent.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor,
    SerializeOptions,
};
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use terms::{Reason, Rejection};
use wire::bounded::BATCH_FIELDS_MAX;

use super::once;
use crate::method::SERVICES;

/// Our protos, and the details of errors, which batches have in their answers.
static POOL: LazyLock<Option<DescriptorPool>> = LazyLock::new(pool);
/// Values and keys of one JSON text: as many as the fields of the largest message.
const VALUES_MAX: usize = BATCH_FIELDS_MAX;

fn pool() -> Option<DescriptorPool> {
    let mut pool = DescriptorPool::decode(wire::DESCRIPTORS).ok()?;
    let details = FileDescriptorSet::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok()?;
    // Ours have `google.rpc.Status` already, from a file of another name.
    let is_known = |file: &FileDescriptorProto| {
        let name = |of: &str| format!("{}.{of}", file.package());
        file.message_type.iter().any(|of| pool.get_message_by_name(&name(of.name())).is_some())
    };
    let new: Vec<_> = details.file.into_iter().filter(|file| !is_known(file)).collect();
    pool.add_file_descriptor_protos(new).ok()?;
    Some(pool)
}

/// The method of a path `/<service>/<method>`, if it takes one message and gives one.
pub(super) fn unary_method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    if !SERVICES.contains(&service) {
        return None;
    }
    let service = POOL.as_ref()?.get_service_by_name(service)?;
    let method = service.methods().find(|known| known.name() == method)?;
    (!method.is_client_streaming() && !method.is_server_streaming()).then_some(method)
}

/// The message that a JSON text describes, encoded.
///
/// # Errors
/// `FIELD_INVALID`, with line and column.
pub(super) fn message(of: MessageDescriptor, json: &[u8]) -> Result<Vec<u8>, Rejection> {
    if values(json) > VALUES_MAX {
        return Err(Rejection::new(Reason::FieldInvalid)
            .problem(format!("the JSON has more than {VALUES_MAX} values")));
    }
    once::check(json)?;
    let mut reader = serde_json::Deserializer::from_slice(json);
    let options = DeserializeOptions::new();
    let read = DynamicMessage::deserialize_with_options(of, &mut reader, &options);
    let message = read.and_then(|message| reader.end().map(|()| message)).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let why = match error.classify() {
            serde_json::error::Category::Data => "a field that does not fit the message",
            serde_json::error::Category::Eof => "the JSON ends early",
            serde_json::error::Category::Syntax | serde_json::error::Category::Io => {
                "the JSON is malformed"
            }
        };
        Rejection::new(Reason::FieldInvalid)
            .problem(format!("{why}, at line {line}, column {column}"))
            .cure("send the JSON mapping of the method's request message; bytes are base64")
    })?;
    Ok(message.encode_to_vec())
}

/// Values and keys of a JSON text, at least: what stands before each comma, colon and bracket
/// outside of strings.
fn values(json: &[u8]) -> usize {
    let (mut count, mut quoted, mut escaped) = (0, false, false);
    for byte in json {
        match (quoted, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => quoted = !quoted,
            (false, b',' | b':' | b'{' | b'[') => count += 1,
            (true | false, _) => {}
        }
    }
    count
}

/// An encoded message as JSON.
///
/// # Errors
/// `INTERNAL`: our own answer is not of its type.
pub(super) fn json(of: MessageDescriptor, message: &Bytes) -> Result<Vec<u8>, Rejection> {
    let internal = || Rejection::from(Reason::Internal);
    let message = DynamicMessage::decode(of, message.clone()).map_err(|_| internal())?;
    written(&message).ok_or_else(internal)
}

/// The JSON of a detail of an error, if its type is known.
pub(super) fn detail(name: &str, message: &[u8]) -> Option<serde_json::Value> {
    let of = POOL.as_ref()?.get_message_by_name(name)?;
    let message = DynamicMessage::decode(of, message).ok()?;
    serde_json::from_slice(&written(&message)?).ok()
}

fn written(message: &DynamicMessage) -> Option<Vec<u8>> {
    let mut writer = serde_json::Serializer::new(Vec::new());
    message.serialize_with_options(&mut writer, &SerializeOptions::new()).ok()?;
    Some(writer.into_inner())
}

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;
    use wire::v1;

    use super::*;

    fn put() -> MessageDescriptor {
        unary_method("/bailiwick.v1.Records/Put").unwrap().input()
    }

    #[test]
    fn json_becomes_the_message_that_it_describes() {
        let json = br#"{"subject": {"id": "p1", "domicile": "ru-msk"}, "collection": "profiles",
            "key": "k", "body": "aGk=", "requestId": "r", "if_version": "7",
            "expireTime": "2030-01-01T00:00:00Z", "receiptView": "RECEIPT_VIEW_FULL"}"#;
        let bytes = message(put(), json).unwrap();
        let read = v1::PutRecordRequest::decode(bytes.as_slice()).unwrap();
        assert_eq!(read.subject.unwrap().domicile, "ru-msk");
        assert_eq!((&read.body[..], read.if_version), (&b"hi"[..], Some(7)));
        let until = Timestamp { seconds: 1_893_456_000, nanos: 0 };
        assert_eq!(read.expire_time, Some(until));
        assert_eq!(read.receipt_view, i32::from(v1::ReceiptView::Full));
    }

    #[test]
    fn what_is_no_such_message_is_refused_without_a_word_of_it() {
        for json in [
            "",
            "{",
            "[]",
            "null",
            "{} {}",
            r#"{"secret-1234": 1}"#,
            r#"{"key": {"a": "secret-1234"}}"#,
            r#"{"body": "secret-1234!"}"#,
            r#"{"ifVersion": "secret-1234"}"#,
            r#"{"receiptView": "secret-1234"}"#,
            &"[".repeat(10_000),
            &format!("{{\"evidence\": {}", "[".repeat(10_000)),
        ] {
            let Err(rejection) = message(put(), json.as_bytes()) else { panic!("{json}") };
            assert_eq!(rejection.reason, Reason::FieldInvalid, "{json}");
            assert!(!rejection.message().contains("secret"), "{}", rejection.message());
            assert!(rejection.message().contains("line 1"), "{}", rejection.message());
        }
    }

    #[test]
    fn a_field_that_is_given_twice_is_refused_by_whichever_of_its_names() {
        for json in [
            r#"{"key": "a", "key": "b"}"#,
            r#"{"requestId": "a", "request_id": "a"}"#,
            r#"{"subject": {"id": "a", "id": "a"}}"#,
            r#"{"evidence": [{"kind": "IP"}, {"kind": "IP", "value": "x", "\u006bind": "IP"}]}"#,
        ] {
            let refused = message(put(), json.as_bytes()).unwrap_err();
            assert_eq!(refused.reason, Reason::FieldInvalid);
            assert!(refused.message().contains("given twice, at line 1"), "{}", refused.message());
        }
        // The same name in two objects is two fields.
        let both = br#"{"key": "a", "evidence": [{"kind": "IP"}, {"kind": "IP"}]}"#;
        assert!(message(put(), both).is_ok());
    }

    #[test]
    fn no_two_fields_of_a_message_have_names_that_count_as_one() {
        for message in POOL.as_ref().unwrap().all_messages() {
            let mut names: Vec<String> =
                message.fields().map(|field| once::canonical(field.name())).collect();
            for field in message.fields() {
                assert_eq!(once::canonical(field.name()), once::canonical(field.json_name()));
            }
            names.sort();
            assert!(names.windows(2).all(|two| two[0] != two[1]), "{}", message.full_name());
        }
    }

    #[test]
    fn json_is_counted_before_it_is_read() {
        assert_eq!(values(br#"{"a": [1, {"b": "x,y:{[\",,"}], "c": 2}"#), 8);
        let many = format!(r#"{{"evidence": [{}{{}}]}}"#, "{},".repeat(VALUES_MAX));
        let refused = message(put(), many.as_bytes()).unwrap_err();
        assert!(refused.message().contains("more than 65536 values"), "{}", refused.message());
    }

    #[test]
    fn only_public_unary_methods_take_json() {
        let known = |path| unary_method(path).is_some();
        assert!(known("/bailiwick.v1.Records/List") && known("/bailiwick.v1.Subjects/Create"));
        for path in [
            "/bailiwick.v1.Records/StreamPut",
            "/bailiwick.v1.Records/Nothing",
            "/bailiwick.v1.Ledger/Checkpoint",
            "/bailiwick.internal.v1.Session/Open",
            "/grpc.health.v1.Health/Check",
            "bailiwick.v1.Records/List",
            "/bailiwick.v1.Records/List/",
            "/",
            "",
        ] {
            assert!(!known(path), "{path}");
        }
    }
}
