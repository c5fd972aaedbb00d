//! What Landlock does not rule over: a file's attributes, mode, owner and times. An extended
//! attribute holds up to 64 KiB, so a server that may set one can write, file opened or not. The
//! kernel's filter of system calls (seccomp) refuses it.
//!
//! Calls by `io_uring` pass no such filter, so `io_uring` is refused as a whole.

use std::collections::BTreeMap;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

/// Who may do what with attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attributes {
    /// Nothing at all: a gateway.
    None,
    /// Modes and times, of what it has made: a shard, whose stores set them.
    OwnModes,
}

/// Calls that write extended attributes, or pass by this filter. `setxattrat` and `removexattrat`
/// have the same number everywhere (Linux 6.13).
const EXTENDED: &[i64] = &[
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    463,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    libc::SYS_fremovexattr,
    466,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_fchown,
    libc::SYS_fchownat,
];

/// Calls that set modes and times. `fchmodat2` has the same number everywhere (Linux 6.6).
const MODES: &[i64] = &[libc::SYS_fchmod, libc::SYS_fchmodat, 452, libc::SYS_utimensat];

/// Older calls for the same, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const OLD: &[i64] = &[
    libc::SYS_chown,
    libc::SYS_lchown,
    libc::SYS_chmod,
    libc::SYS_utime,
    libc::SYS_utimes,
    libc::SYS_futimesat,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[i64] = &[];

/// The same calls under the numbers of the x32 interface, which is of the same architecture.
#[cfg(target_arch = "x86_64")]
const ALSO: Option<i64> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const ALSO: Option<i64> = None;

/// What the filter's numbers mean.
#[cfg(target_arch = "x86_64")]
const ARCH: Option<TargetArch> = Some(TargetArch::x86_64);
#[cfg(target_arch = "aarch64")]
const ARCH: Option<TargetArch> = Some(TargetArch::aarch64);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const ARCH: Option<TargetArch> = None;

/// Refuses these calls to the calling thread, and to those that it starts, for good. Whether they
/// are refused indeed.
pub(super) fn refuse(attributes: Attributes) -> bool {
    let (modes, old): (&[i64], &[i64]) = match attributes {
        Attributes::None => (MODES, OLD),
        Attributes::OwnModes => (&[], &[]),
    };
    let calls: Vec<i64> = EXTENDED.iter().chain(modes).chain(old).copied().collect();
    let _tried_below = program(&calls).map(|program| seccompiler::apply_filter(&program));
    is_refused()
}

/// `EPERM` for these, and everything else as before. `None`: the machine is of a kind that the
/// library does not know.
fn program(calls: &[i64]) -> Option<BpfProgram> {
    let also = calls.iter().filter_map(|call| ALSO.map(|x32| call | x32));
    let rules: BTreeMap<_, _> = calls.iter().copied().chain(also).map(|c| (c, vec![])).collect();
    let refused = SeccompAction::Errno(u32::try_from(libc::EPERM).ok()?);
    SeccompFilter::new(rules, SeccompAction::Allow, refused, ARCH?).ok()?.try_into().ok()
}

/// Whether the calling thread is refused what would otherwise fail for want of a file.
pub(super) fn is_refused() -> bool {
    rustix::fs::removexattr("", "user.bailiwick") == Err(rustix::io::Errno::PERM)
}
