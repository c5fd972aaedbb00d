//! A shard in this process, as gateways and auditors meet it.

mod accesses;
mod attributes;
mod auditors;
mod changes;
mod copies;
mod damaged_table;
mod egress;
mod erased_collection;
mod erased_files;
mod erasure;
mod expiry;
mod faults;
mod first_start;
mod hostile;
mod key_rotation;
mod keys;
mod lists;
mod losses;
mod patches;
mod peers;
mod periods;
mod records;
mod rotation;
mod session;
mod storage_format;
mod support;
