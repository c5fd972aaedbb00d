//! The region map of a command, with the statute packs that it names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atlas::{RegionMap, StatutePack};

use crate::error::{Exit, Failure};
use crate::files::text;

/// The statute packs that a command reads beside those of this program.
#[derive(Debug, clap::Args)]
pub(crate) struct Packs {
    /// Statute pack in addition to the built-in ones; may be repeated
    #[arg(long = "pack", value_name = "FILE")]
    packs: Vec<PathBuf>,
}

impl Packs {
    /// Reads the packs.
    pub(crate) fn read(&self) -> Result<Vec<Arc<StatutePack>>, Failure> {
        let mut all = Vec::new();
        for path in &self.packs {
            let text = text(path)?;
            let pack = StatutePack::parse(&text).map_err(|wrong| mistakes(path, &text, &wrong))?;
            all.push(Arc::new(pack));
        }
        Ok(all)
    }

    /// Reads a map with these packs beside those of this program.
    pub(crate) fn map(&self, path: &Path) -> Result<RegionMap, Failure> {
        let (text, packs) = (text(path)?, self.read()?);
        RegionMap::parse_carrying(&text, &packs).map_err(|wrong| mistakes(path, &text, &wrong))
    }
}

/// Everything that is wrong with a file, each with an excerpt.
pub(crate) fn mistakes(path: &Path, text: &str, wrong: &[atlas::Diagnostic]) -> Failure {
    let name = path.display().to_string();
    let all: Vec<String> = wrong.iter().map(|found| found.render(&name, text)).collect();
    Failure::said(Exit::Config, all.join("\n").trim_end())
}
