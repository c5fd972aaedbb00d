//! An answer holds the call's permits until its last part is gone.

use std::future::poll_fn;

use super::*;
use crate::tests::rig;

/// A body of one message.
fn body(message: &[u8]) -> Body {
    Body::new(http_body_util::Full::new(Bytes::copy_from_slice(message)))
}

/// What HTTP/2 would read next, and keep until it is sent.
async fn next(body: &mut Body) -> Option<Bytes> {
    let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await?;
    Some(frame.unwrap().into_data().unwrap())
}

#[tokio::test]
async fn an_answer_holds_what_it_takes_until_its_last_part_is_gone() {
    let ctx = rig::context();
    let sent: Vec<u8> = (0..100_000_u32).flat_map(u32::to_be_bytes).collect();
    let tenant = ctx.limits.admit(&rig::caller().tenant).unwrap();
    tenant.hold(sent.len()).unwrap();
    let held = Held {
        _gateway: Some(Arc::new(ctx.limits.enter().unwrap())),
        _tenant: Some(tenant),
        ..Held::default()
    };
    let taken = || (ctx.metrics.in_flight.get(), ctx.limits.bytes_taken() > 0);
    let mut answer = holding(body(&sent), held);
    let (mut parts, mut read) = (Vec::new(), Vec::new());
    while let Some(part) = next(&mut answer).await {
        assert!(part.len() <= PART_BYTES_MAX);
        read.extend_from_slice(&part);
        parts.push(part);
    }
    assert!(read == sent, "an answer that was changed");
    assert!(parts.len() > 10);
    assert_eq!(taken(), (1, true));
    // HTTP/2 reads no more of it, and has parts that it could not send yet.
    drop(answer);
    let last = parts.pop().unwrap();
    drop(parts);
    assert_eq!(taken(), (1, true));
    drop(last);
    assert_eq!(taken(), (0, false));
}

#[tokio::test]
async fn an_answer_that_is_dropped_gives_back_what_it_holds() {
    let ctx = rig::context();
    let gateway = Some(Arc::new(ctx.limits.enter().unwrap()));
    let answer = holding(body(&[7; 100]), Held { _gateway: gateway, ..Held::default() });
    assert_eq!(ctx.metrics.in_flight.get(), 1);
    drop(answer);
    assert_eq!(ctx.metrics.in_flight.get(), 0);
}
