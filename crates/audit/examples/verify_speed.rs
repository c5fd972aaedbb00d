//! How long a verification takes: writes a log of so many entries into a folder, and verifies it
//! three times. `cargo run --release -p audit --example verify_speed -- 1000000 FOLDER`

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::path::PathBuf;

use audit::folder::{Folder, Growth};
use audit::verify;
use ledger::Checkpoint;
use ledger::entry::{Caller, Detail, Entry, Kind, MapRef, Role};
use ledger::note::Signer;
use tokio::time::Instant;

const ORIGIN: &str = "example/eu-fra/a/1";

/// A write as a shard logs it: about 250 bytes.
fn entry(index: u64) -> Entry {
    let mut entry = Entry::new(Kind::Place, 29_000_000);
    let mut tag = [7; 32];
    tag[..8].copy_from_slice(&index.to_be_bytes());
    entry.tenant_tag = Some([3; 16]);
    entry.collection = Some("profile".to_owned());
    entry.jurisdictions = vec!["EEA".to_owned(), "RU".to_owned()];
    entry.statutes = vec!["eea-gdpr-v".to_owned(), "ru-152fz-18-5".to_owned()];
    entry.clauses =
        vec!["clause-eea-to-us-scc-2021-914".to_owned(), "clause-ru-to-eea-notice".to_owned()];
    entry.map = Some(MapRef { epoch: 1, digest: [9; 32] });
    let territory = Some("DE".to_owned());
    entry.caller = Some(Caller { role: Role::Writer, tag: [4; 16], territory });
    entry.details =
        vec![Detail::PhoneData("9.0.43".to_owned()), Detail::IpData("20261101".to_owned())];
    entry.commitment = Some(tag);
    entry
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("how many entries?")?.parse()?;
    let folder = Folder::at(PathBuf::from(arguments.next().ok_or("in which folder?")?));
    let signer = Signer::from_seed(ORIGIN, &[1; 32])?;
    let mut growth = Growth::begin(&folder)?;
    let mut genesis = Entry::new(Kind::Genesis, 29_000_000);
    genesis.details.push(Detail::LogKey(signer.vkey()));
    growth.push(&genesis.encode()?)?;
    let (began, mut bytes) = (Instant::now(), 0);
    for index in 1..count {
        let entry = entry(index).encode()?;
        bytes += entry.len();
        growth.push(&entry)?;
    }
    let (size, root) = (growth.size(), growth.root());
    let note = Checkpoint { origin: ORIGIN.to_owned(), size, root }.sign(&signer)?;
    growth.finish(&note)?;
    std::fs::write(folder.path().join("vkey"), format!("{}\n", signer.vkey()))?;
    println!("{size} entries, {bytes} bytes, written in {:.2?}", began.elapsed());
    for _ in 0..3 {
        let began = Instant::now();
        let verified = verify(&folder, None, &mut |_, _| {})?;
        println!("{} entries verified in {:.2?}", verified.checkpoint.size, began.elapsed());
    }
    Ok(())
}
