//! Evidence as the API carries it.

use ::evidence::Evidence;
use client::api;

/// Evidence as the API carries it. The kinds have the same numbers there.
pub(crate) fn to_api(items: &[Evidence]) -> Vec<api::Evidence> {
    let evidence = |item: &Evidence| api::Evidence {
        kind: item.kind.number().into(),
        value: item.value.expose().clone(),
        observe_time: None,
    };
    items.iter().map(evidence).collect()
}

#[cfg(test)]
mod tests {
    use atlas::EvidenceKind;

    use super::*;

    #[test]
    fn the_kinds_have_the_numbers_of_the_proto() {
        for kind in EvidenceKind::ALL {
            let proto = api::EvidenceKind::try_from(i32::from(kind.number())).unwrap();
            assert_eq!(proto.as_str_name().to_lowercase(), kind.as_str());
        }
    }
}
