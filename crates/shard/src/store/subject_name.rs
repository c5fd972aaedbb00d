//! The sealed name in a subject's row: whose row it is, for walks over all of them.
//!
//! It is sealed under a key of its own, which a generation of the region's keys wraps:
//! so it is lost with the generation, as everything else of the subject is.
//!
//! Layout: the wrapped key (60 bytes), a nonce (12 bytes), the sealed tenant and id.

use terms::{Entropy, RegionId, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{NONCE_BYTES, SealKey, binding};
use crate::store::codec::{Reader, Writer};
use crate::store::keyring::{Keyring, WRAPPED_BYTES};
use crate::store::keys::{Owner, SubjectKeys};
use crate::store::secret_files::draw;
use crate::store::types::SubjectTag;

const DAMAGED: Error = Error::Damaged("subjects");

/// What binds a name to its row: the region, and the tag in the row's key.
fn bound(label: &str, region: &RegionId, tag: SubjectTag) -> Vec<u8> {
    let mut bound = binding(label, &[region.as_str()], None);
    bound.extend_from_slice(&tag.0);
    bound
}

const KEY: &str = "subject name key v1";
const NAME: &str = "subject name v1";

/// Seals the name of a subject, under the generation that wraps the subject's own key.
pub(crate) fn seal(
    owner: &Owner,
    region: &RegionId,
    keyring: &dyn Keyring,
    generation: u32,
    entropy: &dyn Entropy,
) -> Result<Vec<u8>, Error> {
    let (key, mut nonces) = (draw(entropy)?, [[0; NONCE_BYTES]; 2]);
    for nonce in &mut nonces {
        entropy.fill(nonce).map_err(|_| Error::NoEntropy)?;
    }
    let [of_key, of_name] = nonces;
    let bound_key = bound(KEY, region, owner.tag);
    let wrapped = keyring.wrap_under(generation, &key, &bound_key, of_key).ok_or(DAMAGED)?;
    let mut name = Writer::with_capacity(192);
    name.fixed(&wrapped).fixed(&of_name);
    let from = name.0.len();
    name.text(owner.tenant.as_str()).text(owner.subject.expose());
    let mut row = name.0;
    SealKey::new(&key).seal_tail(of_name, &bound(NAME, region, owner.tag), &mut row, from);
    Ok(row)
}

/// Opens the name in the row under that tag.
pub(crate) fn open(
    name: &[u8],
    tag: SubjectTag,
    generation: u32,
    keys: SubjectKeys<'_>,
) -> Result<(TenantId, SubjectId), Error> {
    let SubjectKeys { region, keyring, .. } = keys;
    let mut reader = Reader::new(name);
    let wrapped = reader.array::<WRAPPED_BYTES>()?;
    let nonce = reader.array::<NONCE_BYTES>()?;
    let key = keyring.unwrap(generation, &wrapped, &bound(KEY, region, tag)).ok_or(DAMAGED)?;
    let mut sealed = Zeroizing::new(reader.rest().to_vec());
    let plain = SealKey::new(&key)
        .open(nonce, &bound(NAME, region, tag), &mut sealed)
        .map_err(|_| DAMAGED)?;
    let mut plain = Reader::new(plain);
    let tenant = TenantId::parse(plain.text()?).map_err(|_| DAMAGED)?;
    let subject = SubjectId::parse(plain.text()?).map_err(|_| DAMAGED)?;
    plain.end()?;
    Ok((tenant, subject))
}
