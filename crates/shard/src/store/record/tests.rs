//! Rows of records: where they open, how many there are, what is refused.

use terms::{Slot, SubjectId, TenantId};

use super::*;
use crate::store::aead::AesGcm;
use crate::store::types::{Fingerprint, LogId, LogIndex, SubjectTag};

fn address(key: &str) -> Address {
    let owner = Owner {
        tenant: TenantId::parse("t").unwrap(),
        subject: SubjectId::parse("s").unwrap(),
        slot: Slot::new(3).unwrap(),
        tag: SubjectTag([1; 16]),
    };
    let key = RecordKey::parse(key).unwrap();
    Address { owner, collection: Collection::parse("profiles").unwrap(), key, row: vec![] }
}

fn at(index: u64) -> EntryAt {
    EntryAt { log: LogId([8; 8]), index: LogIndex(index), first: LogIndex(index / 2) }
}

fn recent(n: u8, minute: u32) -> Recent {
    Recent {
        request_id: [n; 16],
        fingerprint: Fingerprint([n; 16]),
        minute: Minute(minute),
        version: Version(n.into()),
        entry: at(n.into()),
    }
}

fn head(version: u64, body: Body) -> Head {
    Head {
        incarnation: Incarnation(2),
        version: Version(version),
        body,
        entry: at(77),
        opening: [2; 32],
        digest: [3; 32],
        body_key: Zeroizing::new([4; 32]),
        expires: Some(UnixMillis(1_800_000_000_000)),
        indexed: Indexed::default(),
        recent: vec![recent(1, 10), recent(2, 11)],
    }
}

/// The place and the key of every row in these tests.
struct Sealing {
    address: Address,
    region: RegionId,
    key: SealKey,
}

impl Sealing {
    fn new() -> Self {
        let region = RegionId::parse("ru-msk").unwrap();
        Self { address: address("main"), region, key: SealKey::new(&[9; 32]) }
    }

    fn rows(&self, body: &[u8]) -> Rows {
        let sealed = SealedBody::new(&self.address, &self.region, &AesGcm, &[4; 32], body);
        let head = head(7, sealed.body());
        sealed.into_rows(&self.address, &self.region, &head, &self.key, [5; 12])
    }

    fn open(&self, row: &[u8], apart: Option<&[u8]>) -> Result<Vec<u8>, Damaged> {
        let stored = Stored::read(row)?;
        let head = stored.head(&self.address, &self.region, &self.key)?;
        stored.body(&self.address, &self.region, &AesGcm, &head, apart.map(<[u8]>::to_vec))
    }
}

#[test]
fn a_row_opens_in_its_place_and_whole_only() {
    let sealing = Sealing::new();
    let Rows { head: row, .. } = sealing.rows(b"hello");
    assert_eq!(sealing.open(&row, None).unwrap(), b"hello");
    let Sealing { address: of, region, key } = &sealing;
    let stored = Stored::read(&row).unwrap();
    let opened = stored.head(of, region, key).unwrap();
    let expected = head(7, Body::Inline(5));
    assert_eq!((opened.version, opened.incarnation), (Version(7), Incarnation(2)));
    assert_eq!((opened.body, opened.entry), (expected.body, expected.entry));
    assert_eq!(opened.recent, expected.recent);
    assert!(stored.head(&address("other"), region, key).is_err());
    assert!(stored.head(of, &RegionId::parse("eu").unwrap(), key).is_err());
    for bit in 0..row.len() * 8 {
        let mut flipped = row.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(sealing.open(&flipped, None).is_err(), "bit {bit}");
    }
    for length in 0..row.len() {
        assert!(sealing.open(&row[..length], None).is_err(), "length {length}");
    }
}

#[test]
fn a_body_lies_in_its_heads_row_up_to_4_kib_sealed() {
    let sealing = Sealing::new();
    let most = INLINE_BYTES_MAX - TAG_BYTES;
    for (bytes, rows) in [(0, 1), (512, 1), (most, 1), (most + 1, 2), (1 << 20, 2)] {
        let body = vec![6; bytes];
        let Rows { head: row, body: apart } = sealing.rows(&body);
        assert_eq!(1 + usize::from(apart.is_some()), rows, "{bytes} bytes");
        assert_eq!(sealing.open(&row, apart.as_deref()).unwrap(), body);
        assert!(row.len() <= HEAD_ROW_BYTES_MAX);
        let Some(apart) = apart else { continue };
        assert_eq!(apart.len(), 1 + bytes + TAG_BYTES);
        // The head tells the size, and has nothing of the body.
        assert!(row.len() < 512, "{} bytes", row.len());
        assert!(sealing.open(&row, None).is_err());
        for flip in [0, 1, apart.len() / 2, apart.len() - 1] {
            let mut flipped = apart.clone();
            flipped[flip] ^= 1;
            assert!(sealing.open(&row, Some(&flipped)).is_err(), "byte {flip}");
        }
    }
}

#[test]
fn a_row_of_another_format_or_of_later_features_is_refused() {
    let sealing = Sealing::new();
    let Rows { head: row, .. } = sealing.rows(b"hello");
    for format in [0, 2, 3, 255] {
        let other = [&[format], &row[1..]].concat();
        assert!(sealing.open(&other, None).is_err(), "format {format}");
    }
    let mut plain = Writer::default();
    head(7, Body::Inline(5)).encode(&sealing.address, &mut plain);
    let names = 4 + "profiles".len() + 4 + "main".len();
    let tags = names + 4 + 5 + EntryAt::BYTES + 32 + 32 + KEY_BYTES + 8;
    let decode = |bytes: &[u8]| Head::decode(Version(7), &mut Reader::new(&bytes[names..]));
    assert_eq!(decode(&plain.0).unwrap().expires, Some(UnixMillis(1_800_000_000_000)));
    // The length of the attributes, behind the flag of the list.
    for byte in tags + 1..tags + 5 {
        let mut set = plain.0.clone();
        set[byte] = 1;
        assert!(decode(&set).is_err(), "byte {byte}");
    }
}

#[test]
fn request_ids_are_remembered_for_a_day_and_64_writes() {
    let mut many = head(1, Body::Inline(0));
    many.recent = (0..65).map(|n| recent(n, 5_000)).collect();
    let kept = many.remembered(Minute(5_001));
    assert_eq!((kept.len(), kept[0].request_id), (64, [1; 16]));
    many.recent = vec![recent(1, 100), recent(2, 5_000)];
    assert_eq!(many.remembered(Minute(100 + 24 * 60)).len(), 2);
    assert_eq!(many.remembered(Minute(101 + 24 * 60)).len(), 1);
}
