//! `map key`, `map sign` and `map sign-annex`: signers' keys and signatures.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use ledger::note::{self, Signer};
use link::host::clock::SystemEntropy;
use serde_json::{Value, json};
use terms::Entropy as _;
use zeroize::Zeroizing;

use crate::arguments::{Packs, mistakes};
use crate::commands::map::draft::refuse_errors;
use crate::commands::map::shared::{note_of, today};
use crate::error::{Exit, Failure};
use crate::files::{secret, text, write, write_secret};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Key {
    /// Name of the signer, such as `anna.ops`; every placement log shows it
    #[arg(value_name = "NAME")]
    name: String,
    /// File for the private key; must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The map
    #[arg(value_name = "FILE")]
    map: PathBuf,
    /// Private key file, as `map key` wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File of signatures to add to [default: the map's name, ending .note]
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
    /// The map in force; reports in which respects the new one widens what is allowed
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

#[derive(Debug, Args)]
pub(crate) struct SignAnnex {
    /// The annex
    #[arg(value_name = "FILE")]
    annex: PathBuf,
    /// The map that names the keys of the region's operators
    #[arg(long, value_name = "FILE")]
    map: PathBuf,
    /// Private key file, as `map key` wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// File of signatures to add to; processes look for it next to the annex [default: the annex's
    /// name, ending .note]
    #[arg(long, value_name = "FILE")]
    note: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    packs: Packs,
}

/// Makes a key: the private half into a file, the public half to standard output.
pub(super) fn key(options: &Key) -> Result<(), Failure> {
    let mut seed = Zeroizing::new([0; 32]);
    SystemEntropy.fill(&mut *seed).map_err(|error| Failure::new(Exit::Unavailable, error))?;
    let signer = signer(&options.name, &seed)?;
    let hex = Zeroizing::new(hex::encode(*seed));
    let file = Zeroizing::new(format!("{}\n{}\n", options.name, *hex));
    write_secret(&options.out, &file)?;
    if options.json {
        let file = options.out.display().to_string();
        return terminal::say(json!({"name": options.name, "key": signer.vkey(), "file": file}));
    }
    terminal::say(signer.vkey())
}

fn signer(name: &str, seed: &[u8; 32]) -> Result<Signer, Failure> {
    Signer::from_seed(name, seed).map_err(|error| {
        let text = format!("{error}: use a name without spaces and plus signs");
        Failure::said(Exit::Config, text)
    })
}

/// The key of a file that `map key` wrote: a name, then 64 hexadecimal digits.
fn read_key(path: &Path) -> Result<Signer, Failure> {
    let wrong = || {
        let text = format!("{}: this is not a key that `bailiwick map key` wrote", path.display());
        Failure::said(Exit::Config, text)
    };
    let file = secret(path)?;
    let mut lines = file.lines();
    let (Some(name), Some(hex)) = (lines.next(), lines.next()) else { return Err(wrong()) };
    let mut seed = Zeroizing::new([0_u8; 32]);
    hex::decode_to_slice(hex, &mut *seed).map_err(|_| wrong())?;
    signer(name, &seed)
}

/// Signs an annex that fits the map, by a key that the map names for its region.
pub(super) fn annex(options: &SignAnnex) -> Result<(), Failure> {
    let map = options.packs.map(&options.map)?;
    let annex_text = text(&options.annex)?;
    let annex = atlas::Annex::parse(&annex_text, &map);
    let annex = annex.map_err(|wrong| mistakes(&options.annex, &annex_text, &wrong))?;
    let signer = read_key(&options.key)?;
    let region = map.region(annex.region());
    if !region.is_some_and(|region| region.annex_signers().contains(&signer.vkey())) {
        let text = format!(
            "the map does not name {} among the `annex_signers` of region {}: sign with a key that \
             it names, or add this one to the next map",
            signer.name(),
            annex.region(),
        );
        return Err(Failure::said(Exit::Config, text));
    }
    let path = note_of(&options.annex, options.note.as_ref());
    let statement = annex.statement(map.deployment());
    let signed = add_signature(&path, &statement, &signer)?;
    terminal::say(if options.json { signed.json().to_string() } else { signed.to_string() })
}

/// What was signed, by which key, and where the signatures are.
struct Signed<'a> {
    path: &'a Path,
    statement: &'a str,
    signer: &'a str,
    signatures: usize,
}

impl Signed<'_> {
    fn json(&self) -> Value {
        json!({
            "signed_by": self.signer, "statement": self.statement,
            "note": self.path.display().to_string(), "signatures": self.signatures,
        })
    }
}

impl fmt::Display for Signed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, statement, signer, signatures } = self;
        let s = if *signatures == 1 { "" } else { "s" };
        let path = path.display();
        write!(f, "signed by {signer}\n{statement}{path} has {signatures} signature{s}")
    }
}

/// Adds a signature to a file of signatures over one statement.
fn add_signature<'a>(
    path: &'a Path,
    statement: &'a str,
    signer: &'a Signer,
) -> Result<Signed<'a>, Failure> {
    let fresh = note::sign(statement, &[signer]).map_err(|e| Failure::new(Exit::Config, e))?;
    let before = if path.exists() { Some(text(path)?) } else { None };
    let whole = match before.filter(|note| note.starts_with(&format!("{statement}\n"))) {
        // A note over an earlier text is of no use any more.
        None => fresh,
        Some(note) => {
            let own = fresh.lines().last().unwrap_or_default();
            let mine = format!("\u{2014} {} ", signer.name());
            let others = note.lines().filter(|line| !line.starts_with(&mine));
            let mut whole: String = others.map(|line| format!("{line}\n")).collect();
            whole.push_str(own);
            whole.push('\n');
            whole
        }
    };
    write(path, &whole)?;
    let signatures = whole.lines().filter(|line| line.starts_with('\u{2014}')).count();
    Ok(Signed { path, statement, signer: signer.name(), signatures })
}

/// Signs a map that has no error on this day.
pub(super) fn sign(options: &Sign) -> Result<(), Failure> {
    let map = options.packs.map(&options.map)?;
    refuse_errors(&options.map, map.text(), today(), &options.packs)?;
    let signer = read_key(&options.key)?;
    let statement = atlas::statement(&map);
    let path = note_of(&options.map, options.note.as_ref());
    // Read before anything is written.
    let old = options.against.as_deref().map(|path| options.packs.map(path)).transpose()?;
    let signed = add_signature(&path, &statement, &signer)?;
    let follows = old.as_ref().map(|old| {
        let taken = atlas::succeeds(Some(old), &map, atlas::SIGNERS_TO_WIDEN);
        let widens = atlas::widening(Some(old), &map);
        let widens: Vec<String> = widens.iter().map(ToString::to_string).collect();
        (taken.err().map(|fault| fault.message()), widens)
    });
    if options.json {
        let mut all = signed.json();
        if let (Some((refused, widens)), Some(all)) = (follows, all.as_object_mut()) {
            all.insert("would_not_be_taken".to_owned(), json!(refused));
            all.insert("widens".to_owned(), json!(widens));
        }
        return terminal::say(all);
    }
    terminal::say(signed)?;
    let Some((refused, widens)) = follows else { return Ok(()) };
    if let Some(refused) = refused {
        terminal::say(format!("it would not be accepted after that one: {refused}"))?;
    }
    if widens.is_empty() {
        return terminal::say("it widens nothing: one signature is enough");
    }
    let lines: Vec<String> = widens.iter().map(|widening| format!("  {widening}")).collect();
    terminal::say(format!("it needs two signatures, because:\n{}", lines.join("\n")))
}
