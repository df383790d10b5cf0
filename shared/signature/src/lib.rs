//! Signs deliveries, and verifies signatures like a receiver.
//!
//! Owns the meaning of secrets ([`secret`]) and Ed25519 keys ([`KeyPair`]), the choice of the secrets that sign at a given time
//! ([`SigningSecrets`]), the signature headers of an attempt ([`Signer`]), and their verification ([`verify`]).
//!
//! Promises: a signature covers exactly the bytes that are sent. Comparisons take constant time. Secrets and keys are wiped when
//! dropped and never printed.
//!
//! It does not store secrets (crate `postrider-store` encrypts them), does not read the clock, and contains no product names
//! (the profile contains the scheme).

mod encoding;
mod key_pair;
mod pasted;
pub mod secret;
mod secrets;
mod signer;
pub mod verify;

pub use key_pair::{InvalidPrivateKey, KeyPair};
pub use secret::{InvalidSecret, SecretUsage, check_imported, generate_secret};
pub use secrets::{ActiveSecrets, NextSecret, PreviousSecret, SecretSlot, SigningSecrets};
pub use signer::{SignedAttempt, Signer, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
