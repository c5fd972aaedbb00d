//! The rows of the store: their keys, their layouts, and the encryption of what is in them.

pub(crate) mod accesses;
pub(crate) mod aead;
pub(crate) mod attachment;
pub(crate) mod codec;
pub(crate) mod collection_key;
pub(crate) mod damage;
pub(crate) mod directories;
pub(crate) mod erasure;
pub(crate) mod feed;
pub(crate) mod generations;
pub(crate) mod growing_log;
pub(crate) mod identity;
pub(crate) mod index_keys;
pub(crate) mod indexed;
pub(crate) mod keyring;
pub(crate) mod keys;
pub(crate) mod principal;
pub(crate) mod record;
pub(crate) mod region_maps;
pub(crate) mod reserve;
pub(crate) mod slots;
pub(crate) mod subject;
pub(crate) mod subject_name;
pub(crate) mod tombstone;
pub(crate) mod types;
pub(crate) mod upload_check;
