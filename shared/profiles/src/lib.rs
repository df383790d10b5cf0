//! Profiles: everything that makes deliveries look like one product's, as data.
//!
//! Owns the profile files ([`Profiles`]), what they may say ([`Profile`]), the check that an event has what its
//! profile's envelope requires ([`Profile::check_event`]), the warnings about values that its receivers cannot verify
//! ([`Profile::warnings`]) and the rendering of bodies ([`Profile::render_as`]), messages to phones among them. Owns besides the mapping files, which say
//! what a mail server's log records become ([`Mappings`]).
//!
//! Promises: `data` and `metadata` leave as the bytes that the producer wrote, unless the profile's body is stable under
//! re-serialising (one token pass then, no tree), the endpoint asks for `ascii_json`, or the envelope splices the members
//! of `data`; a file that loads can be served: every mistake in it is an error at start that names file, line and field.
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
mod pushover;
mod registry;
mod settings;
mod signature_scheme;
mod warnings;

pub use catalog::{EventTypeInfo, OriginRule, TestEvent};
pub use check::FieldError;
pub use envelope::{BodyStyle, EnvelopeField, EventView, JsonKind, Source, TimestampFormat};
pub use header::{HeaderContext, HeaderTemplate, HeaderValue, is_header_name, is_header_value, is_reserved_header};
pub use mapping::{MappedEvent, Mapping, Mappings, NotARecord};
pub use profile::{Profile, UrlRule};
pub use pushover::TextTemplate;
pub use registry::{ProfileError, Profiles};
pub use settings::Settings;
pub use signature_scheme::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent, TemplatePart};
