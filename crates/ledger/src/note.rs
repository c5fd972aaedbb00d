//! Signed notes (C2SP `signed-note`) with Ed25519 keys.
//!
//! ```text
//! text, its last line ended
//!                                      a blank line; the last one separates
//! — <key name> <base64 of key id (4 bytes, big endian) and signature>
//! ```
//! Other kinds of signature may stand in the list and are passed over: those of witnesses are read
//! by [`crate::cosignature`], ML-DSA can be added later.

use std::fmt;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::base64;

/// Bytes of a note at the most.
pub const NOTE_BYTES_MAX: usize = 1_000_000;
/// Signatures on a note at the most. The specification asks for no fewer than 16.
pub const NOTE_SIGNATURES_MAX: usize = 100;
/// Bytes of a key's name at the most.
pub const KEY_NAME_BYTES_MAX: usize = 255;

/// What begins a signature's line: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// The type byte of an Ed25519 key.
const ED25519: u8 = 0x01;

/// Why a note or a key is not accepted. It never holds what was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key's name is empty, too long, or has a space, a plus sign or a control character.
    #[error("malformed key name")]
    KeyName,
    /// The verifier key is not `<name>+<id>+<key>` as it must be, or its id is not its own.
    #[error("malformed verifier key")]
    VerifierKey,
    /// The verifier key is of a type that is not known here.
    #[error("verifier key of an unknown type")]
    KeyType,
    /// The text to be signed is too long, does not end its last line or has control characters.
    #[error("malformed text")]
    Text,
    /// Not a note: its form, its length or its number of signatures.
    #[error("malformed note")]
    Malformed,
    /// A key that is known is named, and the signature is not by it.
    #[error("a signature by a known key is not valid")]
    BadSignature,
    /// No key that is known has signed.
    #[error("not signed by a known key")]
    Unverified,
}

/// Whether `name` may name a key (and so be the origin of a log).
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= KEY_NAME_BYTES_MAX
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

/// A key's name and id, as a signature's line gives them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyRef {
    /// The name.
    pub name: String,
    /// The first four bytes of a hash over name, type and key, big endian.
    pub id: u32,
}

impl KeyRef {
    /// The reference of the key of that type and those bytes.
    pub(crate) fn new(name: &str, typed_key: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(name).chain_update(b"\n").chain_update(typed_key);
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, ..] = digest;
        Self { name: name.to_owned(), id: u32::from_be_bytes([a, b, c, d]) }
    }
}

/// Type byte and public key.
fn typed(key: &VerifyingKey) -> [u8; 33] {
    let mut typed = [ED25519; 33];
    if let Some((_, bytes)) = typed.split_first_mut() {
        bytes.copy_from_slice(key.as_bytes());
    }
    typed
}

/// A key that signs. Its memory is overwritten when it is dropped.
pub struct Signer {
    key: SigningKey,
    about: KeyRef,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").field("key", &self.about).finish_non_exhaustive()
    }
}

// === impl Signer ===

impl Signer {
    /// The Ed25519 key of that seed. The seed must be secret and random; the caller overwrites
    /// its own copy.
    ///
    /// # Errors
    /// [`Error::KeyName`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self, Error> {
        if !is_key_name(name) {
            return Err(Error::KeyName);
        }
        let key = SigningKey::from_bytes(seed);
        let about = KeyRef::new(name, &typed(&key.verifying_key()));
        Ok(Self { key, about })
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// The key's name and id.
    pub const fn key(&self) -> &KeyRef {
        &self.about
    }

    /// The public key as text, for verifiers.
    pub fn vkey(&self) -> String {
        self.verifier().vkey()
    }

    /// The public key.
    pub fn verifier(&self) -> Verifier {
        Verifier { key: self.key.verifying_key(), about: self.about.clone() }
    }
}

/// The Ed25519 key of a text `<name>+<id>+<base64 of type and key>`, if it is of that type.
pub(crate) fn parse_vkey(vkey: &str, kind: u8) -> Result<(KeyRef, VerifyingKey), Error> {
    let mut parts = vkey.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(Error::VerifierKey);
    };
    if !is_key_name(name) {
        return Err(Error::KeyName);
    }
    let bytes = base64::decode(key).ok_or(Error::VerifierKey)?;
    let about = KeyRef::new(name, &bytes);
    if id != format!("{:08x}", about.id) {
        return Err(Error::VerifierKey);
    }
    let public = match bytes.split_first() {
        Some((first, public)) if *first == kind => public,
        Some(_) => return Err(Error::KeyType),
        None => return Err(Error::VerifierKey),
    };
    let public = public.try_into().map_err(|_| Error::VerifierKey)?;
    let key = VerifyingKey::from_bytes(public).map_err(|_| Error::VerifierKey)?;
    if key.is_weak() { Err(Error::VerifierKey) } else { Ok((about, key)) }
}

/// A key that verifies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    key: VerifyingKey,
    about: KeyRef,
}

// === impl Verifier ===

impl Verifier {
    /// The key of a text `<name>+<id as 8 lower-case hex digits>+<base64 of type and key>`.
    ///
    /// # Errors
    /// [`Error::KeyName`]; [`Error::VerifierKey`], also for keys of small order, which accept
    /// signatures that were not made; [`Error::KeyType`].
    pub fn from_vkey(vkey: &str) -> Result<Self, Error> {
        let (about, key) = parse_vkey(vkey, ED25519)?;
        Ok(Self { key, about })
    }

    /// The key as text: what [`Verifier::from_vkey`] reads.
    pub fn vkey(&self) -> String {
        let key = base64::encode(&typed(&self.key));
        format!("{}+{:08x}+{key}", self.about.name, self.about.id)
    }

    /// The key's name.
    pub fn name(&self) -> &str {
        &self.about.name
    }

    /// The key's name and id.
    pub const fn key(&self) -> &KeyRef {
        &self.about
    }

    /// Whether it is the same key, under whatever name.
    pub fn same_key(&self, other: &Self) -> bool {
        self.key == other.key
    }

    /// Whether `signature` is this key's over `text`.
    fn accepts(&self, text: &str, signature: &[u8]) -> bool {
        let signature = Signature::from_slice(signature);
        signature.is_ok_and(|s| self.key.verify_strict(text.as_bytes(), &s).is_ok())
    }
}

/// A note with at least one valid signature by a known key.
#[derive(Clone, PartialEq, Eq)]
pub struct Opened {
    /// What was signed, its last line ended.
    pub text: String,
    /// The known keys that signed it, each once, in the note's order.
    pub verified: Vec<KeyRef>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text, verified } = self;
        f.debug_struct("Opened").field("bytes", &text.len()).field("verified", verified).finish()
    }
}

fn is_clean(text: &str) -> bool {
    text.bytes().all(|byte| byte >= 0x20 || byte == b'\n')
}

/// The note of `text`, signed by each of `signers` in that order.
///
/// # Errors
/// [`Error::Text`] if the text does not end with a line feed, is too long or has control
/// characters; [`Error::Malformed`] if there are no signers or too many.
pub fn sign(text: &str, signers: &[&Signer]) -> Result<String, Error> {
    if text.len() > NOTE_BYTES_MAX / 2 || !text.ends_with('\n') || !is_clean(text) {
        return Err(Error::Text);
    }
    if signers.is_empty() || signers.len() > NOTE_SIGNATURES_MAX {
        return Err(Error::Malformed);
    }
    let mut note = format!("{text}\n");
    for signer in signers {
        let mut payload = signer.about.id.to_be_bytes().to_vec();
        payload.extend_from_slice(&signer.key.sign(text.as_bytes()).to_bytes());
        note.push_str(SIGNATURE_MARK);
        note.push_str(&signer.about.name);
        note.push(' ');
        note.push_str(&base64::encode(&payload));
        note.push('\n');
    }
    Ok(note)
}

/// One signature's line without its end: whose it says it is, and the signature.
fn parse_line(line: &str) -> Option<Line> {
    let (name, payload) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    let payload = base64::decode(payload)?;
    let (id, signature) = payload.split_first_chunk::<4>()?;
    let well_formed = is_key_name(name) && !signature.is_empty();
    let key = KeyRef { name: name.to_owned(), id: u32::from_be_bytes(*id) };
    well_formed.then(|| (key, signature.to_vec()))
}

/// Whose a signature is, and its bytes.
type Line = (KeyRef, Vec<u8>);

/// A note taken apart: its text with the last line's end, and whose signatures it has.
pub(crate) fn split(note: &str) -> Result<(&str, Vec<Line>), Error> {
    if note.len() > NOTE_BYTES_MAX || !is_clean(note) {
        return Err(Error::Malformed);
    }
    // The blank line is two line feeds; the first of them still belongs to the text.
    let middle = note.rfind("\n\n").ok_or(Error::Malformed)? + 1;
    let (text, rest) = note.split_at_checked(middle).ok_or(Error::Malformed)?;
    let list =
        rest.strip_prefix('\n').and_then(|r| r.strip_suffix('\n')).ok_or(Error::Malformed)?;
    let mut lines = Vec::new();
    for line in list.split('\n') {
        if lines.len() == NOTE_SIGNATURES_MAX {
            return Err(Error::Malformed);
        }
        lines.push(parse_line(line).ok_or(Error::Malformed)?);
    }
    Ok((text, lines))
}

/// Opens a note: its text, if a known key has signed it.
///
/// Signatures by unknown keys are passed over. Every signature that names a known key must be
/// valid, repeated ones too.
///
/// # Errors
/// [`Error::Malformed`], [`Error::BadSignature`], [`Error::Unverified`].
pub fn open(note: &str, known: &[Verifier]) -> Result<Opened, Error> {
    let (text, lines) = split(note)?;
    let mut verified = Vec::new();
    for (key, signature) in lines {
        let mut is_known = false;
        for verifier in known.iter().filter(|v| v.about == key) {
            if !verifier.accepts(text, &signature) {
                return Err(Error::BadSignature);
            }
            is_known = true;
        }
        if is_known && !verified.contains(&key) {
            verified.push(key);
        }
    }
    if verified.is_empty() {
        return Err(Error::Unverified);
    }
    Ok(Opened { text: text.to_owned(), verified })
}

#[cfg(test)]
mod tests;
