use subtle::ConstantTimeEq; // cargo add subtle

// header: the value of X-Mumara-Token
fn verify(header: &str, secret: &str) -> bool {
    header.as_bytes().ct_eq(secret.as_bytes()).into()
}
