//! Keeps small counts back, and enough others that no sums give them away.
//!
//! Cells stand in lines: in each, they add up to something known. A line with one cell kept back
//! would give it away, so another is kept back with it, and what is kept back in one line is never
//! less than [`SMALL`] together. Then all lines are solved together, and where they still determine
//! a small count, more is kept back. Whoever knows a count from elsewhere may still narrow one down.

use super::figure::{SMALL, Value};
use super::solve::{Line, given_away};

/// How often all lines are solved together.
const ROUNDS_MAX: usize = 64;

/// Cells and the lines in which they stand.
pub(crate) struct Cells<'a, D> {
    /// The counts.
    pub(crate) counts: &'a [u64],
    /// The lines.
    pub(crate) lines: &'a [Line],
    /// Of those in a line, one that is less dear is kept back before one that is more; of two
    /// that are equally dear the smaller; zeros come last.
    pub(crate) dear: D,
}

impl<D: Fn(usize) -> usize> Cells<'_, D> {
    /// What is shown of each cell.
    pub(crate) fn suppress(&self) -> Vec<Value> {
        let small = |count: &u64| (1..SMALL).contains(count);
        let shown = |count| if small(count) { Value::Small } else { Value::Count(*count) };
        let mut shown: Vec<Value> = self.counts.iter().map(shown).collect();
        for _ in 0..ROUNDS_MAX {
            // Every turn keeps back at least one cell more, so there is an end.
            while self.lines.iter().fold(false, |more, line| more | self.guard(line, &mut shown)) {}
            let unknown = |cell: usize| shown.get(cell).is_some_and(|it| it.count().is_none());
            let Some(mut away) = given_away(self.lines, unknown) else { break };
            away.retain(|cell| shown.get(*cell) == Some(&Value::Small));
            let Some(cell) = away.first() else { return shown };
            self.one_more(*cell, &mut shown);
        }
        // Too much to be sure of: then nothing is shown.
        self.keep_all(&mut shown);
        shown
    }

    /// In what order cells are kept back.
    fn rank(&self, cell: usize) -> (bool, usize, u64, usize) {
        let count = self.counts.get(cell).copied().unwrap_or(0);
        (count == 0, (self.dear)(cell), count, cell)
    }

    /// Keeps back what one line needs. Whether anything was.
    fn guard(&self, line: &Line, shown: &mut [Value]) -> bool {
        let mut changed = false;
        loop {
            let (mut kept, mut sum, mut next) = (0_usize, 0_u64, None);
            for (cell, _) in line {
                let (Some(value), Some(count)) = (shown.get(*cell), self.counts.get(*cell)) else {
                    continue;
                };
                if value.count().is_some() {
                    let candidate = self.rank(*cell);
                    next = Some(next.map_or(candidate, |best| candidate.min(best)));
                } else {
                    kept += 1;
                    sum = sum.saturating_add(*count);
                }
            }
            let enough = kept == 0 || (kept > 1 && sum >= SMALL);
            let Some((nothing, .., cell)) = next.filter(|_| !enough) else { return changed };
            if nothing && kept > 1 {
                return changed;
            }
            keep(cell, shown);
            changed = true;
        }
    }

    /// Keeps back one cell more of the lines of a cell that is given away; where there is none,
    /// everything.
    fn one_more(&self, away: usize, shown: &mut [Value]) {
        let lines = self.lines.iter().filter(|line| line.iter().any(|(cell, _)| *cell == away));
        let cells = lines.flatten().map(|(cell, _)| *cell);
        let open = |cell: &usize| shown.get(*cell).is_some_and(|value| value.count().is_some());
        match cells.filter(open).min_by_key(|cell| self.rank(*cell)) {
            Some(cell) => keep(cell, shown),
            None => self.keep_all(shown),
        }
    }

    fn keep_all(&self, shown: &mut [Value]) {
        (0..self.counts.len()).for_each(|cell| keep(cell, shown));
    }
}

fn keep(cell: usize, shown: &mut [Value]) {
    if let Some(value) = shown.get_mut(cell)
        && value.count().is_some()
    {
        *value = Value::Withheld;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(counts: &[u64], lines: &[&[usize]], dear: impl Fn(usize) -> usize) -> String {
        // In each line the last is the sum of the others.
        let line = |line: &&[usize]| -> Line {
            line.iter().enumerate().map(|(at, cell)| (*cell, at + 1 < line.len())).collect()
        };
        let lines: Vec<Line> = lines.iter().map(line).collect();
        let shown = Cells { counts, lines: &lines, dear }.suppress();
        shown.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_small_count_is_not_shown_and_nothing_is() {
        assert_eq!(shown(&[0, 1, 9, 10], &[], |_| 0), "0 <10 <10 10");
    }

    #[test]
    fn a_sum_does_not_give_it_away() {
        let one: &[&[usize]] = &[&[0, 1, 2, 3]];
        // The least other count goes with it, whether it is a part or the sum.
        assert_eq!(shown(&[3, 40, 50, 93], one, |_| 0), "<10 * 50 93");
        // Two small ones guard each other only if together they are not small.
        assert_eq!(shown(&[1, 1, 50, 52], one, |_| 0), "<10 <10 * 52");
        assert_eq!(shown(&[6, 6, 50, 62], one, |_| 0), "<10 <10 50 62");
        // A sum of one part is that part.
        assert_eq!(shown(&[6, 0, 6], &[&[0, 1, 2]], |_| 0), "<10 0 <10");
        // Where the others are nothing, one of them goes.
        assert_eq!(shown(&[3, 0], &[&[0, 1]], |_| 0), "<10 *");
    }

    #[test]
    fn what_is_dear_goes_after_what_is_not() {
        let one: &[&[usize]] = &[&[0, 1, 2, 3]];
        assert_eq!(shown(&[3, 500, 20, 30], one, |cell| cell), "<10 * 20 30");
        assert_eq!(shown(&[3, 0, 20, 30], one, |cell| cell), "<10 0 * 30");
    }

    #[test]
    fn what_one_line_keeps_back_another_guards() {
        // Two rows, two columns, sums: one small cell takes a rectangle with it.
        let cells = [3, 20, 23, 30, 40, 70, 33, 60, 93];
        let lines: [&[usize]; 6] =
            [&[0, 1, 2], &[3, 4, 5], &[6, 7, 8], &[0, 3, 6], &[1, 4, 7], &[2, 5, 8]];
        assert_eq!(shown(&cells, &lines, |_| 0), "<10 * 23 * * 70 33 60 93");
    }

    #[test]
    fn what_lines_together_give_away_is_guarded_too() {
        // Three cells, two in each line: no line gives one away, and all of them do.
        let cells = [5, 6, 7, 11, 13, 12, 400];
        let lines: [&[usize]; 3] = [&[0, 1, 3], &[1, 2, 4], &[2, 0, 5]];
        assert_eq!(shown(&cells, &lines, |_| 0), "<10 <10 <10 * 13 12 400");
    }
}
