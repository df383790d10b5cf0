//! The accent colour of a brand.

use std::fmt;
use std::str::FromStr;

/// A colour in sRGB: red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accent(pub [u8; 3]);

/// The text is not a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a colour as #rrggbb, such as #1d4ed8")]
pub struct InvalidAccent;

impl FromStr for Accent {
    type Err = InvalidAccent;

    fn from_str(text: &str) -> Result<Self, InvalidAccent> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or(InvalidAccent)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidAccent);
        }
        let [_, red, green, blue] = u32::from_str_radix(digits, 16).map_err(|_| InvalidAccent)?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Accent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([red, green, blue]) = self;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_has_six_hexadecimal_digits() {
        assert_eq!("#1D4ed8".parse(), Ok(Accent([0x1d, 0x4e, 0xd8])));
        assert_eq!(Accent([0x0a, 0, 0xff]).to_string(), "#0a00ff");
        for bad in ["", "#", "1d4ed8", "#1d4ed", "#1d4ed80", "#+d4ed8", "#1d4eg8", "#äöü", "red", "#fff"] {
            assert_eq!(bad.parse::<Accent>(), Err(InvalidAccent), "{bad}");
        }
    }
}
