//! A hardware token, reached by its PKCS #11 module, that guards the keyring's file.
//!
//! The file is encrypted under a key that the token computes from a secret key of its own, which never
//! leaves it, and a salt in the file. So a copy of the folder of keys opens nothing without the token.
//! Each change of the keyring makes a new key in the token and destroys the one before: what an old
//! copy of the file holds, a generation that was destroyed among it, is lost with that.
//!
//! While a shard runs, the region's keys are in its memory, as its subjects' keys are: the token is
//! asked when a shard starts and when its keys change, and not for each record.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Said, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use serde::{Deserialize, Serialize};
use terms::{Entropy, RegionId, ShardId};
use zeroize::Zeroizing;

use crate::Error;
use crate::settings::Token;
use crate::store::aead::{KEY_BYTES, NONCE_BYTES, SealKey, binding};
use crate::store::secret_files::{draw, from_hex, to_hex};

/// A token, and whose keyring it guards.
#[derive(Clone)]
pub(crate) struct Guard {
    pub(crate) token: Token,
    pub(crate) region: RegionId,
    pub(crate) shard: ShardId,
}

/// A keyring's file under a key of a token.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedFile {
    format: u32,
    region: String,
    /// The key's id in the token.
    token_key: String,
    salt: String,
    nonce: String,
    sealed: String,
    /// The keys of the files that this one replaces.
    #[serde(default)]
    earlier: Vec<String>,
}

impl SealedFile {
    /// Reads one, if it is one.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        toml::from_str(std::str::from_utf8(text).ok()?).ok()
    }

    /// The id of its key in the token.
    pub(crate) fn key_id(self) -> String {
        self.token_key
    }
}

const FORMAT: u32 = 1;
const KEY_ID_BYTES: usize = 16;
const NOT_OURS: &str = "the keyring does not open with the token's key: one of them is another's";

/// The modules that this process has loaded: each is loaded once, and stays. The lock is held while a
/// token is asked, since a login is the whole process's.
static LOADED: Mutex<Vec<(PathBuf, Pkcs11)>> = Mutex::new(Vec::new());

impl Guard {
    fn failed(&self, why: impl fmt::Display) -> Error {
        Error::Token { label: self.token.label.clone(), why: why.to_string() }
    }

    /// What the label of all keys of the region in the token begins with.
    fn of_region(&self) -> String {
        format!("bailiwick keyring {}/", self.region)
    }

    /// The label of this shard's keys in the token.
    fn label(&self) -> String {
        format!("{}{}", self.of_region(), self.shard)
    }

    /// Does something with the token, logged in.
    fn with<T>(&self, work: impl FnOnce(&Session) -> Result<T, Error>) -> Result<T, Error> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        let Token { module, label, pin } = &self.token;
        let known = loaded.iter().find(|(known, _)| known == module);
        let pkcs11 = match known {
            Some((_, pkcs11)) => pkcs11.clone(),
            None => {
                let pkcs11 = load(module).map_err(|error| self.failed(error))?;
                loaded.push((module.clone(), pkcs11.clone()));
                pkcs11
            }
        };
        let failed = |error: Said| self.failed(error);
        let slots = pkcs11.get_slots_with_token().map_err(failed)?;
        let is_named = |slot| pkcs11.get_token_info(slot).is_ok_and(|info| info.label() == label);
        let slot = slots.into_iter().find(|slot| is_named(*slot));
        let slot = slot.ok_or_else(|| {
            self.failed("the module sees no token of that label: see that it is plugged in")
        })?;
        let session = pkcs11.open_rw_session(slot).map_err(failed)?;
        let pin = AuthPin::new(pin.as_str().into());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(Said::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Said::Pkcs11(RvError::PinIncorrect, _)) => {
                return Err(self.failed("its PIN is another"));
            }
            Err(Said::Pkcs11(RvError::PinLocked, _)) => {
                return Err(self.failed("its PIN is locked after too many wrong ones"));
            }
            Err(error) => return Err(self.failed(error)),
        }
        work(&session)
    }

    /// Encrypts the text of a keyring under a new key of the token.
    pub(crate) fn seal(
        &self,
        text: &str,
        earlier: Vec<String>,
        entropy: &dyn Entropy,
    ) -> Result<SealedFile, Error> {
        let (mut id, mut nonce) = ([0; KEY_ID_BYTES], [0; NONCE_BYTES]);
        for bytes in [&mut id[..], &mut nonce] {
            entropy.fill(bytes).map_err(|_| Error::NoEntropy)?;
        }
        let salt = draw(entropy)?;
        let key = self.with(|session| {
            let made = session.generate_key(
                &Mechanism::GenericSecretKeyGen,
                &[
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::GENERIC_SECRET),
                    Attribute::ValueLen(32.into()),
                    Attribute::Token(true),
                    Attribute::Private(true),
                    Attribute::Sensitive(true),
                    Attribute::Extractable(false),
                    Attribute::Sign(true),
                    Attribute::Label(self.label().into_bytes()),
                    Attribute::Id(id.to_vec()),
                ],
            );
            let made = made.map_err(|error| self.failed(error))?;
            self.derive(session, made, &salt)
        })?;
        let mut file = SealedFile {
            format: FORMAT,
            region: self.region.to_string(),
            token_key: hex::encode(id),
            salt: to_hex(&*salt),
            nonce: hex::encode(nonce),
            sealed: String::new(),
            earlier,
        };
        let mut sealed = text.as_bytes().to_vec();
        SealKey::new(&key).seal_tail(nonce, &self.bound(&file), &mut sealed, 0);
        file.sealed = hex::encode(sealed);
        Ok(file)
    }

    /// Opens what [`Guard::seal`] has encrypted, of whichever shard of the region.
    pub(crate) fn open(&self, file: &SealedFile) -> Result<Zeroizing<Vec<u8>>, Error> {
        if file.format != FORMAT {
            return Err(self.failed("the keyring is of a format that this version does not know"));
        }
        let salt = from_hex(&file.salt).ok_or_else(|| self.failed(NOT_OURS))?;
        let key = self.with(|session| {
            let found = self.found(session, &file.token_key)?;
            let [object] = *found else {
                return Err(self.failed(if found.is_empty() {
                    "it does not have the key of this keyring"
                } else {
                    "it has two keys of the id of this keyring's"
                }));
            };
            // A key that serves two regions would let one of them read what the other keeps.
            if !self.label_of(session, object)?.starts_with(&self.of_region()) {
                return Err(self.failed("the key of this keyring is another region's"));
            }
            self.derive(session, object, &salt)
        })?;
        let mut nonce = [0; NONCE_BYTES];
        hex::decode_to_slice(&file.nonce, &mut nonce).map_err(|_| self.failed(NOT_OURS))?;
        let sealed = hex::decode(&file.sealed).map_err(|_| self.failed(NOT_OURS))?;
        let mut sealed = Zeroizing::new(sealed);
        let opened = SealKey::new(&key).open(nonce, &self.bound(file), &mut sealed);
        let length = opened.map_err(|_| self.failed(NOT_OURS))?.len();
        sealed.truncate(length);
        Ok(sealed)
    }

    /// Destroys the keys of the files that this one has replaced. It must open: nothing else vouches
    /// for what it names, and its own key is never one of them.
    pub(crate) fn destroy_earlier(&self, file: &SealedFile) -> Result<(), Error> {
        if file.earlier.is_empty() {
            return Ok(());
        }
        self.open(file)?;
        self.with(|session| {
            for id in file.earlier.iter().filter(|id| **id != file.token_key) {
                for object in self.found(session, id)? {
                    if self.label_of(session, object)? == self.label() {
                        let destroyed = session.destroy_object(object);
                        destroyed.map_err(|error| self.failed(error))?;
                    }
                }
            }
            Ok(())
        })
    }

    /// The keys of an id. There is one, or none.
    fn found(&self, session: &Session, id: &str) -> Result<Vec<ObjectHandle>, Error> {
        let id = hex::decode(id).map_err(|_| self.failed("the id of a key is not one"))?;
        let wanted = [Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Id(id)];
        session.find_objects(&wanted).map_err(|error| self.failed(error))
    }

    /// What binds the file to its region, and all that it says openly to what it has encrypted. Who
    /// could change `earlier` could have a key destroyed that is in use.
    fn bound(&self, file: &SealedFile) -> Vec<u8> {
        let SealedFile { format, region, token_key, salt, nonce, sealed: _, earlier } = file;
        let mut parts = vec![self.region.as_str(), region, token_key, salt, nonce];
        parts.extend(earlier.iter().map(String::as_str));
        binding("keyring file v1", &parts, Some(u64::from(*format)))
    }

    fn label_of(&self, session: &Session, object: ObjectHandle) -> Result<String, Error> {
        let label = session.get_attributes(object, &[AttributeType::Label]);
        let label = label.map_err(|error| self.failed(error))?;
        let text = label.into_iter().find_map(|attribute| {
            let Attribute::Label(text) = attribute else { return None };
            String::from_utf8(text).ok()
        });
        Ok(text.unwrap_or_default())
    }

    /// The key of a file: what the token's key makes of its salt.
    fn derive(
        &self,
        session: &Session,
        object: ObjectHandle,
        salt: &[u8; KEY_BYTES],
    ) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
        let mut text = binding("bailiwick keyring guard v1", &[self.region.as_str()], None);
        text.extend_from_slice(salt);
        let signed = session.sign(&Mechanism::Sha256Hmac, object, &text);
        let signed = Zeroizing::new(signed.map_err(|error| self.failed(error))?);
        let key =
            signed.as_slice().try_into().map_err(|_| self.failed("its HMAC has no 32 bytes"))?;
        Ok(Zeroizing::new(key))
    }
}

/// Loads a module.
fn load(module: &Path) -> Result<Pkcs11, Said> {
    let pkcs11 = Pkcs11::new(module)?;
    match pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Said::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(pkcs11),
        Err(error) => Err(error),
    }
}
