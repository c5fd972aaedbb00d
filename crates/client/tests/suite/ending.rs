//! A runtime that ends while a task calls in a loop, and ignores what comes of it.

use std::sync::mpsc;
use std::time::Duration;

use client::{Client, Settings, api};
use tokio::runtime::{Builder, Runtime};

use crate::lanes::fake::Fake;

/// Whether the task is at a call, or runs, when the runtime ends is chance: so many runtimes meet both.
const RUNTIMES: usize = 100;

#[test]
fn a_task_that_calls_without_end_lets_its_runtime_end() {
    let served = Runtime::new().unwrap();
    let fake = served.block_on(Fake::start([]));
    for n in 0..RUNTIMES {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let settings = Settings { attempts_max: 1, ..Settings::DEFAULT };
        let client = runtime.block_on(Client::connect(&fake.url(), settings)).unwrap();
        let (sent, called) = mpsc::channel();
        runtime.spawn(async move {
            for n in 0.. {
                client.get(&api::GetRecordRequest::default()).await.ok();
                if n == 10 {
                    sent.send(()).ok();
                }
            }
        });
        called.recv().unwrap();
        let (sent, ended) = mpsc::channel();
        std::thread::spawn(move || {
            drop(runtime);
            sent.send(()).ok();
        });
        assert!(ended.recv_timeout(Duration::from_secs(60)).is_ok(), "runtime {n} does not end");
    }
}
