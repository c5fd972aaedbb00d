//! Two things side by side on one machine: TLS with tokens beside plaintext, and a tenant with a
//! neighbour beside the same tenant alone.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::line::Line;
use crate::load::{Load, Target};
use crate::processes::{NEIGHBOUR, Programs, Served, Setup};
use crate::{Options, warn};

/// Turns of each side. Machines change their speed while they are measured: both feel it.
const TURNS: [&str; 3] = ["a", "b", "c"];
/// What the neighbour may do, where it is held to something.
const LIMITS: &str = "[limits]\n[[limits.tenants]]\nname = \"neighbour\"\ncalls_in_flight = 8\n\
                      calls_per_second = 500\n";
/// What the neighbour may do, where it is held to nothing that it reaches.
const NO_LIMITS: &str = "[limits]\n[[limits.tenants]]\nname = \"neighbour\"\n\
                         calls_in_flight = 8192\ncalls_per_second = 1000000\n";

/// Puts in plaintext and with TLS and tokens, in turns. The cost of a put with both is the rate
/// in plaintext over its own, each over all turns.
pub(crate) async fn secure(options: &Options, load: &Load) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let mut lines = Vec::new();
    let server = options.server(&[])?;
    for engine in &options.engines {
        for in_flight in &options.in_flight {
            warn(format!("plaintext beside TLS and tokens on {engine}, {in_flight} in flight"));
            let start = |secure| {
                let setup = Setup { engine, server: server.as_ref(), secure, limits: "" };
                Served::start(&programs, &options.folder, setup)
            };
            let (plain, with_tls) = (start(false)?, start(true)?);
            let (plain_caller, secure_caller) = (plain.caller()?, with_tls.caller()?);
            let (mut before, mut after) = (0.0, 0.0);
            let none = Arc::default();
            for run in TURNS {
                let put =
                    load.put(&plain_caller, *in_flight, Target::Bailiwick, run, &none).await?;
                before += put.per_second;
                lines.push(Line::new(&format!("{engine}: put in plaintext"), *in_flight, &put));
                let put =
                    load.put(&secure_caller, *in_flight, Target::Bailiwick, run, &none).await?;
                after += put.per_second;
                let name = format!("{engine}: put with TLS and a token");
                let own = Line::new(&name, *in_flight, &put);
                let resident_mib = Some(with_tls.resident_mib());
                // So far: the last one is that of all turns.
                let judged = TURNS.last() == Some(&run);
                lines.push(Line { cost: Some(before / after), judged, resident_mib, ..own });
            }
        }
    }
    Ok(lines)
}

/// One tenant's puts: alone, beside a neighbour at its limit, and beside one without a limit.
pub(crate) async fn neighbours(options: &Options, load: &Load) -> Result<Vec<Line>> {
    let programs = Programs::find(options.bailiwick.as_deref())?;
    let mut lines = Vec::new();
    let server = options.server(&[])?;
    for engine in &options.engines {
        for in_flight in &options.in_flight {
            warn(format!("neighbours on {engine}, {in_flight} in flight"));
            for (limits, what) in [(LIMITS, "at its limit"), (NO_LIMITS, "without a limit")] {
                let setup = Setup { engine, server: server.as_ref(), secure: true, limits };
                let served = Served::start(&programs, &options.folder, setup)?;
                let judged = limits == LIMITS;
                lines.extend(beside(&served, load, engine, *in_flight, what, judged).await?);
            }
        }
    }
    Ok(lines)
}

async fn beside(
    served: &Served,
    load: &Load,
    engine: &str,
    in_flight: usize,
    what: &str,
    judged: bool,
) -> Result<[Line; 3]> {
    let credentials =
        served.credentials.as_ref().context("neighbours are told apart by their tokens")?;
    let (caller, access) = (served.caller()?, credentials.access(NEIGHBOUR)?);
    let none = Arc::default();
    let alone = load.put(&caller, in_flight, Target::Bailiwick, "a", &none).await?;
    // The neighbour has four times as many calls in flight.
    let (pressed, press) = tokio::try_join!(
        load.put(&caller, in_flight, Target::Bailiwick, "b", &none),
        load.press(&served.url, &access, in_flight * 4, "n"),
    )?;
    let own = Line::new(&format!("{engine}: put beside a neighbour {what}"), in_flight, &pressed);
    let cost = Some(alone.per_second / pressed.per_second);
    Ok([
        Line::new(&format!("{engine}: put alone"), in_flight, &alone),
        Line { cost, judged, ..own },
        Line::new(&format!("{engine}: the neighbour {what}"), in_flight * 4, &press),
    ])
}
