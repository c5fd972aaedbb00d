//! The region's keys: what they do, and the file keyring.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use terms::{Entropy, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{KEY_BYTES, NONCE_BYTES, SealKey, TAG_BYTES, binding};

/// Bytes of a wrapped key: nonce, key, tag.
pub(crate) const WRAPPED_BYTES: usize = NONCE_BYTES + KEY_BYTES + TAG_BYTES;

/// The region's keys. They are made in the region and never leave it.
///
/// Two uses, kept apart: a *generation* wraps subject keys, rotates, and is destroyed once nothing
/// living is wrapped by it; the *index key* names rows and tags, and lives as long as the store.
pub(crate) trait Keyring: Send + Sync + 'static {
    /// Wraps a subject's key under the current generation, bound to `binding`.
    fn wrap(
        &self,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> (u32, [u8; WRAPPED_BYTES]);

    /// Wraps under that generation. `None`: there is none of that number.
    fn wrap_under(
        &self,
        generation: u32,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Option<[u8; WRAPPED_BYTES]>;

    /// The numbers of all generations, in ascending order.
    fn generations(&self) -> Vec<u32>;

    /// Unwraps what generation `generation` wrapped. `None`: no such generation, or it does not
    /// open. What a destroyed generation wrapped is lost, which is the point.
    fn unwrap(
        &self,
        generation: u32,
        wrapped: &[u8; WRAPPED_BYTES],
        binding: &[u8],
    ) -> Option<Zeroizing<[u8; KEY_BYTES]>>;

    /// A key for HMACs of one purpose, derived from the index key.
    fn derive(&self, purpose: &str) -> hmac::Key;

    /// Makes ready what the keyring will be after a change, and gives it: with one generation more,
    /// which is the current one then, or without an old one. It is durable, and not in use before
    /// [`Keyring::take_next`].
    ///
    /// # Errors
    /// [`Error::Keys`] when there is no such generation, or it is the current one.
    fn make_next(
        &self,
        change: KeyChange,
        entropy: &dyn Entropy,
    ) -> Result<Box<dyn Keyring>, Error>;

    /// Takes what was made ready in the place of what was there.
    fn take_next(&self) -> Result<(), Error>;
}

/// A change of a keyring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyChange {
    /// One generation more.
    Add,
    /// Without that one.
    Destroy(u32),
}

/// A keyring in one file, readable by its owner only.
///
/// Whoever holds this file and the data folder can read every record without a trace: keep it on
/// another disk, or use a keyring that does not give its keys out.
pub(crate) struct FileKeyring {
    path: PathBuf,
    region: RegionId,
    index: hmac::Key,
    generations: ArcSwap<Vec<(u32, SealKey)>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    format: u32,
    region: String,
    index: String,
    generations: Vec<KeyLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    number: u32,
    key: String,
}

const FORMAT: u32 = 1;

impl FileKeyring {
    /// Where the keyring of `region` lies in `folder`.
    pub(crate) fn path(folder: &Path, region: &RegionId) -> PathBuf {
        folder.join(format!("{region}.keyring"))
    }

    /// Makes a new keyring, for the first shard of a region.
    pub(crate) fn create(
        folder: &Path,
        region: &RegionId,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let file = KeyFile {
            format: FORMAT,
            region: region.to_string(),
            index: to_hex(&*draw(entropy)?),
            generations: vec![KeyLine { number: 1, key: to_hex(&*draw(entropy)?) }],
        };
        write_secret(&Self::path(folder, region), file.text().as_bytes())?;
        Self::open(folder, region)
    }

    /// Puts a copy of the region's keyring into `folder`. One that is there must be the same.
    pub(crate) fn copy(file: &Path, folder: &Path, region: &RegionId) -> Result<(), Error> {
        Self::read(file, region)?;
        let (given, path) = (read_secret(file)?, Self::path(folder, region));
        if !path.exists() {
            return write_secret(&path, &given);
        }
        if *read_secret(&path)? == *given {
            return Ok(());
        }
        Err(Error::Keys { path, why: "it is there already, and is not the keyring that was given" })
    }

    /// Reads the keyring. One that is missing is never replaced.
    pub(crate) fn open(folder: &Path, region: &RegionId) -> Result<Self, Error> {
        Self::read(&Self::path(folder, region), region)
    }

    /// Reads what a change has made ready and not taken. `None`: there is nothing.
    pub(crate) fn open_next(folder: &Path, region: &RegionId) -> Result<Option<Self>, Error> {
        let path = next(&Self::path(folder, region));
        if !path.exists() {
            return Ok(None);
        }
        Self::read(&path, region).map(Some)
    }

    fn read(path: &Path, region: &RegionId) -> Result<Self, Error> {
        let file = KeyFile::read(path, region)?;
        let broken = |why| Error::Keys { path: path.to_owned(), why };
        let index = from_hex(&file.index).ok_or_else(|| broken("its index key is not a key"))?;
        let mut generations = Vec::new();
        for line in &file.generations {
            let key = from_hex(&line.key).ok_or_else(|| broken("a generation is not a key"))?;
            generations.push((line.number, SealKey::new(&key)));
        }
        generations.sort_by_key(|(number, _)| *number);
        if generations.is_empty() {
            return Err(broken("it has no generation"));
        }
        if !generations.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(broken("two of its generations have one number"));
        }
        Ok(Self {
            path: path.to_owned(),
            region: region.clone(),
            index: hmac::Key::new(hmac::HMAC_SHA256, &*index),
            generations: ArcSwap::from_pointee(generations),
        })
    }
}

impl KeyFile {
    fn read(path: &Path, region: &RegionId) -> Result<Self, Error> {
        let broken = |why| Error::Keys { path: path.to_owned(), why };
        let text = read_secret(path)?;
        let text = std::str::from_utf8(&text).map_err(|_| broken("it is not text"))?;
        // The parser's own error repeats the line, which is a key.
        let file: KeyFile =
            toml::from_str(text).map_err(|_| broken("it is not a key file of ours"))?;
        if file.format != FORMAT {
            return Err(broken("it is of a format that this version does not know"));
        }
        if file.region != region.as_str() {
            return Err(broken("it is another region's"));
        }
        Ok(file)
    }

    fn text(&self) -> Zeroizing<String> {
        Zeroizing::new(toml::to_string(self).expect("a key file is plain TOML"))
    }
}

/// Where what a change makes ready lies until it is taken.
fn next(path: &Path) -> PathBuf {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    PathBuf::from(next)
}

impl crate::Settings {
    /// Whether there is a keyring, and it opens: for whoever looks before the shard must.
    ///
    /// # Errors
    /// [`Error::Keys`] when it is none of this region's, or open to others; [`Error::Io`].
    pub fn check_keys(&self) -> Result<bool, Error> {
        let path = FileKeyring::path(&self.keys, &self.region);
        let there = path.try_exists().map_err(|source| Error::Io { path: path.clone(), source })?;
        if there {
            FileKeyring::read(&path, &self.region)?;
        }
        Ok(there)
    }
}

impl Keyring for FileKeyring {
    fn wrap(
        &self,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> (u32, [u8; WRAPPED_BYTES]) {
        let generations = self.generations.load();
        let (number, generation) = generations.last().expect("checked when it was read");
        (*number, wrapped(generation, key, binding, nonce))
    }

    fn wrap_under(
        &self,
        generation: u32,
        key: &[u8; KEY_BYTES],
        binding: &[u8],
        nonce: [u8; NONCE_BYTES],
    ) -> Option<[u8; WRAPPED_BYTES]> {
        let generations = self.generations.load();
        let (_, own) = generations.iter().find(|(number, _)| *number == generation)?;
        Some(wrapped(own, key, binding, nonce))
    }

    fn generations(&self) -> Vec<u32> {
        self.generations.load().iter().map(|(number, _)| *number).collect()
    }

    fn unwrap(
        &self,
        generation: u32,
        wrapped: &[u8; WRAPPED_BYTES],
        binding: &[u8],
    ) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
        let generations = self.generations.load();
        let (_, key) = generations.iter().find(|(number, _)| *number == generation)?;
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>()?;
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let plain = key.open(*nonce, binding, &mut sealed).ok()?;
        Some(Zeroizing::new((&*plain).try_into().ok()?))
    }

    fn derive(&self, purpose: &str) -> hmac::Key {
        let label = binding("bailiwick derived key v1", &[purpose], None);
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.index, &label).as_ref())
    }

    fn make_next(
        &self,
        change: KeyChange,
        entropy: &dyn Entropy,
    ) -> Result<Box<dyn Keyring>, Error> {
        let broken = |why| Error::Keys { path: self.path.clone(), why };
        let mut file = KeyFile::read(&self.path, &self.region)?;
        let current = self.generations().last().copied().unwrap_or_default();
        match change {
            KeyChange::Add => {
                let number = current.checked_add(1).ok_or_else(|| broken("it is full"))?;
                file.generations.push(KeyLine { number, key: to_hex(&*draw(entropy)?) });
            }
            KeyChange::Destroy(number) if number == current => {
                return Err(broken("the current generation cannot be destroyed"));
            }
            KeyChange::Destroy(number) => {
                let before = file.generations.len();
                file.generations.retain(|line| line.number != number);
                if file.generations.len() == before {
                    return Err(broken("it has no such generation"));
                }
            }
        }
        let path = next(&self.path);
        // What an earlier change has left was never in use, or is in use already.
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        }
        write_secret(&path, file.text().as_bytes())?;
        Ok(Box::new(Self::read(&path, &self.region)?))
    }

    fn take_next(&self) -> Result<(), Error> {
        let next = next(&self.path);
        let ready = Self::read(&next, &self.region)?;
        let io = |source| Error::Io { path: self.path.clone(), source };
        fs::rename(&next, &self.path).map_err(io)?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        self.generations.store(ready.generations.load_full());
        Ok(())
    }
}

fn wrapped(
    generation: &SealKey,
    key: &[u8; KEY_BYTES],
    binding: &[u8],
    nonce: [u8; NONCE_BYTES],
) -> [u8; WRAPPED_BYTES] {
    let mut row = nonce.to_vec();
    row.extend_from_slice(key);
    generation.seal_tail(nonce, binding, &mut row, NONCE_BYTES);
    row.try_into().expect("nonce, key and tag have fixed lengths")
}

/// Thirty-two random bytes.
pub(crate) fn draw(entropy: &dyn Entropy) -> Result<Zeroizing<[u8; KEY_BYTES]>, Error> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    entropy.fill(&mut *key).map_err(|_| Error::NoEntropy)?;
    Ok(key)
}

/// Writes a new secret file, mode 0600, durable together with its name in the folder.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    crate::store::directories::make(folder)?;
    if path.exists() {
        return Err(io(std::io::ErrorKind::AlreadyExists.into()));
    }
    // Under its own name only once it is whole and durable.
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut options = fs::OpenOptions::new();
    let mut file =
        options.write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    fs::rename(&new, path).map_err(io)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)
}

/// Reads a secret file, and refuses one that others may read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let why = "it is missing: put it back from its copy";
            return Err(Error::Keys { path: path.to_owned(), why });
        }
        Err(error) => return Err(io(error)),
    };
    if mode & 0o077 != 0 {
        return Err(Error::Keys {
            path: path.to_owned(),
            why: "others than its owner may read it: chmod 600",
        });
    }
    Ok(Zeroizing::new(fs::read(path).map_err(io)?))
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

pub(crate) fn from_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text, &mut *key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting;
    impl Entropy for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), terms::EntropyFailed> {
            for (n, byte) in (1u8..).zip(buffer) {
                *byte = n;
            }
            Ok(())
        }
    }

    #[test]
    fn a_keyring_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let region = RegionId::parse("ru-msk").unwrap();
        assert!(FileKeyring::open(folder.path(), &region).is_err());
        let ring = FileKeyring::create(folder.path(), &region, &Counting).unwrap();
        assert!(FileKeyring::create(folder.path(), &region, &Counting).is_err());
        let (generation, wrapped) = ring.wrap(&[9; 32], b"here", [1; 12]);
        let again = FileKeyring::open(folder.path(), &region).unwrap();
        assert_eq!(*again.unwrap(generation, &wrapped, b"here").unwrap(), [9; 32]);
        assert!(again.unwrap(generation, &wrapped, b"there").is_none());
        assert!(again.unwrap(2, &wrapped, b"here").is_none());
        let tag =
            |ring: &FileKeyring, purpose| hmac::sign(&ring.derive(purpose), b"x").as_ref().to_vec();
        assert_eq!(tag(&ring, "rows"), tag(&again, "rows"));
        assert_ne!(tag(&ring, "rows"), tag(&ring, "tags"));
    }

    #[test]
    fn a_keyring_that_others_may_read_or_that_is_foreign_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let region = RegionId::parse("ru-msk").unwrap();
        FileKeyring::create(folder.path(), &region, &Counting).unwrap();
        let path = FileKeyring::path(folder.path(), &region);
        fs::copy(&path, folder.path().join("eu-fra.keyring")).unwrap();
        let eu = RegionId::parse("eu-fra").unwrap();
        let why = |result: Result<FileKeyring, Error>| result.err().unwrap().to_string();
        assert!(why(FileKeyring::open(folder.path(), &eu)).contains("another region's"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(why(FileKeyring::open(folder.path(), &region)).contains("chmod 600"));
    }
}
