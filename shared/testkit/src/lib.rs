//! Code that tests, benches and `xtask` share: private engines and their processes.
//!
//! Owns: the RabbitMQ and PostgreSQL of the checkout ([`engines`]), a vhost and a database for each test ([`engines::Scope`]),
//! a broker and a database that a test may kill ([`engines::PrivateRabbit`], [`engines::PrivatePostgres`]), a network that a
//! test may stall ([`proxy`]), access to processes through `/proc` ([`procs`]), a browser ([`browser`]), Python packages
//! ([`python`]), an SMTP server ([`smtp`]), the languages in which customers verify deliveries ([`receivers`]) and programs that check deployment files
//! ([`debian`]).
//!
//! Promises: everything that it starts ends when its owner is dropped; a test without an engine fails and prints the command to
//! run. No shipped crate uses it. Linux only (`/proc`).

pub mod browser;
pub mod debian;
pub mod engines;
pub mod paths;
pub mod ports;
pub mod procs;
pub mod proxy;
pub mod python;
pub mod receivers;
pub mod rollups;
pub mod smtp;

/// Makes ring the crypto provider of every TLS connection of the process. May be called repeatedly.
pub fn install_crypto() {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
