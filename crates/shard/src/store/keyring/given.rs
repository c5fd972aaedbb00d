//! Generations that another shard of the region has made, taken over from a copy of its keyring. What
//! was destroyed here does not come back: only what is newer than all that is here is taken.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::store::keyring::{FileKeyring, KeyFile};
use crate::store::secret_files::{read_secret, write_secret};
use crate::store::token::Guard;

impl KeyFile {
    /// Adds the generations of the keyring that was put next to the one at `path`. That file goes, whatever
    /// becomes of it: it is a secret.
    pub(super) fn take_given(&mut self, path: &Path, guard: Option<&Guard>) -> Result<(), Error> {
        let broken = |why| Error::Keys { path: given(path), why };
        let region =
            terms::RegionId::parse(&self.region).map_err(|_| broken("it is no region's"))?;
        let read = Self::read(&given(path), &region, guard);
        discard(&given(path))?;
        let other = read?;
        if other.index != self.index {
            return Err(broken(
                "its index key is another: it is not a keyring of this region's shards",
            ));
        }
        let current = self.generations.iter().map(|line| line.number).max().unwrap_or_default();
        let own = |number| self.generations.iter().find(|line| line.number == number);
        let differs =
            |line: &&super::KeyLine| own(line.number).is_some_and(|own| own.key != line.key);
        if other.generations.iter().any(|line| differs(&line)) {
            return Err(broken(
                "it has another key under the number of a generation that is here: both shards have \
                 made one. Let one of them destroy its own, after a rotation there",
            ));
        }
        let newer = other.generations.into_iter().filter(|line| line.number > current);
        let newer: Vec<_> = newer.collect();
        if newer.is_empty() {
            return Err(broken("it has no newer generation than this shard's keyring"));
        }
        self.generations.extend(newer);
        Ok(())
    }
}

impl crate::Settings {
    /// Puts a copy of another shard's keyring where the shard that runs with these settings takes it
    /// over from, when it is asked to. A copy that was left there is replaced.
    ///
    /// # Errors
    /// [`Error::Keys`] when it is no keyring of this region, or open to others; [`Error::Io`].
    pub fn give_keyring(&self, file: &Path) -> Result<(), Error> {
        KeyFile::read(file, &self.region, self.guard().as_ref())?;
        let path = given(&FileKeyring::path(&self.keys, &self.region));
        discard(&path)?;
        write_secret(&path, &read_secret(file)?)
    }

    /// Removes that copy, if the shard has not taken it over: it is a secret, and has generations that
    /// may be destroyed here later.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn take_back_keyring(&self) -> Result<(), Error> {
        discard(&given(&FileKeyring::path(&self.keys, &self.region)))
    }
}

impl FileKeyring {
    /// Removes a copy that was left there: the one who put it there waits no more, or asks again.
    pub(crate) fn discard_given(&self) -> Result<(), Error> {
        discard(&given(&self.path))
    }
}

/// Where a copy of another shard's keyring lies until it is taken over.
fn given(keyring: &Path) -> PathBuf {
    let mut given = keyring.as_os_str().to_owned();
    given.push(".given");
    PathBuf::from(given)
}

fn discard(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::Io { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}
