//! For the benches alone (feature `bench`): the sealing of one record, whole, with nothing around.

use terms::{Collection, RecordKey, RegionId, Slot, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::store::aead::{AesGcm, SealKey};
use crate::store::keys::Owner;
use crate::store::record::{Address, EntryAt, Head, SealedBody, Stored};

/// One record's place and keys.
#[expect(missing_debug_implementations, reason = "it holds keys")]
pub struct Sealing {
    address: Address,
    region: RegionId,
    key: SealKey,
}

impl Sealing {
    /// A record of an invented subject.
    ///
    /// # Panics
    /// Never: the names are valid.
    #[expect(clippy::new_without_default, reason = "it is made once, by a bench")]
    pub fn new() -> Self {
        let owner = Owner {
            tenant: TenantId::parse("bench").expect("a name"),
            subject: SubjectId::parse("subject-1").expect("an id"),
            slot: Slot::new(1).expect("a slot"),
            tag: [1; 16],
        };
        let collection = Collection::parse("profiles").expect("a name");
        let key = RecordKey::parse("main").expect("a key");
        Self {
            address: Address { owner, collection, key, row: vec![] },
            region: RegionId::parse("ru-msk").expect("a name"),
            key: SealKey::new(&[9; 32]),
        }
    }

    /// Seals body and head into a row, as a put does, digest and commitment included.
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        let (opening, body_key) = ([2; 32], Zeroizing::new([4; 32]));
        let digest = ledger::statement::content_digest(&opening, body);
        let statement = self.address.statement(1, digest);
        std::hint::black_box(ledger::statement::commitment(&opening, &statement));
        let sealed = SealedBody::new(&self.address, &self.region, &AesGcm, &body_key, body);
        let entry = EntryAt { period: 1, index: 7 };
        let recent = Vec::new();
        let head = Head { version: 1, deleted: false, entry, opening, digest, body_key, recent };
        sealed.finish(&self.address, &self.region, &head, (&self.key, [5; 12]))
    }

    /// Opens a row that [`Sealing::seal`] made. `None`: it is not one.
    pub fn open(&self, row: &[u8]) -> Option<Vec<u8>> {
        let stored = Stored::read(row).ok()?;
        let head = stored.head(&self.address, &self.region, &self.key).ok()?;
        stored.body(&self.address, &self.region, &AesGcm, &head).ok()
    }
}
