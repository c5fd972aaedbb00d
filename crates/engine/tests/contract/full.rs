//! A full disk: a commit that has no room is refused before anything is written, nothing
//! acknowledged is lost, and the same opening goes on when there is room again.

use std::fs;
use std::path::Path;
use std::process::Command;

use engine::{Error, Kind};

/// A small disk of its own, in memory, taken down at the end.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(mib: u64) -> Self {
        let place = tempfile::tempdir().expect("folder");
        let options = format!("size={mib}m,mode=0700");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "engine-test"])
            .arg(place.path())
            .status()
            .expect("mount");
        assert!(status.success(), "this test mounts a tmpfs: run it as root");
        Self(place)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "umount {}", self.path().display());
    }
}

#[test]
fn a_full_disk_refuses_writes_and_recovers() {
    for kind in Kind::ALL {
        let mib = kind.free_bytes_min() / (1 << 20) + 40;
        let disk = SmallDisk::mount(mib);
        let folder = disk.path().join("data");
        let ballast = disk.path().join("ballast");
        let engine = crate::numbered::open(kind, &folder).expect("open");
        let commit = |number| {
            let head = engine.head().expect("head");
            assert_eq!(head.size, number);
            engine.commit(crate::numbered::batch(number), head, number + 1)
        };
        (0..20).for_each(|number| commit(number).expect("room"));
        let free = engine::free_bytes(&folder).expect("free");
        let fill = free - kind.free_bytes_min() / 2;
        fs::write(&ballast, vec![1; usize::try_from(fill).expect("small")]).expect("ballast");
        for _ in 0..3 {
            let refused = commit(20).expect_err("no room");
            assert!(matches!(refused, Error::Full { .. }), "{kind:?}: {refused}");
            assert_eq!(crate::numbered::check(&*engine), Ok(20));
        }
        fs::remove_file(&ballast).expect("remove");
        (20..40).for_each(|number| commit(number).expect("room again"));
        drop(engine);
        let engine = crate::numbered::open(kind, &folder).expect("open");
        assert_eq!(crate::numbered::check(&*engine), Ok(40));
    }
}
