//! The keyring as a plain file, and as one that a token guards (PKCS #11, here SoftHSM): both pass one
//! suite. Without the token, with another one, or with another PIN, a shard does not start.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::key_rotation::{generations, rotate, settle_keys};
use crate::support::load::{PATIENT, evidence, get, put};
use crate::support::maps::text;
use crate::support::process::{pause, run};
use crate::support::search::copy;
use crate::support::{Deployment, Options, secret};
use client::Client;
use tokio::runtime::Runtime;

const REGION: &str = "eu-fra";
const SUBJECTS: u64 = 30;
/// Where Debian puts SoftHSM's module.
const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];
const PIN: &str = "246813";
/// The folder of the tokens, in the process that tests them.
const FOLDER: &str = "BAILIWICK_TEST_TOKENS";

/// Runs a test in a process of its own. SoftHSM finds its tokens by an environment variable, and no
/// process can safely change those of its own.
#[expect(clippy::disallowed_methods, reason = "a switch of this test")]
fn with_tokens(test: &str, work: impl FnOnce(&Path)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return work(Path::new(&folder));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let conf = folder.path().join("softhsm2.conf");
    let tokens = folder.path().join("tokens");
    fs::create_dir(&tokens).expect("a folder");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&conf, text).expect("it can be written");
    for label in ["first", "second"] {
        let mut made = Command::new("softhsm2-util");
        made.args(["--init-token", "--free", "--so-pin", "975310", "--pin", PIN, "--label", label]);
        let made = made.env("SOFTHSM2_CONF", &conf).output().expect("apt-get install softhsm2");
        assert!(made.status.success(), "{made:?}");
    }
    let own = std::env::current_exe().expect("this program");
    let mut again = Command::new(own);
    again.args([test, "--exact", "--nocapture"]).env("SOFTHSM2_CONF", &conf);
    let done = again.env(FOLDER, folder.path()).status().expect("it can be started");
    assert!(done.success(), "{done:?}");
}

/// The table of a shard's configuration that names a token.
fn keyring(folder: &Path, label: &str, pin: &str) -> String {
    let module = MODULES.into_iter().find(|module| Path::new(module).exists());
    let module = module.expect("apt-get install softhsm2");
    let pin_file = folder.join(format!("pin-{pin}"));
    secret(&pin_file, pin);
    let tokens = folder.join("tokens");
    format!(
        "[keyring]\nmodule = \"{module}\"\ntoken = \"{label}\"\npin_file = \"{}\"\nwrites = [\"{}\"]\n",
        pin_file.display(),
        tokens.display()
    )
}

fn start(tables: String) -> Deployment {
    let options = Options { regions: vec![REGION], shard_tables: tables, ..Options::default() };
    let deployment = Deployment::start(&options);
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        for n in 0..SUBJECTS {
            let request = put(&format!("p{n}"), "k", b"here", &evidence("DE"));
            client.put(&request).await.expect("it is stored");
        }
    });
    deployment
}

fn all_readable(deployment: &Deployment) {
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(&deployment.gateway_url(), PATIENT).await.expect("a gateway");
        for n in 0..SUBJECTS {
            let record = get(&client, &format!("p{n}"), REGION, "k").await;
            assert!(record.expect("a record").body == b"here".as_slice());
        }
    });
}

/// What a shard says that does not start.
#[track_caller]
fn refused(config: &Path, why: &str) {
    let done = run(&["shard", "--config", text(config)]);
    assert!(done.code != 0 && done.stderr.contains(why), "{why}: {done:?}");
}

fn put_back(from: &Path, to: &Path) {
    use std::os::unix::fs::PermissionsExt as _;

    fs::remove_dir_all(to).expect("a folder");
    copy(from, to);
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).expect("chmod");
}

/// What every keyring must do. `lost`: what is said of the keyring of before, once a generation that it
/// has is destroyed.
fn conforms(deployment: &mut Deployment, lost: &str) {
    let config = deployment.root().join(format!("shard-{REGION}.toml"));
    let (keys, saved) = (deployment.keys_dir(REGION), deployment.root().join("saved"));
    all_readable(deployment);
    assert_eq!(generations(&config, &["status"]), Some(vec![(1, true, SUBJECTS)]));
    copy(&keys, &saved);
    rotate(&config);
    assert_eq!(settle_keys(&config), (2, SUBJECTS));
    all_readable(deployment);
    deployment.restart(REGION);
    all_readable(deployment);

    // Killed while it changes its keys, it starts with those that its store knows.
    for wait in [200, 700, 1_200] {
        std::thread::scope(|scope| {
            scope.spawn(|| rotate(&config));
            pause(Duration::from_millis(wait));
            deployment.restart(REGION);
        });
    }
    let (generation, subjects) = settle_keys(&config);
    assert!(generation > 4 && subjects == SUBJECTS, "{generation} {subjects}");
    deployment.restart(REGION);
    all_readable(deployment);

    // A keyring of before is refused.
    assert_eq!(deployment.shard(REGION).stop(), 0);
    let right = deployment.root().join("right");
    copy(&keys, &right);
    put_back(&saved, &keys);
    refused(&config, lost);
    put_back(&right, &keys);
    deployment.restart(REGION);
    all_readable(deployment);
}

#[test]
fn a_plain_file_is_a_keyring() {
    let mut deployment = start(String::new());
    conforms(&mut deployment, "generation");
    let keyring = deployment.keys_dir(REGION).join(format!("{REGION}.keyring"));
    assert!(fs::read_to_string(keyring).expect("a keyring").contains("index = "));
}

#[test]
fn a_file_that_a_token_guards_is_a_keyring() {
    with_tokens("keyrings::a_file_that_a_token_guards_is_a_keyring", |folder| {
        let mut deployment = start(keyring(folder, "first", PIN));
        // What an old copy of the file was encrypted by is destroyed with the generation.
        conforms(&mut deployment, "it does not have the key of this keyring");
        let keyring = deployment.keys_dir(REGION).join(format!("{REGION}.keyring"));
        assert!(!fs::read_to_string(keyring).expect("a keyring").contains("index = "));
    });
}

#[test]
fn without_the_right_token_a_shard_does_not_start_and_says_why() {
    let name = "keyrings::without_the_right_token_a_shard_does_not_start_and_says_why";
    with_tokens(name, |folder| {
        let right = keyring(folder, "first", PIN);
        let mut deployment = start(right.clone());
        assert_eq!(deployment.shard(REGION).stop(), 0);
        let config = deployment.root().join(format!("shard-{REGION}.toml"));
        let before = fs::read_to_string(&config).expect("a configuration");
        let with = |table: &str| fs::write(&config, before.replace(&right, table)).expect("write");
        for (table, why) in [
            (keyring(folder, "first", "135790"), "its PIN is another"),
            (keyring(folder, "second", PIN), "it does not have the key of this keyring"),
            (keyring(folder, "third", PIN), "sees no token of that label"),
            (right.replace("libsofthsm2.so", "nothing.so"), "the token `first`"),
            (String::new(), "it is encrypted by a token"),
        ] {
            with(&table);
            refused(&config, why);
            let done = run(&["doctor", "--config", text(&config)]);
            assert!(done.code != 0 && done.stdout.contains(why), "{why}: {done:?}");
        }
        with(&right);
        deployment.restart(REGION);
        all_readable(&deployment);
        assert_eq!(deployment.shard(REGION).stop(), 0);

        // Who can write the file cannot have the key destroyed that it needs.
        let path = deployment.keys_dir(REGION).join(format!("{REGION}.keyring"));
        let whole = fs::read_to_string(&path).expect("a keyring");
        let line = |of: &str| whole.lines().find(|line| line.starts_with(of)).expect("a line");
        let own = line("token_key = ").replace("token_key = ", "");
        secret(&path, &whole.replace(line("earlier = "), &format!("earlier = [{own}]")));
        refused(&config, "the keyring does not open with the token's key");
        secret(&path, &whole);
        deployment.restart(REGION);
        all_readable(&deployment);
        assert_eq!(deployment.shard(REGION).stop(), 0);

        // A plain keyring is not taken for one that is guarded, nor one region's for another's.
        let keys: PathBuf = deployment.keys_dir(REGION);
        let path = keys.join(format!("{REGION}.keyring"));
        let guarded = fs::read_to_string(&path).expect("a keyring");
        let plain = start(String::new());
        let other = plain.keys_dir(REGION).join(format!("{REGION}.keyring"));
        secret(&path, &fs::read_to_string(other).expect("a keyring"));
        refused(&config, "it is not encrypted by the token");
        let options =
            Options { regions: vec!["kz-ala"], shard_tables: right, ..Options::default() };
        let kazakh = Deployment::configure(&options);
        let other = kazakh.keys_dir("kz-ala").join("kz-ala.keyring");
        secret(&path, &fs::read_to_string(other).expect("a keyring"));
        refused(&config, "is another region's");
        secret(&path, &guarded);
        deployment.restart(REGION);
        all_readable(&deployment);
    });
}
