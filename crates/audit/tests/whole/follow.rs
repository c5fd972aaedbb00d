//! Shards that are followed: which alerts are raised, and what the metrics say.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use audit::follow::{Alert, AlertKind, Settings, Shard, follow};
use client::{Access, Ledger};
use ledger::entry::{Entry, Kind};
use terms::{Clock, UnixMillis};
use tokio::time::sleep;

use crate::support::shard::{Shows, connect};
use crate::support::{Log, ORIGIN, place};

struct Noon;

impl Clock for Noon {
    fn now(&self) -> UnixMillis {
        UnixMillis(1_780_000_000_000)
    }
}

type Alerts = Arc<Mutex<Vec<Alert>>>;

fn kinds(alerts: &Alerts) -> Vec<AlertKind> {
    alerts.lock().expect("a lock").iter().map(|alert| alert.kind).collect()
}

/// Waits until so many alerts were raised.
async fn raised(alerts: &Alerts, count: usize) {
    for _ in 0..500 {
        if alerts.lock().expect("a lock").len() >= count {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("only {:?}", kinds(alerts));
}

#[tokio::test]
async fn what_somebody_must_look_at_is_told_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let metrics = dir.path().join("audit.prom");
    let mut log = Log::new(ORIGIN, 400, "a");
    log.entries[300] = Entry::new(Kind::Map, 7).encode().expect("an entry");
    log.entries[301] = Entry { earlier: Some(999), ..place(1, "a") }.encode().expect("an entry");
    let shown = Shows::of(log);
    shown.lock().expect("a lock").size = 200;
    let away = Ledger::lazy("http://127.0.0.1:1", &Access::default()).expect("an address");
    let shards = vec![
        Shard { name: "here".to_owned(), ledger: connect(&shown).await },
        Shard { name: "away".to_owned(), ledger: away },
    ];
    let settings = Settings {
        place: dir.path().join("mirror"),
        policy: None,
        every: Duration::from_millis(20),
        away_max: Duration::ZERO,
        still_max: None,
        again_after: Duration::from_secs(3600),
        metrics: Some(metrics.clone()),
    };
    std::fs::create_dir(&settings.place).expect("room");
    let alerts = Alerts::default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let told = Arc::clone(&alerts);
    let task = tokio::spawn(async move {
        let mut alert = move |alert: &Alert| told.lock().expect("a lock").push(alert.clone());
        let stopped = async { drop(stopped.await) };
        follow(shards, settings, Arc::new(Noon), &mut alert, stopped).await
    });
    raised(&alerts, 1).await;
    assert_eq!(kinds(&alerts), [AlertKind::Unreachable]);
    let said = alerts.lock().expect("a lock")[0].text.clone();
    assert!(said.ends_with("nothing answers there, or the connection broke: is it running?"));
    shown.lock().expect("a lock").size = 400;
    raised(&alerts, 3).await;
    assert_eq!(kinds(&alerts)[1..], [AlertKind::ClockBack, AlertKind::BadEntry]);
    shown.lock().expect("a lock").size = 100;
    raised(&alerts, 4).await;
    assert_eq!(kinds(&alerts)[3], AlertKind::RolledBack);
    // Looked at many times more, and told no more.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(kinds(&alerts).len(), 4);
    stop.send(()).expect("it runs");
    task.await.expect("no panic").expect("room");
    let text = std::fs::read_to_string(metrics).expect("metrics");
    for line in [
        "bailiwick_audit_up{shard=\"here\"} 1",
        "bailiwick_audit_up{shard=\"away\"} 0",
        "bailiwick_audit_answered_seconds{shard=\"here\"} 1780000000",
        "bailiwick_audit_log_entries{origin=\"test/ru-msk/a/1\"} 400",
        "bailiwick_audit_alerts_total{kind=\"rolled_back\"} 1",
        "bailiwick_audit_alerts_total{kind=\"split_view\"} 0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}
