//! The key pair of a region: what is sealed to it, and what it opens.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem as _, OpModeR, OpModeS, Serializable as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::NotOpened;
use crate::answer::AnswerSecret;
use crate::binding::Binding;
use crate::keyed::{KEY_BYTES, TAG_BYTES, parts};

type Kem = X25519HkdfSha256;

/// Bytes of the encapsulated key, with which a sealed body begins.
const ENCAPSULATED_BYTES: usize = 32;
/// Bytes by which a sealed body is longer than the body.
pub const SEALED_OVERHEAD_BYTES: usize = ENCAPSULATED_BYTES + TAG_BYTES;
/// Bytes of a public key's hash that are its id.
const ID_BYTES: usize = 8;

/// The public key of a region.
#[derive(Clone)]
pub struct TransitKey {
    pub(crate) region: String,
    pub(crate) id: String,
    pub(crate) public: <Kem as hpke::Kem>::PublicKey,
}

/// The key pair of a region.
pub struct RegionKey {
    private: <Kem as hpke::Kem>::PrivateKey,
    public: TransitKey,
}

/// What was sealed, and what its answer is sealed with.
#[expect(missing_debug_implementations, reason = "it holds a body")]
pub struct Opened {
    /// The body.
    pub body: Vec<u8>,
    /// For the answer.
    pub answer: AnswerSecret,
}

impl std::fmt::Debug for TransitKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransitKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for RegionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RegionKey").field("id", &self.public.id).finish_non_exhaustive()
    }
}

// === impl TransitKey ===

impl TransitKey {
    pub(crate) fn new(region: &str, public: <Kem as hpke::Kem>::PublicKey) -> Self {
        let digest: [u8; 32] = Sha256::digest(public.to_bytes()).into();
        let id = digest.first_chunk::<ID_BYTES>().map(hex::encode).unwrap_or_default();
        Self { region: region.to_owned(), id, public }
    }

    /// The region whose key it is.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The first eight bytes of the public key's SHA-256, as hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seals a body for one request. Gives it with what opens the answer.
    ///
    /// # Panics
    /// If the operating system gives no randomness.
    ///
    /// # Errors
    /// [`NotOpened`] if nothing can be sealed to this key: it is none that a region makes.
    pub fn seal(
        &self,
        binding: &Binding<'_>,
        body: &[u8],
    ) -> Result<(Vec<u8>, AnswerSecret), NotOpened> {
        let info = info(&self.region, &self.id);
        let (encapsulated, mut context) =
            hpke::setup_sender::<AesGcm256, HkdfSha256, Kem>(&OpModeS::Base, &self.public, &info)
                .map_err(|_| NotOpened)?;
        let sealed = context.seal(body, &binding.additional()).map_err(|_| NotOpened)?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        context.export(ANSWER_LABEL, secret.as_mut_slice()).map_err(|_| NotOpened)?;
        Ok(([encapsulated.to_bytes().as_slice(), &sealed].concat(), AnswerSecret(secret)))
    }
}

// === impl RegionKey ===

impl RegionKey {
    /// The key pair that is derived from 32 secret bytes (RFC 9180, section 7.1.3).
    pub fn derive(region: &str, secret: &[u8; KEY_BYTES]) -> Self {
        let (private, public) = Kem::derive_keypair(secret);
        Self { private, public: TransitKey::new(region, public) }
    }

    /// The public key.
    pub const fn public(&self) -> &TransitKey {
        &self.public
    }

    /// Opens what was sealed for one request.
    ///
    /// # Errors
    /// [`NotOpened`].
    pub fn open(&self, binding: &Binding<'_>, sealed: &[u8]) -> Result<Opened, NotOpened> {
        let (encapsulated, sealed) =
            sealed.split_first_chunk::<ENCAPSULATED_BYTES>().ok_or(NotOpened)?;
        let encapsulated = <Kem as hpke::Kem>::EncappedKey::from_bytes(encapsulated);
        let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.private,
            &encapsulated.map_err(|_| NotOpened)?,
            &info(&self.public.region, &self.public.id),
        )
        .map_err(|_| NotOpened)?;
        let body = context.open(sealed, &binding.additional()).map_err(|_| NotOpened)?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        context.export(ANSWER_LABEL, secret.as_mut_slice()).map_err(|_| NotOpened)?;
        Ok(Opened { body, answer: AnswerSecret(secret) })
    }
}

/// By what the secret of an answer is exported.
const ANSWER_LABEL: &[u8] = b"bailiwick sealed answer secret v1";

/// What each context is bound to: whose key, and which.
fn info(region: &str, id: &str) -> Vec<u8> {
    parts("bailiwick sealed transit v1", &[region.as_bytes(), id.as_bytes()])
}
