//! Whether a connection that takes nothing is closed.

use std::future::poll_fn;

use tokio::io::duplex;

use super::*;

/// Writes until nothing more is taken.
async fn fill(connection: &mut Watched<tokio::io::DuplexStream>) {
    poll_fn(|cx| {
        while Pin::new(&mut *connection).poll_write(cx, &[7; 64]).is_ready() {}
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_closed_and_one_that_takes_little_is_not() {
    let (ours, mut theirs) = duplex(256);
    let mut connection = Watched::new(ours);
    let ticks = |connection: &mut Watched<_>| {
        for _ in 0..UNREAD_TICKS_MAX {
            connection.tick();
        }
    };
    // With nothing to take, it may be silent for ever.
    ticks(&mut connection);
    ticks(&mut connection);
    for _ in 0..3 {
        fill(&mut connection).await;
        ticks(&mut connection);
        assert!(!connection.line.is_closed());
        tokio::io::AsyncReadExt::read_exact(&mut theirs, &mut [0; 64]).await.unwrap();
    }
    fill(&mut connection).await;
    fill(&mut connection).await;
    ticks(&mut connection);
    connection.tick();
    assert!(connection.line.is_closed());
    let mut buffer = [0; 8];
    let mut buffer = ReadBuf::new(&mut buffer);
    let read = poll_fn(|cx| Pin::new(&mut connection).poll_read(cx, &mut buffer)).await;
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    let wrote = poll_fn(|cx| Pin::new(&mut connection).poll_write(cx, &[1])).await;
    assert_eq!(wrote.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn failures_count_in_a_row_and_until_the_next_tick() {
    let line = Line::default();
    for _ in 0..3 {
        (1..FAILURES_MAX).for_each(|_| line.failed());
        assert!(!line.rests());
        line.proved();
    }
    (0..FAILURES_MAX).for_each(|_| line.failed());
    assert!(line.rests());
    line.tick();
    assert!(!line.rests());
}
