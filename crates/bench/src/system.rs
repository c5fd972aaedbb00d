//! What a run asks of the operating system: free ports, and the processor time of a process.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use anyhow::Result;

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Processor time of a process since its start, user and system, in steps of 10 ms.
pub(crate) fn cpu_of(process: &str) -> Duration {
    // Linux shows it in hundredths of a second on every machine.
    const TICK_MS: u64 = 10;
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Its second field is a name in brackets, which may hold anything; utime and stime are the
    // 14th and the 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * TICK_MS)
}
