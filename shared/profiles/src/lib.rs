//! Profiles: everything that makes deliveries look like one product's, as data.
//!
//! Owns the profile files ([`Profiles`]), what they may say ([`Profile`]), the check that an event has what its
//! profile's envelope requires ([`Profile::check_event`]) and the rendering of bodies ([`Profile::render`]). Owns besides the
//! mapping files, which say what a mail server's log records become ([`Mappings`]).
//!
//! Promises: `data` and `metadata` leave as the bytes that the producer wrote (but for `ascii_json`, which escapes what
//! is not ASCII inside them, and a flattened envelope, which splices the members of `data`); a file that loads can be
//! served: every mistake in it is an error at start that names file, line and field.
//!
//! Does not: sign (crate `postrider-signature`), send, read the clock, or know any product by name.

mod catalog;
mod check;
mod envelope;
mod file;
mod header;
mod json;
mod mapping;
mod profile;
mod registry;
mod signature_scheme;

pub use catalog::{EventTypeInfo, OriginRule, TestEvent};
pub use check::FieldError;
pub use envelope::{EnvelopeField, EventView, JsonKind, Source, TimestampFormat};
pub use header::{HeaderContext, HeaderTemplate, HeaderValue, is_header_name, is_header_value, is_reserved_header};
pub use mapping::{MappedEvent, Mapping, Mappings, NotARecord};
pub use profile::{Channel, Profile, UrlRule};
pub use registry::{ProfileError, Profiles};
pub use signature_scheme::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent, TemplatePart};
