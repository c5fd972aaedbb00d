//! The kernel's fence around a server: from inside it no file can be written but in the folders
//! that it was given, and its memory reaches no core file and no debugger.
//!
//! The first wall is that a gateway cannot name an engine (tests/walls). This is the second, for
//! the day on which a library, or a hole in one, opens a file after all. Reading stays free, so
//! that certificates and key sets are read again when they change; standard output and standard
//! error are open already and stay so.
//!
//! Landlock binds the thread that asks for it and those that this one starts later. So a server
//! enters on its main thread, before the runtime starts any other. What Landlock does not rule
//! over, a filter of system calls refuses (`attributes`).

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use landlock::{
    ABI, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use crate::host::seccomp::Attributes;
use crate::ops::health::Health;
use crate::ops::metrics::{By, Family, Gauge, Label, Registry};

/// The rights as of this version of Landlock are handled; an older kernel handles what it has.
const RIGHTS: ABI = ABI::V5;
/// From this version on (Linux 6.2) no way to change a file's content is left open: the one
/// before cannot refuse to cut a file off.
const WHOLE: ABI = ABI::V3;
/// A file that may be written anywhere but inside the fence, and that keeps nothing.
const PROBE: &str = "/dev/null";
/// The threads of this process.
const THREADS: &str = "/proc/self/task";

/// A fence that could not be put up at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are other threads already, and they would stay outside.
    #[error("{0} threads run already: the sandbox must be entered before the first is started")]
    TooLate(usize),
    /// A folder in which the server must write cannot be opened.
    #[error("{} cannot be opened", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The thread that tries the fence could not be started.
    #[error("no thread could be started to try the sandbox")]
    Untried(#[source] io::Error),
}

/// What a fence is to hold, and does not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`require_sandbox` is true, and it does not hold here: {0}")]
pub struct Missing(String);

/// A fence: which folders may be written inside it.
#[derive(Debug, Clone)]
pub struct Sandbox {
    writable: Vec<PathBuf>,
    attributes: Attributes,
}

/// The fence of a gateway: nothing is written, nowhere.
pub const fn gateway() -> Sandbox {
    Sandbox { writable: Vec::new(), attributes: Attributes::None }
}

/// The fence of a shard: nothing is written but below these folders, which must exist.
pub fn shard(folders: impl IntoIterator<Item = PathBuf>) -> Sandbox {
    Sandbox { writable: folders.into_iter().collect(), attributes: Attributes::OwnModes }
}

impl Sandbox {
    /// Puts the whole process behind the fence, for good: what this thread starts from now on
    /// stands behind it, too. What the kernel cannot give is missing in the answer.
    ///
    /// # Errors
    /// [`Error::TooLate`] on a process with more than one thread; [`Error::Folder`].
    pub fn enter(&self) -> Result<Facts, Error> {
        match fs::read_dir(THREADS).map(Iterator::count) {
            Ok(threads) if threads > 1 => return Err(Error::TooLate(threads)),
            // Without /proc there is no way to tell; the probe below still tries a thread of its own.
            Ok(_) | Err(_) => {}
        }
        let landlock = self.restrict_thread()?;
        let no_new_privileges = no_new_privileges();
        let (undumpable, no_core_files) = close_memory();
        let tries = || (is_probe_refused(), crate::host::seccomp::is_refused());
        let tried = std::thread::Builder::new().spawn(tries).map_err(Error::Untried)?;
        let (write, no_attributes) = tried.join().unwrap_or((false, false));
        let landlock = landlock.if_refused(write);
        Ok(Facts { landlock, no_attributes, no_new_privileges, undumpable, no_core_files })
    }

    /// What the kernel makes of this fence, tried on a thread that ends afterwards: it changes
    /// nothing here.
    ///
    /// # Errors
    /// [`Error::Folder`]; [`Error::Untried`].
    pub fn tried(&self) -> Result<Landlock, Error> {
        let fence = self.clone();
        let tried = std::thread::Builder::new().spawn(move || {
            let landlock = fence.restrict_thread()?;
            Ok(landlock.if_refused(is_probe_refused()))
        });
        let tried = tried.map_err(Error::Untried)?.join();
        tried.unwrap_or(Ok(Landlock::Off("it could not be tried")))
    }

    /// Puts the calling thread alone behind the fence against writing, and what it starts from
    /// now on: for a thread that is started to try it. What it answers is Landlock's part.
    ///
    /// # Errors
    /// [`Error::Folder`].
    pub fn restrict_thread(&self) -> Result<Landlock, Error> {
        // What the ruleset needs in any case, and what it would set by itself.
        let _told_in_the_facts = no_new_privileges();
        let open = |path: &PathBuf| {
            // Looked at here for the error's sake: the ruleset's own hides what went wrong.
            let found = fs::metadata(path).and_then(|found| match found.is_dir() {
                true => PathFd::new(path).map_err(io::Error::other),
                false => Err(ErrorKind::NotADirectory.into()),
            });
            found.map_err(|source| Error::Folder { path: path.clone(), source })
        };
        let writable = self.writable.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let _told_in_the_facts = crate::host::seccomp::refuse(self.attributes);
        Ok(restrict(writable).unwrap_or(Landlock::Off("the kernel refused the ruleset")))
    }
}

fn restrict(writable: Vec<PathFd>) -> Result<Landlock, RulesetError> {
    let write = AccessFs::from_write(RIGHTS);
    // Neither server runs another program.
    let handled: BitFlags<AccessFs> = write | AccessFs::Execute;
    // And neither has business with the processes beside it: no signals, no abstract sockets. A
    // kernel before 6.12 cannot refuse these, and is not asked for more than it has.
    let scope = Scope::AbstractUnixSocket | Scope::Signal;
    let mut ruleset = Ruleset::default().handle_access(handled)?.scope(scope)?.create()?;
    for folder in writable {
        ruleset = ruleset.add_rule(PathBeneath::new(folder, write))?;
    }
    let status = ruleset.restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::NotEnabled => return Ok(Landlock::Off("Landlock is switched off")),
        LandlockStatus::NotImplemented => return Ok(Landlock::Off("the kernel has no Landlock")),
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    Ok(match status.ruleset {
        RulesetStatus::NotEnforced => Landlock::Off("the kernel did not enforce the ruleset"),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced if abi < WHOLE => {
            Landlock::Partly { abi: abi as i32 }
        }
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => {
            Landlock::On { abi: abi as i32 }
        }
    })
}

/// Whether the kernel refuses this thread a write that any other process may do.
fn is_probe_refused() -> bool {
    match OpenOptions::new().write(true).open(PROBE) {
        Ok(_) => false,
        // Where there is no such file, the kernel's own word must do.
        Err(error) => matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotFound),
    }
}

// === the rest of the process ===

// Each sets, and then asks: what was set is not what counts, but what is.

/// Closes the memory of this process to debuggers and core files: whether it is undumpable, and
/// whether its limit for core files is zero. A part of [`Sandbox::enter`], and for commands that
/// read keys.
pub fn close_memory() -> (bool, bool) {
    (undumpable(), no_core_files())
}

fn no_new_privileges() -> bool {
    let _asked_below = rustix::thread::set_no_new_privs(true);
    rustix::thread::no_new_privs().unwrap_or(false)
}

fn undumpable() -> bool {
    let _asked_below = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    matches!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::NotDumpable))
}

fn no_core_files() -> bool {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _asked_below = rustix::process::setrlimit(Resource::Core, none);
    rustix::process::getrlimit(Resource::Core) == none
}

// === impl Landlock ===

/// What Landlock does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landlock {
    /// Every way to write is refused that the fence does not grant.
    On {
        /// The version of Landlock.
        abi: i32,
    },
    /// Files cannot be opened for writing, made or removed, but one that is there can be cut off.
    Partly {
        /// The version of Landlock.
        abi: i32,
    },
    /// Nothing, and why.
    Off(&'static str),
}

impl Landlock {
    /// The same, if a write inside it was indeed refused.
    const fn if_refused(self, refused: bool) -> Self {
        match self {
            Self::On { .. } | Self::Partly { .. } if !refused => {
                Self::Off("a write was tried inside it and not refused")
            }
            Self::On { .. } | Self::Partly { .. } | Self::Off(_) => self,
        }
    }
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On { abi } => write!(f, "on (landlock abi {abi})"),
            Self::Partly { abi } => {
                write!(f, "partly (landlock abi {abi}: files can be cut off; Linux 6.2 has all)")
            }
            Self::Off(why) => write!(f, "off ({why})"),
        }
    }
}

// === impl Facts ===

/// What holds for this process, as the kernel answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// The fence against writing.
    pub landlock: Landlock,
    /// Extended attributes, owners, and at a gateway modes and times of files cannot be set.
    pub no_attributes: bool,
    /// Nothing that it could run gains rights.
    pub no_new_privileges: bool,
    /// No debugger of the same user can attach, and no core file is written.
    pub undumpable: bool,
    /// The limit for core files is zero, for good.
    pub no_core_files: bool,
}

/// One of the fences, as the label of its metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Fence {
    Landlock,
    NoAttributes,
    NoNewPrivileges,
    Undumpable,
    NoCoreFiles,
}

impl Label for Fence {
    const KEY: &'static str = "fence";

    fn value(&self) -> &str {
        match self {
            Self::Landlock => "landlock",
            Self::NoAttributes => "no_attributes",
            Self::NoNewPrivileges => "no_new_privileges",
            Self::Undumpable => "undumpable",
            Self::NoCoreFiles => "no_core_files",
        }
    }
}

impl Facts {
    fn fences(&self) -> [(Fence, bool); 5] {
        [
            (Fence::Landlock, matches!(self.landlock, Landlock::On { .. })),
            (Fence::NoAttributes, self.no_attributes),
            (Fence::NoNewPrivileges, self.no_new_privileges),
            (Fence::Undumpable, self.undumpable),
            (Fence::NoCoreFiles, self.no_core_files),
        ]
    }

    /// Whether all of it holds.
    pub fn is_whole(&self) -> bool {
        self.fences().iter().all(|(_, holds)| *holds)
    }

    /// Insists on all of it.
    ///
    /// # Errors
    /// [`Missing`], which says what does not hold.
    pub fn require(&self) -> Result<(), Missing> {
        if self.is_whole() { Ok(()) } else { Err(Missing(self.to_string())) }
    }

    /// Tells the operators: on the page of [`Health`], as the metric `bailiwick_sandbox`, and in
    /// the log.
    pub fn announce(&self, health: &Health, registry: &mut Registry) {
        health.set_fact("sandbox", self.to_string());
        let holds = Family::<By<Fence>, Gauge>::default();
        for (fence, yes) in self.fences() {
            holds.get_or_create(&By(fence)).set(i64::from(yes));
        }
        registry.register("sandbox", "Whether the kernel holds this fence of the process", holds);
        if self.is_whole() {
            tracing::info!(sandbox = %self, "the sandbox holds");
        } else {
            tracing::warn!(sandbox = %self, "the sandbox does not hold, or not all of it");
        }
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |holds, yes, no| if holds { yes } else { no };
        write!(
            f,
            "{}, {}, {}, {}, {}",
            self.landlock,
            or(self.no_attributes, "no file attributes", "FILE ATTRIBUTES POSSIBLE"),
            or(self.no_new_privileges, "no new privileges", "NEW PRIVILEGES POSSIBLE"),
            or(self.undumpable, "undumpable", "DUMPABLE"),
            or(self.no_core_files, "no core files", "CORE FILES POSSIBLE"),
        )
    }
}

#[cfg(test)]
mod tests;
