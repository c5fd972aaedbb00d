//! Callers and their permissions. The tenant is always taken from here, never from a request.
//!
//! What is not granted is denied, and permission is checked before existence: a collection or region
//! that the caller may not use is refused with the same text whether it exists or not.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use atlas::{Country, RegionMap};
use ledger::entry::Role;
use terms::{Collection, Reason, RegionId, Rejection, TenantId};
use wire::session as proto;

use crate::method::Method;

/// The names that a grant covers: some, or all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope<T> {
    /// Whatever the map has, now and later: `*`.
    All,
    /// These and no others; none at all if it is empty.
    Only(Vec<T>),
}

impl<T: PartialEq> Scope<T> {
    /// The scope of a list of names; an empty list grants nothing. A name that `parse` refuses cannot
    /// be a name in a map, and grants nothing.
    pub fn of<'a>(
        names: impl IntoIterator<Item = &'a str>,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Self {
        let mut only = Vec::new();
        for name in names {
            if name == "*" {
                return Self::All;
            }
            only.extend(parse(name));
        }
        Self::Only(only)
    }

    fn holds(&self, one: &T) -> bool {
        match self {
            Self::All => true,
            Self::Only(these) => these.contains(one),
        }
    }
}

/// A caller whose identity a listener has established, with its grants.
#[derive(Clone, PartialEq, Eq)]
pub struct Caller {
    /// The platform that it acts for.
    pub tenant: TenantId,
    /// Its own name, for the placement log, as a tag.
    pub name: String,
    /// Its roles; each call uses one of them.
    pub roles: Vec<Role>,
    /// Where it is: reads are checked by this.
    pub location: CallerLocation,
    /// The collections that it may use.
    pub collections: Scope<Collection>,
    /// The regions that it may use.
    pub regions: Scope<RegionId>,
}

/// Without the name: an issuer's `sub` may name a person, and a debug line may go anywhere.
impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tenant, name: _, roles, location, collections, regions } = self;
        f.debug_struct("Caller")
            .field("tenant", tenant)
            .field("roles", roles)
            .field("location", location)
            .field("collections", collections)
            .field("regions", regions)
            .finish_non_exhaustive()
    }
}

/// Where a caller is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallerLocation {
    /// In that country, by its certificate's grant or its token's claim.
    In(Country),
    /// Not known: outside of every territory.
    Unknown,
    /// On the gateway's own machine, and so wherever the gateway is: a plaintext listener only.
    WithGateway,
}

impl Caller {
    /// The role in which it calls that method, if it has one. The first that fits, so that the
    /// placement log always names the same.
    fn role_for(&self, method: Method) -> Option<Role> {
        roles_of(method).iter().copied().find(|role| self.roles.contains(role))
    }

    /// Whether it may use that collection, whether it exists or not.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub(crate) fn may_use(&self, collection: &Collection) -> Result<(), Rejection> {
        if self.collections.holds(collection) {
            return Ok(());
        }
        Err(denied("the caller is not granted this collection").field("collection"))
    }

    /// Whether it may use all collections, those that the map has later too.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub(crate) fn may_use_all(&self) -> Result<(), Rejection> {
        if self.collections == Scope::All {
            return Ok(());
        }
        Err(denied("the caller is granted some collections, and this is about all of a subject's"))
    }

    /// Whether it may use that region, whether it exists or not.
    ///
    /// # Errors
    /// `NOT_PERMITTED`.
    pub(crate) fn may_reach(&self, region: &RegionId) -> Result<(), Rejection> {
        if self.regions.holds(region) {
            return Ok(());
        }
        Err(denied("the caller is not granted the region of this record"))
    }
}

/// The roles in which a method may be called.
const fn roles_of(method: Method) -> &'static [Role] {
    match method {
        Method::Put
        | Method::Delete
        | Method::Touch
        | Method::Patch
        | Method::StreamPut
        | Method::StreamPutItem
        | Method::BatchPut
        | Method::BatchDelete
        | Method::Upload
        | Method::SubjectReassess
        | Method::SubjectRelocate
        | Method::OperationGet
        | Method::OperationList
        | Method::OperationCancel
        | Method::Create => &[Role::Writer],
        Method::Get
        | Method::BatchGet
        | Method::List
        | Method::Count
        | Method::Watch
        | Method::Scan
        | Method::SubjectGet
        | Method::SubjectLocate
        | Method::SubjectExport
        | Method::Download
        | Method::Stat => &[Role::Reader],
        Method::SubjectErase
        | Method::SubjectRotateKey
        | Method::SubjectBlock
        | Method::SubjectUnblock => &[Role::Eraser],
        Method::SubjectAdjudicate => &[Role::Adjudicator],
        Method::SubjectConfirmAdjudication => &[Role::Approver],
        Method::TransitGetKey => &[Role::Writer, Role::Reader],
        Method::ResolvePlacement => &[Role::Writer, Role::Reader, Role::Operator],
        Method::MapGet | Method::MapStatus | Method::MapHistory => &[Role::Operator, Role::Auditor],
        Method::MapCheck | Method::MapPlan | Method::MapApply => &[Role::Operator],
        // An item is worked on in the role of its batch.
        Method::BatchItem | Method::Other => &[],
    }
}

fn denied(problem: impl Into<Cow<'static, str>>) -> Rejection {
    Rejection::new(Reason::NotPermitted).problem(problem)
}

/// A caller in the one role in which it makes a call.
#[derive(Debug, Clone)]
pub(crate) struct Acting {
    pub(crate) caller: Arc<Caller>,
    pub(crate) role: Role,
}

impl Acting {
    /// As shards get it.
    pub(crate) fn to_wire(&self) -> proto::Caller {
        let (territory, beside_gateway) = match self.caller.location {
            CallerLocation::In(country) => (country.as_str().to_owned(), false),
            CallerLocation::Unknown => (String::new(), false),
            CallerLocation::WithGateway => (String::new(), true),
        };
        proto::Caller {
            name: self.caller.name.clone(),
            role: self.role.as_str().to_owned(),
            territory,
            beside_gateway,
        }
    }
}

/// Checks that the caller may call that method at all, and in which role: before the message is
/// read, and before any answer depends on what exists.
///
/// # Errors
/// `NOT_PERMITTED` when the map does not name its tenant (then it is not known which laws attach by
/// its establishment), or none of its roles allows the method.
pub(crate) fn permit(
    caller: &Arc<Caller>,
    method: Method,
    map: &RegionMap,
) -> Result<Acting, Rejection> {
    if map.tenant(&caller.tenant).is_none() {
        return Err(denied("the region map does not name the caller's tenant"));
    }
    match caller.role_for(method) {
        Some(role) => Ok(Acting { caller: Arc::clone(caller), role }),
        None => {
            let roles: Vec<_> = roles_of(method).iter().map(|role| role.as_str()).collect();
            let needed = match roles.join(" or ") {
                needed if needed.is_empty() => "no role allows this method".to_owned(),
                needed => {
                    format!("the caller does not have the role that the method needs: {needed}")
                }
            };
            Err(denied(needed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::rig;

    fn with(roles: &[Role]) -> Arc<Caller> {
        Arc::new(Caller { roles: roles.to_vec(), ..rig::caller() })
    }

    /// The roles of the table in `docs/identity.md`: each method with its service, and who may call it.
    fn documented() -> Vec<(String, Role)> {
        let page = include_str!("../../../../docs/identity.md");
        let (_, table) = page.split_once("| role | RPCs |").expect("the table");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let mut methods = Vec::new();
        for row in rows {
            let mut names = row.split('`').skip(1).step_by(2);
            let role = names.next().and_then(Role::parse).expect("a role");
            let mut service = "";
            for name in names {
                let method = match name.split_once('.') {
                    Some((of, method)) => {
                        service = of;
                        method
                    }
                    // A service of the shards' own.
                    None if name == "Ledger" => continue,
                    None => name,
                };
                let named = (format!("/bailiwick.v1.{service}/{method}"), role);
                if !methods.contains(&named) {
                    methods.push(named);
                }
            }
        }
        methods
    }

    #[test]
    fn each_method_has_the_roles_that_are_documented_and_no_others() {
        let map = rig::map();
        let documented = documented();
        let pool = prost_reflect::DescriptorPool::decode(wire::DESCRIPTORS).unwrap();
        let mut known = 0;
        for service in pool.services().filter(|of| of.full_name().starts_with("bailiwick.v1.")) {
            // Shards serve it to auditors.
            if service.name() == "Ledger" {
                continue;
            }
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let called = Method::of_path(&path);
                assert_ne!(called, Method::Other, "{path}");
                for role in ROLES {
                    let may = permit(&with(&[role]), called, &map);
                    let wanted = documented.contains(&(path.clone(), role));
                    assert_eq!(may.is_ok(), wanted, "{path} {}", role.as_str());
                    known += usize::from(wanted);
                    match may {
                        Ok(acting) => assert_eq!(acting.role, role),
                        Err(refused) => assert_eq!(refused.reason, Reason::NotPermitted),
                    }
                }
                assert!(permit(&with(&[]), called, &map).is_err(), "{path}");
            }
        }
        assert_eq!(known, documented.len(), "the page names a method that there is not");
        // One request of a stream has the roles of the stream. No role has what is no method.
        for role in ROLES {
            let may = |method| permit(&with(&[role]), method, &map).is_ok();
            assert_eq!(may(Method::StreamPutItem), may(Method::StreamPut));
            assert!(!may(Method::BatchItem) && !may(Method::Other));
        }
        let both = with(&[Role::Reader, Role::Writer]);
        let acting = |method| permit(&both, method, &map).unwrap().role;
        assert_eq!(acting(Method::ResolvePlacement), Role::Writer);
        assert_eq!(acting(Method::Get), Role::Reader);
        // Who is refused is told what to ask for.
        let refused = permit(&both, Method::MapStatus, &map).unwrap_err();
        assert!(refused.message().contains("operator or auditor"), "{}", refused.message());
    }

    const ROLES: [Role; 8] = [
        Role::Writer,
        Role::Reader,
        Role::Operator,
        Role::Eraser,
        Role::Auditor,
        Role::Shard,
        Role::Adjudicator,
        Role::Approver,
    ];

    #[test]
    fn a_tenant_that_the_map_does_not_name_may_do_nothing() {
        let tenant = TenantId::parse("elsewhere").unwrap();
        let caller = Arc::new(Caller { tenant, ..rig::caller() });
        let rejection = permit(&caller, Method::Put, &rig::map()).unwrap_err();
        assert_eq!(rejection.reason, Reason::NotPermitted);
        assert!(!rejection.to_string().contains("elsewhere"));
    }

    #[test]
    fn a_scope_holds_what_it_names() {
        let parse = |name: &str| Collection::parse(name).ok();
        let one = |name| Collection::parse(name).unwrap();
        assert_eq!(Scope::of([], parse), Scope::Only(vec![]));
        assert!(!Scope::of([], parse).holds(&one("profiles")));
        assert!(Scope::of(["*"], parse).holds(&one("profiles")));
        assert!(Scope::of(["messages", "*"], parse).holds(&one("profiles")));
        let some = Scope::of(["messages", "NOT ONE", "pro*"], parse);
        assert_eq!(some, Scope::Only(vec![one("messages")]));
        assert!(some.holds(&one("messages")) && !some.holds(&one("profiles")));
    }

    #[test]
    fn what_is_not_granted_is_refused_with_the_same_text_whether_it_exists_or_not() {
        let caller = Caller {
            collections: Scope::Only(vec![Collection::parse("messages").unwrap()]),
            regions: Scope::Only(vec![RegionId::parse("kz-ala").unwrap()]),
            ..rig::caller()
        };
        let of = |name: &str| caller.may_use(&Collection::parse(name).unwrap()).unwrap_err();
        assert_eq!(of("profiles"), of("nothing-of-the-map"));
        let of = |name: &str| caller.may_reach(&RegionId::parse(name).unwrap()).unwrap_err();
        assert_eq!(of("eu-fra"), of("nowhere-1"));
        assert!(caller.may_reach(&RegionId::parse("kz-ala").unwrap()).is_ok());
    }

    #[test]
    fn a_caller_is_shown_without_its_name() {
        let named = Caller { name: "anna.smith@example.org".to_owned(), ..rig::caller() };
        let acting = Acting { caller: Arc::new(named.clone()), role: Role::Reader };
        for shown in [format!("{named:?}"), format!("{named:#?}"), format!("{acting:?}")] {
            assert!(!shown.contains("anna") && !shown.contains("example.org"), "{shown}");
            assert!(shown.contains("sample") && shown.contains("Reader"), "{shown}");
        }
    }

    #[test]
    fn a_shard_gets_the_role_and_where_the_caller_is() {
        let acting = |location| Acting {
            caller: Arc::new(Caller { location, ..rig::caller() }),
            role: Role::Reader,
        };
        let sent = |location| {
            let sent = acting(location).to_wire();
            assert_eq!(sent.role, "reader");
            (sent.territory, sent.beside_gateway)
        };
        let germany = Country::parse("DE").unwrap();
        assert_eq!(sent(CallerLocation::In(germany)), ("DE".to_owned(), false));
        assert_eq!(sent(CallerLocation::Unknown), (String::new(), false));
        assert_eq!(sent(CallerLocation::WithGateway), (String::new(), true));
    }
}
