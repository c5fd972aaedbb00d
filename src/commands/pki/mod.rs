//! `bailiwick pki`: authorities and certificates, for deployments without a certificate authority.
//! docs/identity.md explains when to use it, and the alternatives.

mod show;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use pki::{
    Authority, CERTIFICATE_DAYS, CERTIFICATE_DAYS_MAX, Error, Holder, Issued, LIST_DAYS,
    LIST_DAYS_MAX, List, Scope, TrustDomain, Wanted, moment,
};
use serde_json::json;
use terms::RegionId;

use crate::error::{Exit, Failure};
use crate::terminal;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON object; `show` prints one for each part of the file
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create an authority, for one region or for callers, and print its pin
    Init(Init),
    /// Issue a certificate with a new key
    Issue(Issue),
    /// Renew a certificate: same names, new key
    Renew(Renew),
    /// Add a certificate to the authority's revocation list, or only renew the list
    Revoke(Revoke),
    /// Show certificates and revocation lists
    Show {
        /// A PEM file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Init {
    #[command(flatten)]
    scope: ScopeOptions,
    /// Trust domain: the map's `trust_domain`, or the name of its deployment
    #[arg(long, value_name = "NAME", value_parser = TrustDomain::parse)]
    trust_domain: TrustDomain,
    /// Folder for `authority.pem`, `authority.key` and `revoked.pem`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ScopeOptions {
    /// Region whose gateways and shards it may issue for
    #[arg(long, value_name = "NAME", value_parser = |text: &str| RegionId::parse(text))]
    region: Option<RegionId>,
    /// Issue for callers only, and for no gateway or shard
    #[arg(long)]
    callers: bool,
}

#[derive(Debug, Args)]
struct Issue {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    #[command(flatten)]
    holder: HolderOptions,
    /// DNS name by which others reach it; may be repeated
    #[arg(long = "dns", value_name = "NAME")]
    dns: Vec<String>,
    /// IP address by which others reach it; may be repeated
    #[arg(long = "ip", value_name = "ADDRESS")]
    ips: Vec<IpAddr>,
    /// Days of validity
    #[arg(long, value_name = "DAYS", default_value_t = CERTIFICATE_DAYS,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CERTIFICATE_DAYS_MAX)))]
    days: u32,
    /// Folder for `certificate.pem` and `key.pem`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct HolderOptions {
    /// Name of a gateway of the authority's region, as in its configuration
    #[arg(long, value_name = "NAME", value_parser = pki::member_name)]
    gateway: Option<String>,
    /// Name of a shard of the authority's region, as in the annex
    #[arg(long, value_name = "NAME", value_parser = pki::member_name)]
    shard: Option<String>,
    /// Name of a backend service that calls gateways
    #[arg(long, value_name = "NAME", value_parser = pki::caller_name)]
    caller: Option<String>,
}

#[derive(Debug, Args)]
struct Renew {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// Folder of the region's previous authority, if that one issued the certificate
    #[arg(long, value_name = "DIR")]
    previous: Option<PathBuf>,
    /// Certificate to renew; one that has expired or is revoked is refused
    #[arg(long, value_name = "FILE")]
    certificate: PathBuf,
    /// Days of validity of the new certificate [default: as the old one]
    #[arg(long, value_name = "DAYS",
        value_parser = clap::value_parser!(u32).range(1..=i64::from(CERTIFICATE_DAYS_MAX)))]
    days: Option<u32>,
    /// Folder for `certificate.pem` and `key.pem`
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Debug, Args)]
struct Revoke {
    /// Folder of the authority
    #[arg(long, value_name = "DIR")]
    authority: PathBuf,
    /// Certificate to revoke; without it, the list is only renewed
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Days until the list expires
    #[arg(long, value_name = "DAYS", default_value_t = LIST_DAYS,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(LIST_DAYS_MAX)))]
    days: u32,
}

/// Does what was asked, and prints what it made.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // Keys of authorities will be in it. Where that cannot be had, a certificate is needed still.
    let _closed = link::host::sandbox::close_memory();
    let json = arguments.json;
    match &arguments.command {
        Command::Init(init) => {
            let scope = match &init.scope.region {
                Some(region) => Scope::Region(region.clone()),
                None => Scope::Callers,
            };
            print_authority(&pki::init(&init.out, &scope, &init.trust_domain)?, init, json)
        }
        Command::Issue(issue) => {
            let authority = Authority::open(&issue.authority)?;
            let holder = issue.holder.holder()?;
            let (dns, ips) = (issue.dns.clone(), issue.ips.clone());
            let wanted = Wanted { holder, dns, ips, days: issue.days };
            print_certificate(&authority.issue(&wanted, &issue.out)?, json)
        }
        Command::Renew(Renew { authority, previous, certificate, days, out }) => {
            let authority = Authority::open(authority)?;
            let previous = previous.as_deref().map(Authority::open).transpose()?;
            print_certificate(&authority.renew(certificate, previous.as_ref(), *days, out)?, json)
        }
        Command::Revoke(Revoke { authority, certificate, days }) => {
            print_list(&Authority::open(authority)?.revoke(certificate.as_deref(), *days)?, json)
        }
        Command::Show { file } => show::run(file, json),
    }
}

fn print_list(list: &List, json: bool) -> Result<(), Failure> {
    if json {
        return terminal::say(json!({
            "revoked_list": list.path.display().to_string(), "revoked": list.revoked,
            "next_update": moment(list.next_update),
        }));
    }
    terminal::say(format!(
        "{}: {} revoked, next update until {}\n\
         put the lists of all authorities into one file (cat pki/*/revoked.pem), and that in the \
         place of\nthe one that each process names as `revoked`: it is read within seconds",
        list.path.display(),
        list.revoked,
        moment(list.next_update)
    ))
}

fn print_authority(authority: &Authority, init: &Init, json: bool) -> Result<(), Failure> {
    let path = |name| init.out.join(name).display().to_string();
    let (certificate, key) = (path(pki::AUTHORITY), path(pki::AUTHORITY_KEY));
    if json {
        let region = authority.scope().region().map(ToString::to_string);
        return terminal::say(json!({
            "region": region, "certificate": certificate, "key": key,
            "revoked_list": path(pki::REVOKED), "pin": authority.pin(),
            "valid_until": moment(authority.not_after()),
        }));
    }
    let place = match authority.scope() {
        Scope::Region(_) => "into the bundle of every process (`authorities` of its [tls])",
        Scope::Callers => {
            "what gateways name as `authorities` of [callers], and shards as that of [auditors]; \
             it cannot issue for a gateway or a shard"
        }
    };
    let mut text = format!(
        "{}\n{certificate}: {place}\n\
         {key}: its holder can issue for all of them; keep it off the machines that serve\n\
         {}: its revocation list, empty so far\nvalid until {}",
        authority.describe(),
        path(pki::REVOKED),
        moment(authority.not_after())
    );
    if let Scope::Region(region) = authority.scope() {
        let pin = authority.pin();
        text.push_str(&format!("\nin the map, for region {region}:\nauthorities = [\"{pin}\"]"));
    }
    terminal::say(text)
}

fn print_certificate(issued: &Issued, json: bool) -> Result<(), Failure> {
    if json {
        return terminal::say(json!({
            "name": issued.uri, "certificate": issued.certificate.display().to_string(),
            "key": issued.key.display().to_string(),
            "valid_until": moment(issued.not_after),
            "ends_with_authority": issued.cut_short,
        }));
    }
    let mut text = format!(
        "{}\n{}\n{}\nvalid until {}",
        issued.uri,
        issued.certificate.display(),
        issued.key.display(),
        moment(issued.not_after)
    );
    if issued.cut_short {
        text.push_str("\nthat is when its authority expires: create a new authority in time");
    }
    terminal::say(text)
}

impl HolderOptions {
    fn holder(&self) -> Result<Holder, Failure> {
        let gateway = self.gateway.clone().map(Holder::Gateway);
        let shard = || self.shard.clone().map(Holder::Shard);
        let caller = || self.caller.clone().map(Holder::Caller);
        // clap requires one.
        gateway
            .or_else(shard)
            .or_else(caller)
            .ok_or_else(|| Failure::said(Exit::Config, "name the certificate's holder"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::Refused(_) => Exit::Config,
            Error::Exists(_) => Exit::Failed,
            Error::Unavailable(_) => Exit::Unavailable,
        };
        Self::new(exit, error)
    }
}
