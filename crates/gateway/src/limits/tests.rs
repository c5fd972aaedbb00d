//! No tenant takes what belongs to another.

use link::ops::metrics::Gauge;

use super::*;
use crate::tests::rig::{self, TWO_TENANTS};

const KIB: usize = 1 << 10;

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// Eight calls, and 80 KiB of which a tenant of two may hold 20.
fn limits(map: &RegionMap, settings: TenantLimits) -> Limits {
    let caps = Caps { calls: 8, bytes: 80 * KIB, tenant_bytes: 20 * KIB };
    Limits::new(map, settings, caps, Gauge::default())
}

fn of_two(usual: TenantLimit) -> Limits {
    let settings = TenantLimits { usual, ..TenantLimits::default() };
    limits(&rig::map_with(TWO_TENANTS), settings)
}

fn busy_of<T>(taken: Result<T, Rejection>) -> Rejection {
    let Err(rejection) = taken else { panic!("it was given") };
    assert_eq!(rejection.reason, Reason::TenantBusy);
    rejection
}

fn reason<T>(taken: Result<T, Rejection>) -> Option<Reason> {
    taken.err().map(|rejection| rejection.reason)
}

#[test]
fn one_tenant_of_several_gets_a_quarter_and_leaves_the_rest() {
    let limits = of_two(TenantLimit::default());
    let held: Vec<_> = (0..2).map(|_| limits.admit(&tenant("sample")).unwrap()).collect();
    let rejection = busy_of(limits.admit(&tenant("sample")));
    assert_eq!(rejection.detail(Detail::Limit), Some("2"));
    assert!(limits.admit(&tenant("other")).is_ok());
    drop(held);
    assert!(limits.admit(&tenant("sample")).is_ok());
    assert_eq!(reason(limits.admit(&tenant("stranger"))), Some(Reason::NotPermitted));
}

#[test]
fn the_only_tenant_gets_all() {
    let limits = limits(&rig::map(), TenantLimits::default());
    let held: Vec<_> = (0..8).map(|_| limits.admit(&tenant("sample")).unwrap()).collect();
    busy_of(held[0].another());
    held[0].hold(80 * KIB + FREE_BYTES).unwrap();
}

#[test]
fn the_gateway_takes_so_many_calls_and_no_more() {
    let limits = of_two(TenantLimit::default());
    let held: Vec<_> = (0..8).map(|_| limits.enter().unwrap()).collect();
    assert_eq!(limits.gateway.calls_gauge.get(), 8);
    assert_eq!(reason(limits.enter()), Some(Reason::GatewayBusy));
    drop(held);
    assert!(limits.enter().is_ok());
    assert_eq!(limits.gateway.calls_gauge.get(), 0);
}

#[test]
fn a_call_to_a_shard_keeps_its_permit_and_its_bytes_until_it_is_done() {
    let limits = of_two(TenantLimit::default());
    let permit = limits.admit(&tenant("sample")).unwrap();
    permit.hold(20 * KIB + FREE_BYTES).unwrap();
    let sent = permit.to_region(&RegionId::parse("kz-ala").unwrap()).unwrap_or_else(|_| panic!());
    let second = permit.another().unwrap();
    busy_of(second.hold(1 + FREE_BYTES));
    drop((permit, second));
    let last = limits.admit(&tenant("sample")).unwrap();
    busy_of(limits.admit(&tenant("sample")));
    busy_of(last.has_room());
    drop(sent);
    assert!(limits.admit(&tenant("sample")).is_ok() && last.has_room().is_ok());
}

#[test]
fn bytes_are_bounded_for_each_tenant_and_for_all() {
    let names = ["a", "b", "c", "d", "e"];
    let map = names.map(|name| format!("[[tenants]]\nname = \"{name}\"\n\n")).concat();
    let limits = limits(&rig::map_with(&map), TenantLimits::default());
    let permit = |name| limits.admit(&tenant(name)).unwrap();
    let held = ["a", "b", "c", "d"].map(permit);
    for permit in &held {
        permit.hold(20 * KIB + FREE_BYTES).unwrap();
        busy_of(permit.hold(20 * KIB + FREE_BYTES + 1));
        // Small calls go on.
        assert!(permit.another().unwrap().hold(FREE_BYTES).is_ok());
    }
    let fifth = permit("e");
    assert_eq!(reason(fifth.hold(FREE_BYTES + 1)), Some(Reason::GatewayBusy));
    held[0].hold(19 * KIB + FREE_BYTES).unwrap();
    assert!(fifth.hold(KIB + FREE_BYTES).is_ok());
    drop((held, fifth));
    assert_eq!(limits.bytes_taken(), 0);
}

#[test]
fn a_rate_is_a_tenants_own_and_says_when_to_come_back() {
    let slow = TenantLimit { calls_in_flight: None, calls_per_second: NonZeroU32::new(1) };
    let own = HashMap::from([(tenant("sample"), slow)]);
    let settings = TenantLimits { usual: TenantLimit::default(), own };
    let limits = limits(&rig::map_with(TWO_TENANTS), settings);
    assert!(limits.admit(&tenant("sample")).is_ok());
    let rejection = busy_of(limits.admit(&tenant("sample")));
    let wait: u64 = rejection.detail(Detail::RetryAfterMs).unwrap().parse().unwrap();
    // Never sooner than is good for the other tenants.
    assert!((500..=1_000).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert!(limits.admit(&tenant("other")).is_ok());
    }
}

#[test]
fn another_map_brings_its_tenants_and_keeps_the_cap_for_all() {
    let limits = of_two(TenantLimit { calls_in_flight: Some(8), calls_per_second: None });
    let permit = limits.admit(&tenant("sample")).unwrap();
    permit.hold(20 * KIB + FREE_BYTES).unwrap();
    limits.set_map(&rig::map_with("[[tenants]]\nname = \"new\"\n"));
    assert_eq!(reason(limits.admit(&tenant("sample"))), Some(Reason::NotPermitted));
    let new = limits.admit(&tenant("new")).unwrap();
    assert_eq!(reason(new.hold(80 * KIB + FREE_BYTES)), Some(Reason::GatewayBusy));
    drop(permit);
    assert!(new.hold(80 * KIB + FREE_BYTES).is_ok());
}
