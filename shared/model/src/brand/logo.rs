//! The logo of a brand: a small image.

use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::BRAND_LOGO_BYTES_MAX;

/// The format of a logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageFormat {
    /// PNG.
    Png,
    /// SVG.
    Svg,
}

impl ImageFormat {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
        }
    }

    /// The extension of a file's name, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Svg => "svg",
        }
    }

    /// The format of these bytes. An SVG is text that begins with a tag and contains `<svg`; its markup is not checked, because
    /// browsers run no scripts in images.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Some(Self::Png);
        }
        let text = std::str::from_utf8(bytes).ok()?.trim_start_matches('\u{feff}').trim_start();
        (text.starts_with('<') && text.contains("<svg")).then_some(Self::Svg)
    }
}

/// An image of at most [`BRAND_LOGO_BYTES_MAX`] bytes. As text it is a data URL in base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logo {
    format: ImageFormat,
    bytes: Vec<u8>,
}

/// Why an image cannot be a logo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLogo {
    /// The text is not a data URL of an image.
    #[error("an image as data:image/png;base64,… or data:image/svg+xml;base64,…")]
    NotADataUrl,
    /// The bytes are neither a PNG nor an SVG, or not what the data URL says.
    #[error("the content is not a PNG or SVG image, or not of the type that is named")]
    NotAnImage,
    /// The image is too large.
    #[error("the image has more than {max} bytes", max = BRAND_LOGO_BYTES_MAX)]
    TooLarge,
}

impl Logo {
    /// A logo with the content of an image file.
    ///
    /// # Errors
    /// [`InvalidLogo::TooLarge`] and [`InvalidLogo::NotAnImage`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidLogo> {
        if bytes.len() > BRAND_LOGO_BYTES_MAX {
            return Err(InvalidLogo::TooLarge);
        }
        let format = ImageFormat::of(&bytes).ok_or(InvalidLogo::NotAnImage)?;
        Ok(Self { format, bytes })
    }

    /// The image's format.
    pub fn format(&self) -> ImageFormat {
        self.format
    }

    /// The content of the image file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The image as a data URL.
    pub fn data_url(&self) -> String {
        format!("data:{};base64,{}", self.format.media_type(), STANDARD.encode(&self.bytes))
    }
}

impl FromStr for Logo {
    type Err = InvalidLogo;

    fn from_str(text: &str) -> Result<Self, InvalidLogo> {
        let (media_type, encoded) = text
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"))
            .filter(|(media_type, _)| {
                [ImageFormat::Png, ImageFormat::Svg].map(ImageFormat::media_type).contains(media_type)
            })
            .ok_or(InvalidLogo::NotADataUrl)?;
        // Base64 has 4 characters for 3 bytes.
        if encoded.len() / 4 * 3 > BRAND_LOGO_BYTES_MAX + 2 {
            return Err(InvalidLogo::TooLarge);
        }
        let logo = Self::new(STANDARD.decode(encoded).map_err(|_| InvalidLogo::NotADataUrl)?)?;
        if logo.format.media_type() == media_type { Ok(logo) } else { Err(InvalidLogo::NotAnImage) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SVG: &[u8] = b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>";

    #[test]
    fn an_image_is_the_same_after_its_data_url() {
        for (bytes, format) in [(&b"\x89PNG\r\n\x1a\nrest"[..], ImageFormat::Png), (SVG, ImageFormat::Svg)] {
            let logo = Logo::new(bytes.to_vec()).unwrap();
            assert_eq!(logo.format(), format);
            assert_eq!(logo.data_url().parse(), Ok(logo));
        }
    }

    #[test]
    fn other_content_and_other_types_are_refused() {
        let url = |media_type: &str, bytes: &[u8]| format!("data:{media_type};base64,{}", STANDARD.encode(bytes));
        let refused = |text: &str| text.parse::<Logo>().unwrap_err();
        for text in ["", "logo.png", "data:image/png,x", "data:image/svg+xml;base64,%", &url("text/html", SVG)] {
            assert_eq!(refused(text), InvalidLogo::NotADataUrl, "{text}");
        }
        for (media_type, bytes) in [
            ("image/png", SVG),
            ("image/png", b"GIF89a"),
            ("image/svg+xml", b"<html></html>"),
            ("image/svg+xml", b"svg"),
        ] {
            assert_eq!(refused(&url(media_type, bytes)), InvalidLogo::NotAnImage);
        }
    }

    #[test]
    fn a_logo_has_a_maximum_size() {
        let of_size = |bytes: usize| {
            let mut image = SVG.to_vec();
            image.resize(bytes, b' ');
            image
        };
        let largest = Logo::new(of_size(BRAND_LOGO_BYTES_MAX)).unwrap();
        assert_eq!(largest.data_url().parse(), Ok(largest));
        assert_eq!(Logo::new(of_size(BRAND_LOGO_BYTES_MAX + 1)), Err(InvalidLogo::TooLarge));
        let huge = format!("data:image/svg+xml;base64,{}", STANDARD.encode(of_size(10 * BRAND_LOGO_BYTES_MAX)));
        assert_eq!(huge.parse::<Logo>(), Err(InvalidLogo::TooLarge));
    }
}
