//! For the benches alone (feature `bench`): the sealing of one record, whole, with nothing around.

use terms::{Collection, RecordKey, RegionId, Slot, SubjectId, TenantId};
use zeroize::Zeroizing;

use crate::store::aead::{AesGcm, SealKey};
use crate::store::indexed::Indexed;
use crate::store::keys::Owner;
use crate::store::record::{Address, Head, Rows, SealedBody, Stored};
use crate::store::types::{EntryAt, Incarnation, LogId, LogIndex, SubjectTag, Version};

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
            tag: SubjectTag([1; 16]),
        };
        let collection = Collection::parse("profiles").expect("a name");
        let key = RecordKey::parse("main").expect("a key");
        Self {
            address: Address { owner, collection, key, row: vec![] },
            region: RegionId::parse("ru-msk").expect("a name"),
            key: SealKey::new(&[9; 32]),
        }
    }

    fn rows(&self, body: &[u8]) -> Rows {
        let (opening, body_key) = ([2; 32], Zeroizing::new([4; 32]));
        let digest = ledger::statement::content_digest(&opening, body);
        let statement = self.address.statement(Version(1), digest);
        std::hint::black_box(ledger::statement::commitment(&opening, &statement));
        let sealed = SealedBody::new(&self.address, &self.region, &AesGcm, &body_key, body);
        let entry = EntryAt { log: LogId([1; 8]), index: LogIndex(7), first: LogIndex(3) };
        let (incarnation, body, recent) = (Incarnation::FIRST, sealed.body(), Vec::new());
        let head = Head {
            incarnation,
            version: Version(1),
            body,
            entry,
            opening,
            digest,
            body_key,
            expires: None,
            indexed: Indexed::default(),
            recent,
        };
        sealed.into_rows(&self.address, &self.region, &head, &self.key, [5; 12])
    }

    /// Seals body and head into a row, as a small put does, digest and commitment included.
    pub fn seal(&self, body: &[u8]) -> Vec<u8> {
        self.rows(body).head
    }

    /// Opens a row that [`Sealing::seal`] made. `None`: it is not one.
    pub fn open(&self, row: &[u8]) -> Option<Vec<u8>> {
        let stored = Stored::read(row).ok()?;
        let head = stored.head(&self.address, &self.region, &self.key).ok()?;
        stored.body(&self.address, &self.region, &AesGcm, &head, None).ok()
    }
}
