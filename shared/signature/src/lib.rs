//! Signing deliveries, and checking signatures as a receiver does.
//!
//! Owns the meaning of secrets ([`secret`]) and Ed25519 keys ([`KeyPair`]), which secrets sign at a given time ([`SigningSecrets`]), the
//! signature headers of an attempt ([`Signer`]) and their verification ([`verify`]).
//!
//! Promises: signatures cover exactly the bytes that are sent; comparisons take constant time; secrets and keys are wiped when
//! dropped and never printed.
//!
//! Does not: store secrets (crate `postrider-store` seals them), read the clock, or know a product by name (the profile has the
//! scheme).

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
