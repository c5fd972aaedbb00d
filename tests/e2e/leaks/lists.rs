//! Attributes, filters, orders and page tokens: what is found, and what is refused.

use client::api;
use wire::v1::records_client::RecordsClient;

use super::{REGION, Sender, check_silent, marker};
use crate::support::Options;

/// The sample map, in which profiles have an attribute.
pub(super) fn options() -> Options {
    let usual = Options::default();
    let reads = "reads = \"counted\"\n";
    let attributes = "list = true\n\n\
        [[collections.attributes]]\nname = \"mail\"\ntype = \"string\"\nindex = \"exact\"\n\n\
        [[collections.attributes]]\nname = \"note\"\ntype = \"string\"\n";
    let map = usual.map.replacen(reads, &format!("{reads}{attributes}"), 1);
    Options { regions: vec![REGION], map, ..usual }
}

/// An attribute with a marker.
pub(super) fn attribute(name: &str, place: &str) -> api::Attribute {
    let value = api::attribute::Value::StringValue(marker(place));
    api::Attribute { name: name.to_owned(), value: Some(value) }
}

/// Lists by a marker, and asks for what is refused with markers everywhere.
pub(super) async fn send(sender: &Sender) {
    let mut records = RecordsClient::new(sender.channel.clone());
    let good = api::ListRecordsRequest {
        collection: "profiles".to_owned(),
        regions: vec![REGION.to_owned()],
        filter: format!("mail = \"{}\"", marker("attribute")),
        view: api::RecordView::Whole.into(),
        page_size: 1,
        purpose: "a search for leaks".to_owned(),
        ..Default::default()
    };
    let page = records.list(sender.poisoned(good.clone())).await.expect("a page").into_inner();
    assert_eq!(page.records.len(), 1);
    let found = page.records.iter().flat_map(|record| record.attributes.first()).next();
    assert!(found == Some(&attribute("mail", "attribute")));
    let of = |change: &dyn Fn(&mut api::ListRecordsRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let filter = |text: String| of(&move |request| request.filter.clone_from(&text));
    for (n, request) in [
        filter(format!("{} = 1", marker("name").replace('-', "_"))),
        filter(format!("mail > \"{}\"", marker("ranged"))),
        filter(format!("note = \"{}\"", marker("unindexed"))),
        filter(format!("mail = \"{}", marker("unended"))),
        filter(format!("mail = {}", marker("unquoted"))),
        of(&|request| request.order_by = marker("order")),
        of(&|request| request.page_token = marker("token")),
        of(&|request| request.collection = marker("collection")),
        of(&|request| request.regions = vec![marker("region")]),
        of(&|request| request.purpose = format!("{}\n", marker("purpose"))),
    ]
    .into_iter()
    .enumerate()
    {
        let refused = records.list(sender.poisoned(request)).await.err().expect("it is refused");
        check_silent(&format!("bad list {n}"), &refused);
    }
}
