//! A read of one record, of a copy of it, or of a part of its body.

use terms::{RegionId, Rejection};
use wire::session as proto;

use super::{Prepare, address, etag_fits, stated, transit};
use crate::policy::asker::Asker;
use crate::policy::egress::{BodyPart, Lookup};

impl Prepare {
    /// A read.
    pub(crate) fn get(&self, asker: Asker, get: proto::Get) -> Result<Lookup, Rejection> {
        let address = address(&self.node, &asker, &get.subject, &get.collection, &get.key)?;
        stated("purpose", &get.purpose)?;
        let part = get.range.map(|range| {
            let proto::BodyRange { offset, length, etag } = range;
            etag_fits(&etag)?;
            Ok::<_, Rejection>(BodyPart { offset, length, etag })
        });
        let part = part.transpose()?;
        let (key, sealed) = (get.sealed_key, get.sealed_question);
        let question = transit::question(&self.node, &address, part.as_ref(), key, sealed)?;
        let home = Some(get.copy_of).filter(|home| !home.is_empty());
        let home = home.map(|home| RegionId::parse(&home)).transpose();
        let copy_of = home.map_err(|why| Rejection::id("subject.domicile", why))?;
        Ok(Lookup { address, asker, purpose: get.purpose, part, question, copy_of })
    }
}
