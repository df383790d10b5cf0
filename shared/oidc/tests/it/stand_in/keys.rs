//! Keys that sign ID tokens, and their public halves as JWKs.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::{Value, json};

/// A key of a test, of no worth outside of it. ring cannot generate RSA keys.
const RSA: &str = include_str!("rsa.pem");

enum Secret {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

/// A key with its id and the algorithm of its tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    alg: &'static str,
    secret: Secret,
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl SigningKey {
    /// A new key for this algorithm; for RSA always the same key.
    pub(crate) fn new(alg: &'static str, kid: &str) -> Self {
        let random = SystemRandom::new();
        let secret = match alg {
            "RS256" | "PS256" => {
                let body: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
                Secret::Rsa(RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap())
            }
            "ES256" => {
                let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
                let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
                Secret::Ec(pair.unwrap())
            }
            "EdDSA" => {
                let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
                Secret::Ed(Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap())
            }
            other => panic!("no key for {other}"),
        };
        Self { kid: kid.to_owned(), alg, secret }
    }

    /// The public key.
    pub(crate) fn jwk(&self) -> Value {
        let common = json!({"kid": self.kid, "use": "sig", "alg": self.alg});
        let own = match &self.secret {
            Secret::Rsa(pair) => {
                let RsaPublicKeyComponents::<Vec<u8>> { n, e } = pair.public().into();
                json!({"kty": "RSA", "n": text(&n), "e": text(&e)})
            }
            Secret::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Secret::Ed(pair) => json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())}),
        };
        let mut jwk = common;
        jwk.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        jwk
    }

    /// A signed token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let message = message(&json!({"alg": self.alg, "kid": self.kid, "typ": "JWT"}), claims);
        let (bytes, random) = (message.as_bytes(), SystemRandom::new());
        let signature = match &self.secret {
            Secret::Rsa(pair) => {
                let padding = if self.alg == "PS256" { RSA_PSS_SHA256_DYN } else { RSA_PKCS1_SHA256_DYN };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &random, bytes, &mut signature).unwrap();
                signature
            }
            Secret::Ec(pair) => pair.sign(&random, bytes).unwrap().as_ref().to_vec(),
            Secret::Ed(pair) => pair.sign(bytes).as_ref().to_vec(),
        };
        format!("{message}.{}", text(&signature))
    }
}

const RSA_PKCS1_SHA256_DYN: &dyn ring::signature::RsaEncoding = &RSA_PKCS1_SHA256;
const RSA_PSS_SHA256_DYN: &dyn ring::signature::RsaEncoding = &RSA_PSS_SHA256;

fn message(header: &Value, claims: &Value) -> String {
    format!("{}.{}", text(header.to_string().as_bytes()), text(claims.to_string().as_bytes()))
}

/// A token without a signature.
pub(crate) fn unsigned_token(claims: &Value) -> String {
    format!("{}.", message(&json!({"alg": "none", "typ": "JWT"}), claims))
}

/// A token that is signed with HMAC and the client's secret.
pub(crate) fn hmac_token(secret: &str, claims: &Value) -> String {
    let message = message(&json!({"alg": "HS256", "typ": "JWT"}), claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", text(ring::hmac::sign(&key, message.as_bytes()).as_ref()))
}
