//! Whether other users can change the configuration, or any file that it names: the file itself, or
//! the folders in which it lies.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::doctor::line::Line;
use crate::doctor::target::Target;

const CHECK: &str = "configuration";
/// The bits by which others than the owner change a file, or what lies in a folder.
const OTHERS_WRITE: u32 = 0o022;
/// The bit of a folder in which every user makes files, and removes only their own.
const STICKY: u32 = 0o1000;
const SUPERUSER: u32 = 0;

/// All of it: a line for each path that others can change, or one when there is none.
pub(super) fn all(target: &Target) -> Vec<Line> {
    let own = own_user();
    let mut found = BTreeMap::new();
    for file in &target.files {
        for place in places(file) {
            open_file(&place, &mut found);
            for entry in place.ancestors() {
                open_folder(file, entry, own, &mut found);
            }
        }
    }
    if found.is_empty() {
        let what = format!(
            "only their owners can change {} and the {} files that it names",
            target.config.display(),
            target.files.len().saturating_sub(1)
        );
        return vec![Line::ok(CHECK, what)];
    }
    found.into_values().collect()
}

/// Where a file could be replaced: where its name lies and, through links, where it itself does.
/// What cannot be found is reported by the code that reads it.
fn places(file: &Path) -> Vec<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = fs::canonicalize(folder.unwrap_or_else(|| Path::new("."))).ok();
    let named = folder.zip(file.file_name()).map(|(folder, name)| folder.join(name));
    let mut places: Vec<PathBuf> = named.into_iter().chain(fs::canonicalize(file).ok()).collect();
    places.dedup();
    places
}

/// Notes a file that others can write into.
fn open_file(place: &Path, found: &mut BTreeMap<PathBuf, Line>) {
    // A link's own mode says nothing, and what it leads to has its turn.
    let Ok(about) = fs::symlink_metadata(place) else { return };
    if about.is_symlink() || about.mode() & OTHERS_WRITE == 0 {
        return;
    }
    let what = format!("users other than its owner can change {}", place.display());
    let line = Line::bad(CHECK, what, format!("chmod go-w {}", place.display()));
    found.entry(place.to_path_buf()).or_insert(line);
}

/// Notes a folder in which others can put something else in the place of `entry`.
fn open_folder(file: &Path, entry: &Path, own: Option<u32>, found: &mut BTreeMap<PathBuf, Line>) {
    let Some(folder) = entry.parent() else { return };
    let (Ok(about), Ok(inside)) = (fs::metadata(folder), fs::symlink_metadata(entry)) else {
        return;
    };
    match Folder::of(about.mode(), about.uid(), inside.uid(), own) {
        Folder::Closed => {}
        Folder::Open => {
            let (shown, file) = (folder.display(), file.display());
            let what = format!("users other than its owner can replace files in {shown}: {file}");
            let line = Line::bad(CHECK, what, format!("chmod go-w {shown}"));
            found.entry(folder.to_path_buf()).or_insert(line);
        }
        Folder::Anybodys => {
            let what = format!(
                "{} belongs to the user {}, in a folder in which every user creates files",
                entry.display(),
                inside.uid()
            );
            let cure =
                "check its content, and move it into a folder that only its owner can change";
            let line = || Line::bad(CHECK, what, cure);
            found.entry(entry.to_path_buf()).or_insert_with(line);
        }
    }
}

/// What others can do to something by the folder in which it lies.
#[derive(Debug, PartialEq, Eq)]
enum Folder {
    /// Nothing.
    Closed,
    /// Put something else in its place.
    Open,
    /// They may have put it there in the first place.
    Anybodys,
}

impl Folder {
    /// By a folder's mode and owner, the owner of what lies in it, and the user that we are.
    const fn of(mode: u32, owner: u32, inside: u32, own: Option<u32>) -> Self {
        if mode & OTHERS_WRITE == 0 {
            return Self::Closed;
        }
        if mode & STICKY == 0 {
            return Self::Open;
        }
        // Other users cannot replace the file, but may have made it in the first place.
        match own {
            Some(own) if inside != own && inside != owner && inside != SUPERUSER => Self::Anybodys,
            Some(_) | None => Self::Closed,
        }
    }
}

/// The user that this process runs as. The kernel says it here for every process, however closed
/// its memory is.
pub(super) fn own_user() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|about| about.uid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_everybody_holds_what_is_ours() {
        let (us, owner, stranger) = (Some(1000), 500, 1001);
        for (mode, inside, expected) in [
            (0o755, stranger, Folder::Closed),
            (0o775, 1000, Folder::Open),
            (0o757, 1000, Folder::Open),
            (0o777, SUPERUSER, Folder::Open),
            (0o1777, SUPERUSER, Folder::Closed),
            (0o1777, 1000, Folder::Closed),
            (0o1777, owner, Folder::Closed),
            (0o1777, stranger, Folder::Anybodys),
            (0o1770, stranger, Folder::Anybodys),
        ] {
            assert_eq!(Folder::of(mode, owner, inside, us), expected, "{mode:o} {inside}");
        }
        assert_eq!(Folder::of(0o1777, owner, stranger, None), Folder::Closed);
    }

    #[test]
    fn a_file_is_looked_at_where_it_is_named_and_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        let (real, named) = (root.join("real"), root.join("named"));
        fs::create_dir(&real).unwrap();
        fs::write(real.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&real, &named).unwrap();
        std::os::unix::fs::symlink("real/file", root.join("link")).unwrap();
        assert_eq!(places(&named.join("file")), [real.join("file")]);
        assert_eq!(places(&root.join("link")), [root.join("link"), real.join("file")]);
        assert_eq!(places(&root.join("gone")), [root.join("gone")]);
    }
}
