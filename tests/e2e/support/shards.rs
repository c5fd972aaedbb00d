//! A region of several shards.

use std::fs;
use std::path::PathBuf;

use super::Deployment;
use super::maps::text;
use super::process::{Server, free_port, run};

/// Gives a region that was configured a second shard, `s2`, with the upper half of the slots. The first
/// one is made again, with the lower half.
pub(crate) fn split(deployment: &Deployment, region: &str) -> Server {
    let second = configure(deployment, region);
    let home = deployment.data_dir(region);
    let home = home.parent().expect("a folder of its own");
    fs::remove_dir_all(home).expect("a folder can be removed");
    let config = deployment.root().join(format!("shard-{region}.toml"));
    let made = run(&["shard", "init", "--config", text(&config), "--new-keyring"]);
    assert_eq!(made.code, 0, "{made:?}");
    init(deployment, region);
    second
}

/// The same by a mistake: the first shard was made when the annex gave it all slots, and owns them.
pub(crate) fn add(deployment: &Deployment, region: &str) -> Server {
    let second = configure(deployment, region);
    init(deployment, region);
    second
}

/// The same by two mistakes: the second shard is made, and started, with an annex that does not name the
/// first one, so both own all slots.
pub(crate) fn add_unknown(deployment: &Deployment, region: &str) -> Server {
    let second = configure(deployment, region);
    let root = deployment.root();
    let both = fs::read_to_string(root.join(format!("annex-{region}.toml"))).expect("an annex");
    let (_, own) = both.split_once("[[shards]]\nname = \"s2\"").expect("two shards");
    let own = format!("region = \"{region}\"\n[[shards]]\nname = \"s2\"{own}");
    let annex = root.join(format!("annex-{region}-2.toml"));
    fs::write(&annex, own.replace("512-1023", "0-1023")).expect("an annex can be written");
    let path = root.join(format!("shard-{region}-2.toml"));
    let config = fs::read_to_string(&path).expect("a configuration");
    let named = format!("\"annex-{region}.toml\"");
    assert!(config.contains(&named), "{config}");
    let config = config.replace(&named, &format!("\"annex-{region}-2.toml\""));
    fs::write(&path, config).expect("a configuration can be written");
    init(deployment, region);
    second
}

/// One more shard of a region.
pub(crate) struct Further {
    pub(crate) server: Server,
    pub(crate) config: PathBuf,
    pub(crate) audit: u16,
}

/// Gives a region that was configured further shards, up to `count` with equal parts of the slots. The first
/// one was made with all slots, and has them until they move.
pub(crate) fn spread(deployment: &Deployment, region: &str, count: u16) -> Vec<Further> {
    let root = deployment.root();
    let own =
        fs::read_to_string(root.join(format!("shard-{region}.toml"))).expect("a configuration");
    let path = root.join(format!("annex-{region}.toml"));
    let part = |n: u16| format!("{}-{}", n * 1024 / count, (n + 1) * 1024 / count - 1);
    let mut annex = fs::read_to_string(&path).expect("an annex").replace("0-1023", &part(0));
    let mut further = Vec::new();
    for n in 1..count {
        let (port, admin, audit) = (free_port(), free_port(), free_port());
        let name = format!("s{}", n + 1);
        annex += &format!(
            "[[shards]]\nname = \"{name}\"\naddress = \"http://127.0.0.1:{port}\"\n\
             audit = \"http://127.0.0.1:{audit}\"\nslots = \"{}\"\n",
            part(n)
        );
        let config = own.replace("\"s1\"", &format!("\"{name}\""));
        let mut config = config.replace(&format!("/{region}/"), &format!("/{region}-{}/", n + 1));
        let old = [deployment.port(region), deployment.audit_port(region)];
        for (old, new) in old.into_iter().zip([port, audit]) {
            config = config.replace(&format!(":{old}\""), &format!(":{new}\""));
        }
        let lines = config.lines().map(|line| match line.starts_with("admin_listen") {
            true => format!("admin_listen = \"127.0.0.1:{admin}\"\n"),
            false => format!("{line}\n"),
        });
        let (text, config) =
            (lines.collect::<String>(), root.join(format!("shard-{region}-{}.toml", n + 1)));
        fs::write(&config, text).expect("a configuration can be written");
        let server = Server::new("shard", &format!("{region}-{}", n + 1), &config, admin);
        further.push(Further { server, config, audit });
    }
    fs::write(&path, annex).expect("an annex can be written");
    let keyring = deployment.keys_dir(region).join(format!("{region}.keyring"));
    for Further { config, .. } in &further {
        let made = run(&["shard", "init", "--config", text(config), "--keyring", text(&keyring)]);
        assert_eq!(made.code, 0, "{made:?}");
    }
    further
}

/// Lets the annex give each half to the other shard.
pub(crate) fn swap(deployment: &Deployment, region: &str) {
    let path = deployment.root().join(format!("annex-{region}.toml"));
    let annex = fs::read_to_string(&path).expect("an annex");
    let annex = annex.replace("\"0-511\"", "\"LOW\"").replace("512-1023", "0-511");
    fs::write(&path, annex.replace("LOW", "512-1023")).expect("an annex can be written");
}

/// Writes annex and configuration.
fn configure(deployment: &Deployment, region: &str) -> Server {
    let root = deployment.root();
    let (port, admin, audit) = (free_port(), free_port(), free_port());
    let annex = root.join(format!("annex-{region}.toml"));
    let own = fs::read_to_string(&annex).expect("an annex").replace("0-1023", "0-511");
    let other = format!(
        "[[shards]]\nname = \"s2\"\naddress = \"http://127.0.0.1:{port}\"\n\
         audit = \"http://127.0.0.1:{audit}\"\nslots = \"512-1023\"\n"
    );
    fs::write(&annex, own + &other).expect("an annex can be written");
    let config = fs::read_to_string(root.join(format!("shard-{region}.toml")));
    let config = config.expect("a configuration");
    let config = config.replace("\"s1\"", "\"s2\"");
    let mut config = config.replace(&format!("/{region}/"), &format!("/{region}-2/"));
    let old = [deployment.port(region), deployment.audit_port(region)];
    for (old, new) in old.into_iter().zip([port, audit]) {
        config = config.replace(&format!(":{old}\""), &format!(":{new}\""));
    }
    let lines = config.lines().map(|line| match line.starts_with("admin_listen") {
        true => format!("admin_listen = \"127.0.0.1:{admin}\"\n"),
        false => format!("{line}\n"),
    });
    let (config, path) = (lines.collect::<String>(), root.join(format!("shard-{region}-2.toml")));
    fs::write(&path, config).expect("a configuration can be written");
    Server::new("shard", &format!("{region}-2"), &path, admin)
}

/// Makes the second shard, with the first one's keyring.
fn init(deployment: &Deployment, region: &str) {
    let path = deployment.root().join(format!("shard-{region}-2.toml"));
    let keyring = deployment.keys_dir(region).join(format!("{region}.keyring"));
    let made = run(&["shard", "init", "--config", text(&path), "--keyring", text(&keyring)]);
    assert_eq!(made.code, 0, "{made:?}");
}
