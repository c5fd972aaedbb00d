//! Every person that two maps can tell apart, with at most so many findings.

use super::classes::Class;
use crate::{Aspect, Country, EvidenceKind, Finding, Findings};

/// What is known of a person in one aspect.
type Known = Vec<Finding>;

/// The kind of evidence that stands for an aspect: of which kind it is plays no part in a ruling.
pub(super) const fn kind(aspect: Aspect) -> EvidenceKind {
    match aspect {
        Aspect::Resident => EvidenceKind::Residence,
        Aspect::Citizen => EvidenceKind::Citizenship,
        Aspect::Present => EvidenceKind::CollectedIn,
        Aspect::Contact => EvidenceKind::Phone,
    }
}

/// What can be known in one aspect, by number of findings: nothing; one country of each class, or
/// no citizenship; two countries of different classes, in either order of their codes.
///
/// Three countries in one aspect, of three classes, are not asked about.
///
/// Two of one class are as good as one of it: every rule asks whether *some* country of an aspect
/// is covered, or which one comes first. For the order within an aspect is that of the codes, so
/// two classes count in both orders, wherever there are countries with such codes.
fn known(aspect: Aspect, classes: &[Class]) -> [Vec<Known>; 3] {
    let kind = kind(aspect);
    let of = |countries: &[Country]| -> Known {
        countries.iter().map(|country| Finding::new(kind, *country)).collect()
    };
    let one = classes.iter().filter_map(|class| Some(of(&[class.first()?])));
    let stateless = Finding::stateless(kind).map(|finding| vec![finding]);
    let pairs = classes.iter().flat_map(|one| classes.iter().map(move |other| (*one, *other)));
    let two = pairs.filter(|(one, other)| one != other).filter_map(|(one, other)| {
        // The first of one and the last of the other: they stand in this order if any two do.
        let (one, other) = (one.first()?, other.last()?);
        (one < other).then(|| of(&[one, other]))
    });
    [vec![of(&[])], one.chain(stateless).collect(), two.collect()]
}

/// The numbers of findings in each aspect that sum up to `findings`. Contacts are left out
/// where there is residence or presence: there they play no part.
fn shapes(findings: usize) -> impl Iterator<Item = [usize; 4]> {
    // People whose residence is known come first.
    (0..81_usize)
        .rev()
        .map(|n| [n / 27, n / 9 % 3, n / 3 % 3, n % 3])
        .filter(move |shape| shape.iter().sum::<usize>() == findings)
        .filter(|[resident, _, present, contact]| *contact == 0 || resident + present == 0)
}

/// The people of some classes of countries.
#[derive(Debug)]
pub(super) struct People {
    /// In the order of [`Aspect::ALL`].
    known: Vec<[Vec<Known>; 3]>,
}

impl People {
    pub(super) fn new(classes: &[Class]) -> Self {
        Self { known: Aspect::ALL.iter().map(|aspect| known(*aspect, classes)).collect() }
    }

    /// What can be known in each aspect, for a shape.
    fn parts(&self, shape: [usize; 4]) -> Vec<&[Known]> {
        self.known.iter().zip(shape).filter_map(|(all, n)| all.get(n).map(Vec::as_slice)).collect()
    }

    /// How many there are with that number of findings.
    pub(super) fn count(&self, findings: usize) -> usize {
        let of = |shape| {
            let sizes = self.parts(shape).into_iter().map(<[Known]>::len);
            sizes.fold(1, usize::saturating_mul)
        };
        shapes(findings).map(of).fold(0, usize::saturating_add)
    }

    /// Those with that number of findings.
    pub(super) fn with(&self, findings: usize) -> impl Iterator<Item = Vec<Finding>> {
        shapes(findings).flat_map(move |shape| {
            let parts = self.parts(shape);
            let count: usize = parts.iter().map(|part| part.len()).product();
            (0..count).map(move |mut n| {
                let mut person = Vec::with_capacity(findings);
                for part in &parts {
                    if let Some(known) = part.get(n % part.len().max(1)) {
                        person.extend_from_slice(known);
                    }
                    n /= part.len().max(1);
                }
                person
            })
        })
    }
}

/// A person's findings as they are ruled upon.
pub(super) fn findings(person: &[Finding]) -> Findings {
    let mut findings = Findings::new();
    for finding in person {
        // A handful: there is room.
        let _new = findings.insert(*finding);
    }
    findings
}

/// A person in words: not a real one, but a country of each class.
pub(super) fn words(person: &[Finding], classes: &[Class]) -> String {
    let one = |finding: &Finding| {
        let Some(country) = finding.country() else {
            return "citizen of no country".to_owned();
        };
        let class = classes.iter().find(|class| class.contains(country));
        let place = class.map_or_else(|| country.to_string(), |class| class.name(country));
        match finding.aspect() {
            Aspect::Resident => format!("lives in {place}"),
            Aspect::Citizen => format!("citizen of {place}"),
            Aspect::Present => format!("is in {place}"),
            Aspect::Contact => format!("has a number of {place}"),
        }
    };
    if person.is_empty() {
        return "nothing is known".to_owned();
    }
    person.iter().map(one).collect::<Vec<_>>().join(", ")
}
