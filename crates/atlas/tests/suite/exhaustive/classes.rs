//! What a map can tell apart: countries, tenants and days, one class each.

use std::collections::BTreeMap;

use atlas::Date;

use crate::exhaustive::naive::lies_in;
use crate::exhaustive::text::{Clause, Law, Text};

/// The first and the last of each class, by `name`, in their order.
fn ends<Mark: Ord, Item: Ord + Clone>(classes: BTreeMap<Mark, Vec<Item>>) -> Vec<Item> {
    let mut found: Vec<Item> = Vec::new();
    for class in classes.into_values() {
        found.extend(class.first().cloned());
        found.extend(class.last().cloned());
    }
    found.sort();
    found.dedup();
    found
}

/// Countries that no law, home or clause tells apart are one class. Of each class come the first
/// and the last by code: the rules look for the first country, by code, of those that suit, so
/// with these two every class stands before every other that it can stand before.
pub(crate) fn countries(map: &Text, all: &[String]) -> (usize, Vec<String>) {
    let mut named: Vec<&str> = map.homes.keys().map(String::as_str).collect();
    for Law { jurisdiction, deny, .. } in &map.laws {
        named.push(jurisdiction);
        named.extend(deny.iter().map(String::as_str));
    }
    for Clause { from, to, .. } in &map.clauses {
        named.extend([from.as_str(), to]);
    }
    let mut classes: BTreeMap<Vec<bool>, Vec<String>> = BTreeMap::new();
    for country in all {
        let mark = named.iter().map(|territory| lies_in(country, territory)).collect();
        classes.entry(mark).or_default().push(country.clone());
    }
    (classes.len(), ends(classes))
}

/// Tenants that no law tells apart are one class, of which one comes. One of them is `nobody`,
/// whom the map does not know.
pub(crate) fn tenants(map: &Text) -> Vec<String> {
    let mut classes = BTreeMap::new();
    let asks = |law: &&Law| law.trigger == "operator" || !law.sectors.is_empty();
    let asking: Vec<&Law> = map.laws.iter().filter(asks).collect();
    for tenant in &map.tenants {
        let mark: Vec<(bool, bool)> = asking
            .iter()
            .map(|law| {
                let mut lands = tenant.establishments.iter();
                let mut sectors = tenant.sectors.iter();
                (
                    lands.any(|land| lies_in(land, &law.jurisdiction)),
                    sectors.any(|sector| law.sectors.contains(sector)),
                )
            })
            .collect();
        classes.entry(mark).or_insert_with(|| tenant.name.clone());
    }
    let mut tenants: Vec<String> = classes.into_values().collect();
    if !asking.is_empty() {
        tenants.push("nobody".to_owned());
    }
    tenants
}

/// The days on which something begins or has just ended: between two of them nothing changes. Of
/// each stretch come the first day and the last.
pub(crate) fn days(map: &Text) -> Vec<String> {
    let mut begins = vec![Date::from_day(0)];
    let day = |text: &String| Date::parse(text).expect("a day");
    let after = |text: &String| Date::from_day(u64::from(day(text).day()) + 1);
    for law in &map.laws {
        begins.push(day(&law.from));
        begins.extend(law.until.iter().map(after));
    }
    for clause in &map.clauses {
        begins.extend([day(&clause.not_before), day(&clause.expires)]);
    }
    begins.extend(map.valid_until.iter().map(after));
    let before = |begin: &Date| begin.day().checked_sub(1).map(|day| Date::from_day(day.into()));
    let mut days: Vec<Date> = begins.iter().filter_map(before).collect();
    days.extend(begins);
    days.sort();
    days.dedup();
    days.iter().map(Date::to_string).collect()
}
