//! Puts the answers of several shards into one page, in the order that was asked for.

use std::cmp::Ordering;

use atlas::OrderBy;
use terms::limits::LIST_PAGE_BYTES_MAX;
use terms::{Reason, RegionId, ShardId};
use wire::session as proto;

use crate::api::page_token::{Place, ShardPlace};

/// The answer of one shard.
pub(crate) struct Answer {
    pub(crate) region: RegionId,
    /// None: it is not known, since its region is out of reach.
    shard: Option<ShardId>,
    /// Where it was asked to begin.
    place: Place,
    /// None: it is out of reach.
    pub(crate) listed: Option<proto::Listed>,
    /// Why it has not answered, if it was asked.
    pub(crate) missing: Option<Reason>,
    /// Where it goes on after the records that are taken; none: from where it was asked.
    after: Option<bytes::Bytes>,
}

impl Answer {
    pub(crate) const fn new(
        region: RegionId,
        shard: Option<ShardId>,
        place: Place,
        listed: Option<proto::Listed>,
    ) -> Self {
        Self { region, shard, place, listed, missing: None, after: None }
    }

    /// Where the next page goes on. None: this shard is done.
    pub(crate) fn left(&self) -> Option<ShardPlace> {
        let place = match (&self.listed, &self.after) {
            (None, _) => Place::Lost,
            (Some(_), Some(after)) if after.is_empty() => return None,
            (Some(_), Some(after)) => Place::From(after.clone()),
            (Some(_), None) => self.place.clone(),
        };
        // Any name will do for what is lost: it is not asked again.
        let shard = self.shard.clone().or_else(|| ShardId::parse("unknown").ok())?;
        Some(ShardPlace { region: self.region.clone(), shard, place })
    }
}

/// Takes the first records of all answers, at most `page_size` of them.
///
/// In an order, a record is taken only if no shard can have one before it that it has not sent. So
/// a page may be shorter than it could be; of the shard that ends first it takes all.
pub(crate) fn merge(
    answers: &mut [Answer],
    page_size: usize,
    order: Option<&OrderBy>,
) -> Vec<(RegionId, proto::ListedRecord)> {
    let compare = |one: &(Vec<u8>, usize), other: &(Vec<u8>, usize)| {
        let by_value = match order {
            Some(order) if order.descending => other.0.cmp(&one.0),
            Some(_) => one.0.cmp(&other.0),
            None => Ordering::Equal,
        };
        by_value.then(one.1.cmp(&other.1))
    };
    let place = |n: usize, record: &proto::ListedRecord| (record.order.to_vec(), n);
    let with_more = answers.iter().enumerate().filter_map(|(n, answer)| {
        let listed = answer.listed.as_ref().filter(|listed| !listed.next.is_empty())?;
        // Nothing was found in what it looked at: what comes next is not known.
        Some(listed.records.last().map(|last| place(n, last)))
    });
    let ends: Vec<Option<(Vec<u8>, usize)>> =
        if order.is_some() { with_more.collect() } else { Vec::new() };
    let unknown = ends.iter().any(Option::is_none);
    let end = ends.into_iter().flatten().min_by(compare);
    let mut all = Vec::new();
    for (n, answer) in answers.iter_mut().enumerate() {
        let Some(listed) = &mut answer.listed else { continue };
        // Of what was looked at, nothing is left.
        if listed.records.is_empty() {
            answer.after = Some(listed.next.clone());
        }
        all.extend(std::mem::take(&mut listed.records).into_iter().map(|record| (n, record)));
    }
    all.sort_by(|(n, one), (m, other)| compare(&place(*n, one), &place(*m, other)));
    let mut left = vec![0_usize; answers.len()];
    all.iter().for_each(|(n, _)| left.get_mut(*n).into_iter().for_each(|left| *left += 1));
    let (mut taken, mut bytes) = (Vec::new(), 0);
    for (n, record) in all {
        let safe =
            !unknown && end.as_ref().is_none_or(|end| compare(&place(n, &record), end).is_le());
        bytes += record.body.len() + record.attributes.len();
        let fits = taken.is_empty() || bytes <= LIST_PAGE_BYTES_MAX;
        if !safe || !fits || taken.len() >= page_size {
            break;
        }
        let (Some(answer), Some(left)) = (answers.get_mut(n), left.get_mut(n)) else { break };
        *left -= 1;
        let next = answer.listed.as_ref().map(|listed| listed.next.clone());
        answer.after = if *left == 0 { next } else { Some(record.cursor.clone()) };
        taken.push((answer.region.clone(), record));
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(n: usize, values: &[u8], next: &'static str) -> Answer {
        let record = |value: &u8| proto::ListedRecord {
            key: format!("{n}-{value}"),
            order: vec![*value].into(),
            cursor: format!("after {value}").into(),
            ..Default::default()
        };
        let records = values.iter().map(record).collect();
        let listed = proto::Listed { records, next: next.into(), ..Default::default() };
        let region = RegionId::parse(&format!("r{n}")).unwrap();
        let shard = ShardId::parse("s1").ok();
        Answer::new(region, shard, Place::From("from".into()), Some(listed))
    }

    fn order(descending: bool) -> Option<OrderBy> {
        Some(OrderBy { attribute: None, descending })
    }

    fn taken(answers: &mut [Answer], size: usize, order: Option<OrderBy>) -> Vec<String> {
        let taken = merge(answers, size, order.as_ref());
        taken.into_iter().map(|(_, record)| record.key).collect()
    }

    /// Where each of them goes on.
    fn left(answers: &[Answer]) -> Vec<Option<String>> {
        let place = |answer: &Answer| match answer.left()?.place {
            Place::From(from) => Some(String::from_utf8(from.to_vec()).unwrap()),
            Place::Lost => Some("lost".to_owned()),
        };
        answers.iter().map(place).collect()
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn in_an_order_nothing_is_taken_before_what_may_come() {
        let mut answers = [answer(0, &[1, 4, 9], "more"), answer(1, &[2, 4, 5], "more")];
        assert_eq!(taken(&mut answers, 10, order(false)), ["0-1", "1-2", "0-4", "1-4", "1-5"]);
        assert_eq!(left(&answers), [some("after 4"), some("more")]);
        let mut answers = [answer(0, &[9, 4, 1], "more"), answer(1, &[5, 4, 2], "")];
        assert_eq!(
            taken(&mut answers, 10, order(true)),
            ["0-9", "1-5", "0-4", "1-4", "1-2", "0-1"]
        );
        assert_eq!(left(&answers), [some("more"), None]);
        // Of equals, those of the first shard come first: the second's may not pass them.
        let mut answers = [answer(0, &[3], "more"), answer(1, &[3, 3], "more")];
        assert_eq!(taken(&mut answers, 10, order(false)), ["0-3"]);
        assert_eq!(left(&answers), [some("more"), some("from")]);
        // One that has looked and not found yet: it goes on first.
        let mut answers = [answer(0, &[], "more"), answer(1, &[3], "")];
        assert!(taken(&mut answers, 10, order(false)).is_empty());
        assert_eq!(left(&answers), [some("more"), some("from")]);
    }

    #[test]
    fn a_page_ends_at_its_size_and_says_where_each_goes_on() {
        let mut answers = [answer(0, &[1, 2], ""), answer(1, &[1, 2], "more"), answer(2, &[], "")];
        assert_eq!(taken(&mut answers, 3, None), ["0-1", "0-2", "1-1"]);
        assert_eq!(left(&answers), [None, some("after 1"), None]);
        let mut large = answer(0, &[1, 2], "");
        for record in &mut large.listed.as_mut().unwrap().records {
            record.body = vec![0; LIST_PAGE_BYTES_MAX].into();
        }
        let mut answers = [large];
        assert_eq!(taken(&mut answers, 10, None), ["0-1"]);
        assert_eq!(left(&answers), [some("after 1")]);
        let lost = Answer::new(RegionId::parse("r0").unwrap(), None, Place::Lost, None);
        assert_eq!(left(&[lost]), [some("lost")]);
    }
}
