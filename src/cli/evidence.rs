//! Evidence as it is typed and as it travels.

use std::fmt;

use atlas::EvidenceKind;
use client::api;
use terms::{Fault, Pii};

/// One piece of evidence, as somebody gave it.
#[derive(Clone)]
pub(crate) struct Item {
    pub(crate) kind: EvidenceKind,
    pub(crate) value: Pii<String>,
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Item({}, …)", self.kind)
    }
}

impl Item {
    /// Piece `n` of those given: a kind and a value.
    pub(crate) fn read(n: usize, kind: &str, value: String) -> Result<Self, Fault> {
        let kind = ::evidence::kind(kind, format!("evidence[{n}].kind"))?;
        Ok(Self { kind, value: Pii::new(value) })
    }

    /// Kind and value, as `evidence::Sources` reads them.
    pub(crate) fn as_pair(&self) -> (EvidenceKind, &str) {
        (self.kind, self.value.expose())
    }
}

/// Evidence as it travels to a gateway, which has the same numbers for the kinds.
pub(crate) fn proto(items: &[Item]) -> Vec<api::Evidence> {
    let evidence = |item: &Item| api::Evidence {
        kind: item.kind.number().into(),
        value: item.value.expose().clone(),
        observe_time: None,
    };
    items.iter().map(evidence).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_have_the_numbers_of_the_proto() {
        for kind in EvidenceKind::ALL {
            let proto = api::EvidenceKind::try_from(i32::from(kind.number())).unwrap();
            assert_eq!(proto.as_str_name().to_lowercase(), kind.as_str());
        }
    }
}
