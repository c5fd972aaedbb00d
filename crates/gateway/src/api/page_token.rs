//! Page tokens: for each shard of the choice that has more, where it goes on.
//!
//! Where that is, the shard has sealed, bound to tenant, caller, filter, order and view; a gateway
//! has no secret of its own, and any gateway takes the token of another. What stands around the
//! sealed places is covered by a checksum over the token and the regions of the choice, so that a
//! token that came to harm is refused as a whole.
//!
//! Layout, in hexadecimal digits: version (1 byte), then for each shard its region and its name,
//! each with its length (1 byte), 0 if it is left out or 1, and what it sealed with its length (2
//! bytes); then the checksum (8 bytes).

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use terms::{Reason, RegionId, Rejection, ShardId};

const VERSION: u8 = 1;
const CHECKSUM_BYTES: usize = 8;
/// Characters of a token: far more than the places in as many shards as a choice can have.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// Where a list stands in one shard.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// It begins, or goes on there.
    From(Bytes),
    /// The shard was out of reach for a page, and is left out of the rest.
    Lost,
}

/// A shard of the choice that is not done.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ShardPlace {
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
    pub(crate) place: Place,
}

/// The token for what is left. Empty: nothing is.
pub(crate) fn encode(places: &[ShardPlace], choice: &[RegionId]) -> String {
    if places.iter().all(|one| one.place == Place::Lost) {
        return String::new();
    }
    let mut bytes = vec![VERSION];
    for ShardPlace { region, shard, place } in places {
        for name in [region.as_str(), shard.as_str()] {
            bytes.push(u8::try_from(name.len()).expect("names have at most 63 bytes"));
            bytes.extend_from_slice(name.as_bytes());
        }
        let (kind, sealed) = match place {
            Place::Lost => (0, &[][..]),
            Place::From(sealed) => (1, &sealed[..]),
        };
        bytes.push(kind);
        let length = u16::try_from(sealed.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(sealed);
    }
    let checksum = checksum(&bytes, choice);
    bytes.extend_from_slice(&checksum);
    hex::encode(bytes)
}

/// The places in a token of that choice.
///
/// # Errors
/// `PAGE_TOKEN_INVALID`.
pub(crate) fn decode(token: &str, choice: &[RegionId]) -> Result<Vec<ShardPlace>, Rejection> {
    let invalid = || Rejection::new(Reason::PageTokenInvalid).field("page_token");
    // A token has one form: with capitals it would be read as well.
    let formed = token.len() <= TOKEN_BYTES_MAX && !token.bytes().any(|c| c.is_ascii_uppercase());
    let bytes = formed.then(|| hex::decode(token).ok()).flatten();
    bytes.and_then(|bytes| decoded(&bytes, choice)).ok_or_else(invalid)
}

fn decoded(bytes: &[u8], choice: &[RegionId]) -> Option<Vec<ShardPlace>> {
    let (told, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if checksum(told, choice) != *sum {
        return None;
    }
    let (VERSION, mut rest) = told.split_first().map(|(version, rest)| (*version, rest))? else {
        return None;
    };
    let mut places = Vec::new();
    while !rest.is_empty() {
        let (region, shard, kind, sealed);
        (region, rest) = name(rest)?;
        (shard, rest) = name(rest)?;
        (kind, rest) = rest.split_first()?;
        let (length, after) = rest.split_first_chunk()?;
        (sealed, rest) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        let place = match kind {
            0 if sealed.is_empty() => Place::Lost,
            1 => Place::From(Bytes::copy_from_slice(sealed)),
            _ => return None,
        };
        let (region, shard) = (RegionId::parse(region).ok()?, ShardId::parse(shard).ok()?);
        places.push(ShardPlace { region, shard, place });
    }
    Some(places)
}

fn name(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(name).ok()?, rest))
}

fn checksum(bytes: &[u8], choice: &[RegionId]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new().chain_update("bailiwick page token v1\0").chain_update(bytes);
    for region in choice {
        hash.update([0]);
        hash.update(region.as_str());
    }
    let digest: [u8; 32] = hash.finalize().into();
    *digest.first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str) -> RegionId {
        RegionId::parse(name).unwrap()
    }

    fn some() -> Vec<ShardPlace> {
        let shard = ShardId::parse("s1").unwrap();
        let place = |region: &str, place| ShardPlace {
            region: self::region(region),
            shard: shard.clone(),
            place,
        };
        vec![
            place("eu-fra", Place::From(Bytes::from_static(b"sealed"))),
            place("kz-ala", Place::From(Bytes::new())),
            place("ru-msk", Place::Lost),
        ]
    }

    #[test]
    fn a_token_is_read_whole_for_its_choice_or_not_at_all() {
        let choice = ["eu-fra", "kz-ala", "ru-msk"].map(region);
        let token = encode(&some(), &choice);
        assert!(decode(&token, &choice).unwrap() == some());
        let bytes = hex::decode(&token).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let refused = decode(&hex::encode(flipped), &choice).err().unwrap();
            assert_eq!(refused.reason, Reason::PageTokenInvalid, "bit {bit}");
            assert_eq!(refused.field.as_deref(), Some("page_token"));
        }
        for length in 0..token.len() {
            assert!(decode(&token[..length], &choice).is_err(), "{length}");
        }
        // A bit of its text: a letter becomes a capital.
        for bit in 0..token.len() * 8 {
            let mut flipped = token.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            if let Ok(flipped) = String::from_utf8(flipped) {
                assert!(decode(&flipped, &choice).is_err(), "bit {bit}");
            }
        }
        assert!(decode(&token, &choice[..2]).is_err());
        assert!(decode(&"0".repeat(TOKEN_BYTES_MAX + 2), &choice).is_err());
        assert!(decode("no token", &choice).is_err());
    }

    #[test]
    fn a_list_of_which_only_lost_shards_are_left_is_done() {
        let choice = ["eu-fra", "kz-ala", "ru-msk"].map(region);
        assert_eq!(encode(&some()[2..], &choice), "");
        assert_eq!(encode(&[], &choice), "");
    }
}
