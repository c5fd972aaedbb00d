//! A region over a real cluster of PostgreSQL, Patroni and etcd, for a short time. `tests/long/ha` runs
//! the same for longer, in networks that can be cut.

use std::process::{Command, Stdio};

use crate::support::file;
use crate::support::process::BINARY;

/// The primary is switched over, and dies with its Patroni and without: every write that was
/// acknowledged is there with its entry, a retry settles what was not known, and the log verifies.
#[test]
fn a_region_outlives_the_primaries_of_its_database() {
    let mut trial = Command::new("python3");
    trial.arg(file("tests/ha/run.py")).args(["--binary", BINARY, "--writers", "8"]);
    trial.args(["--switchovers", "1", "--kills", "2", "--partitions", "0", "--hangs", "0"]);
    let done = trial.stdin(Stdio::null()).output().expect("python3 is there");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (said(&done.stdout), said(&done.stderr));
    assert!(done.status.success(), "{stdout}\n{stderr}");
    assert!(
        stdout.contains("writes were acknowledged and are there, with their entries"),
        "{stdout}"
    );
}
