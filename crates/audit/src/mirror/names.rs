//! What a log is called, and its folder.

use std::path::Path;

use crate::folder::Folder;

/// Bytes of one part of an origin at the most.
const PART_BYTES_MAX: usize = 64;

/// The parts of an origin, `<deployment>/<region>/<shard>/<period>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'o> {
    pub(crate) deployment: &'o str,
    pub(crate) region: &'o str,
    pub(crate) shard: &'o str,
    /// From 1.
    pub(crate) period: u64,
}

// === impl Name ===

impl<'o> Name<'o> {
    /// The parts of an origin, if it is one of ours.
    pub(crate) fn of(origin: &'o str) -> Option<Self> {
        let mut parts = origin.split('/');
        let (deployment, region, shard) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = parts.next()?;
        let period: u64 = digits.parse().ok()?;
        let whole = parts.next().is_none()
            && is_name(region)
            && is_name(shard)
            // A deployment may be called like a domain; it is no part of a folder's name.
            && deployment.split('.').all(is_name)
            && period.to_string() == digits;
        whole.then_some(Self { deployment, region, shard, period })
    }

    /// Whether both are of one shard.
    pub(crate) fn same_shard(&self, other: &Name<'_>) -> bool {
        (self.deployment, self.region, self.shard) == (other.deployment, other.region, other.shard)
    }
}

fn is_name(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !part.is_empty() && part.len() <= PART_BYTES_MAX && part.chars().all(plain)
}

/// The folder of the log `origin` below `place`. No two logs of a deployment have one folder: names
/// may have a hyphen in them, and never a dot.
pub fn folder_of(place: &Path, origin: &str) -> Option<Folder> {
    let Name { region, shard, period, .. } = Name::of(origin)?;
    Some(Folder::at(place.join(format!("{region}.{shard}.{period}"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_logs_have_one_folder() {
        let name = |origin| folder_of(Path::new(""), origin).map(|f| f.path().to_owned());
        assert_eq!(name("d/a-b/c/1"), Some("a-b.c.1".into()));
        assert_ne!(name("d/a-b/c/1"), name("d/a/b-c/1"));
        let bad = [
            "",
            "d/a/b",
            "d/a/b/1/2",
            "d/a/b/01",
            "d/a/b/+1",
            "d/a/b/x",
            "d/../b/1",
            "d/a.b/c/1",
            "d\u{202e}/a/b/1",
        ];
        for origin in bad {
            assert_eq!(name(origin), None, "{origin}");
        }
    }
}
