//! Nothing: this package holds the end-to-end scenarios in `it`.
