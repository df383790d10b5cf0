//! The style sheet of an accent colour.
//!
//! It sets the custom properties of `style.css` for the accent, in the light and the dark theme. A brand can have any colour. So
//! each property is the accent, darkened or lightened until text in this colour or on this colour is readable (WCAG 2.2).

use postrider_model::brand::Accent;

/// A colour in sRGB.
type Rgb = [u8; 3];

const WHITE: Rgb = [0xff; 3];
const BLACK: Rgb = [0; 3];
/// The colour of text on a bright accent: `--text` of the light theme in `style.css`.
const INK: Rgb = [0x17, 0x1b, 0x22];
/// Minimum contrast of text.
const TEXT_CONTRAST: f64 = 4.5;
/// Minimum contrast of the edges of buttons and of checkboxes.
const EDGE_CONTRAST: f64 = 3.0;
/// An accent with at least this contrast to black gets dark text. Any other accent is darkened and gets white text.
const BRIGHT: f64 = 6.0;
/// The factor by which `style.css` brightens a button under the pointer.
const HOVER: f64 = 1.1;

/// The background colours of a theme in `style.css`, on which links and text in the accent's colour are shown.
struct Theme {
    grounds: &'static [Rgb],
    surface: Rgb,
    /// The colour with which the accent is mixed until text is readable.
    toward: Rgb,
    /// The share of the accent in `--accent-ground`; the rest is the surface.
    tint: f64,
}

const LIGHT: Theme = Theme {
    grounds: &[WHITE, [0xf5, 0xf6, 0xf8], [0xf0, 0xf2, 0xf5], [0xf3, 0xf5, 0xf8]],
    surface: WHITE,
    toward: BLACK,
    tint: 0.1,
};
const DARK: Theme = Theme {
    grounds: &[[0x0f, 0x13, 0x18], [0x17, 0x1c, 0x23], [0x1f, 0x26, 0x2f], [0x10, 0x15, 0x1b]],
    surface: [0x17, 0x1c, 0x23],
    toward: WHITE,
    tint: 0.18,
};

/// The colours of one theme that come from the accent.
struct Colours {
    /// Links and other text.
    text: Rgb,
    /// The background of the chosen item of a list; its text has the colour `text`.
    ground: Rgb,
    /// The edge of buttons and checkboxes.
    edge: Rgb,
}

/// The colours of buttons, which are the same in both themes.
struct Button {
    fill: Rgb,
    label: Rgb,
}

/// The text of the style sheet for this accent.
pub(super) fn style_sheet(accent: Accent) -> String {
    let button = button(accent.0);
    let (light, dark) = (colours(accent.0, &button, &LIGHT), colours(accent.0, &button, &DARK));
    let pair = |light, dark| format!("light-dark({}, {})", Accent(light), Accent(dark));
    format!(
        ":root {{\n  --accent: {};\n  --accent-ground: {};\n  --accent-edge: {};\n  --accent-fill: {};\n  --on-accent: {};\n}}\n",
        pair(light.text, dark.text),
        pair(light.ground, dark.ground),
        pair(light.edge, dark.edge),
        Accent(button.fill),
        Accent(button.label),
    )
}

fn button(accent: Rgb) -> Button {
    if contrast(accent, BLACK) >= BRIGHT {
        return Button { fill: accent, label: INK };
    }
    let fill = first(accent, BLACK, |fill| contrast(brightened(fill), WHITE) >= TEXT_CONTRAST);
    Button { fill, label: WHITE }
}

fn colours(accent: Rgb, button: &Button, theme: &Theme) -> Colours {
    let ground = mixed(theme.surface, accent, theme.tint);
    let readable = |text| theme.grounds.iter().chain([&ground]).all(|ground| contrast(text, *ground) >= TEXT_CONTRAST);
    let text = first(accent, theme.toward, readable);
    let edge = if contrast(button.fill, theme.surface) >= EDGE_CONTRAST { button.fill } else { text };
    Colours { text, ground, edge }
}

/// The first mix of `from` and `to` for which `is_good` returns `true`. The share of `to` grows in steps of 1 %. Returns `to` if
/// no mix is good.
fn first(from: Rgb, to: Rgb, is_good: impl Fn(Rgb) -> bool) -> Rgb {
    (0..100).map(|step| mixed(from, to, f64::from(step) / 100.0)).find(|colour| is_good(*colour)).unwrap_or(to)
}

/// A mix of two colours. `share` is the share of the second colour, 0 to 1.
fn mixed(one: Rgb, other: Rgb, share: f64) -> Rgb {
    let mix = |one: u8, other: u8| rounded(f64::from(one).mul_add(1.0 - share, f64::from(other) * share));
    [mix(one[0], other[0]), mix(one[1], other[1]), mix(one[2], other[2])]
}

/// The colour of a button under the pointer.
fn brightened(colour: Rgb) -> Rgb {
    colour.map(|part| rounded(f64::from(part) * HOVER))
}

fn rounded(part: f64) -> u8 {
    part.round().clamp(0.0, 255.0) as u8
}

/// The contrast of two colours, 1 to 21 (WCAG 2.2, "contrast ratio").
fn contrast(one: Rgb, other: Rgb) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

/// The relative luminance of a colour, 0 to 1 (WCAG 2.2, "relative luminance").
fn luminance(colour: Rgb) -> f64 {
    let [red, green, blue] = colour.map(|part| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Colours of every hue and brightness, with the extremes.
    fn accents() -> impl Iterator<Item = Accent> {
        let steps = || (0..=255).step_by(17);
        steps().flat_map(move |red| steps().flat_map(move |green| steps().map(move |blue| Accent([red, green, blue]))))
    }

    #[test]
    fn every_accent_gives_readable_text_on_every_ground_and_button() {
        for accent in accents() {
            let button = button(accent.0);
            for fill in [button.fill, brightened(button.fill)] {
                assert!(contrast(button.label, fill) >= 4.5, "{accent}: the label on {fill:?}");
            }
            for theme in [&LIGHT, &DARK] {
                let Colours { text, ground, edge } = colours(accent.0, &button, theme);
                for ground in theme.grounds.iter().chain([&ground]) {
                    assert!(contrast(text, *ground) >= 4.5, "{accent}: {text:?} on {ground:?}");
                }
                assert!(contrast(edge, theme.surface) >= 3.0, "{accent}: the edge {edge:?}");
            }
        }
    }

    #[test]
    fn an_accent_that_is_readable_stays_as_it_is() {
        let sheet = style_sheet(Accent([0x1d, 0x4e, 0xd8]));
        assert!(sheet.contains("--accent: light-dark(#1d4ed8, "), "{sheet}");
        assert!(sheet.contains("--accent-fill: #1d4ed8;\n  --on-accent: #ffffff;"), "{sheet}");
        let yellow = style_sheet(Accent([0xff, 0xdd, 0x00]));
        assert!(yellow.contains("--accent-fill: #ffdd00;\n  --on-accent: #171b22;"), "{yellow}");
        assert!(yellow.contains(", #ffdd00);\n  --accent-ground"), "text on dark: {yellow}");
    }

    #[test]
    fn contrast_is_that_of_wcag() {
        assert!((contrast(BLACK, WHITE) - 21.0).abs() < 1e-9);
        assert!((contrast([0x77; 3], WHITE) - 4.48).abs() < 0.01);
        assert!((contrast([0xff, 0, 0], WHITE) - 4.0).abs() < 0.01);
    }

    // The constants of this module must be the same as in the style sheet.
    #[test]
    fn the_grounds_are_those_of_the_style_sheet() {
        let css = include_str!("../assets/style.css");
        for (light, dark) in LIGHT.grounds.iter().zip(DARK.grounds) {
            assert!(css.contains(&format!("light-dark({}, ", Accent(*light))), "{light:?}");
            assert!(css.contains(&format!(", {})", Accent(*dark))), "{dark:?}");
        }
        assert!(css.contains("--text: light-dark(#171b22, "));
        assert!(css.contains("brightness(1.1)"));
        for property in ["--accent", "--accent-ground", "--accent-edge", "--accent-fill", "--on-accent"] {
            assert!(
                css.contains(&format!("  {property}: ")) && css.contains(&format!("var({property})")),
                "{property}"
            );
        }
    }
}
