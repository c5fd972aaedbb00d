//! The walls of the house as data: what may be said only where.

/// What a ban looks for in the code of a file, test modules left out.
#[derive(Debug)]
pub(crate) enum Shape {
    /// A path that starts so, after `use` has been resolved.
    Path(&'static str),
    /// A path that ends in a type of this name and one of these functions.
    Maker(&'static str, &'static [&'static str]),
    /// A macro call.
    Macro(&'static str),
    /// The definition of a type or trait of this name.
    Define(&'static str),
    /// These words, one after another.
    Words(&'static [&'static str]),
}

/// Where a ban holds. Places are the starts of paths from the root of the repository.
#[derive(Debug)]
pub(crate) enum Where {
    /// Everywhere but here.
    Outside(&'static [&'static str]),
    /// Only here.
    Inside(&'static [&'static str]),
    /// Only in the first place, and there not in those files.
    InsideBut(&'static str, &'static [&'static str]),
}

/// A thing that may not be said, where, and a line of code that says it: the test of the tests
/// shows for each ban that its example is found.
#[derive(Debug)]
pub(crate) struct Ban {
    pub(crate) shape: Shape,
    pub(crate) holds: Where,
    pub(crate) why: &'static str,
    pub(crate) example: &'static str,
}

const fn ban(shape: Shape, holds: Where, why: &'static str, example: &'static str) -> Ban {
    Ban { shape, holds, why, example }
}

const PURE: Where = Where::Inside(&[
    "crates/terms/",
    "crates/atlas/",
    "crates/evidence/",
    "crates/ledger/",
    "crates/wire/",
]);
const PURE_BUT_WIRE: Where =
    Where::Inside(&["crates/terms/", "crates/atlas/", "crates/evidence/", "crates/ledger/"]);
const DISKLESS: Where = Where::Inside(&[
    "crates/terms/",
    "crates/atlas/",
    "crates/evidence/",
    "crates/ledger/",
    "crates/wire/",
    "crates/gateway/",
]);
const GATEWAY: Where = Where::Inside(&["crates/gateway/"]);
const WIRE: Where = Where::InsideBut(
    "crates/wire/",
    &["crates/wire/src/bounded.rs", "crates/wire/src/status_check.rs"],
);
const ANYWHERE: Where = Where::Outside(&[]);
const SRC: Where = Where::Outside(&["src/"]);
const CLI: Where = Where::Outside(&["src/commands", "src/terminal"]);
const TERMS: Where = Where::Outside(&["crates/terms/"]);
const ATLAS: Where = Where::Outside(&["crates/atlas/"]);
const LINK: Where = Where::Outside(&["crates/link/"]);

const HOOKS: Where = Where::Outside(&["crates/link/src/ops/logging", "crates/engine/src/quiet"]);

const NO_DISK: &str = "this crate touches no disk";
const NO_CLOCK: &str = "pure: time is an argument";
const NO_WAIT: &str = "pure: no async, network or threads of others";
const ONE_CLOCK: &str = "the real clock is read in link only; take a terms::Clock";
const ENVIRONMENT: &str = "the environment is read in src only";
const PRINTING: &str = "printing is for src/terminal";
const GENERATED: &str =
    "wire is generated code, and by hand bounded.rs and status_check.rs, which know no message";
const PANICS: &str = "a panic's payload may hold anything: nobody shows it";
const SEEN: &str = "hides code from this test";

/// The ways to build a `tonic::Status`.
const STATUS_MAKERS: &[&str] = &[
    "new",
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
    "with_details",
    "with_metadata",
    "with_details_and_metadata",
    "with_error_details",
    "with_error_details_vec",
    "from_error",
    "from_error_generic",
    "try_from_error",
    "from",
];

/// All bans.
pub(crate) const BANS: &[Ban] = &[
    // --- no disk
    ban(Shape::Path("std::fs"), DISKLESS, NO_DISK, "use std::{io, fs::{self, File}};"),
    ban(Shape::Path("tokio::fs"), DISKLESS, NO_DISK, "use tokio as t; use t::fs;"),
    ban(Shape::Path("rustix::fs"), DISKLESS, NO_DISK, "rustix::fs::sync();"),
    ban(
        Shape::Path("std::os::unix::fs"),
        DISKLESS,
        NO_DISK,
        "use std::os::unix::fs::OpenOptionsExt;",
    ),
    ban(
        Shape::Maker("File", &["open", "create", "create_new", "options"]),
        DISKLESS,
        NO_DISK,
        "File::create(x);",
    ),
    ban(Shape::Maker("OpenOptions", &["new"]), DISKLESS, NO_DISK, "OpenOptions::new();"),
    ban(
        Shape::Maker("Reader", &["open_readfile", "open_mmap"]),
        DISKLESS,
        "src reads the IP database and hands over its bytes",
        "maxminddb::Reader::open_readfile(x);",
    ),
    ban(Shape::Path("tempfile"), GATEWAY, NO_DISK, "tempfile::tempdir();"),
    ban(Shape::Path("std::process::Command"), DISKLESS, NO_DISK, "std::process::Command::new(x);"),
    ban(Shape::Path("tokio::process"), DISKLESS, NO_DISK, "use tokio::process::Command;"),
    // --- pure
    ban(Shape::Path("tokio"), PURE_BUT_WIRE, NO_WAIT, "use tokio::sync::mpsc;"),
    ban(Shape::Path("tonic"), PURE_BUT_WIRE, NO_WAIT, "use tonic::Request;"),
    ban(Shape::Words(&["async"]), PURE_BUT_WIRE, NO_WAIT, "async fn a() {}"),
    ban(Shape::Words(&["await"]), PURE_BUT_WIRE, NO_WAIT, "a().await;"),
    ban(Shape::Path("std::net::TcpStream"), PURE, NO_WAIT, "std::net::TcpStream::connect(x);"),
    ban(Shape::Path("std::net::TcpListener"), PURE, NO_WAIT, "use std::net::TcpListener as L;"),
    ban(Shape::Path("std::net::UdpSocket"), PURE, NO_WAIT, "std::net::UdpSocket::bind(x);"),
    ban(Shape::Path("std::net::ToSocketAddrs"), PURE, NO_WAIT, "use std::net::ToSocketAddrs;"),
    ban(Shape::Path("std::thread"), PURE, NO_WAIT, "std::thread::spawn(f);"),
    ban(
        Shape::Path("std::time::SystemTime"),
        PURE,
        NO_CLOCK,
        "use std::time::{Duration, SystemTime};",
    ),
    ban(Shape::Path("std::time::Instant"), PURE, NO_CLOCK, "use std::time::*; Instant::now();"),
    ban(
        Shape::Path("tonic"),
        Where::Inside(&["crates/engine/"]),
        "engine knows no RPC",
        "use tonic::Code;",
    ),
    // --- one clock
    ban(
        Shape::Path("std::time::SystemTime::now"),
        LINK,
        ONE_CLOCK,
        "use std::time; time::SystemTime::now();",
    ),
    ban(Shape::Path("std::time::Instant::now"), LINK, ONE_CLOCK, "std::time::Instant::now();"),
    ban(
        Shape::Path("jiff::Timestamp::now"),
        LINK,
        ONE_CLOCK,
        "use jiff::Timestamp; Timestamp::now();",
    ),
    ban(Shape::Path("jiff::Zoned::now"), LINK, ONE_CLOCK, "jiff::Zoned::now();"),
    // --- the environment, printing
    ban(Shape::Path("std::env"), SRC, ENVIRONMENT, "use std::env::var as v; v(x);"),
    ban(
        Shape::Maker(
            "EnvFilter",
            &["from_default_env", "try_from_default_env", "from_env", "try_from_env"],
        ),
        SRC,
        ENVIRONMENT,
        "EnvFilter::from_default_env();",
    ),
    ban(Shape::Macro("println"), CLI, PRINTING, "println!();"),
    ban(Shape::Macro("print"), CLI, PRINTING, "std::print!(x);"),
    ban(Shape::Macro("eprintln"), CLI, PRINTING, "eprintln!(x);"),
    ban(Shape::Macro("eprint"), CLI, PRINTING, "eprint!(x);"),
    ban(Shape::Path("std::io::stdout"), CLI, PRINTING, "use std::io; io::stdout();"),
    ban(
        Shape::Path("std::io::stderr"),
        Where::Outside(&["src/commands", "src/terminal", "crates/link/src/ops/logging"]),
        "errors are printed by src/terminal, logs written by link::ops::logging",
        "std::io::stderr();",
    ),
    // --- what a panic says
    ban(Shape::Path("std::panic::set_hook"), HOOKS, PANICS, "use std::panic; panic::set_hook(x);"),
    ban(Shape::Path("std::panic::take_hook"), HOOKS, PANICS, "std::panic::take_hook();"),
    ban(
        Shape::Path("tokio::task::JoinError"),
        ANYWHERE,
        "its text repeats what the panic said",
        "use tokio::task::{JoinError, spawn};",
    ),
    ban(Shape::Words(&["into_panic"]), ANYWHERE, PANICS, "e.into_panic();"),
    // --- one error mapping
    ban(
        Shape::Maker("Status", STATUS_MAKERS),
        Where::Outside(&[
            "crates/gateway/",
            "crates/link/src/grpc_status.rs",
            "crates/wire/src/status_check.rs",
        ]),
        "a Status is built in link/grpc_status.rs and in the gateway, from a terms::Rejection, and where one \
         cannot be decoded",
        "use tonic::Status as S; S::internal(x);",
    ),
    // --- sole homes of types
    ban(
        Shape::Define("Pii"),
        TERMS,
        "personal data has one wrapper, in terms",
        "pub struct Pii<T>(T);",
    ),
    ban(Shape::Define("Clock"), TERMS, "there is one Clock, in terms", "trait Clock {}"),
    ban(Shape::Define("Entropy"), TERMS, "there is one Entropy, in terms", "trait Entropy {}"),
    ban(Shape::Define("Placement"), ATLAS, "only atlas can make a Placement", "struct Placement;"),
    ban(Shape::Define("Refusal"), ATLAS, "only atlas can make a Refusal", "type Refusal = u8;"),
    // --- wire is generated
    ban(Shape::Words(&["fn"]), WIRE, GENERATED, "fn a() {}"),
    ban(Shape::Words(&["impl"]), WIRE, GENERATED, "impl A {}"),
    ban(Shape::Words(&["struct"]), WIRE, GENERATED, "struct A;"),
    ban(Shape::Words(&["enum"]), WIRE, GENERATED, "enum A {}"),
    ban(Shape::Words(&["trait"]), WIRE, GENERATED, "trait A {}"),
    ban(Shape::Words(&["macro_rules"]), WIRE, GENERATED, "macro_rules! a { () => {} }"),
    // --- nothing that this test cannot follow
    ban(Shape::Words(&["extern", "crate"]), ANYWHERE, SEEN, "extern crate std as s;"),
    ban(Shape::Macro("include"), ANYWHERE, SEEN, "include!(\"x.in\");"),
    ban(Shape::Words(&["#", "[", "path"]), ANYWHERE, SEEN, "#[path = \"x\"] mod a;"),
];
