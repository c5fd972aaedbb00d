//! One example in three languages: a social network over two countries. Each prints the same.

use tokio::runtime::Runtime;

use crate::support::{Deployment, Options};

#[path = "../../crates/client/examples/social/network.rs"]
mod network;

/// What happens in it.
pub(crate) const SAID: [&str; 13] = [
    "profile: anna in eu-fra",
    "profile: bert in eu-fra",
    "profile: aigul in kz-ala",
    "posts: 4",
    "search lake: a walk around the lake | apples from the garden by the lake | the lake is frozen",
    "message: anna to bert in eu-fra",
    "message: bert to anna in eu-fra",
    "message: anna to aigul in kz-ala",
    "message: aigul to anna UNSATISFIABLE KZ,DE",
    "inbox: anna got hello anna | welcome and sent 2",
    "inbox: bert got hello bert | welcome and sent 1",
    "inbox: aigul got hello aigul | welcome and sent 0",
    "search lake: apples from the garden by the lake | the lake is frozen",
];

pub(crate) fn deployment() -> Deployment {
    Deployment::start(&Options { regions: vec!["eu-fra", "kz-ala"], ..Options::default() })
}

#[test]
fn the_rust_example_runs() {
    let deployment = deployment();
    let runtime = Runtime::new().expect("a runtime");
    let said = runtime.block_on(network::run(&deployment.gateway_url())).expect("it runs");
    assert_eq!(said, SAID);
}
