//! Everything that a caller can get wrong about lists, attributes, uploads, expiries, watches and
//! participants: each has its own reason and field, and nothing is half done.
//!
//! | what | here, and where else |
//! |---|---|
//! | a filter of 10,000 terms, of 64 KiB, nested deeply | here; `atlas/query/tests.rs` has each limit |
//! | a page token altered by one bit, of another tenant, filter or order | here; `shard/tests/suite/lists.rs` `a_cursor_opens_with_its_own_question_only` flips every bit |
//! | an attribute of another type, 33 attributes, an undeclared one | here; `gateway/tests/lists.rs` `each_attribute_of_a_put_is_checked` |
//! | a range on an exact attribute | here; `atlas/query/tests.rs` `types_and_indexes_must_fit` |
//! | an upload cut at every chunk | `attachments.rs` `an_upload_that_is_cut_anywhere_goes_on_and_shows_nothing_before_its_end` |
//! | an upload resumed by another tenant | `attachments.rs` `nobody_goes_on_with_the_upload_of_another_tenant` |
//! | a hash that does not match | `attachments.rs` `what_does_not_fit_is_refused_and_leaves_nothing`; `uploads.rs` `an_upload_that_fails_leaves_no_subject` |
//! | an expiry in the past | here, of a put, a touch and an upload |
//! | a watch cursor older than the feed | `shard/tests/suite/changes.rs` `what_is_older_than_the_feed_is_swept_and_a_cursor_to_it_has_expired`; altered, of another question or tenant: here |
//! | a participant who is unknown | here; erased: `participants.rs` `a_russians_text_enters_a_germans_inbox_under_a_clause_and_is_found_by_both` |

use client::{Client, Error, PutBuilder, api};
use prost_types::Timestamp;
use terms::limits::ATTACHMENT_CHUNK_BYTES;
use tokio::runtime::Runtime;

use crate::support::load::{ONCE, evidence, get, put, request_id};
use crate::support::{Deployment, Options};

/// The sample map with a second tenant, in which profiles have attributes and a feed.
fn options() -> Options {
    let usual = Options::default();
    let tenants = "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";
    let map = usual.map.replacen("[[tenants]]\nname = \"sample\"\n", tenants, 1);
    let reads = "reads = \"counted\"\n";
    let attributes = "feed = \"1h\"\nlist = true\n\n\
        [[collections.attributes]]\nname = \"city\"\ntype = \"string\"\nindex = \"exact\"\n\n\
        [[collections.attributes]]\nname = \"age\"\ntype = \"integer\"\nindex = \"range\"\n";
    let map = map.replacen(reads, &format!("{reads}{attributes}"), 1);
    Options { regions: vec!["eu-fra"], tls: true, map, ..usual }
}

/// What a refusal says: reason and field.
#[track_caller]
fn assert_refused<T>(done: Result<T, Error>, reason: &str, field: &str) {
    let Err(error) = done else { unreachable!("{reason}: it is done") };
    let refused = error.refused().expect("a refusal");
    let said = (refused.reason.as_str(), refused.field.as_deref().unwrap_or_default());
    assert_eq!(said, (reason, field));
    assert!(refused.cure.as_deref().is_some_and(|cure| !cure.is_empty()), "{reason}: no help");
}

fn listing(filter: &str) -> api::ListRecordsRequest {
    api::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec!["eu-fra".to_owned()],
        filter: filter.to_owned(),
        page_size: 2,
        ..Default::default()
    }
}

fn anna() -> Option<api::SubjectRef> {
    Some(api::SubjectRef { id: "anna".to_owned(), domicile: "eu-fra".to_owned() })
}

fn long_ago() -> Timestamp {
    Timestamp { seconds: 1_000_000_000, nanos: 0 }
}

/// The same text with one bit of one of its characters changed, so that it is printable still.
fn altered(text: &str, at: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn check_filters(client: &Client) {
    let many = vec!["age = 1"; 10_000].join(" AND ");
    let long = format!("city = '{}'", "x".repeat(64 << 10));
    let deep = format!("{}age = 1{}", "(".repeat(4_000), ")".repeat(4_000));
    let more = vec!["age = 1"; 33].join(" AND ");
    for (filter, reason) in [
        (many.as_str(), "FILTER_INVALID"),
        (long.as_str(), "FILTER_INVALID"),
        (deep.as_str(), "FILTER_INVALID"),
        (more.as_str(), "TOO_MANY_ITEMS"),
        ("city > 'a'", "INDEX_REQUIRED"),
        ("age = '1'", "ATTRIBUTE_INVALID"),
        ("size = 1", "ATTRIBUTE_UNKNOWN"),
    ] {
        assert_refused(client.list_page(&listing(filter)).await, reason, "filter");
        let count = api::CountRecordsRequest {
            collection: "profiles".to_owned(),
            regions: vec!["eu-fra".to_owned()],
            filter: filter.to_owned(),
            ..Default::default()
        };
        assert_refused(client.count(&count).await, reason, "filter");
    }
    let order = api::ListRecordsRequest { order_by: "city".to_owned(), ..listing("") };
    assert_refused(client.list_page(&order).await, "INDEX_REQUIRED", "order_by");
}

async fn check_tokens(client: &Client, other: &Client) {
    let invalid = ("PAGE_TOKEN_INVALID", "page_token");
    let token = client.list_page(&listing("age >= 0")).await.expect("a page").next_page_token;
    let with = |token: &str, filter: &str| {
        let page_token = token.to_owned();
        api::ListRecordsRequest { page_token, ..listing(filter) }
    };
    client.list_page(&with(&token, "age >= 0")).await.expect("the token is good");
    assert_refused(other.list_page(&with(&token, "age >= 0")).await, invalid.0, invalid.1);
    for filter in ["", "age >= 1"] {
        assert_refused(client.list_page(&with(&token, filter)).await, invalid.0, invalid.1);
    }
    let order = with(&token, "age >= 0");
    let order = api::ListRecordsRequest { order_by: "age".to_owned(), ..order };
    assert_refused(client.list_page(&order).await, invalid.0, invalid.1);
    for at in (0..token.len()).step_by(5) {
        let page = client.list_page(&with(&altered(&token, at), "age >= 0")).await;
        assert_refused(page, invalid.0, invalid.1);
    }
}

async fn check_attributes(client: &Client) {
    use api::attribute::Value;
    let of = |name: &str, value: Value, times: usize| {
        let builder = PutBuilder::new("anna", "profiles", "main").expect("randomness");
        let one = |put: PutBuilder, _| put.attribute(name, value.clone());
        (0..times).fold(builder.domicile("eu-fra").body("bad"), one).build()
    };
    for (put, reason, field) in [
        (
            of("age", Value::StringValue("1".to_owned()), 1),
            "ATTRIBUTE_INVALID",
            "attributes[0].value",
        ),
        (of("city", Value::IntegerValue(1), 1), "ATTRIBUTE_INVALID", "attributes[0].value"),
        (of("size", Value::IntegerValue(1), 1), "ATTRIBUTE_UNKNOWN", "attributes[0].name"),
        (of("age", Value::IntegerValue(1), 33), "TOO_MANY_ITEMS", "attributes"),
    ] {
        assert_refused(client.put(&put).await, reason, field);
        // In a batch it is that item's, and of a batch that is atomic nothing is done.
        let good = PutBuilder::new("anna", "profiles", "beside").expect("randomness");
        let both = [good.domicile("eu-fra").build(), put];
        assert!(client.put_atomic(&both).await.is_err(), "{reason}");
    }
    assert_eq!(
        get(client, "anna", "eu-fra", "beside").await.err().as_deref(),
        Some("RECORD_NOT_FOUND")
    );
}

async fn check_times(client: &Client) {
    let builder = PutBuilder::new("anna", "profiles", "main").expect("randomness");
    let builder = builder.domicile("eu-fra").body("bad").expire_time(long_ago());
    assert_refused(client.put(&builder.clone().build()).await, "FIELD_INVALID", "expire_time");
    let touch = api::TouchRecordRequest {
        subject: anna(),
        collection: "profiles".to_owned(),
        key: "main".to_owned(),
        request_id: request_id(),
        expire_time: Some(long_ago()),
        ..Default::default()
    };
    assert_refused(client.touch(&touch).await, "FIELD_INVALID", "expire_time");
    let mut source = std::io::Cursor::new(vec![1; ATTACHMENT_CHUNK_BYTES]);
    let spec = builder.build_upload(ATTACHMENT_CHUNK_BYTES as u64, [1; 32]);
    let done = client.upload(&spec, &mut source, |_| ()).await;
    assert_refused(done, "FIELD_INVALID", "expire_time");
}

async fn check_watches(client: &Client, other: &Client) {
    let request = |cursor: &str| api::WatchRecordsRequest {
        collection: "profiles".to_owned(),
        region: "eu-fra".to_owned(),
        cursor: cursor.to_owned(),
        ..Default::default()
    };
    let ended = async |client: &Client, request: api::WatchRecordsRequest| {
        let mut watch = client.watch(request);
        watch.next().await.map(drop)
    };
    let mut watch = client.watch(request(""));
    let cursor = watch.next().await.expect("an answer").cursor;
    ended(client, request(&cursor)).await.expect("the cursor is good");
    let invalid = ("PAGE_TOKEN_INVALID", "cursor");
    assert_refused(ended(other, request(&cursor)).await, invalid.0, invalid.1);
    for at in (0..cursor.len()).step_by(9) {
        let watch = ended(client, request(&altered(&cursor, at))).await;
        assert_refused(watch, invalid.0, invalid.1);
    }
    let subject =
        api::WatchRecordsRequest { subject: anna(), region: String::new(), ..request(&cursor) };
    assert_refused(ended(client, subject).await, invalid.0, invalid.1);
}

async fn check_participants(client: &Client) {
    let named = |id: &str, region: &str| {
        let builder = PutBuilder::new("anna", "profiles", "main").expect("randomness");
        builder.domicile("eu-fra").body("bad").participant(id, region).build()
    };
    for (put, reason, field) in [
        (named("nobody", "eu-fra"), "SUBJECT_UNKNOWN", "participants[0].id"),
        (named("nobody", "mars"), "DOMICILE_UNKNOWN", "participants[0].domicile"),
        (named("anna", "eu-fra"), "FIELD_INVALID", "participants[0]"),
    ] {
        assert_refused(client.put(&put).await, reason, field);
    }
}

#[test]
fn every_mistake_has_its_reason_and_field_and_leaves_nothing() {
    let deployment = Deployment::start(&options());
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let of = async |tenant: &str| {
            let token = deployment.secured().token(&serde_json::json!({ "tenant": tenant }));
            let access = deployment.secured().with_token(&token);
            Client::connect_with(&deployment.gateway_url(), ONCE, access).await.expect("a gateway")
        };
        let (client, other) = (of("sample").await, of("other").await);
        for name in ["anna", "bert", "carl", "dora"] {
            let mut put = put(name, "main", b"good", &evidence("DE"));
            put.attributes = vec![api::Attribute {
                name: "age".to_owned(),
                value: Some(api::attribute::Value::IntegerValue(1)),
            }];
            client.put(&put).await.expect("a put");
        }
        check_filters(&client).await;
        check_tokens(&client, &other).await;
        check_attributes(&client).await;
        check_times(&client).await;
        check_watches(&client, &other).await;
        check_participants(&client).await;
        // All is as it was.
        let record = get(&client, "anna", "eu-fra", "main").await.expect("the record");
        assert_eq!((&*record.body, record.version), (&b"good"[..], 1));
        let count = api::CountRecordsRequest {
            collection: "profiles".to_owned(),
            regions: vec!["eu-fra".to_owned()],
            ..Default::default()
        };
        assert_eq!(client.count(&count).await.expect("a count").count, 4);
        assert_eq!(other.count(&count).await.expect("a count").count, 0);
    });
}
