//! PostgreSQL: the suite, and what only a server can do to a store.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::server::{PASSWORD, Server};
use crate::suite::{commit, get};
use engine::{
    Access, Backend, Batch, Engine, Error, Head, Occupied, Order, Owner, Postgres, ScanLimit, Span,
};

fn store(url: &str) -> Postgres {
    let access = Access::parse(url).expect("a URL").with_password(PASSWORD);
    let text = str::to_owned;
    let owner = Owner { region: text("eu-fra"), shard: text("a"), holder: text("this test") };
    Postgres::new(access, owner)
}

fn open(url: &str) -> Box<dyn Engine> {
    store(url).open().expect("open")
}

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

#[test]
fn postgres_conforms() {
    let server = Server::start();
    let mut stores = 0;
    crate::suite::suite(&mut || {
        stores += 1;
        let url = server.database(&format!("store{stores}"));
        Box::new(move || open(&url))
    });
}

#[test]
fn postgres_follows_the_model() {
    let server = Server::start();
    for seed in [1, 20_261_123] {
        let url = server.database(&format!("seed{seed}"));
        crate::suite::against_a_model(&|| open(&url), seed, 800);
    }
}

#[test]
fn a_store_is_there_once_it_was_opened() {
    let server = Server::start();
    let store = store(&server.database("people"));
    assert_eq!((store.exists(), store.standing()), (Ok(false), Ok(None)));
    assert_eq!(store.exists(), Ok(false), "looking makes nothing");
    let engine = store.open().expect("open");
    assert_eq!((store.exists(), Backend::folder(&store)), (Ok(true), None));
    let standing = store.standing().expect("standing").expect("a store");
    assert_eq!((standing.head, standing.released), (Head { term: 1, size: 0 }, false));
    assert_eq!(standing.holder, "this test");
    drop(engine);
    assert!(store.standing().expect("standing").expect("a store").released);
}

/// A writer that was replaced commits nothing and answers no read, whatever it knew.
#[test]
fn a_replaced_writer_is_silent() {
    let server = Server::start();
    let store = store(&server.database("people"));
    let first = store.open().expect("open");
    commit(&*first, put("a", "1"));
    assert!(matches!(store.open(), Err(Error::Locked { .. })), "its writer is alive");
    let view = first.view().expect("view");
    assert_eq!(view.get_many(&[b"a"]), Ok(vec![Some(b"1".to_vec())]));
    let second = store.clone().when_occupied(Occupied::Replace).open().expect("open");
    let found = second.head().expect("head");
    assert_eq!(found, Head { term: 2, size: 1 });
    commit(&*second, put("a", "2"));
    // Its heartbeat may have met the other writer before or after that commit.
    let replaced = |error| matches!(error, Some(Error::HeadMoved { found }) if found.term == 2);
    assert!(replaced(first.get_many(&[b"a"]).err()));
    assert!(matches!(first.view(), Err(Error::HeadMoved { .. })));
    assert!(matches!(view.get_many(&[b"a"]), Err(Error::HeadMoved { .. })));
    assert!(replaced(first.commit(put("a", "3"), Head { term: 1, size: 1 }, 2).err()));
    assert!(replaced(first.head().err()) && replaced(first.reopen().err()));
    drop(view);
    drop(first);
    assert_eq!(get(&*second, b"a"), Some(b"2".to_vec()));
    commit(&*second, Batch::new());
}

/// A writer that does nothing learns of its end by its heartbeat, before it is asked for anything.
#[test]
fn an_idle_writer_learns_that_it_was_replaced() {
    let server = Server::start();
    let store = store(&server.database("people"));
    let first = store.open().expect("open");
    let second = store.clone().when_occupied(Occupied::Replace).open().expect("open");
    for _ in 0..1_200 {
        if first.head().is_err() {
            break;
        }
        thread::park_timeout(Duration::from_millis(50));
    }
    assert!(matches!(first.head(), Err(Error::HeadMoved { .. })));
    assert!(second.head().is_ok());
}

/// One waits for a writer that is alive, and follows it at once when it says that it has ended.
#[test]
fn a_process_that_waits_takes_over() {
    let server = Server::start();
    let store = store(&server.database("people"));
    let first = store.open().expect("open");
    commit(&*first, put("a", "1"));
    let waiting = store.when_occupied(Occupied::Wait);
    let waits_for = waiting.waits_for();
    let second = thread::spawn(move || waiting.open().expect("open"));
    while waits_for.borrow().is_none() {
        assert!(!second.is_finished(), "the first writer is alive");
        thread::park_timeout(Duration::from_millis(20));
    }
    // Longer than a writer may be silent.
    thread::park_timeout(Duration::from_secs(3));
    assert!(!second.is_finished(), "the first writer is alive");
    assert_eq!(waits_for.borrow().as_deref(), Some("this test"));
    drop(first);
    let second = second.join().expect("no panic");
    assert_eq!(second.head(), Ok(Head { term: 2, size: 1 }));
    assert_eq!(*waits_for.borrow(), None);
    assert_eq!(get(&*second, b"a"), Some(b"1".to_vec()));
}

/// A writer that ended without a word may come back: a command that need not write then leaves the
/// store alone, and one that must takes over.
#[test]
fn a_silent_writer_is_followed_only_where_that_is_meant() {
    let server = Server::start();
    let store = store(&server.database("people"));
    let careful = store.clone().when_occupied(Occupied::RefuseUnlessEnded);
    let first = store.open().expect("open");
    assert!(matches!(careful.open(), Err(Error::Locked { .. })), "its writer is alive");
    drop(first);
    drop(careful.open().expect("it has ended"));
    // As a process that was killed leaves it.
    server.sql("people", "update bailiwick.writer set released = false");
    assert!(matches!(careful.open(), Err(Error::Locked { .. })), "it has not said that it ended");
    assert!(store.open().is_ok());
}

const KILL_WRITERS: &str = "select count(pg_terminate_backend(pid)) from pg_stat_activity
    where application_name = 'bailiwick'";

/// Says that a test has ended, by a panic too.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// All rows, read again until no connection is cut meanwhile. Where the one for commits is cut, the
/// store is opened again.
fn rows_after_all(engine: &dyn Engine, head: &mut Head) -> Vec<(Vec<u8>, Vec<u8>)> {
    loop {
        let limit = ScanLimit { rows: 100, bytes: 1 << 20 };
        match engine.scan(&Span::all(), Order::Ascending, limit) {
            Err(Error::Database { .. }) => {}
            Err(Error::Poisoned) => *head = engine.reopen().expect("reopen"),
            read => return read.expect("a read").rows,
        }
    }
}

/// Connections are cut at any moment of a commit: its outcome is unknown, and the head then says
/// whether all of it is there or nothing.
#[test]
fn a_cut_connection_leaves_a_batch_whole_or_absent() {
    const COMMITS: u64 = 300;
    const CUTS: u64 = 5;
    let server = Server::start();
    let url = server.database("people");
    let engine = open(&url);
    let (done, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut unknown = 0;
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let at = written.load(Ordering::Relaxed);
                while written.load(Ordering::Relaxed) < at + 20 && !done.load(Ordering::Relaxed) {
                    thread::park_timeout(Duration::from_millis(3));
                }
                server.sql("postgres", KILL_WRITERS);
            }
        });
        let _ended = Ending(&done);
        let mut head = engine.head().expect("head");
        // On a busy machine few of the cuts meet a commit.
        while (head.size < COMMITS || unknown < CUTS) && head.size < COMMITS * 20 {
            let number = head.size + 1;
            let mut batch = Batch::new();
            for row in 0..40_u8 {
                batch.put([row], number.to_be_bytes());
            }
            match engine.commit(batch, head, number) {
                Ok(()) => head.size = number,
                Err(Error::Unknown { .. } | Error::Poisoned) => {
                    unknown += 1;
                    assert_eq!(engine.head(), Err(Error::Poisoned));
                    let before = head;
                    head = engine.reopen().expect("reopen");
                    assert!(head.term > before.term);
                    assert!([before.size, number].contains(&head.size));
                }
                Err(error) => panic!("{error}"),
            }
            written.store(head.size, Ordering::Relaxed);
            let rows = rows_after_all(&*engine, &mut head);
            assert_eq!(rows.len(), if head.size == 0 { 0 } else { 40 });
            assert!(rows.iter().all(|(_, value)| *value == head.size.to_be_bytes()));
        }
    });
    assert!(unknown >= CUTS, "connections were cut: {unknown}");
}

/// The server confirms a commit, and warns that no standby has it.
#[test]
fn a_warning_about_replication_leaves_the_outcome_open() {
    let server = Server::start();
    let url = server.database("people");
    let engine = open(&url);
    commit(&*engine, put("a", "1"));
    server.sql("postgres", "alter system set synchronous_standby_names = 'no_one'");
    server.reload();
    let mut size = 1;
    let refused = loop {
        let head = engine.head().expect("head");
        size += 1;
        let batch = put("a", &size.to_string());
        let done = thread::scope(|scope| {
            let committing = scope.spawn(|| engine.commit(batch, head, size));
            let waiting = "select count(pg_cancel_backend(pid)) from pg_stat_activity
                where wait_event = 'SyncRep'";
            while !committing.is_finished() {
                server.sql("postgres", waiting);
                thread::park_timeout(Duration::from_millis(50));
            }
            committing.join().expect("no panic")
        });
        // The server takes the setting once each of its processes has read it.
        if done.is_err() || size > 200 {
            break done;
        }
    };
    assert!(matches!(refused, Err(Error::Unknown { .. })), "{refused:?}");
    assert_eq!(engine.get_many(&[b"a"]), Err(Error::Poisoned));
    server.sql("postgres", "alter system reset synchronous_standby_names");
    server.reload();
    let head = engine.reopen().expect("reopen");
    let stored = Some(size.to_string().into_bytes());
    assert_eq!((head.size, get(&*engine, b"a")), (size, stored));
}

/// The server is gone, and comes back: nothing that was acknowledged is lost.
#[test]
fn a_server_that_restarts_is_found_again() {
    let mut server = Server::start();
    let url = server.database("people");
    let engine = open(&url);
    commit(&*engine, put("a", "1"));
    server.kill();
    assert!(engine.get_many(&[b"a"]).is_err());
    let head = Head { term: 1, size: 1 };
    let refused = engine.commit(put("a", "2"), head, 2);
    assert!(matches!(refused, Err(Error::Unknown { .. } | Error::Poisoned)), "{refused:?}");
    thread::scope(|scope| {
        let reopening = scope.spawn(|| engine.reopen());
        thread::park_timeout(Duration::from_millis(500));
        server.run();
        assert_eq!(reopening.join().expect("no panic"), Ok(Head { term: 2, size: 1 }));
    });
    assert_eq!(get(&*engine, b"a"), Some(b"1".to_vec()));
    commit(&*engine, put("a", "2"));
}

/// Of several hosts the one that takes writes is found, and found again after a switchover.
#[test]
fn the_primary_is_found_among_the_hosts() {
    let mut primary = Server::start();
    primary.database("people");
    let standby = primary.standby();
    let hosts = format!("{},{}", standby.address(), primary.address());
    let url = primary.url("people").replace(&primary.address(), &hosts);
    let alone = store(&standby.url("people")).exists();
    assert!(matches!(alone, Err(Error::Cluster { why }) if why.contains("standby")), "{alone:?}");
    let engine = open(&url);
    primary.sql("postgres", "alter system set synchronous_standby_names = '*'");
    primary.reload();
    commit(&*engine, put("a", "1"));
    // Whether that commit has waited for the standby depends on when each process of the server has
    // read the setting.
    let written = primary.sql("postgres", "select pg_current_wal_lsn()");
    let follows = format!("select pg_last_wal_replay_lsn() >= '{written}'");
    while standby.sql("postgres", &follows) != "t" {
        thread::park_timeout(Duration::from_millis(20));
    }
    primary.kill();
    standby.sql("postgres", "select pg_promote(true, 60)");
    assert_eq!(engine.reopen().expect("reopen"), Head { term: 2, size: 1 });
    assert_eq!(get(&*engine, b"a"), Some(b"1".to_vec()));
    commit(&*engine, put("a", "2"));
}

/// A port before a server, which closes the first connection and passes on all others.
fn closes_the_first(server: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for from in listener.incoming().skip(1) {
            let from = from.expect("a connection");
            let to = TcpStream::connect(&server).expect("the server");
            let (back_from, back_to) =
                (to.try_clone().expect("a socket"), from.try_clone().expect("a socket"));
            for (mut from, mut to) in [(from, to), (back_from, back_to)] {
                thread::spawn(move || {
                    let copied = std::io::copy(&mut from, &mut to);
                    // The other end is to see that this one has ended.
                    drop((copied, to.shutdown(Shutdown::Write)));
                });
            }
        }
    });
    port
}

/// A host that answers nothing, as one that is cut off, does not keep another one from being asked again
/// that was no primary yet when it was asked first.
#[test]
fn a_host_is_asked_again_while_another_is_silent() {
    let server = Server::start();
    let url = server.database("people");
    // The system takes its connections, and no byte is ever read or sent.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let late = closes_the_first(server.address());
    let hosts = format!("{},127.0.0.1:{late}", silent.local_addr().expect("an address"));
    let found = store(&url.replace(&server.address(), &hosts)).exists();
    assert_eq!(found, Ok(false));
    // Where every host has answered, that is the answer.
    let gone = closes_the_first(server.address());
    let alone = store(&url.replace(&server.address(), &format!("127.0.0.1:{gone}"))).exists();
    assert!(matches!(alone, Err(Error::Database { .. })), "{alone:?}");
}

#[test]
fn a_server_that_may_lose_commits_is_refused() {
    let server = Server::start();
    let store = store(&server.database("people"));
    for (setting, says) in [
        ("synchronous_commit = off", "synchronous_commit"),
        ("default_transaction_read_only = on", "takes no writes"),
    ] {
        server.sql("postgres", &format!("alter database people set {setting}"));
        let refused = store.open();
        assert!(
            matches!(refused, Err(Error::Cluster { why }) if why.contains(says)),
            "{setting}: {refused:?}"
        );
        server.sql("postgres", "alter database people reset all");
    }
    for setting in ["fsync", "full_page_writes"] {
        server.sql("postgres", &format!("alter system set {setting} = off"));
        server.reload();
        let refused = store.open();
        let named = matches!(refused, Err(Error::Cluster { why }) if why.contains(setting));
        assert!(named, "{setting}: {refused:?}");
        server.sql("postgres", &format!("alter system reset {setting}"));
        server.reload();
    }
    assert!(store.open().is_ok());
}

#[test]
fn a_server_that_streams_elsewhere_is_refused() {
    let server = Server::start();
    let url = server.database("people");
    let allows = |network: &str| {
        let access = Access::parse(&url).expect("a URL").with_password(PASSWORD);
        let access = access.with_standbys_in(vec![network.parse().expect("a network")]);
        let owner = Owner::here("eu-fra", "a");
        Postgres::new(access, owner).when_occupied(Occupied::Replace)
    };
    let refusal = |store: Postgres| match store.open() {
        Err(Error::Cluster { why }) => why,
        opened => panic!("{:?}", opened.map(|engine| engine.head())),
    };

    // Nothing streams yet, so the store is opened and written to.
    let engine = allows("10.2.0.0/16").open().expect("open");
    let mut head = engine.head().expect("a head");
    let standby = server.standby();
    server.wait_streams(true);
    // The writer notices by itself, at a heartbeat; whether its user may see the address or not.
    loop {
        match engine.commit(put("k", "v"), head, head.size + 1) {
            Ok(()) => head.size += 1,
            Err(Error::Poisoned) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(matches!(engine.get_many(&[b"k"]), Err(Error::Poisoned)));
    assert!(refusal(allows("127.0.0.0/8")).contains("grant pg_read_all_stats"));
    server.sql("postgres", "grant pg_read_all_stats to bailiwick");
    assert!(refusal(allows("10.2.0.0/16")).contains("`standby_networks` does not name"));

    // Once nothing streams there, the writer goes on with all that it had.
    drop(standby);
    server.wait_streams(false);
    let head = engine.reopen().expect("nothing streams");
    engine.commit(put("k", "w"), head, head.size + 1).expect("a commit");

    // The site's own network is allowed.
    let _standby = server.standby();
    server.wait_streams(true);
    let engine = allows("127.0.0.1").open().expect("open");
    let head = engine.head().expect("a head");
    engine.commit(put("k", "x"), head, head.size + 1).expect("a commit");
    assert!(refusal(allows("127.0.0.2/31")).contains("`standby_networks` does not name"));
}

#[test]
fn another_ones_store_is_refused() {
    let server = Server::start();
    let url = server.database("people");
    drop(open(&url));
    let access = || Access::parse(&url).expect("a URL").with_password(PASSWORD);
    for (region, shard, says) in [("eu-ams", "a", "region"), ("eu-fra", "b", "shard")] {
        let text = str::to_owned;
        let owner = Owner { region: text(region), shard: text(shard), holder: text("it") };
        let refused = Postgres::new(access(), owner).open().expect_err("foreign");
        assert!(matches!(refused, Error::Foreign { why, .. } if why.contains(says)), "{refused}");
    }
    for (column, value, says) in [("cluster", "'12345'", "copy"), ("format", "2", "version")] {
        let keep = server.sql("people", &format!("select {column} from bailiwick.store"));
        server.sql("people", &format!("update bailiwick.store set {column} = {value}"));
        let refused = store(&url).open().expect_err("foreign");
        assert!(matches!(refused, Error::Foreign { why, .. } if why.contains(says)), "{refused}");
        server.sql("people", &format!("update bailiwick.store set {column} = '{keep}'"));
    }
    let wrong = Access::parse(&url).expect("a URL").with_password("wrong");
    let owner = Owner { region: "r".into(), shard: "s".into(), holder: "h".into() };
    let refused = Postgres::new(wrong, owner).open().expect_err("no login");
    assert!(matches!(&refused, Error::Database { state, .. } if state == "28P01"), "{refused}");
    assert!(store(&url).open().is_ok());
}

/// What a server says about rows reaches no error, and settings by which its own log has them show.
#[test]
fn no_value_of_a_row_is_in_an_error() {
    const VALUE: &str = "a-value-that-no-one-may-see";
    let server = Server::start();
    let url = server.database("people");
    let engine = open(&url);
    let small = "alter table bailiwick.rows add constraint small check (octet_length(value) < 9)";
    server.sql("people", small);
    let head = engine.head().expect("head");
    let refused = engine.commit(put("a", VALUE), head, 1).expect_err("refused");
    let text = "the database did not commit (SQLSTATE 23514, constraint small)";
    assert_eq!(refused.to_string(), text);
    assert!(!format!("{refused:?} {engine:?}").contains(VALUE));
    assert_eq!(engine.head(), Ok(head), "nothing has changed, and it goes on");
    commit(&*engine, put("a", "1"));
    let advice = store(&url).advice().expect("advice");
    assert!(advice.iter().all(|advice| !advice.contains("log_parameter")), "{advice:?}");
    for statement in ["log_statement = 'all'", "log_parameter_max_length_on_error = -1"] {
        server.sql("postgres", &format!("alter system set {statement}"));
    }
    server.reload();
    let advice = store(&url).advice().expect("advice");
    assert_eq!(advice.iter().filter(|advice| advice.contains("log_parameter")).count(), 2);
}
