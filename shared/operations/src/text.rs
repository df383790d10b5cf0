//! Checks the descriptions that people write.

/// Maximum number of bytes of a description.
const DESCRIPTION_BYTES_MAX: usize = 2_000;

/// Checks a description.
pub(crate) fn check_description(description: &str) -> Result<(), String> {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if description.len() > DESCRIPTION_BYTES_MAX || description.chars().any(control) {
        return Err(format!("at most {DESCRIPTION_BYTES_MAX} bytes, no control characters except line ends and tabs"));
    }
    Ok(())
}
