//! Which of several unknown numbers their sums give away: linear equations, solved exactly.
//!
//! Coefficients are counted modulo a large prime, so that nothing overflows and nothing is
//! rounded; that a determinant is a multiple of the prime by chance is not to be feared with
//! coefficients of 1 and -1 that nobody chose for it.

use std::collections::BTreeMap;

/// An equation: the numbers in it, and whether each adds or takes away.
pub(crate) type Line = Vec<(usize, bool)>;

/// Steps that one answer may take: some tenths of a second.
const STEPS_MAX: usize = 20_000_000;
/// A prime of Mersenne.
const PRIME: u64 = (1 << 61) - 1;

/// Coefficients by number; those that are 0 are left out.
type Row = BTreeMap<usize, u64>;

/// The unknown numbers that the lines determine, when all others are known. None: it would take
/// more than [`STEPS_MAX`].
pub(crate) fn given_away(lines: &[Line], unknown: impl Fn(usize) -> bool) -> Option<Vec<usize>> {
    // Each row has a number that stands in no other row.
    let mut rows: BTreeMap<usize, Row> = BTreeMap::new();
    let mut steps = 0;
    for line in lines {
        let mut row = Row::new();
        for (number, adds) in line.iter().filter(|(number, _)| unknown(*number)) {
            add(&mut row, *number, if *adds { 1 } else { PRIME - 1 });
        }
        let solved: Vec<usize> = row.keys().copied().filter(|n| rows.contains_key(n)).collect();
        for number in solved {
            if let Some(other) = rows.get(&number) {
                steps += take_out(&mut row, number, other);
            }
        }
        let Some((number, coefficient)) = row.iter().next().map(|(n, c)| (*n, *c)) else {
            continue;
        };
        let inverse = power(coefficient, PRIME - 2);
        row.values_mut().for_each(|value| *value = times(*value, inverse));
        for other in rows.values_mut() {
            steps += 1 + take_out(other, number, &row);
        }
        rows.insert(number, row);
        if steps > STEPS_MAX {
            return None;
        }
    }
    let alone = rows.into_iter().filter(|(_, row)| row.len() == 1);
    Some(alone.map(|(number, _)| number).collect())
}

/// Takes as much of `other`, in which `number` has the coefficient 1, out of `row` that `number`
/// is gone. How many steps it took.
fn take_out(row: &mut Row, number: usize, other: &Row) -> usize {
    let Some(factor) = row.get(&number).copied() else { return 0 };
    for (number, coefficient) in other {
        add(row, *number, PRIME - times(factor, *coefficient));
    }
    other.len()
}

fn add(row: &mut Row, number: usize, coefficient: u64) {
    let sum = (row.get(&number).copied().unwrap_or(0) + coefficient) % PRIME;
    if sum == 0 {
        row.remove(&number);
    } else {
        row.insert(number, sum);
    }
}

fn times(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b) % u128::from(PRIME);
    u64::try_from(product).unwrap_or(0)
}

fn power(base: u64, exponent: u64) -> u64 {
    let (mut base, mut exponent, mut power) = (base, exponent, 1);
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = times(power, base);
        }
        base = times(base, base);
        exponent /= 2;
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solved(lines: &[&[(usize, bool)]], unknown: &[usize]) -> Vec<usize> {
        let lines: Vec<Line> = lines.iter().map(|line| line.to_vec()).collect();
        given_away(&lines, |number| unknown.contains(&number)).unwrap()
    }

    #[test]
    fn numbers_that_are_given_away() {
        let (plus, minus) = (true, false);
        // One sum and one unknown; two unknowns.
        assert_eq!(solved(&[&[(0, plus), (1, plus), (2, minus)]], &[0]), [0]);
        assert_eq!(solved(&[&[(0, plus), (1, plus), (2, minus)]], &[0, 1]), [0; 0]);
        // Sum and difference of two.
        let sums: [&[(usize, bool)]; 2] = [&[(0, plus), (1, plus)], &[(0, plus), (1, minus)]];
        assert_eq!(solved(&sums, &[0, 1]), [0, 1]);
        assert_eq!(solved(&[sums[0], sums[0]], &[0, 1]), [0; 0]);
        // Three equations, each with two of three unknowns, give all of them.
        let ring: [&[(usize, bool)]; 3] =
            [&[(0, plus), (1, plus)], &[(1, plus), (2, plus)], &[(2, plus), (0, plus)]];
        assert_eq!(solved(&ring, &[0, 1, 2]), [0, 1, 2]);
    }

    #[test]
    fn inverses_are_inverse() {
        for number in [1, 2, 3, PRIME - 1, 123_456_789] {
            assert_eq!(times(number, power(number, PRIME - 2)), 1);
        }
    }
}
