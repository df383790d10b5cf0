//! Why a profile or a mapping cannot be loaded.

use std::path::PathBuf;

/// Why a profile or a mapping cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The directory or a file in it cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A file has a mistake.
    #[error("{file}, line {line}, {field}: {detail}")]
    Invalid {
        /// The file.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The field, such as `envelope.from`. It is empty if the text is not TOML.
        field: String,
        /// What is wrong, and what is allowed.
        detail: String,
    },
}
