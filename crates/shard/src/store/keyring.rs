//! The region's keys: what they do, and the file keyring.

mod given;

use std::fs;
use std::path::{Path, PathBuf};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};
use terms::{Entropy, RegionId};
use zeroize::Zeroizing;

use crate::Error;
use crate::store::aead::{KEY_BYTES, NONCE_BYTES, SealKey, TAG_BYTES, binding};
use crate::store::secret_files::{draw, from_hex, read_secret, to_hex, write_secret};
use crate::store::token::{Guard, SealedFile};

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

    /// The number of the current generation: the newest. `None`: there is none.
    fn current(&self) -> Option<u32> {
        self.generations().last().copied()
    }

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

    /// Makes ready what the keyring will be after a change, and gives it: with one generation more, or
    /// those of another shard, the newest of which is the current one then, or without an old one. It is
    /// durable, and not in use before [`Keyring::take_next`].
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
    /// Those that another shard of the region has made: [`crate::Settings::give_keyring`].
    Take,
    /// Without that one.
    Destroy(u32),
}

/// A keyring in one file, readable by its owner only.
///
/// A person who holds this file and the data folder can read every record without a trace: keep it on
/// another disk, or let a token guard it ([`crate::store::token`]).
pub(crate) struct FileKeyring {
    path: PathBuf,
    region: RegionId,
    /// What the file is encrypted by. None: it is not.
    guard: Option<Guard>,
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
        guard: Option<&Guard>,
        entropy: &dyn Entropy,
    ) -> Result<Self, Error> {
        let file = KeyFile {
            format: FORMAT,
            region: region.to_string(),
            index: to_hex(&*draw(entropy)?),
            generations: vec![KeyLine { number: 1, key: to_hex(&*draw(entropy)?) }],
        };
        file.write(&Self::path(folder, region), guard, Vec::new(), entropy)?;
        Self::open(folder, region, guard)
    }

    /// Puts a copy of the region's keyring into `folder`. One that is there must be the same.
    pub(crate) fn copy(
        file: &Path,
        folder: &Path,
        region: &RegionId,
        guard: Option<&Guard>,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let (given, path) = (KeyFile::read(file, region, guard)?, Self::path(folder, region));
        if !path.exists() {
            return given.write(&path, guard, Vec::new(), entropy);
        }
        if *KeyFile::read(&path, region, guard)?.text() == *given.text() {
            return Ok(());
        }
        Err(Error::Keys { path, why: "it is there already, and is not the keyring that was given" })
    }

    /// Reads the keyring. One that is missing is never replaced.
    pub(crate) fn open(
        folder: &Path,
        region: &RegionId,
        guard: Option<&Guard>,
    ) -> Result<Self, Error> {
        Self::read(&Self::path(folder, region), region, guard)
    }

    /// Reads what a change has made ready and not taken. `None`: there is nothing.
    pub(crate) fn open_next(
        folder: &Path,
        region: &RegionId,
        guard: Option<&Guard>,
    ) -> Result<Option<Self>, Error> {
        let path = next(&Self::path(folder, region));
        if !path.exists() {
            return Ok(None);
        }
        Self::read(&path, region, guard).map(Some)
    }

    /// Destroys what a token still has for earlier files: a crash may have come before that.
    pub(crate) fn forget_earlier(&self) -> Result<(), Error> {
        let Some(guard) = &self.guard else { return Ok(()) };
        let sealed = SealedFile::read(&read_secret(&self.path)?);
        sealed.map_or(Ok(()), |sealed| guard.destroy_earlier(&sealed))
    }

    fn read(path: &Path, region: &RegionId, guard: Option<&Guard>) -> Result<Self, Error> {
        let file = KeyFile::read(path, region, guard)?;
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
            guard: guard.cloned(),
            index: hmac::Key::new(hmac::HMAC_SHA256, &*index),
            generations: ArcSwap::from_pointee(generations),
        })
    }
}

impl KeyFile {
    fn read(path: &Path, region: &RegionId, guard: Option<&Guard>) -> Result<Self, Error> {
        let broken = |why| Error::Keys { path: path.to_owned(), why };
        let mut text = read_secret(path)?;
        let sealed = SealedFile::read(&text);
        text = match (sealed, guard) {
            (Some(sealed), Some(guard)) => guard.open(&sealed)?,
            (None, None) => text,
            (Some(_), None) => {
                return Err(broken("it is encrypted by a token: name that in `[keyring]`"));
            }
            (None, Some(_)) => {
                return Err(broken("it is not encrypted by the token that `[keyring]` names"));
            }
        };
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

    /// Writes it as a new file. `earlier`: the keys of the files that it replaces.
    fn write(
        &self,
        path: &Path,
        guard: Option<&Guard>,
        earlier: Vec<String>,
        entropy: &dyn Entropy,
    ) -> Result<(), Error> {
        let text = self.text();
        let Some(guard) = guard else { return write_secret(path, text.as_bytes()) };
        let sealed = guard.seal(&text, earlier, entropy)?;
        write_secret(path, toml::to_string(&sealed).expect("plain TOML").as_bytes())
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
    /// Whether there is a keyring, and it opens: for commands that look before the shard must.
    ///
    /// # Errors
    /// [`Error::Keys`] when it is none of this region's, or open to others; [`Error::Io`].
    pub fn check_keys(&self) -> Result<bool, Error> {
        let path = FileKeyring::path(&self.keys, &self.region);
        let there = path.try_exists().map_err(|source| Error::Io { path: path.clone(), source })?;
        if there {
            FileKeyring::read(&path, &self.region, self.guard().as_ref())?;
        }
        Ok(there)
    }

    /// What the keyring's file is encrypted by.
    pub(crate) fn guard(&self) -> Option<Guard> {
        let Self { region, shard, token, .. } = self;
        let (region, shard) = (region.clone(), shard.clone());
        token.clone().map(|token| Guard { token, region, shard })
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
        let guard = self.guard.as_ref();
        let mut file = KeyFile::read(&self.path, &self.region, guard)?;
        let current = self.current().unwrap_or_default();
        match change {
            KeyChange::Add => {
                let number = current.checked_add(1).ok_or_else(|| broken("it is full"))?;
                file.generations.push(KeyLine { number, key: to_hex(&*draw(entropy)?) });
            }
            KeyChange::Take => file.take_given(&self.path, guard)?,
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
        let mut earlier = Vec::new();
        for path in [&self.path, &path].into_iter().filter(|path| path.exists()) {
            earlier.extend(SealedFile::read(&read_secret(path)?).map(SealedFile::key_id));
        }
        // What an earlier change has left was never in use, or is in use already.
        if path.exists() {
            fs::remove_file(&path).map_err(|source| Error::Io { path: path.clone(), source })?;
        }
        file.write(&path, guard, earlier, entropy)?;
        Ok(Box::new(Self::read(&path, &self.region, guard)?))
    }

    fn take_next(&self) -> Result<(), Error> {
        let next = next(&self.path);
        let ready = Self::read(&next, &self.region, self.guard.as_ref())?;
        let io = |source| Error::Io { path: self.path.clone(), source };
        fs::rename(&next, &self.path).map_err(io)?;
        let folder = self.path.parent().unwrap_or_else(|| Path::new("."));
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
        self.generations.store(ready.generations.load_full());
        self.forget_earlier()
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
        assert!(FileKeyring::open(folder.path(), &region, None).is_err());
        let ring = FileKeyring::create(folder.path(), &region, None, &Counting).unwrap();
        assert!(FileKeyring::create(folder.path(), &region, None, &Counting).is_err());
        let (generation, wrapped) = ring.wrap(&[9; 32], b"here", [1; 12]);
        let again = FileKeyring::open(folder.path(), &region, None).unwrap();
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
        FileKeyring::create(folder.path(), &region, None, &Counting).unwrap();
        let path = FileKeyring::path(folder.path(), &region);
        fs::copy(&path, folder.path().join("eu-fra.keyring")).unwrap();
        let eu = RegionId::parse("eu-fra").unwrap();
        let why = |result: Result<FileKeyring, Error>| result.err().unwrap().to_string();
        assert!(why(FileKeyring::open(folder.path(), &eu, None)).contains("another region's"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(why(FileKeyring::open(folder.path(), &region, None)).contains("chmod 600"));
    }
}
