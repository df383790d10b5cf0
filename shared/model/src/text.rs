//! Macros for types that are written as text in messages, rows and routing keys.

/// An error: the name is not one of the allowed names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {allowed}, got {got:?}")]
pub struct UnknownName {
    /// The allowed names.
    pub allowed: &'static str,
    /// The given name, truncated to 80 characters.
    pub got: String,
}

/// Gives each variant of an enum its name: implements `as_str`, `Display` and `FromStr`.
macro_rules! names {
    ($type:ident { $($variant:ident => $name:literal),+ $(,)? }) => {
        impl $type {
            /// The name on the wire, in rows and in routing keys.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::text::UnknownName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    other => Err($crate::text::UnknownName {
                        allowed: concat!($($name, " "),+).trim_ascii_end(),
                        got: other.chars().take(80).collect(),
                    }),
                }
            }
        }
    };
}

/// Serializes a type as the text that its `Display` writes and its `FromStr` reads.
macro_rules! serialize_as_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use {names, serialize_as_text};
