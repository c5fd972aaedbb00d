//! `[backup_bucket]`: the bucket for a shard's backups. Its credentials are read by the command that uses
//! them, never by a server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::Endpoint;
use link::host::clock::SystemClock;
use link::host::file_watch;
use link::net::object_store::{Bucket, Place};
use shard::BackupBucket;

use super::reading::Section;
use crate::error::{Exit, Failure};
use crate::files;

/// The region that signatures name, where a server has none of its own.
const SIGNING_REGION: &str = "us-east-1";
/// Bytes of what stands before the names of backups.
const PREFIX_BYTES_MAX: usize = 512;

/// The bucket of a configuration.
#[derive(Debug)]
pub(crate) struct BucketConfig {
    endpoint: Endpoint,
    bucket: String,
    prefix: String,
    signing_region: String,
    pub(crate) credentials: PathBuf,
    authorities: Option<PathBuf>,
    scratch: PathBuf,
}

/// `[backup_bucket]`, if it is there. The outer `None`: it is wrong.
pub(super) fn bucket(root: &Section<'_>) -> Option<Option<BucketConfig>> {
    let Some(section) = root.section("backup_bucket") else { return Some(None) };
    let endpoint = section.parse("endpoint", Endpoint::parse);
    let bucket = section.parse("bucket", |text| is_bucket(text).then(|| text.to_owned()));
    let prefix = section.parse("prefix", folders);
    let region = section.parse("signing_region", |text| is_word(text).then(|| text.to_owned()));
    let signing_region = region.map_or_else(|| SIGNING_REGION.to_owned(), |region| region.it);
    let credentials = section.path("credentials_file");
    let authorities = section.path("authorities").map(|file| file.it);
    let scratch = section.text("scratch").map(|text| section.reading.relative(text.it));
    Some(Some(BucketConfig {
        endpoint: endpoint?.it,
        bucket: bucket?.it,
        prefix: prefix.map_or_else(String::new, |prefix| prefix.it),
        signing_region,
        credentials: credentials?.it,
        authorities,
        scratch: scratch?,
    }))
}

impl BucketConfig {
    /// The bucket, with its credentials. `data`: the folder of the store.
    pub(crate) fn open(&self, data: Option<&Path>) -> Result<BackupBucket, Failure> {
        let secret = files::secret(&self.credentials)?;
        let authorities = self.authorities.as_ref().map(|path| {
            let read = file_watch::read(path);
            read.map_err(|error| {
                Failure::said(Exit::Config, format!("{} cannot be read ({error})", path.display()))
            })
        });
        let place = Place {
            endpoint: self.endpoint.as_str(),
            bucket: &self.bucket,
            signing_region: &self.signing_region,
        };
        let bucket = Bucket::new(place, &secret, authorities.transpose()?, Arc::new(SystemClock));
        let path = self.credentials.display();
        let bucket =
            bucket.map_err(|error| Failure::said(Exit::Config, format!("{path}: {error}")))?;
        let (endpoint, prefix) = (self.endpoint.clone(), self.prefix.clone());
        let (scratch, data) = (self.scratch.clone(), data.map(Path::to_owned));
        Ok(BackupBucket { endpoint, bucket, prefix, scratch, data })
    }
}

/// A bucket's name, by the rules of S3: small letters, digits, and inner points and hyphens.
fn is_bucket(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = |c: char| c.is_ascii_alphanumeric();
    (3..=63).contains(&text.len())
        && text.bytes().all(inner)
        && text.starts_with(ends)
        && text.ends_with(ends)
        && !text.contains("..")
}

fn is_word(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=63).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('.')
}

/// Folders, each followed by `/`.
fn folders(text: &str) -> Option<String> {
    let fits = text.len() < PREFIX_BYTES_MAX && text.split('/').all(is_word);
    fits.then(|| format!("{text}/"))
}

#[cfg(test)]
mod tests {
    use super::{folders, is_bucket};

    #[test]
    fn names_are_the_same_in_every_address() {
        for good in ["people", "eu-fra.backups", "abc", "a1b"] {
            assert!(is_bucket(good), "{good}");
        }
        for bad in ["", "ab", "..", "a..b", ".people", "people-", "People", "a/b", "a b", "%2e%2e"]
        {
            assert!(!is_bucket(bad), "{bad}");
        }
        assert_eq!(folders("eu-fra").as_deref(), Some("eu-fra/"));
        assert_eq!(folders("eu-fra/s1").as_deref(), Some("eu-fra/s1/"));
        for bad in ["", "/", "a/", "/a", "a//b", "..", "a/../b", "a/.b", "a b", "%2e", "a?b", "a#b"]
        {
            assert_eq!(folders(bad), None, "{bad}");
        }
    }
}
