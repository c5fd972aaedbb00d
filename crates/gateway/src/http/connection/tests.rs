//! A connection that takes nothing is closed, and one that takes little is not.

use std::future::poll_fn;

use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
use tokio::time::advance;

use super::*;

type Guarded = StallGuard<DuplexStream>;

/// Writes until nothing more is taken.
async fn fill(connection: &mut Guarded) {
    poll_fn(|cx| {
        while Pin::new(&mut *connection).poll_write(cx, &[7; 64]).is_ready() {}
        Poll::Ready(())
    })
    .await;
}

/// Whether the connection has ended after that time. Nothing is sent to it.
async fn ends_after(connection: &mut Guarded, time: Duration) -> bool {
    advance(time).await;
    let mut bytes = [0; 8];
    let read = poll_fn(|cx| {
        let mut buffer = ReadBuf::new(&mut bytes);
        Poll::Ready(Pin::new(&mut *connection).poll_read(cx, &mut buffer))
    })
    .await;
    match read {
        Poll::Ready(read) => {
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
            let wrote = poll_fn(|cx| Pin::new(&mut *connection).poll_write(cx, &[1])).await;
            assert_eq!(wrote.unwrap_err().kind(), io::ErrorKind::TimedOut);
            true
        }
        Poll::Pending => false,
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_bytes_is_closed() {
    let (ours, mut theirs) = duplex(256);
    let mut connection = StallGuard::new(ours);
    assert!(!ends_after(&mut connection, STALL_MAX * 2).await, "nothing was there to take");
    for _ in 0..3 {
        fill(&mut connection).await;
        assert!(!ends_after(&mut connection, STALL_MAX).await);
        theirs.read_exact(&mut [0; 64]).await.unwrap();
    }
    fill(&mut connection).await;
    fill(&mut connection).await;
    assert!(!ends_after(&mut connection, STALL_MAX).await);
    assert!(ends_after(&mut connection, CHECK_EVERY).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_no_answers_is_closed() {
    let (ours, _theirs) = duplex(256);
    let mut connection = StallGuard::new(ours);
    for _ in 0..3 {
        let parts = [(); 2].map(|()| connection.connection.begin_part());
        assert!(!ends_after(&mut connection, STALL_MAX).await);
        let [taken, stays] = parts;
        // One part goes, and there is time for the next.
        drop(taken);
        assert!(!ends_after(&mut connection, STALL_MAX).await);
        drop(stays);
    }
    assert!(!ends_after(&mut connection, STALL_MAX * 2).await, "nothing was there to take");
    let _stays = connection.connection.begin_part();
    assert!(!ends_after(&mut connection, STALL_MAX).await);
    assert!(ends_after(&mut connection, CHECK_EVERY).await);
}

#[tokio::test(start_paused = true)]
async fn failures_count_in_a_row_and_lead_to_a_short_rest() {
    let connection = ClientConnection::default();
    for _ in 0..3 {
        (1..FAILURES_MAX).for_each(|_| connection.not_identified());
        assert!(!connection.rests());
        connection.identified();
    }
    (0..FAILURES_MAX).for_each(|_| connection.not_identified());
    assert!(connection.rests());
    advance(REST).await;
    assert!(!connection.rests());
}
