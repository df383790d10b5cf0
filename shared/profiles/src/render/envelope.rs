//! Renders envelopes.
//!
//! A body is compact JSON in one buffer. Names are escaped when the profile is loaded. `data` and `metadata` are copied.

use crate::envelope::{BodyStyle, Source};
use crate::event_view::EventView;
use crate::json::number::Printer;
use crate::json::{self, JsonMembers};
use crate::profile::Profile;

impl Profile {
    /// Renders the envelope as JSON. For Python, all characters except printable ASCII are escaped, and a stable body has the
    /// numbers that Python prints.
    pub(super) fn render_envelope(&self, event: &EventView<'_>, printer: Printer) -> Vec<u8> {
        let mut body = Body { out: Vec::with_capacity(event.data.len() + 512), fields: 0 };
        let metadata = self.metadata_members(event);
        let flat = self.flattened(event);
        for (index, field) in self.envelope.iter().enumerate() {
            match (&field.source, &flat) {
                (Source::FlattenData { .. }, Some(flat)) => {
                    let before = &self.envelope[..index];
                    for (name, value) in flat.iter().filter(|(name, _)| before.iter().all(|f| f.name != *name)) {
                        body.separate();
                        json::write_string(&mut body.out, name);
                        body.out.push(b':');
                        body.out.extend_from_slice(value.get().as_bytes());
                    }
                }
                (Source::FlattenData { .. }, None) => {}
                (_, Some(flat)) if self.is_after_flatten(index) && flat.get(&field.name).is_some() => {}
                _ => {
                    let sources = std::iter::once(&field.source).chain(&field.default);
                    for source in sources {
                        if self.write_field(&mut body, &field.prepared, source, event, &metadata) {
                            break;
                        }
                    }
                }
            }
        }
        if body.fields == 0 {
            body.out.push(b'{');
        }
        body.out.push(b'}');
        let out = match self.body {
            BodyStyle::AsProduced => body.out,
            BodyStyle::JsStable => json::stable(&String::from_utf8_lossy(&body.out), printer),
        };
        match printer {
            Printer::JavaScript => out,
            Printer::Python => json::to_ascii(out),
        }
    }

    /// Returns the members of `data` if the envelope flattens them.
    fn flattened<'a>(&self, event: &EventView<'a>) -> Option<JsonMembers<'a>> {
        self.envelope.iter().find(|field| matches!(field.source, Source::FlattenData { .. }))?;
        std::str::from_utf8(event.data).ok().and_then(JsonMembers::parse)
    }

    fn is_after_flatten(&self, index: usize) -> bool {
        self.envelope[..index].iter().any(|field| matches!(field.source, Source::FlattenData { .. }))
    }

    /// Writes one field. Returns `false` if the event has no value for it.
    fn write_field(
        &self,
        body: &mut Body,
        prepared: &[u8],
        source: &Source,
        event: &EventView<'_>,
        metadata: &JsonMembers<'_>,
    ) -> bool {
        let mut raw = |value: &[u8]| {
            body.separate();
            body.out.extend_from_slice(prepared);
            body.out.extend_from_slice(value);
            true
        };
        match source {
            Source::Data => raw(event.data),
            Source::Metadata => event.metadata.is_some_and(|value| raw(value.get().as_bytes())),
            Source::MetadataMember(name) => metadata.get(name).is_some_and(|value| raw(value.get().as_bytes())),
            Source::Timestamp(format) if format.is_number() => raw(format.text(event.occurred_at).as_bytes()),
            Source::Timestamp(format) => body.text(prepared, &format.text(event.occurred_at)),
            Source::Type => body.text(prepared, event.event_type.as_str()),
            Source::WireType => body.text(prepared, self.wire_name(event.event_type)),
            Source::Id => body.text(prepared, event.id.as_str()),
            Source::Attribute(name) => event.attributes.get(name).is_some_and(|value| body.text(prepared, value)),
            Source::FlattenData { .. } => false,
        }
    }
}

/// A JSON object that is being written.
struct Body {
    out: Vec<u8>,
    fields: usize,
}

impl Body {
    fn separate(&mut self) {
        self.out.push(if self.fields == 0 { b'{' } else { b',' });
        self.fields += 1;
    }

    fn text(&mut self, prepared: &[u8], value: &str) -> bool {
        self.separate();
        self.out.extend_from_slice(prepared);
        json::write_string(&mut self.out, value);
        true
    }
}
