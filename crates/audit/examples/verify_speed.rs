//! How long a verification takes: writes a log of so many entries into a folder, and verifies it
//! three times. `cargo run --release -p audit --example verify_speed -- 1000000 FOLDER`

#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::error::Error;
use std::path::PathBuf;

use audit::folder::{Folder, Growth};
use audit::{Against, verify};
use ledger::Checkpoint;
use ledger::entry::{Call, Caller, Detail, Entry, EvidenceKind, Kind, MapRef, Role, Ruled};
use ledger::note::Signer;
use tokio::time::Instant;

const ORIGIN: &str = "example/eu-fra/a/1";

const MAP: MapRef = MapRef { epoch: 1, digest: [9; 32] };
const MINUTE: u32 = 29_000_000;

/// A write as a shard logs it: about 250 bytes.
fn entry(index: u64) -> Entry {
    let caller = Caller { role: Role::Writer, tag: [4; 16], territory: Some("DE".to_owned()) };
    let (tenant_tag, collection) = (Some([3; 16]), Some("profile"));
    let call = Call { tenant_tag, caller: Some(&caller), collection, map: MAP };
    let mut entry = Entry::of_call(Kind::Place, MINUTE, call);
    entry.rule(Ruled {
        jurisdictions: &["EEA".to_owned(), "RU".to_owned()],
        statutes: &["eea-gdpr-v".to_owned(), "ru-152fz-18-5".to_owned()],
        clauses: &["clause-eea-to-us-scc-2021-914".to_owned(), "clause-ru-to-eea".to_owned()],
        evidence_kinds: [EvidenceKind::Phone, EvidenceKind::Ip].into_iter().collect(),
        map: MAP,
    });
    entry.say(Detail::PhoneData("9.0.43".to_owned()));
    entry.say(Detail::IpData("20261101".to_owned()));
    let mut commitment = [7; 32];
    commitment[..8].copy_from_slice(&index.to_be_bytes());
    entry.commitment = Some(commitment);
    entry
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let count: u64 = arguments.next().ok_or("how many entries?")?.parse()?;
    let folder = Folder::at(PathBuf::from(arguments.next().ok_or("in which folder?")?));
    let signer = Signer::from_seed(ORIGIN, &[1; 32])?;
    let mut growth = Growth::begin(&folder)?;
    growth.push(&Entry::genesis(MINUTE, &signer.vkey(), Vec::new()).encode()?)?;
    growth.push(&Entry::map_taken(MINUTE, MAP, &[]).encode()?)?;
    let (began, mut bytes) = (Instant::now(), 0);
    for index in 2..count {
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
        let verified = verify(&folder, Against::default(), &mut |_, _| {})?;
        println!("{} entries verified in {:.2?}", verified.checkpoint.size, began.elapsed());
    }
    Ok(())
}
