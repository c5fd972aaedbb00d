//! The limit of open files.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft and the hard limit for open files and sockets. None is no limit.
pub fn file_limit() -> (Option<u64>, Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    (current, maximum)
}

/// Raises the limit for open files and sockets to the highest that this process may have, and
/// gives it; none is no limit. The soft one is small by custom (1,024), for programs that cannot
/// deal with more; a server meets it as connections that cannot be taken.
///
/// # Errors
/// What the operating system says; the limit stays as it was then.
pub fn raise_file_limit() -> io::Result<Option<u64>> {
    let (_, maximum) = file_limit();
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(getrlimit(Resource::Nofile).current)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_limit_is_raised_to_the_highest() {
        let (before, most) = file_limit();
        assert_eq!(raise_file_limit().unwrap(), most);
        assert_eq!(file_limit(), (most, most));
        assert!(before.is_none() || most.is_none_or(|most| before <= Some(most)));
    }
}
