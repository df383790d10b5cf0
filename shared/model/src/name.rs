//! Names that people give to things.

use crate::limits::NAME_BYTES_MAX;

/// Checks a name of a tenant, a key, an endpoint, a person or a product.
///
/// # Errors
/// What a name must be.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(format!("1 to {NAME_BYTES_MAX} bytes, not only spaces"));
    }
    if name.chars().any(|c| c.is_control() || is_invisible(c)) {
        return Err("no control, invisible or text-direction characters".into());
    }
    Ok(())
}

/// Whether a character is invisible and can make one text look like another: Unicode's format characters (category Cf)
/// and the line and paragraph separators.
pub(crate) fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}' | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_no_invisible_characters() {
        for good in ["acme", "Müller & Söhne", "日本", "naïve 🙂"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["\u{202e}evil", "a\u{200b}b", "a\u{feff}", "\u{2066}x", "soft\u{ad}hyphen", "a\nb", " ", ""] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
