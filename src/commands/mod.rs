//! The command line: parses arguments and calls the commands. docs/cli.md is its manual.

mod attachment;
mod audit;
mod doctor;
mod explain;
mod health;
mod import;
mod install;
mod keys;
mod map;
mod operation;
mod pki;
mod record;
mod relocate;
mod subject;

use std::path::PathBuf;
use std::process::ExitCode;

use ::shard::{Erasures, KeyringSource};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::error::Failure;
use crate::{dev, serve, terminal};

/// What the placement log says of a change for which no reason was given.
const REASON: &str = "ordered on the command line";

/// gRPC storage gateway that stores each person's records in the region that the applicable laws
/// allow, and keeps a verifiable log of every write.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the regions of a map and a gateway in one process, on this machine only
    Dev(dev::Options),
    /// Run a gateway
    Gateway(Config),
    /// Create, run or recover a shard
    Shard(ShardArguments),
    /// Show, rotate and destroy generations of a region's key, at a shard that runs
    Keys(keys::Arguments),
    /// Show where records would be stored, and why. Needs no gateway and stores nothing
    Explain(explain::Options),
    /// Store, read or delete one record
    Record(Box<record::Arguments>),
    /// Show, export, block or erase what a region holds of one person
    Subject(Box<subject::Arguments>),
    /// Show, list or cancel relocations of persons to other regions
    Operation(Box<operation::Arguments>),
    /// Move all persons of a list to other regions, at a bounded rate
    Relocate(Box<relocate::Arguments>),
    /// Upload, download or delete one attachment
    Attachment(Box<attachment::Arguments>),
    /// Store each line of a file as a record
    Import(import::Options),
    /// Check, plan, sign and roll out region maps
    Map(Box<map::Arguments>),
    /// Mirror and verify placement logs, and compare them with the shards' stores
    Audit(Box<audit::Arguments>),
    /// Create and revoke certificates, if you have no certificate authority
    Pki(pki::Arguments),
    /// Check a server's configuration, certificates, disk and peers, and suggest fixes
    Doctor(doctor::Options),
    /// Check whether a server on this machine is ready
    Health(health::Options),
    /// Print completions for a shell
    Completions(install::Completions),
    /// Write manual pages
    Man(install::Man),
}

/// The file that says everything else.
#[derive(Debug, Args)]
struct Config {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct ShardArguments {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<ShardCommand>,
}

#[derive(Debug, Subcommand)]
enum ShardCommand {
    /// Create a new shard: its store, its first log and, for a region's first shard, the keyring
    Init {
        /// Create a new keyring although the annex names other shards of the region: this is the first
        #[arg(long, conflicts_with = "keyring")]
        new_keyring: bool,
        /// Copy the keyring of the region's first shard from this file
        #[arg(long, value_name = "FILE")]
        keyring: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Print the public keys of the placement logs of all periods, as lines of an auditor's policy
    ShowKey {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Print the public key that signs the region's transit keys, for callers that seal bodies
    ShowTransitKey {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Copy the store of a stopped shard into one of another engine, and compare the two
    Convert {
        /// The configuration of the same shard with the other engine, a TOML file
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        #[command(flatten)]
        config: Config,
    },
    /// Make a backup of a shard, running or stopped, or verify one
    Backup(BackupArguments),
    /// Restore a backup into an empty store, and begin a new log period over it
    Restore {
        /// The backup: a file, or `s3:NAME` for one in the configuration's bucket
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// Read from this file, too, who was erased after the backup; may be repeated. `s3:NAME` is one
        /// in the bucket, with a backup from there. The file next to the last checkpoint is always read
        #[arg(long, value_name = "FILE")]
        erasures: Vec<PathBuf>,
        /// Accept that people come back who were erased after the backup, or have moved to another
        /// region since
        #[arg(long, conflicts_with = "erasures")]
        accept_erasures_unknown: bool,
        /// Where the file next to the last checkpoint is lost: accept that the given copies may be old.
        /// People come back who were erased since a copy was made, or have moved to another region; of
        /// the latter, both regions take writes
        #[arg(long, conflicts_with = "accept_erasures_unknown")]
        accept_old_copies: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Say which process writes to a shard's database, and how far its log is
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
    /// Confirm the machine's clock, for a shard that refuses writes because the clock jumped ahead
    ConfirmClock(Config),
    /// Move slots from a running shard to another one of its region, or show how far that is
    MoveSlots(serve::slots::Arguments),
    /// End the log period of a shard, running or stopped, and begin the next
    RotateLog(Config),
    /// Continue with a store that has lost signed data: opens a new log period that names the loss
    Recover {
        /// Confirms that the loss is known and accepted
        #[arg(long, required = true)]
        accept_loss: bool,
        /// Read from this file, too, who was erased; may be repeated. The file next to the last
        /// checkpoint is always read
        #[arg(long, value_name = "FILE")]
        erasures: Vec<PathBuf>,
        /// Accept that people come back who were erased after the store was copied, or have moved to
        /// another region since
        #[arg(long, conflicts_with = "erasures")]
        accept_erasures_unknown: bool,
        /// Where the file next to the last checkpoint is lost: accept that the given copies may be old.
        /// People come back who were erased since a copy was made, or have moved to another region; of
        /// the latter, both regions take writes
        #[arg(long, conflicts_with = "accept_erasures_unknown")]
        accept_old_copies: bool,
        #[command(flatten)]
        config: Config,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct BackupArguments {
    /// The configuration, a TOML file
    #[arg(long, value_name = "FILE", required = true)]
    config: Option<PathBuf>,
    /// The folder of backups: this one gets a file in it, named by region, shard and time. `s3:` for the
    /// configuration's bucket
    #[arg(long, value_name = "DIR", required = true)]
    out: Option<PathBuf>,
    /// Keep only what has changed since this whole backup, which is in the same folder, or as `s3:NAME` in
    /// the bucket
    #[arg(long, value_name = "BACKUP")]
    since: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<BackupCommand>,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Check all of a backup: that it is whole, and that its log is what its checkpoint signs
    Verify {
        /// The backup: a file, or `s3:NAME` for one in the configuration's bucket
        #[arg(value_name = "BACKUP")]
        backup: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        config: Config,
    },
}

impl BackupArguments {
    fn run(self) -> Result<(), Failure> {
        let Self { config, out, since, json, command } = self;
        match command {
            Some(BackupCommand::Verify { backup, json, config }) => {
                serve::backup::verify(&config.config, &backup, json)
            }
            // clap requires both.
            None => {
                let (config, out) = (config.unwrap_or_default(), out.unwrap_or_default());
                serve::backup::make(&config, &out, since.as_deref(), json)
            }
        }
    }
}

/// Runs what was typed.
pub(crate) fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let done = match command {
        Command::Dev(options) => dev::run(&options),
        Command::Gateway(Config { config }) => serve::gateway::run(&config),
        Command::Shard(ShardArguments { command: Some(command), .. }) => match command {
            ShardCommand::Init { new_keyring, keyring, json, config } => {
                serve::shard::init(&config.config, &keyring_of(new_keyring, keyring), json)
            }
            ShardCommand::ShowKey { json, config } => serve::shard::show_key(&config.config, json),
            ShardCommand::ShowTransitKey { json, config } => {
                serve::shard::show_transit_key(&config.config, json)
            }
            ShardCommand::Convert { to, config } => serve::convert::run(&config.config, &to),
            ShardCommand::Backup(arguments) => arguments.run(),
            ShardCommand::Restore {
                from,
                erasures,
                accept_erasures_unknown: unknown,
                accept_old_copies: old,
                json,
                config,
            } => {
                let erasures = known(erasures, unknown, old);
                serve::backup::restore(&config.config, &from, &erasures, json)
            }
            ShardCommand::Status { json, config } => serve::status::run(&config.config, json),
            ShardCommand::ConfirmClock(Config { config }) => serve::shard::confirm_clock(&config),
            ShardCommand::MoveSlots(arguments) => serve::slots::run(&arguments),
            ShardCommand::RotateLog(Config { config }) => serve::shard::rotate_log(&config),
            ShardCommand::Recover {
                erasures,
                accept_erasures_unknown: unknown,
                accept_old_copies: old,
                config,
                ..
            } => serve::shard::recover(&config.config, &known(erasures, unknown, old)),
        },
        Command::Shard(ShardArguments { config, command: None }) => {
            // clap requires it.
            serve::shard::run(&config.unwrap_or_default())
        }
        Command::Explain(options) => explain::run(&options),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Record(arguments) => record::run(&arguments),
        Command::Subject(arguments) => subject::run(&arguments),
        Command::Operation(arguments) => operation::run(&arguments),
        Command::Relocate(arguments) => relocate::run(&arguments),
        Command::Attachment(arguments) => attachment::run(&arguments),
        Command::Import(options) => import::run(&options),
        Command::Map(arguments) => map::run(&arguments),
        Command::Audit(arguments) => audit::run(&arguments),
        Command::Pki(arguments) => pki::run(&arguments),
        Command::Doctor(options) => doctor::run(&options),
        Command::Health(options) => health::run(&options),
        Command::Completions(options) => install::completions(&options, Arguments::command()),
        Command::Man(options) => install::man(&options, Arguments::command()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = failure.to_string();
            if !text.is_empty() {
                terminal::warn(text);
            }
            failure.exit.into()
        }
    }
}

/// Where a new shard has its region's keyring from.
fn keyring_of(new: bool, file: Option<PathBuf>) -> KeyringSource {
    match file {
        Some(file) => KeyringSource::File(file),
        None if new => KeyringSource::New,
        None => KeyringSource::Folder,
    }
}

/// Where it stands who was erased.
fn known(files: Vec<PathBuf>, unknown: bool, old_copies: bool) -> Erasures {
    match (unknown, old_copies) {
        (true, _) => Erasures::Unknown,
        (false, true) => Erasures::Copies(files),
        (false, false) => Erasures::Known(files),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Arguments;

    #[test]
    fn no_two_options_of_a_command_have_one_name() {
        Arguments::command().debug_assert();
    }
}
