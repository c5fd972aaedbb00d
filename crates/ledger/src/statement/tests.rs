//! Statements against golden bytes, noise and flipped bits.

use std::collections::HashMap;

use super::*;
use crate::testing::flips;

/// Vectors by another program (see the README beside them).
#[test]
fn golden_statements() {
    let file = include_str!("../../tests/golden/statements.txt");
    let mut blocks = 0;
    for block in file.trim_end().split("\n\n") {
        let fields: HashMap<_, _> = block.lines().map(|l| l.split_once(' ').unwrap()).collect();
        let bytes = |name: &str| hex::decode(fields[name]).unwrap();
        let text = |name: &str| String::from_utf8(bytes(name)).unwrap();
        let opening: [u8; 32] = bytes("opening").try_into().unwrap();
        let (tenant, subject) = (text("tenant"), text("subject"));
        let (collection, key) = (text("collection"), text("key"));
        let statement = Statement {
            tenant: &tenant,
            subject: &subject,
            collection: &collection,
            key: &key,
            version: fields["version"].parse().unwrap(),
            digest: content_digest(&opening, &bytes("body")),
        };
        assert_eq!(statement.digest.to_vec(), bytes("digest"));
        let encoded = statement.encode();
        assert_eq!(encoded, bytes("statement"));
        assert!(Statement::decode(&encoded) == Ok(statement));
        assert_eq!(commitment(&opening, &encoded).to_vec(), bytes("commitment"));
        blocks += 1;
    }
    assert_eq!(blocks, 6);
}

fn sample() -> Statement<'static> {
    Statement {
        tenant: "tenant",
        subject: "Ünï ↯ 7",
        collection: "profile",
        key: "main",
        version: 3,
        digest: [7; 32],
    }
}

#[test]
fn decoding_is_strict() {
    let bytes = sample().encode();
    for end in 0..bytes.len() {
        assert_eq!(Statement::decode(&bytes[..end]).err(), Some(Error::Malformed), "{end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Statement::decode(&longer).err(), Some(Error::Malformed));
    let mut format = bytes.clone();
    format[0] = 2;
    assert_eq!(Statement::decode(&format).err(), Some(Error::Format));
    let mut huge = bytes.clone();
    huge[1..5].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(Statement::decode(&huge).err(), Some(Error::Malformed));
    let mut not_utf8 = bytes;
    not_utf8[5] = 0xff;
    assert_eq!(Statement::decode(&not_utf8).err(), Some(Error::Malformed));
}

#[test]
fn every_flipped_bit_is_another_statement_or_none() {
    let bytes = sample().encode();
    let opening = [1; 32];
    let committed = commitment(&opening, &bytes);
    for other in flips(&bytes) {
        if let Ok(statement) = Statement::decode(&other) {
            assert!(statement != sample());
            assert_eq!(statement.encode(), other);
        }
        assert_ne!(commitment(&opening, &other), committed);
    }
    for other in flips(&opening) {
        let other: [u8; 32] = other.try_into().unwrap();
        assert_ne!(commitment(&other, &bytes), committed);
        assert_ne!(content_digest(&other, b"body"), content_digest(&opening, b"body"));
    }
}

proptest::proptest! {
    #[test]
    fn whatever_decodes_encodes_to_the_same_bytes(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        lengths in proptest::array::uniform4(0_u8..20),
    ) {
        // Random lengths at random places hardly ever fit, so half of the cases get real ones.
        let mut shaped = vec![1];
        let mut rest = bytes.iter().copied().map(|b| b & 0x7f);
        for length in lengths {
            shaped.extend_from_slice(&u32::from(length).to_be_bytes());
            shaped.extend(rest.by_ref().take(usize::from(length)));
        }
        shaped.extend_from_slice(&[9; 40]);
        for bytes in [bytes, shaped] {
            if let Ok(statement) = Statement::decode(&bytes) {
                proptest::prop_assert_eq!(statement.encode(), bytes);
            }
        }
    }
}

#[test]
fn debug_shows_nothing_of_it() {
    assert_eq!(format!("{:?}", sample()), "Statement { .. }");
}
