//! The contract of an engine, kept by each of them, under faults.

mod conformance;
mod damage;
mod faults;
mod full;
mod numbered;
mod postgres;
mod server;
mod suite;
