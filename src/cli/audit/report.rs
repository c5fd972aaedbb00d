//! `audit report`: mirrored logs and maps as a report that a compliance officer can hand over.

use std::fs;
use std::path::{Path, PathBuf};

use audit::report::{Entries, Input, Language, LogInput, MapInput, Report, Verification};
use audit::{Folder, Policy, verify as verify_log};
use clap::Args;
use ledger::entry::Entry;
use ledger::{Checkpoint, Hash, Signers};
use link::system::SystemClock;
use sha2::{Digest as _, Sha256};
use terms::Clock as _;

use super::{Exit, Failure, PolicyFile, maps, minute, text};
use crate::cli::terminal::{say, warn};

/// Bytes of a map, a pack or a note.
pub(super) const MAP_BYTES_MAX: usize = 16 << 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    policy: PolicyFile,
    /// The first day, or minute
    #[arg(long, value_name = "TIME", value_parser = minute)]
    from: u64,
    /// The first day, or minute, that is not part of it
    #[arg(long, value_name = "TIME", value_parser = minute)]
    until: u64,
    /// The language: en or ru
    #[arg(long, value_name = "CODE", default_value = "en", value_parser = language)]
    language: Language,
    /// The public key of a person who signs maps; may be repeated, at least two
    #[arg(long = "map-signer", value_name = "KEY")]
    signers: Vec<String>,
    /// The folder for report.html, report.csv and report.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The folder of the mirrors, with `maps` in it
    #[arg(value_name = "DIR")]
    place: PathBuf,
}

fn language(code: &str) -> Result<Language, &'static str> {
    Language::parse(code).ok_or("is neither en nor ru")
}

/// Verifies every log, reads them and the maps, and writes the three files.
pub(super) fn run(options: &Options) -> Result<(), Failure> {
    if options.until <= options.from {
        return Err(Failure::said(Exit::Config, "--until must be later than --from"));
    }
    let policy = options.policy.read()?;
    let folders = Folder::logs(&options.place)
        .map_err(|error| Failure::said(Exit::Config, super::shards::folder_said(&error)))?;
    let mut logs = Vec::new();
    let mut deployment = None;
    for folder in &folders {
        let log = log(folder, policy.as_ref())?;
        let of = log.origin.split('/').next().unwrap_or_default().to_owned();
        if *deployment.get_or_insert_with(|| of.clone()) != of {
            let text = "the logs are of two deployments: give each a folder of its own";
            return Err(Failure::said(Exit::Config, text));
        }
        logs.push(log);
    }
    let Some(deployment) = deployment else {
        let text = format!("{}: there is no log in it", options.place.display());
        return Err(Failure::said(Exit::Config, text));
    };
    let short = |minute: u64| u32::try_from(minute).unwrap_or(u32::MAX);
    let report = Report::new(Input {
        deployment,
        period: short(options.from)..short(options.until),
        generated: short(SystemClock.now().minute()),
        language: options.language,
        logs,
        maps: map_inputs(&options.place, &options.signers)?,
    });
    let write = |name: &str, text: String| {
        let path = options.out.join(name);
        let written = fs::create_dir_all(&options.out).and_then(|()| fs::write(&path, text));
        written.map_err(|error| {
            let text = format!("{}: cannot be written ({error})", path.display());
            Failure::said(Exit::Unavailable, text)
        })
    };
    write("report.html", report.to_html())?;
    write("report.csv", report.to_csv())?;
    write("report.json", format!("{:#}\n", report.to_json()))?;
    say(format!(
        "{}: {} logs, {} maps, {} gaps that the report names",
        options.out.display(),
        report.logs.len(),
        report.law.maps.len(),
        report.gaps.len()
    ))
}

/// A log, with what its verification came to. One that is not whole is in the report as such.
fn log<'f>(folder: &'f Folder, policy: Option<&Policy>) -> Result<LogInput<'f>, Failure> {
    let failed = |error: &audit::folder::Error| {
        let said = super::shards::folder_said(error);
        Failure::said(Exit::Data, format!("{}/{said}", folder.path().display()))
    };
    let verified = verify_log(folder, policy, &mut |_, _| {});
    let key = folder.key().map_err(|error| failed(&error))?;
    let note = folder.note().map_err(|error| failed(&error))?;
    let (checkpoint, verified) = match verified {
        Ok(verified) if !verified.broken.is_empty() => {
            super::check::broken(folder, &verified).iter().for_each(warn);
            let why = verified.broken.first().map(ToString::to_string).unwrap_or_default();
            (verified.checkpoint, Verification::Not { why })
        }
        Ok(verified) => {
            let by = if verified.key_by_policy { "the policy's key" } else { "the key beside it" };
            let by = format!("bailiwick audit verify {}, {by}", env!("CARGO_PKG_VERSION"));
            (verified.checkpoint, Verification::Whole { by })
        }
        Err(finding) => {
            let why = finding.to_string();
            warn(format!("{}/{why}", folder.path().display()));
            let unsigned =
                Checkpoint { origin: key.name().to_owned(), size: 0, root: Hash([0; 32]) };
            let checkpoint = folder.checkpoint(&key).unwrap_or(unsigned);
            (checkpoint, Verification::Not { why })
        }
    };
    let mut parts = checkpoint.origin.split('/').skip(1);
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (region, shard) = (part(), part());
    let size = checkpoint.size;
    // Nobody else brings it further while it is read.
    let held = folder.hold();
    let entries = folder.entries(size, 0, size).map(move |entry| {
        let _held = &held;
        let (index, bytes) = entry.map_err(|error| error.to_string())?;
        Ok((index, Entry::decode(&bytes).map_err(|error| error.to_string())?))
    });
    Ok(LogInput {
        origin: checkpoint.origin,
        region,
        shard,
        vkey: key.vkey(),
        checkpoint: note,
        size,
        root: checkpoint.root,
        verified,
        entries: Box::new(entries) as Entries<'f>,
    })
}

/// The maps of a mirror. Their signers count only under keys that were given.
fn map_inputs(place: &Path, keys: &[String]) -> Result<Vec<MapInput>, Failure> {
    let signers = match keys {
        [] => None,
        keys => Some(
            Signers::parse(keys.iter().map(String::as_str))
                .map_err(|error| Failure::said(Exit::Config, format!("--map-signer: {error}")))?,
        ),
    };
    let mut inputs = Vec::new();
    for path in maps::stored(place)? {
        let map_text = text(&path, MAP_BYTES_MAX)?;
        let digest: [u8; 32] = Sha256::digest(map_text.as_bytes()).into();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let stem = stem.unwrap_or_default();
        let epoch = stem.split('-').next().and_then(|epoch| epoch.parse().ok()).unwrap_or(0);
        let packs = maps::packs(&path)?;
        let packs = packs.iter().map(|pack| text(pack, MAP_BYTES_MAX)).collect::<Result<_, _>>()?;
        let note = path.with_extension("note");
        let note = if note.exists() { text(&note, MAP_BYTES_MAX)? } else { String::new() };
        let signed = signers.as_ref().and_then(|signers| signers.signed_by(&note));
        // The statement's last line is the digest of what was signed.
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let signed = signed.filter(|(said, _)| said.ends_with(&format!("\nsha256:{hex}\n")));
        let signers = signed.map(|(_, by)| by).unwrap_or_default();
        inputs.push(MapInput { epoch, digest, text: map_text, packs, signers });
    }
    Ok(inputs)
}
