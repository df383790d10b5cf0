//! Signing deliveries, and checking signatures as a receiver does.
//!
//! Owns the meaning of secrets ([`secret`]) and of Ed25519 keys ([`KeyPair`]), which of an endpoint's secrets sign at a moment ([`SigningSecrets`]), the
//! signature headers of an attempt ([`Signer`]) and their verification ([`verify`]).
//!
//! Promises: signatures are over exactly the bytes that are sent; comparisons take the same time wherever the first
//! difference is; secrets and the keys made from them are wiped when dropped and never printed.
//!
//! Does not: keep secrets (crate `postrider-store` seals them), read the clock, or know any product by name: the scheme
//! is the profile's.

mod key_pair;
mod pasted;
pub mod secret;
mod secrets;
mod signer;
pub mod verify;

pub use key_pair::{InvalidPrivateKey, KeyPair};
pub use secret::{InvalidSecret, check_imported, generate_secret};
pub use secrets::{InForce, NextSecret, PreviousSecret, SigningSecrets, Slot};
pub use signer::{Signer, WEBHOOK_ID, WEBHOOK_SIGNATURE, WEBHOOK_TIMESTAMP};
