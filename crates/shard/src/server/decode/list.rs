//! Lists, counts, scans and watches.

use terms::{Detail, Reason, Rejection, limits};
use wire::session as proto;

use crate::node::Node;
use crate::policy::asker::Asker;
use crate::read::list::{ListQuery, Of, View};
use crate::server::decode::{collection, owner, participants, stated, transit};

/// Bytes of an order: the name of an attribute, and its direction.
const ORDER_BYTES_MAX: usize = 256;
/// Bytes of a cursor: a place in an index, encrypted.
const CURSOR_BYTES_MAX: usize = 8 << 10;

/// What is asked by the caller of that name.
pub(super) fn query(
    node: &Node,
    asker: &Asker,
    caller: String,
    list: proto::List,
) -> Result<ListQuery, Rejection> {
    fits(&list)?;
    let of = question(&list);
    let invalid = |field| Rejection::new(Reason::FieldInvalid).field(field);
    let subject = Some(list.subject).filter(|subject| !subject.is_empty());
    let subject = subject.map(|subject| owner(node, asker, &subject)).transpose()?;
    stated("purpose", &list.purpose)?;
    let view = view(list.view).ok_or_else(|| invalid("view"))?;
    let collection = collection(&list.collection)?;
    let question = transit::question_for_many(node, list.sealed_key, list.sealed_question)?;
    let answers_bodies = view == View::Whole && of != Of::Number;
    if question.is_none() && answers_bodies {
        node.map().admit_plain(&collection, "sealed_questions")?;
    }
    let seals = answers_bodies && of != Of::Changes;
    if question.is_some() && !seals {
        return Err(invalid("sealed_question"));
    }
    // A page of an export leaves nothing out.
    let leaves_out =
        [&list.filter, &list.order_by, &list.participant].iter().any(|it| !it.is_empty());
    if list.export && (question.is_none() || of != Of::Records || subject.is_none() || leaves_out) {
        return Err(invalid("export"));
    }
    let limit = |n: u32, most: usize| usize::try_from(n).map_or(most, |n| n.min(most));
    Ok(ListQuery {
        collection,
        subject,
        participant: participants::wanted(&list.participant, &list.participant_region)?,
        filter: list.filter,
        order_by: list.order_by,
        view,
        page_size: limit(list.page_size, limits::LIST_PAGE_MAX).max(1),
        weight_max: limit(list.bytes_max, limits::LIST_PAGE_BYTES_MAX),
        cursor: list.cursor,
        cursor_each: list.cursor_each,
        of,
        purpose: list.purpose,
        question,
        export: list.export,
        caller,
    })
}

/// Whether its texts are as long as a gateway sends them. They are kept while the list waits.
fn fits(list: &proto::List) -> Result<(), Rejection> {
    for (field, bytes, most, reason) in [
        ("filter", list.filter.len(), atlas::limits::FILTER_BYTES_MAX, Reason::FilterInvalid),
        ("order_by", list.order_by.len(), ORDER_BYTES_MAX, Reason::FilterInvalid),
        ("cursor", list.cursor.len(), CURSOR_BYTES_MAX, Reason::PageTokenInvalid),
    ] {
        if bytes > most {
            return Err(Rejection::new(reason).field(field).with(Detail::Limit, most));
        }
    }
    Ok(())
}

/// What is asked of the records.
const fn question(list: &proto::List) -> Of {
    match (list.count, list.changes, list.scan) {
        (true, ..) => Of::Number,
        (false, true, _) => Of::Changes,
        (false, false, true) => Of::Scan,
        (false, false, false) => Of::Records,
    }
}

/// How much of each record is given, by its number on the wire.
const fn view(number: i32) -> Option<View> {
    match number {
        0 | 1 => Some(View::Names),
        2 => Some(View::Attributes),
        3 => Some(View::Whole),
        _ => None,
    }
}
