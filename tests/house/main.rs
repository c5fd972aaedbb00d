//! The rules of this repository: who may import whom, how files look, which numbers are taken.

mod proto_numbers;
mod source;
mod tidy;
mod walls;
