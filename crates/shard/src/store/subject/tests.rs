//! Rows of subjects: every status is read back, and nothing is read that was not written.

use link::host::clock::SystemEntropy;
use terms::{SubjectId, TenantId};

use super::*;
use crate::store::erasure::Erasure;
use crate::store::keyring::FileKeyring;
use crate::store::keys::KeyLayout;
use crate::store::moving::{Arriving, ArrivingChunks, Left, Move};
use crate::store::rotation::Rotation;
use crate::store::types::{EntryAt, Fingerprint, LogId, LogIndex, Version};

struct Counting;
impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), terms::EntropyFailed> {
        for (n, byte) in (1u8..).zip(buffer) {
            *byte = n;
        }
        Ok(())
    }
}

struct Place {
    _folder: tempfile::TempDir,
    region: RegionId,
    keyring: FileKeyring,
    layout: KeyLayout,
    owner: Owner,
}

impl Place {
    fn new() -> Self {
        let (folder, region) = (tempfile::tempdir().unwrap(), RegionId::parse("ru-msk").unwrap());
        let keyring = FileKeyring::create(folder.path(), &region, None, &Counting).unwrap();
        let layout = KeyLayout::new(&keyring);
        let owner = layout.owner(TenantId::parse("t").unwrap(), SubjectId::parse("anna").unwrap());
        Self { _folder: folder, region, keyring, layout, owner }
    }

    fn keys(&self) -> SubjectKeys<'_> {
        SubjectKeys { region: &self.region, layout: &self.layout, keyring: &self.keyring }
    }

    fn subject(&self, status: Status) -> Subject {
        let Self { region, keyring, owner, .. } = self;
        let subject = Subject::create(owner, region, keyring, &Counting, by()).unwrap();
        Subject { status, ..subject }
    }
}

#[test]
fn a_row_of_before_choices_has_none() {
    let subject = Place::new().subject(Status::Live);
    let (whole, mut tail) = (subject.encode_state(), Writer::default());
    Choice::default().write(&mut tail);
    let before = whole.len() - tail.0.len();
    let choice = |end: usize| State::decode(&whole[..end]).map(|state| state.choice).ok();
    assert!(choice(whole.len()) == Some(Choice::default()));
    assert!(choice(before) == Some(Choice::default()));
    for cut in (0..before).chain(before + 1..whole.len()) {
        assert!(choice(cut).is_none(), "{cut}");
    }
}

fn by() -> Recent {
    Recent {
        request_id: [5; 16],
        fingerprint: Fingerprint([6; 16]),
        minute: Minute(7),
        version: Version(0),
        entry: EntryAt { log: LogId([3; 8]), index: LogIndex(4), first: LogIndex(2) },
    }
}

fn statuses() -> [Status; 12] {
    let to = RegionId::parse("eu-fra").unwrap();
    let entry = EntryAt { log: LogId([1; 8]), index: LogIndex(5), first: LogIndex(4) };
    let of = Move {
        to: to.clone(),
        request_id: [1; 16],
        fingerprint: Fingerprint([2; 16]),
        began: Minute(3),
        reason: "asked for".into(),
        heads: 4,
        findings: Findings::default(),
        bases: vec![(Collection::parse("profiles").unwrap(), Findings::default())],
        blocked: None,
        shared: false,
    };
    let left = Left { of: of.clone(), entry, opening: [3; 32], live: 2 };
    let here = Arriving {
        from: to,
        move_id: [1; 16],
        began: entry,
        after: vec![1, 2],
        heads: 3,
        live: 2,
        before: None,
        blocked: None,
        attachment: None,
        proven: None,
    };
    let blocked = Some(Blocked { until: Minute(9), then_erase: true });
    let chunks = ArrivingChunks {
        row: vec![0x10; 40],
        bytes: 3 << 20,
        key: Zeroizing::new([4; 32]),
        next: 2,
    };
    let erasure = Erasure {
        request_id: [5; 16],
        fingerprint: Fingerprint([6; 16]),
        began: Minute(7),
        records: 8,
        reason: "asked for".into(),
        deadline: None,
    };
    [
        Status::Live,
        Status::Blocked(Blocked { until: Minute(9), then_erase: false }),
        Status::Blocked(Blocked { until: Minute(9), then_erase: true }),
        Status::Erasing(Erasure { deadline: Some(Minute(10)), ..erasure.clone() }),
        Status::Erasing(erasure),
        Status::Moving(Box::new(of.clone())),
        Status::Moving(Box::new(Move { blocked, shared: true, ..of })),
        Status::Left(Box::new(left)),
        Status::Arriving(Box::new(here.clone())),
        Status::Arriving(Box::new(Arriving { before: Some(vec![7; 98]), ..here.clone() })),
        Status::Arriving(Box::new(Arriving { proven: Some([9; 32]), ..here.clone() })),
        Status::Arriving(Box::new(Arriving { blocked, attachment: Some(chunks), ..here })),
    ]
}

#[test]
fn every_status_is_read_back_from_a_sealed_row() {
    let place = Place::new();
    for status in statuses() {
        let written = place.subject(status.clone());
        let row = written.seal(&place.owner, &place.region, [1; 12]);
        let read = match Subject::open(&row, &place.owner, place.keys()).unwrap() {
            SubjectRow::Kept(subject) => subject,
            SubjectRow::Erased(_) => panic!("it is kept"),
        };
        assert!(read.status == status && read.incarnation == Incarnation::FIRST);
        assert_eq!(read.created_by, written.created_by);
        let owner = Subject::owner_of(&row, place.owner.tag, place.keys()).unwrap().unwrap();
        assert_eq!(owner.subject.expose(), "anna");
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The name alone is not read here.
            let in_name = (74..74 + read.name.len()).contains(&(bit / 8));
            let opened = Subject::open(&flipped, &place.owner, place.keys());
            assert_eq!(opened.is_err(), !in_name, "bit {bit}");
            if in_name {
                assert!(Subject::owner_of(&flipped, place.owner.tag, place.keys()).is_err());
            }
        }
    }
}

#[test]
fn a_tombstone_is_of_one_subject_and_cannot_be_made_without_the_key() {
    let place = Place::new();
    for moved in [None, Some(RegionId::parse("eu-fra").unwrap())] {
        let bytes = if moved.is_some() { 108 } else { 98 };
        let stone = Tombstone { incarnation: Incarnation(2), records: 3, by: by(), moved };
        let row = stone.row(place.owner.tag, &place.layout);
        assert_eq!(row.len(), bytes);
        let opened = Subject::open(&row, &place.owner, place.keys()).unwrap();
        assert!(matches!(opened, SubjectRow::Erased(read) if read == stone));
        assert!(Subject::owner_of(&row, place.owner.tag, place.keys()).unwrap().is_none());
        let other = SubjectTag([9; 16]);
        assert!(Subject::owner_of(&row, other, place.keys()).is_err());
        for bit in 0..row.len() * 8 {
            let mut flipped = row.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Subject::open(&flipped, &place.owner, place.keys()).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_status_of_a_later_release_is_refused() {
    for status in statuses() {
        let mut row = Writer::default();
        status.write(&mut row);
        assert!(Status::read(&mut Reader::new(&row.0)) == Ok(status));
    }
    assert!(Status::read(&mut Reader::new(&[6])) == Err(Malformed));
}

fn standing(collection: &str) -> Standing {
    Standing {
        collection: Collection::parse(collection).unwrap(),
        basis: Findings::default(),
        mirrors: Vec::new(),
        minute: Minute(1),
    }
}

/// Sealed under that key, and bound to nothing.
fn sealed(key: &SealKey) -> Vec<u8> {
    let mut row = b"content".to_vec();
    key.seal_tail([0; 12], b"", &mut row, 0);
    row
}

fn opens(key: &SealKey, sealed: &[u8]) -> bool {
    key.open([0; 12], b"", &mut sealed.to_vec()).is_ok()
}

#[test]
fn while_keys_are_replaced_the_place_of_a_record_says_which_opens_it() {
    let (place, random) = (Place::new(), SystemEntropy);
    let (owner, keys) = (&place.owner, place.keys());
    let mut before = Subject::create(owner, &place.region, &place.keyring, &random, by()).unwrap();
    before.stand(vec![standing("profiles")], owner, keys, &random).unwrap();
    let row = |collection: &str, n: u8| {
        let collection = Collection::parse(collection).unwrap();
        let mut row = place.layout.records(owner, &collection).from;
        row.extend_from_slice(&[n; 16]);
        row
    };
    let (first, second) = (row("profiles", 1), row("profiles", 2));
    let old = sealed(before.key_of(&first).unwrap());
    let of = Rotation {
        request_id: [1; 16],
        fingerprint: Fingerprint([2; 16]),
        began: Minute(3),
        reason: "asked for".into(),
        heads: 0,
        done_to: Vec::new(),
    };
    let mut subject = before.with_new_keys(owner, keys, &random, of).unwrap();
    assert!(!opens(subject.key(), &sealed(before.key())));
    assert!(opens(subject.key_of(&first).unwrap(), &old));
    assert!(!opens(subject.new_key_of(&first).unwrap(), &old));
    assert_eq!(subject.due(), Some(Minute(3)));
    subject.sealed_to(first.clone(), 1);
    // A collection that begins meanwhile has one key, wherever its records lie.
    subject.stand(vec![standing("profiles"), standing("messages")], owner, keys, &random).unwrap();
    for read in [true, false] {
        if read {
            let row = subject.seal(owner, &place.region, [1; 12]);
            let SubjectRow::Kept(read) = Subject::open(&row, owner, keys).unwrap() else {
                panic!("it is kept");
            };
            subject = read;
        } else {
            subject = subject.rewrapped(owner, keys, &random).unwrap();
        }
        let rotation = subject.rotation().unwrap();
        assert_eq!((rotation.heads, &rotation.done_to), (1, &first));
        assert!(!opens(subject.key_of(&first).unwrap(), &old));
        assert!(opens(subject.key_of(&second).unwrap(), &old));
        let message = row("messages", 9);
        let new = sealed(subject.new_key_of(&message).unwrap());
        assert!(opens(subject.key_of(&message).unwrap(), &new));
    }
    let rotated = Rotated { by: by(), opening: [5; 32], heads: 2 };
    subject.has_rotated(rotated);
    assert!(!opens(subject.key_of(&second).unwrap(), &old));
    assert!(subject.rotation().is_none() && subject.due().is_none());
    let row = subject.seal(owner, &place.region, [2; 12]);
    let SubjectRow::Kept(read) = Subject::open(&row, owner, keys).unwrap() else {
        panic!("it is kept");
    };
    assert!(read.rotated == Some(rotated));
    assert!(!opens(read.key_of(&second).unwrap(), &old));
}

#[test]
fn a_row_from_before_choices_and_receipts_of_rotations_opens() {
    let place = Place::new();
    let mut choice = Writer::with_capacity(16);
    Choice::default().write(&mut choice);
    for rotated in [None, Some(Rotated { by: by(), opening: [5; 32], heads: 2 })] {
        let subject = Subject { rotated, ..place.subject(Status::Live) };
        let state = subject.encode_state();
        let read = State::decode(&state).unwrap();
        assert!(read.rotated == rotated);
        let added = choice.0.len() + rotated.map_or(0, |_| 32 + 8);
        let before = state.len() - added;
        let read = State::decode(&state[..before]).unwrap();
        assert!(read.rotated.is_none() && read.choice == Choice::default());
        for cut in before + 1..state.len() {
            assert!(State::decode(&state[..cut]).is_err(), "{cut} of {}", state.len());
        }
    }
}
