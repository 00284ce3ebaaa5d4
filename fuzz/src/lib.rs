//! What is fuzzed, and the targets. `tests/fuzz.rs` runs the same targets without a fuzzer: what they name as `crate::…` is
//! here a module of the product, and there its library.
#![allow(dead_code, unused_imports, missing_docs)]

#[path = "../../src/capture/mod.rs"]
pub mod capture;
#[path = "../../src/edit/mod.rs"]
pub mod edit;
#[path = "../../src/foreign_text.rs"]
pub mod foreign_text;
#[path = "../../src/forward/mod.rs"]
pub mod forward;
#[path = "../../src/framing/mod.rs"]
pub mod framing;
#[path = "../../src/openssh/mod.rs"]
pub mod openssh;
#[path = "../../src/render/mod.rs"]
pub mod render;
pub mod session;
#[path = "../../src/sftp/mod.rs"]
pub mod sftp;
#[path = "../../src/tree/mod.rs"]
pub mod tree;

#[cfg(feature = "parameters")]
#[path = "targets/parameters.rs"]
pub mod parameters;
pub mod targets;
