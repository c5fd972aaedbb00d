//! How a count of people's records is told to others: as the ten in which it lies, never exactly.

use std::fmt;

/// The width of a range: a count of one is a person, and so is the difference of two counts.
const STEP: u64 = 10;

/// A range in which a count lies. 0 is told as it is, then come 1 to 9, 10 to 19, 20 to 29.
///
/// Whoever publishes counts rounds each of them from the count itself. A sum is published by
/// [`Rounded::total`], so that its range beside those of its parts says no more of any part. What is
/// known from elsewhere, or from the counts of many periods, may still narrow one down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Rounded {
    /// It is this or more.
    pub at_least: u64,
    /// It is this or less.
    pub at_most: u64,
}

// === impl Rounded ===

impl Rounded {
    /// The ten in which a count lies.
    pub const fn of(count: u64) -> Self {
        if count == 0 {
            return Self { at_least: 0, at_most: 0 };
        }
        let ten = count - count % STEP;
        let at_least = if ten == 0 { 1 } else { ten };
        Self { at_least, at_most: ten.saturating_add(STEP - 1) }
    }

    /// The range of a sum of which only ranges of parts are known.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            at_least: self.at_least.saturating_add(other.at_least),
            at_most: self.at_most.saturating_add(other.at_most),
        }
    }

    /// How a sum is told whose parts are told, too: by its own ten, unless that would say more of a
    /// part than the part's own range does. Nine parts of `1–9` whose sum is 9 are all 1: then the
    /// sum of the ranges is told, which says nothing new.
    #[must_use]
    pub fn total(parts: impl IntoIterator<Item = u64>) -> Self {
        let (mut count, mut sum, mut width) = (0_u64, Self::default(), 0);
        for part in parts {
            let told = Self::of(part);
            count = count.saturating_add(part);
            sum = sum.plus(told);
            width = width.max(told.at_most - told.at_least);
        }
        let own = Self::of(count);
        let tells_more = own.at_least.saturating_add(width) > sum.at_most
            || own.at_most < sum.at_least.saturating_add(width);
        if tells_more { sum } else { own }
    }

    /// Whether the count is 0.
    pub const fn is_none(self) -> bool {
        self.at_most == 0
    }
}

impl fmt::Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { at_most: 0, .. } => f.write_str("none"),
            Self { at_least, at_most } => write!(f, "{at_least}–{at_most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: u64) -> String {
        Rounded::of(count).to_string()
    }

    #[test]
    fn a_count_is_told_as_the_ten_in_which_it_lies() {
        let counts = [0, 1, 9, 10, 11, 19, 20, 100, 12_345];
        let told = counts.map(told);
        let expect =
            ["none", "1–9", "1–9", "10–19", "10–19", "10–19", "20–29", "100–109", "12340–12349"];
        assert_eq!(told, expect);
        assert_eq!(Rounded::of(u64::MAX).at_most, u64::MAX);
        let five = (0..5).fold(Rounded::default(), |sum, _| sum.plus(Rounded::of(9)));
        assert_eq!(five.to_string(), "5–45");
    }

    #[test]
    fn a_total_is_rounded_by_itself_unless_it_says_more_of_a_part() {
        let total = |parts: &[u64]| Rounded::total(parts.iter().copied()).to_string();
        assert_eq!(total(&[14, 25, 36]), "70–79");
        assert_eq!(total(&[]), "none");
        // All ones; a single part; a part that takes the sum's whole range.
        assert_eq!(total(&[1; 9]), "9–81");
        assert_eq!(total(&[7]), "1–9");
        assert_eq!(total(&[19; 10]), "100–190");
    }

    #[test]
    fn ranges_of_parts_and_total_leave_every_part_its_whole_range() {
        // Every two and three small parts: whatever a part's range allows, some others allow too.
        let all = || (0..24_u64).flat_map(|a| (0..24).map(move |b| (a, b)));
        for ((a, b), c) in all().flat_map(|ab| [0, 1, 8, 9, 10, 19].map(|c| (ab, c))) {
            let parts = [a, b, c];
            let total = Rounded::total(parts);
            for (at, _) in parts.iter().enumerate() {
                let own = Rounded::of(parts[at]);
                let others = parts.iter().enumerate().filter(|(other, _)| *other != at);
                let others =
                    others.fold(Rounded::default(), |sum, (_, n)| sum.plus(Rounded::of(*n)));
                let least = total.at_least.saturating_sub(others.at_most);
                let most = total.at_most - others.at_least;
                assert!(least <= own.at_least && own.at_most <= most, "{parts:?} {total}");
            }
        }
    }
}
