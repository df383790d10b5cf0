//! Verifies signatures of ID tokens with ring, the crypto library of this project. `jsonwebtoken` reads the tokens and keys, and
//! asks this module about signatures.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

/// The algorithms of ID tokens that are accepted. All are asymmetric: the provider alone can sign.
pub(crate) const ACCEPTED: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes `jsonwebtoken` verify with ring. Idempotent.
pub(crate) fn install() {
    // Fails if it was installed before.
    let _ = PROVIDER.install_default();
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    let key = match (parameters(*algorithm), key.family(), key.kind()) {
        (Some(Parameters::Rsa(rsa)), AlgorithmFamily::Rsa, DecodingKeyKind::RsaModulusExponent { n, e }) => {
            PublicKey::Rsa { rsa, n: without_zeros(n), e: without_zeros(e) }
        }
        (Some(Parameters::Point(family, point)), own, DecodingKeyKind::SecretOrDer(bytes)) if own == family => {
            PublicKey::Point { point, bytes: bytes.clone() }
        }
        _ => return Err(ErrorKind::InvalidKeyFormat.into()),
    };
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key }))
}

/// ring refuses leading zeros, which some providers write.
fn without_zeros(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

enum Parameters {
    Rsa(&'static RsaParameters),
    Point(AlgorithmFamily, &'static dyn VerificationAlgorithm),
}

fn parameters(algorithm: Algorithm) -> Option<Parameters> {
    Some(match algorithm {
        Algorithm::RS256 => Parameters::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Parameters::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Parameters::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Parameters::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Parameters::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Parameters::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Parameters::Point(AlgorithmFamily::Ec, &ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Parameters::Point(AlgorithmFamily::Ec, &ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Parameters::Point(AlgorithmFamily::Ed, &ED25519),
        _ => return None,
    })
}

enum PublicKey {
    Rsa { rsa: &'static RsaParameters, n: Vec<u8>, e: Vec<u8> },
    Point { point: &'static dyn VerificationAlgorithm, bytes: Vec<u8> },
}

struct RingVerifier {
    algorithm: Algorithm,
    key: PublicKey,
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match &self.key {
            PublicKey::Rsa { rsa, n, e } => RsaPublicKeyComponents { n, e }.verify(rsa, message, signature),
            PublicKey::Point { point, bytes } => UnparsedPublicKey::new(*point, bytes).verify(message, signature),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
