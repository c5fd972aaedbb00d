//! The origin of a log: its name, in four parts.

/// Bytes of one part of an origin at the most.
const PART_BYTES_MAX: usize = 64;

/// The parts of an origin, `<deployment>/<region>/<shard>/<period>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'o> {
    /// The deployment, which may be named like a domain.
    pub deployment: &'o str,
    /// The region.
    pub region: &'o str,
    /// The shard.
    pub shard: &'o str,
    /// The period, from 1.
    pub period: u64,
}

impl<'o> Origin<'o> {
    /// Reads an origin. None: it is not written as our logs write theirs.
    pub fn parse(origin: &'o str) -> Option<Self> {
        let mut parts = origin.split('/');
        let (deployment, region, shard) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = parts.next()?;
        let period: u64 = digits.parse().ok()?;
        let whole = parts.next().is_none()
            && is_name(region)
            && is_name(shard)
            && deployment.split('.').all(is_name)
            && period.to_string() == digits;
        whole.then_some(Self { deployment, region, shard, period })
    }

    /// Whether both are logs of the same shard.
    pub fn same_shard(&self, other: &Origin<'_>) -> bool {
        (self.deployment, self.region, self.shard) == (other.deployment, other.region, other.shard)
    }
}

fn is_name(part: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !part.is_empty() && part.len() <= PART_BYTES_MAX && part.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_text_and_no_part_that_steers_a_path() {
        let origin = Origin::parse("my.domain/a-b/c/12").unwrap();
        assert_eq!((origin.deployment, origin.region, origin.shard), ("my.domain", "a-b", "c"));
        assert_eq!(origin.period, 12);
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
            assert_eq!(Origin::parse(origin), None, "{origin}");
        }
    }
}
