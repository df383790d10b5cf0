//! The text form of secrets and keys.

use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// The prefix of a secret in base64 (Standard Webhooks, "Secrets").
pub const PREFIX: &str = "whsec_";

/// Base64 with the standard alphabet. Padding is optional, because some products omit it.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);
