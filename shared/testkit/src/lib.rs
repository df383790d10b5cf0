//! What tests, benches and `xtask` share: private engines, and the processes around them.
//!
//! Owns: a RabbitMQ and a PostgreSQL of the checkout's own ([`engines`]), a vhost and a database for each test
//! ([`engines::Scope`]), a broker and a database that a test may kill
//! ([`engines::PrivateRabbit`], [`engines::PrivatePostgres`]), a network that it may cut ([`proxy`]), processes as `/proc` shows them
//! ([`procs`]), verification by code that is not ours ([`verify`]), a browser ([`browser`]), a Python for the
//! documentation's examples ([`python`]) and programs that check deployment files ([`debian`]).
//!
//! Promises: everything it starts ends when its owner is dropped; a missing engine fails loudly and says which
//! command to run. Does not: appear in any shipped crate. Linux only (`/proc`).

pub mod browser;
pub mod debian;
pub mod engines;
pub mod paths;
pub mod ports;
pub mod procs;
pub mod proxy;
pub mod python;
pub mod verify;

/// Chooses ring for every TLS user of the process. Harmless when called again.
pub fn install_crypto() {
    // An error means that a provider is installed already, which is what we want.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
