//! This library is empty. The end-to-end scenarios of this package are in `it`.
