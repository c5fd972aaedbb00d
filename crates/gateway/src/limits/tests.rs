//! Whether nobody takes what is another's.

use terms::RegionId;

use super::*;
use crate::http::connection::Line;

const TWO: &str = "[[tenants]]\nname = \"other\"\n\n[[tenants]]\nname = \"sample\"\n";

fn map() -> RegionMap {
    named(TWO)
}

fn named(tenants: &str) -> RegionMap {
    let text = crate::tests::rig::MAP.replace("[[tenants]]\nname = \"sample\"\n", tenants);
    RegionMap::parse(&text).unwrap()
}

const SIZES: Sizes = Sizes { intake: 80 << 10, outgoing: 80 << 10, others: 40, checks: 2 };

/// A gateway of five tenants, with 80 of everything: 20 for each, 10 are kept back.
fn five() -> (Shares, Vec<TenantId>) {
    let names = ["a", "b", "c", "d", "e"];
    let text: String = names.iter().map(|n| format!("[[tenants]]\nname = \"{n}\"\n\n")).collect();
    let shares = Shares::sized(&named(&text), &TenantLimits::default(), 80, SIZES);
    (shares, names.map(tenant).into())
}

fn reason<T>(taken: Result<T, Rejection>) -> Option<Reason> {
    taken.err().map(|fault| fault.reason)
}

fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

fn refused<T>(taken: Result<T, Rejection>) -> Rejection {
    let Err(fault) = taken else { panic!("it was given") };
    assert_eq!(fault.reason, Reason::TenantBusy);
    fault
}

/// So many bytes on their way to some region, of a gateway that has seats.
fn carry(share: &Arc<Share>, bytes: usize) -> Result<Load, Rejection> {
    share.carry(bytes, (&RegionId::parse("kz-ala").unwrap(), usize::MAX))
}

#[test]
fn one_tenant_of_several_gets_a_quarter_and_leaves_the_rest() {
    let shares = Shares::new(&map(), &TenantLimits::default(), 8);
    let held: Vec<_> = (0..2).map(|_| shares.take(&tenant("sample")).unwrap()).collect();
    let fault = refused(shares.take(&tenant("sample")));
    assert_eq!(fault.detail(Detail::Limit), Some("2"));
    assert!(shares.take(&tenant("other")).is_ok());
    drop(held);
    assert!(shares.take(&tenant("sample")).is_ok());
    let stranger = shares.take(&tenant("stranger")).err().map(|fault| fault.reason);
    assert_eq!(stranger, Some(Reason::NotPermitted));
}

#[test]
fn the_only_tenant_gets_all() {
    let shares = Shares::new(&crate::tests::rig::map(), &TenantLimits::default(), 3);
    let held: Vec<_> = (0..3).map(|_| shares.take(&tenant("sample")).unwrap()).collect();
    refused(held[0].another());
}

#[test]
fn a_load_keeps_the_share_and_its_bytes_until_it_is_done() {
    let own = TenantLimit { calls_in_flight: Some(2), calls_per_second: None };
    let limits = TenantLimits { usual: own, own: HashMap::new() };
    let shares = Shares::new(&map(), &limits, 8);
    let share = shares.take(&tenant("sample")).unwrap();
    // However large, one may go; beside it nothing that passes the tenant's part.
    let load = carry(&share, SESSION_BYTES_IN_FLIGHT_MAX).unwrap();
    let second = share.another().unwrap();
    refused(carry(&second, 1));
    drop((share, second));
    let last = shares.take(&tenant("sample")).unwrap();
    refused(shares.take(&tenant("sample")));
    drop(load);
    assert!(shares.take(&tenant("sample")).is_ok());
    assert!(carry(&last, 1).is_ok());
}

#[test]
fn a_rate_is_a_tenants_own_and_says_when_to_come_back() {
    let slow = TenantLimit { calls_in_flight: None, calls_per_second: NonZeroU32::new(1) };
    let own = HashMap::from([(tenant("sample"), slow)]);
    let limits = TenantLimits { usual: TenantLimit::default(), own };
    let shares = Shares::new(&map(), &limits, 100);
    assert!(shares.take(&tenant("sample")).is_ok());
    let fault = refused(shares.take(&tenant("sample")));
    let wait: u64 = fault.detail(Detail::RetryAfterMs).unwrap().parse().unwrap();
    // Never sooner than is good for the others.
    assert!((500..=1_000).contains(&wait), "{wait}");
    for _ in 0..20 {
        assert!(shares.take(&tenant("other")).is_ok());
    }
}

#[test]
fn four_tenants_at_their_limit_leave_seats_to_the_fifth() {
    let (shares, names) = five();
    let mut held = Vec::new();
    let (four, fifth) = (&names[..4], &names[4]);
    while let Some(share) = four
        .iter()
        .find_map(|tenant| shares.admit(tenant, 80_usize.checked_sub(held.len() + 1)?).ok())
    {
        held.push(share);
    }
    // None of the four has had its whole part.
    assert_eq!(held.len(), 70);
    for tenant in four {
        assert!(reason(shares.admit(tenant, 9)).is_some());
    }
    for _ in 0..2 {
        held.push(shares.admit(fifth, 79 - held.len()).unwrap());
    }
    assert_eq!(reason(shares.admit(fifth, 7)), Some(Reason::GatewayBusy));
    // Once there are more seats than are kept back, it gets what is its.
    assert!(shares.admit(fifth, 10).is_ok());
}

#[test]
fn what_comes_and_goes_is_a_tenants_own_first() {
    const KIB: usize = 1 << 10;
    let (shares, names) = five();
    let comes = |tenant: &TenantId, bytes: usize| {
        let coming = Coming::new(Some(shares.take(tenant)?));
        coming.hold(bytes + FREE_BYTES).map(|()| coming)
    };
    let goes = |tenant: &TenantId, bytes| shares.take(tenant)?.keep(bytes + FREE_BYTES);
    let first = (comes(&names[0], 20 * KIB).unwrap(), goes(&names[0], 20 * KIB).unwrap());
    assert_eq!(reason(comes(&names[0], 1)), Some(Reason::TenantBusy));
    assert_eq!(reason(goes(&names[0], 1)), Some(Reason::TenantBusy));
    assert_eq!(reason(shares.take(&names[0]).unwrap().may_ask()), Some(Reason::TenantBusy));
    assert!(comes(&names[0], 0).is_ok() && goes(&names[0], 0).is_ok(), "small ones go on");
    assert!(comes(&names[1], 1).is_ok() && goes(&names[1], 1).is_ok());
    // Of what is kept back, each gets its part: 2 KiB.
    let mut rest = Vec::new();
    for tenant in &names[1..4] {
        let bytes = if tenant == &names[3] { 10 * KIB } else { 20 * KIB };
        rest.push((comes(tenant, bytes).unwrap(), goes(tenant, bytes).unwrap()));
    }
    assert_eq!(reason(comes(&names[3], 1)), Some(Reason::GatewayBusy));
    assert_eq!(reason(goes(&names[3], 1)), Some(Reason::GatewayBusy));
    let last = (comes(&names[4], 2 * KIB).unwrap(), goes(&names[4], 2 * KIB).unwrap());
    assert_eq!(reason(comes(&names[4], 1)), Some(Reason::GatewayBusy));
    assert_eq!(reason(goes(&names[4], 1)), Some(Reason::GatewayBusy));
    drop((first, rest, last));
    // All was given back; and one may always pass a tenant's part.
    let large = (comes(&names[2], 60 * KIB).unwrap(), goes(&names[2], 60 * KIB).unwrap());
    large.0.hold(61 * KIB + FREE_BYTES).unwrap();
    assert_eq!(reason(comes(&names[2], 1)), Some(Reason::TenantBusy));
    large.0.hold(0).unwrap();
    assert!(comes(&names[2], 1).is_ok());
}

#[test]
fn health_and_reflection_have_places_of_their_own() {
    let (shares, names) = five();
    let held: Vec<_> = (0..10).map(|_| shares.other(&names[0]).unwrap()).collect();
    assert_eq!(reason(shares.other(&names[0])), Some(Reason::TenantBusy));
    assert!(shares.other(&names[1]).is_ok());
    assert_eq!(reason(shares.other(&tenant("stranger"))), Some(Reason::NotPermitted));
    drop(held);
    // They count among the tenant's calls.
    let calls: Vec<_> = (0..20).map(|_| shares.take(&names[0]).unwrap()).collect();
    refused(shares.other(&names[0]).map(|_| ()));
    drop(calls);

    let (one, two) = (Arc::new(Line::default()), Arc::new(Line::default()));
    let first: Vec<_> = (0..3).map(|_| shares.check(Some(&one)).unwrap()).collect();
    assert_eq!(reason(shares.check(Some(&one))), Some(Reason::GatewayBusy));
    let alone = shares.check(Some(&two)).unwrap();
    assert_eq!(reason(shares.check(Some(&two))), Some(Reason::GatewayBusy));
    drop((first, alone));
    for line in [&one, &two] {
        let all: Vec<_> = (0..3).map(|_| shares.check(Some(line)).unwrap()).collect();
        assert!(all.iter().all(|slot| slot.share().is_none()));
    }
}
