//! A social network over two countries: profiles, posts, messages between people, and a search that
//! holds no more than ids.
//!
//! Each person's records lie in the person's own region. A message lies in the inbox of its receiver
//! and names its sender; the laws of both decide whether it may. The search keeps words and the names
//! of records, and reads what it shows from the region, where each reader's right is judged again.
//!
//! Usage: `cargo run -p client --example social [GATEWAY]`, while `bailiwick dev` runs.

mod network;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), network::Failed> {
    let gateway = std::env::args().nth(1);
    for line in network::run(gateway.as_deref().unwrap_or("http://127.0.0.1:7400")).await? {
        println!("{line}");
    }
    Ok(())
}
