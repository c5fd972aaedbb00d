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

/// What was raised of a shard.
fn kinds(alerts: &Alerts, shard: &str) -> Vec<AlertKind> {
    let alerts = alerts.lock().expect("a lock");
    alerts.iter().filter(|alert| alert.shard == shard).map(|alert| alert.kind).collect()
}

/// Waits until that was raised of a shard.
async fn raised(alerts: &Alerts, shard: &str, kind: AlertKind) {
    for _ in 0..3_000 {
        if kinds(alerts, shard).contains(&kind) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
    panic!("only {:?}", kinds(alerts, shard));
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
        Shard { name: "here".to_owned(), named: None, ledger: connect(&shown).await },
        Shard { name: "away".to_owned(), named: None, ledger: away },
    ];
    let settings = Settings {
        place: dir.path().join("mirror"),
        policy: None,
        entries_max: None,
        every: Duration::from_millis(20),
        // Far longer than a look at `here` takes, on a slow machine too.
        away_max: Duration::from_secs(5),
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
    raised(&alerts, "away", AlertKind::Unreachable).await;
    let said = alerts.lock().expect("a lock").clone();
    let said = said.into_iter().find(|alert| alert.shard == "away").expect("an alert").text;
    assert!(said.starts_with("no look was completed for "), "{said}");
    assert!(said.ends_with("nothing answers there, or the connection broke: is it running?"));
    shown.lock().expect("a lock").size = 400;
    raised(&alerts, "here", AlertKind::BadEntry).await;
    let found = [AlertKind::OnTrust, AlertKind::ClockBack, AlertKind::BadEntry];
    assert_eq!(kinds(&alerts, "here"), found);
    // It answers, and no look at it is completed any more.
    shown.lock().expect("a lock").size = 100;
    raised(&alerts, "here", AlertKind::Unreachable).await;
    let since = [AlertKind::RolledBack, AlertKind::Unreachable];
    assert_eq!(kinds(&alerts, "here")[3..], since);
    // Looked at many times more, and told no more.
    sleep(Duration::from_millis(300)).await;
    assert_eq!(kinds(&alerts, "here").len(), 5);
    assert_eq!(kinds(&alerts, "away").len(), 1);
    stop.send(()).expect("it runs");
    task.await.expect("no panic");
    let text = std::fs::read_to_string(metrics).expect("metrics");
    for line in [
        "bailiwick_audit_up{shard=\"here\"} 0",
        "bailiwick_audit_up{shard=\"away\"} 0",
        "bailiwick_audit_answered_seconds{shard=\"here\"} 1780000000",
        "bailiwick_audit_log_entries{shard=\"here\",origin=\"test/ru-msk/a/1\"} 400",
        "bailiwick_audit_alerts_total{shard=\"here\",kind=\"rolled_back\"} 1",
        "bailiwick_audit_alerts_total{shard=\"here\",kind=\"split_view\"} 0",
    ] {
        assert!(text.lines().any(|own| own == line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn metrics_that_cannot_be_written_keep_nobody_from_looking() {
    let dir = tempfile::tempdir().expect("a folder");
    let shown = Shows::of(Log::new(ORIGIN, 10, "a"));
    let shards =
        vec![Shard { name: "here".to_owned(), named: None, ledger: connect(&shown).await }];
    let settings = Settings {
        place: dir.path().to_owned(),
        policy: None,
        entries_max: None,
        every: Duration::from_millis(20),
        // The metrics are written as often.
        away_max: Duration::from_millis(200),
        still_max: None,
        again_after: Duration::from_secs(3600),
        metrics: Some(dir.path().join("nowhere/audit.prom")),
    };
    let alerts = Alerts::default();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let told = Arc::clone(&alerts);
    let task = tokio::spawn(async move {
        let mut alert = move |alert: &Alert| told.lock().expect("a lock").push(alert.clone());
        let stopped = async { drop(stopped.await) };
        follow(shards, settings, Arc::new(Noon), &mut alert, stopped).await;
    });
    raised(&alerts, "follow", AlertKind::Mirror).await;
    raised(&alerts, "here", AlertKind::OnTrust).await;
    // Written again some times, and told no more.
    sleep(Duration::from_secs(1)).await;
    stop.send(()).expect("it runs");
    task.await.expect("no panic");
    assert_eq!(kinds(&alerts, "follow").len(), 1);
}
