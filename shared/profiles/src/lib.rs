//! Profiles: data that describes everything that makes deliveries look like the deliveries of one product.
//!
//! Owns: the profile files ([`Profiles`]) and their content ([`Profile`]), the check that an event has the fields that its
//! profile's envelope requires ([`Profile::check_event`]), warnings about values that receivers cannot verify
//! ([`Profile::warnings`]), the rendering of bodies and of messages for people ([`Profile::render`]), the mapping files, which turn a
//! mail server's log records into events ([`Mappings`]), and the languages of the dashboard's pages ([`Languages`]).
//!
//! Promises: `data` and `metadata` are sent with the bytes that the producer wrote, unless the profile's body is `js-stable`, the
//! endpoint uses `ascii_json`, or the envelope flattens `data`. A profile file that loads can be used: every mistake in a file is
//! an error at start, with file, line and field.
//!
//! It does not sign deliveries (crate `postrider-signature`), send them or read the clock. No code depends on the name of a
//! product.

mod batch;
mod catalog;
mod check;
mod envelope;
mod error;
mod event_view;
mod file;
mod header;
mod json;
mod language;
mod mapping;
mod profile;
mod registry;
mod render;
mod settings;
mod signature_scheme;
mod text_template;
mod toml_files;
mod warnings;

pub use batch::{BatchEnvelope, BatchItems};
pub use catalog::{EventTypeInfo, OriginRule, TestEvent};
pub use check::FieldError;
pub use envelope::{BodyStyle, EnvelopeField, JsonKind, Source, TimestampFormat};
pub use error::ProfileError;
pub use event_view::EventView;
pub use header::{HeaderTemplate, HeaderValue, is_header_name, is_header_value, is_reserved_header};
pub use language::{Language, Languages, Piece, is_term, pieces};
pub use mapping::{MappedEvent, Mapping, Mappings, NotARecord};
pub use profile::{Profile, Promise};
pub use registry::Profiles;
pub use render::HeaderContext;
pub use settings::Settings;
pub use signature_scheme::{Encoding, SchemeKind, SignatureScheme, SignatureTemplate, SignedContent, TemplatePart};
pub use text_template::TextTemplate;
