//! Every engine passes the same suite.

use std::path::Path;
use std::thread;

use crate::numbered::OPTIONS;
use crate::suite::{Random, all, commit};
use engine::{Backend, Batch, Disk, Embedded, Engine, Error, Kind, Memory};

fn open(kind: Kind, folder: &Path) -> Box<dyn Engine> {
    crate::numbered::open(kind, folder).expect("open")
}

fn on_disk(kind: Kind) {
    let folder = tempfile::tempdir().expect("folder");
    let mut stores = 0;
    crate::suite::suite(&mut || {
        stores += 1;
        let path = folder.path().join(format!("{stores}"));
        Box::new(move || open(kind, &path))
    });
}

#[test]
fn memory_conforms() {
    crate::suite::suite(&mut || {
        let disk = Disk::new(1);
        Box::new(move || Box::new(Memory::open(&disk)))
    });
}

#[test]
fn sled_conforms() {
    on_disk(Kind::Sled);
}

#[test]
fn fjall_conforms() {
    on_disk(Kind::Fjall);
}

/// Each seed is a run of its own that can be replayed: add one here.
const SEEDS: [u64; 4] = [1, 2, 20_261_123, 0xdead_beef];

#[test]
fn memory_follows_the_model() {
    for seed in SEEDS {
        let disk = Disk::new(seed);
        crate::suite::against_a_model(&|| Box::new(Memory::open(&disk)), seed, 2500);
    }
}

fn follows_the_model(kind: Kind) {
    thread::scope(|scope| {
        for seed in SEEDS {
            scope.spawn(move || {
                let folder = tempfile::tempdir().expect("folder");
                crate::suite::against_a_model(&|| open(kind, folder.path()), seed, 2500);
            });
        }
    });
}

#[test]
fn sled_follows_the_model() {
    follows_the_model(Kind::Sled);
}

#[test]
fn fjall_follows_the_model() {
    follows_the_model(Kind::Fjall);
}

#[test]
fn a_second_opener_is_refused() {
    for kind in Kind::ALL {
        let folder = tempfile::tempdir().expect("folder");
        let first = open(kind, folder.path());
        for other in Kind::ALL {
            let refused = engine::open(other, folder.path(), OPTIONS).expect_err("locked");
            assert_eq!(refused, Error::Locked { path: folder.path().join("LOCK") });
        }
        commit(&*first, Batch::new());
        drop(first);
        assert_eq!(open(kind, folder.path()).head().expect("head").size, 1);
    }
}

#[test]
fn a_replaced_writer_changes_nothing() {
    let disk = Disk::new(1);
    let first = Memory::open(&disk);
    let head = first.head().expect("head");
    let second = Memory::open(&disk);
    let mut batch = Batch::new();
    batch.put("a", "1");
    let found = second.head().expect("head");
    assert_eq!(first.commit(batch.clone(), head, 1), Err(Error::HeadMoved { found }));
    assert_eq!(first.commit(batch, found, 1), Err(Error::HeadMoved { found }));
    assert_eq!(first.head(), Err(Error::HeadMoved { found }));
    assert!(all(&second).is_empty());
}

#[test]
fn a_backend_says_what_is_there_before_it_is_opened() {
    let place = tempfile::tempdir().expect("folder");
    for kind in Kind::ALL {
        let folder = place.path().join("not there").join(kind.as_str());
        let store = Embedded { kind, folder: folder.clone(), options: OPTIONS };
        assert_eq!(store.exists(), Ok(false));
        let space = store.space().expect("the disk of the folder above");
        assert!(space.total >= space.free && space.free > 0);
        assert!(!folder.exists(), "looking makes nothing");
        let engine = store.open().expect("open");
        assert!(store.exists() == Ok(true) && store.folder() == Some(&*folder));
        let own = engine.space().expect("space");
        assert_eq!((own.total, own.commit_min), (space.total, kind.free_bytes_min()));
        // What is stuck in this process may hold the files: an engine on files is not opened again.
        assert_eq!(engine.reopen(), Err(Error::Poisoned));
        assert!(engine.head().is_ok());
    }
    let disk = Disk::new(1);
    assert!(disk.exists() == Ok(false) && disk.folder().is_none());
    drop(Backend::open(&disk).expect("open"));
    assert_eq!(disk.exists(), Ok(true));
}

#[test]
fn a_folder_of_another_engine_or_program_is_refused() {
    use std::os::unix::fs::PermissionsExt;

    let place = tempfile::tempdir().expect("folder");
    for (kind, other) in [(Kind::Sled, Kind::Fjall), (Kind::Fjall, Kind::Sled)] {
        let folder = place.path().join("new").join(kind.as_str());
        drop(open(kind, &folder));
        let mode = std::fs::metadata(&folder).expect("folder").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        let foreign = |expected: &str| {
            let refused = crate::numbered::open(other, &folder).expect_err("foreign");
            assert!(refused.to_string().contains(expected), "{refused}");
        };
        foreign("another engine");
        std::fs::write(folder.join("FORMAT"), format!("{} 2\n", other.as_str())).expect("write");
        foreign("another version");
        std::fs::write(folder.join("FORMAT"), "x").expect("write");
        foreign("damaged");
        std::fs::remove_file(folder.join("FORMAT")).expect("remove");
        foreign("FORMAT file is missing");
        assert!(folder.join("store").exists());
    }
    let home = place.path().join("home");
    std::fs::create_dir(&home).expect("folder");
    std::fs::write(home.join("letter"), "dear").expect("write");
    let refused = crate::numbered::open(Kind::Sled, &home).expect_err("foreign");
    assert!(matches!(refused, Error::Foreign { .. }), "{refused}");
}

#[test]
fn an_interrupted_creation_is_finished() {
    for kind in Kind::ALL {
        let place = tempfile::tempdir().expect("folder");
        let folder = place.path();
        // What may be there when the process dies before the first term is durable.
        for file in ["LOCK", "FORMAT.new"] {
            std::fs::write(folder.join(file), "").expect("write");
        }
        std::fs::create_dir(folder.join("store")).expect("folder");
        std::fs::write(folder.join("store/0.jnl"), "").expect("write");
        commit(&*open(kind, folder), Batch::new());
        assert_eq!(open(kind, folder).head().expect("head").size, 1);
    }
}

/// No value may make sled write to its blob files, which are outside its log.
#[test]
fn sled_keeps_every_record_in_its_log() {
    let folder = tempfile::tempdir().expect("folder");
    let engine = open(Kind::Sled, folder.path());
    let mut random = Random(3);
    for round in 0..60 {
        let mut batch = Batch::new();
        for row in 0..40_u64 {
            let mut key = random.bytes(engine::KEY_BYTES_MAX - 8);
            key.extend_from_slice(&(row % 20).to_be_bytes());
            batch.put(key, random.bytes(4096));
        }
        batch.put([round % 5], random.bytes(300_000));
        commit(&*engine, batch);
    }
    drop(engine);
    let engine = open(Kind::Sled, folder.path());
    assert_eq!(all(&*engine).len(), 60 * 40 + 5);
    let blobs = folder.path().join("store/blobs");
    assert_eq!(std::fs::read_dir(blobs).expect("blobs").count(), 0);
}
