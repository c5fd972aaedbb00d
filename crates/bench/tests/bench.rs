//! `bailiwick-bench` measures what it states: with real certificates and tokens, and with a
//! neighbour that is refused where it has a limit. Figures are for release builds; here only what
//! must hold at any speed is checked.
//!
//! It starts the `bailiwick` that lies beside it, which a test of the whole workspace builds.

use std::process::Command;

use serde_json::Value;

/// What a run printed, and its exit code.
#[derive(Debug)]
struct Done {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(args: &[&str]) -> Done {
    let done = Command::new(env!("CARGO_BIN_EXE_bailiwick-bench")).args(args).output();
    let done = done.expect("the load generator starts");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Done {
        code: done.status.code().expect("an exit code"),
        stdout: text(done.stdout),
        stderr: text(done.stderr),
    }
}

/// One short run of a mode, whose costs may be so high.
fn lines(mode: &str, at_most: &str, code: i32) -> Vec<Value> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let short = ["--seconds", "1", "--in-flight", "16", "--engines", "fjall", "--body", "64"];
    let done =
        run(&[&[mode, "--json", "--at-most", at_most, "--folder", stores], &short[..]].concat());
    assert_eq!(done.code, code, "{done:?}");
    assert_eq!(done.stderr.contains("above 0.001: "), code == 1, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    assert!(lines.iter().all(|line| line["per_second"].as_f64() > Some(0.0)), "{lines:?}");
    lines
}

#[test]
fn puts_with_tls_and_a_token_are_measured_beside_plaintext() {
    let lines = lines("--secure", "1000", 0);
    assert_eq!(lines.len(), 6, "{lines:?}");
    for pair in lines.chunks(2) {
        assert_eq!(pair[0]["what"], "fjall: put in plaintext");
        assert_eq!(pair[1]["what"], "fjall: put with TLS and a token");
        assert!(pair.iter().all(|line| line["failed"] == 0), "{pair:?}");
        assert!(pair[1]["cost"].as_f64() > Some(0.0), "{pair:?}");
    }
}

#[test]
fn a_neighbour_at_its_limit_is_refused_and_the_other_tenant_is_not() {
    let lines = lines("--neighbours", "0.001", 1);
    let what: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    assert_eq!(
        what,
        [
            "fjall: put alone",
            "fjall: put beside a neighbour at its limit",
            "fjall: the neighbour at its limit",
            "fjall: put alone",
            "fjall: put beside a neighbour without a limit",
            "fjall: the neighbour without a limit",
        ]
    );
    let failed: Vec<bool> = lines.iter().map(|line| line["failed"] != 0).collect();
    assert_eq!(failed, [false, false, true, false, false, false], "{lines:?}");
    // What the limit allows, and what has gathered before the measurement begins.
    assert!(lines[2]["per_second"].as_f64() <= Some(1000.0), "{lines:?}");
}

/// Each write on PostgreSQL has a cost: the rate of single rows that pgbench inserts on the same server,
/// over its own.
#[test]
fn writes_on_postgresql_are_measured_beside_pgbench_on_the_same_server() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let what = ["--engines", "postgres", "--peers", "postgresql", "--calls", "put,stream"];
    let few = ["--seconds", "1", "--rounds", "1", "--in-flight", "16", "--body", "64"];
    let done =
        run(&[&["--json", "--at-most", "0.001", "--folder", stores], &what[..], &few].concat());
    assert_eq!(done.code, 1, "{done:?}");
    assert!(done.stderr.contains("above 0.001: postgres: put, 16 in flight: "), "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let names: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    let kinds = [
        "bare pair, unary",
        "bare pair, stream",
        "PostgreSQL: insert of a row",
        "PostgreSQL: insert of 256 rows",
        "put",
        "StreamPut",
    ];
    assert_eq!(names, kinds.map(|kind| format!("postgres: {kind}")));
    for line in &lines {
        assert!(line["per_second"].as_f64() > Some(0.0) && line["failed"] == 0, "{line}");
        let written =
            ["postgres: put", "postgres: StreamPut"].contains(&line["what"].as_str().unwrap());
        assert_eq!(line["cost"].as_f64() > Some(0.0), written, "{line}");
    }
}

/// The pair and Bailiwick in turns, for longer than a connection lasts whose end is not known.
#[test]
fn five_rounds_beside_the_bare_pair_come_to_medians_and_processor_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let few = ["--seconds", "1", "--in-flight", "16", "--engines", "fjall", "--folder", stores];
    let done = run(&[&["--json", "--rounds", "5"], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let what: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    let kinds = ["bare pair, unary", "bare pair, stream", "put", "SDK put", "get", "StreamPut"];
    assert_eq!(what, kinds.map(|kind| format!("fjall: {kind}")));
    for line in &lines {
        let rate = line["per_second"].as_f64();
        assert!(rate >= line["spread"][0].as_f64() && rate <= line["spread"][1].as_f64(), "{line}");
        assert!(rate > Some(0.0) && line["failed"] == 0, "{line}");
        let cpu = line["cpu_us"].as_array().expect("three processes");
        assert!(cpu.len() == 3 && cpu[..2].iter().all(|us| us.as_f64() > Some(0.0)), "{line}");
        let bare = line["what"].as_str().is_some_and(|what| what.contains("bare"));
        assert_eq!(line["ratio"].is_null(), bare, "{line}");
    }
    assert_eq!(done.stderr.matches("round 5 of 5").count(), 1, "{}", done.stderr);
}

/// One round of every kind of call, beside both pairs, at two sizes: what was put is read back and
/// its receipts are checked by the run itself, which fails otherwise.
#[test]
fn every_kind_of_call_is_measured_beside_both_pairs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let what = ["--calls", "put,get,mixed,overwrite,stream", "--body", "64,5000", "--tuned"];
    let few = ["--seconds", "1", "--rounds", "1", "--in-flight", "16", "--engines", "fjall"];
    let done = run(&[&["--json", "--folder", stores], &what[..], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let names: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    let kinds = [
        "bare pair, unary",
        "tuned bare pair, unary",
        "bare pair, stream",
        "tuned bare pair, stream",
        "put",
        "get",
        "mixed 1:9",
        "overwrite",
        "StreamPut",
    ];
    let wanted = ["64", "5000"].map(|size| kinds.map(|kind| format!("fjall: {size} B: {kind}")));
    assert_eq!(names, wanted.concat());
    for line in &lines {
        assert!(line["failed"] == 0 && line["per_second"].as_f64() > Some(0.0), "{line}");
        let bare = line["what"].as_str().is_some_and(|what| what.contains("bare"));
        assert_eq!(line["server_ratio"].is_null(), bare, "{line}");
        assert_eq!(line["server_ratio_tuned"].is_null(), bare, "{line}");
    }
}

/// Both sizes are of one store, whose records are still there after its shard was killed: the run
/// itself fails where one of them is not read back.
#[test]
fn a_store_is_measured_as_it_grows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let few = ["--seconds", "1", "--in-flight", "16", "--engines", "fjall", "--folder", stores];
    let done = run(&[&["--json", "--grow", "1,2"], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let what: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    assert_eq!(what, ["fjall: put", "fjall: get", "fjall: put", "fjall: get"]);
    let records: Vec<u64> = lines.iter().filter_map(|line| line["records"].as_u64()).collect();
    assert!(records[0] >= 1 && records[0] == records[1] && records[1] < records[2], "{records:?}");
    for line in &lines {
        assert!(line["failed"] == 0 && line["per_second"].as_f64() > Some(0.0), "{line}");
        let is_last = line["what"] == "fjall: get";
        assert_eq!(line["start_s"].as_f64() > Some(0.0), is_last, "{line}");
        assert_eq!(line["disk_mib"].as_u64() > Some(0), is_last, "{line}");
    }
}

/// The answers are those that the store must give: the run itself fails where one is not.
#[test]
fn lists_counts_and_indexes_are_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let few = ["--seconds", "1", "--rounds", "1", "--in-flight", "16", "--engines", "fjall"];
    let done = run(&[&["--json", "--lists", "30", "--folder", stores], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let what: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    let wanted = [
        "fjall: list by an exact attribute, page of 100",
        "fjall: list in the order of a range attribute, page of 100",
        "fjall: count of the collection",
        "fjall: count by an exact attribute",
        "fjall: count of the older half by a range attribute",
        "fjall: put without attributes",
        "fjall: put with three indexed",
    ];
    assert_eq!(what, wanted);
    for line in &lines {
        assert!(line["failed"] == 0 && line["per_second"].as_f64() > Some(0.0), "{line}");
        assert!(line["p50_ms"].as_f64() <= line["p99_ms"].as_f64(), "{line}");
        assert_eq!(line["records"], 300, "{line}");
        let indexed = line["what"] == "fjall: put with three indexed";
        assert_eq!(line["cost"].as_f64() > Some(0.0), indexed, "{line}");
    }
}

/// An open loop sends what is due and no more, whatever the server could take.
#[test]
fn an_open_loop_keeps_its_rate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let few = ["--seconds", "1", "--rounds", "1", "--in-flight", "16", "--engines", "fjall"];
    let what = ["--calls", "put", "--rate", "50", "--folder", stores];
    let done = run(&[&["--json"], &what[..], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let put = lines.iter().find(|line| line["what"] == "fjall: 50/s: put").expect("a line");
    let rate = put["per_second"].as_f64().expect("a rate");
    assert!(rate <= 51.0, "{put}");
    assert!(put["p50_ms"].as_f64() <= put["max_ms"].as_f64(), "{put}");
}

/// What an overload comes to depends on the machine; that each part is measured, and that what is sent
/// again is answered, does not.
#[test]
fn an_overload_is_measured_with_what_comes_before_and_after() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stores = folder.path().join("stores");
    let stores = stores.to_str().expect("text");
    let few = ["--seconds", "3", "--in-flight", "16", "--engines", "fjall", "--folder", stores];
    let done = run(&[&["--json", "--overload", "2"], &few[..]].concat());
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<Value> = serde_json::from_str(&done.stdout).expect("an answer in JSON");
    let what: Vec<&str> = lines.iter().filter_map(|line| line["what"].as_str()).collect();
    let [peak, before, over, refused, after, again] = what[..] else { panic!("{what:?}") };
    assert_eq!((peak, before), ("fjall: puts, peak", "fjall: half the peak, before"));
    assert!(over.contains(" times the peak, done: ") && refused.ends_with("refused"), "{what:?}");
    assert!(after.contains("after: as before ") && again.ends_with("sent again"), "{what:?}");
    for done in [0, 2, 5] {
        assert!(lines[done]["per_second"].as_f64() > Some(0.0), "{lines:?}");
    }
    assert!(lines[5]["cost"].as_f64() > Some(0.0), "{lines:?}");
}
