//! The fields that filters read, and the single pass over an event that collects their values.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::read::{Field, Root};
use super::scalar::Scalar;
use super::values::Values;
use super::{Budget, PayloadFilter};
use crate::event::Attributes;
use crate::json::{Scanner, Token, unescape};
use crate::limits::{JSON_DEPTH_MAX, PAYLOAD_FILTER_VALUES_MAX};

/// Maximum number of values of one field in an explanation.
const SHOWN_MAX: usize = 20;

/// The payload of an event, as its producer wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// `data`: JSON of any kind.
    pub data: &'a [u8],
    /// `metadata`: a JSON object.
    pub metadata: Option<&'a str>,
    /// `attributes`.
    pub attributes: &'a Attributes,
}

/// The fields of all filters of a tenant, as one tree of names. The tree allows one pass over an event for any number of
/// filters.
#[derive(Debug)]
pub struct FieldIndex {
    /// The nodes. The roots come first, in the order of [`Root`].
    nodes: Vec<NameNode>,
}

#[derive(Debug)]
struct NameNode {
    name: Box<str>,
    /// The index of the parent node. A root is its own parent.
    parent: usize,
    /// Indexes of the child nodes, sorted by name.
    children: Vec<usize>,
}

/// A filter whose fields are in a [`FieldIndex`].
#[derive(Debug, Clone)]
pub struct BoundFilter {
    filter: Arc<PayloadFilter>,
    /// The node of each test's field.
    nodes: Box<[usize]>,
}

/// The values that an event has in the fields of filters.
#[derive(Debug)]
pub struct FieldValues<'a> {
    requested: Vec<Requested>,
    /// The values of each requested field. The first item is empty; it is used for all other fields.
    values: Vec<Values<'a>>,
}

impl<'a> FieldValues<'a> {
    fn of_node(&self, node: usize) -> &Values<'a> {
        &self.values[self.requested[node].values as usize]
    }
}

impl BoundFilter {
    /// Whether the filter matches the event with these `values`, which [`FieldIndex::collect`] collected. A filter does not
    /// match if it exceeds the budget; then [`Budget::is_spent`] is true.
    pub fn matches(&self, values: &FieldValues<'_>, budget: &mut Budget) -> bool {
        self.filter.root.passes(&|test| values.of_node(self.nodes[test]), budget).unwrap_or(false)
    }

    /// Iterates over the values of the fields, in order.
    pub(super) fn scalars<'v, 'a>(&'v self, values: &'v FieldValues<'a>) -> impl Iterator<Item = &'v Scalar<'a>> {
        self.nodes.iter().flat_map(|node| &values.of_node(*node).values)
    }

    /// Returns the event's first 20 values of each field, by field; `null` if the event does not have the field.
    pub fn actual_values(&self, values: &FieldValues<'_>) -> Map<String, Value> {
        let actual = self.filter.fields.iter().zip(&self.nodes).map(|(field, node)| {
            let held = values.of_node(*node);
            let shown = held.values.iter().take(SHOWN_MAX).map(Scalar::to_json).collect();
            (field.text.to_string(), if held.is_present { Value::Array(shown) } else { Value::Null })
        });
        actual.collect()
    }
}

impl Default for FieldIndex {
    fn default() -> Self {
        let root = |parent| NameNode { name: "".into(), parent, children: Vec::new() };
        Self { nodes: (0..=Root::Attributes as usize).map(root).collect() }
    }
}

impl FieldIndex {
    /// Adds the fields of a filter, and binds the filter to their nodes.
    pub fn bind(&mut self, filter: impl Into<Arc<PayloadFilter>>) -> BoundFilter {
        let filter = filter.into();
        let nodes = filter.fields.iter().map(|field| self.node(field)).collect();
        BoundFilter { filter, nodes }
    }

    fn node(&mut self, field: &Field) -> usize {
        let mut node = field.root as usize;
        for name in &field.names {
            node = match self.search(node, name) {
                Ok(child) => child,
                Err(position) => {
                    let child = self.nodes.len();
                    self.nodes.push(NameNode { name: name.clone(), parent: node, children: Vec::new() });
                    self.nodes[node].children.insert(position, child);
                    child
                }
            };
        }
        node
    }

    /// Finds the child of `node` with this name. Returns the child's node, or the index in `children` at which to insert it.
    fn search(&self, node: usize, name: &str) -> Result<usize, usize> {
        let children = &self.nodes[node].children;
        children.binary_search_by(|child| self.nodes[*child].name.as_ref().cmp(name)).map(|position| children[position])
    }

    /// Collects the values of the fields of `filters` and skips all other fields. Reads `data` and `metadata` only if a field
    /// needs them.
    pub fn collect<'f, 'a>(
        &self,
        filters: impl IntoIterator<Item = &'f BoundFilter>,
        payload: &Payload<'a>,
    ) -> FieldValues<'a> {
        let requested = vec![Requested::default(); self.nodes.len()];
        let mut walk = Walk { index: self, requested, values: vec![Values::default()] };
        for node in filters.into_iter().flat_map(|filter| filter.nodes.iter()) {
            walk.request(*node);
        }
        if let Some(data) = walk.needs(Root::Data).then(|| std::str::from_utf8(payload.data).ok()).flatten() {
            walk.json(data, Root::Data);
        }
        if let Some(metadata) = payload.metadata.filter(|_| walk.needs(Root::Metadata)) {
            walk.json(metadata, Root::Metadata);
        }
        walk.attributes(payload.attributes);
        FieldValues { requested: walk.requested, values: walk.values }
    }
}

/// The values that filters need from a node.
#[derive(Debug, Clone, Copy, Default)]
struct Requested {
    /// The index in `values` of the node's own values; 0 if no filter needs them.
    values: u32,
    /// Whether a filter needs a descendant of the node.
    below: bool,
}

struct Walk<'f, 'a> {
    index: &'f FieldIndex,
    requested: Vec<Requested>,
    values: Vec<Values<'a>>,
}

impl<'a> Walk<'_, 'a> {
    fn request(&mut self, node: usize) {
        if self.requested[node].values == 0 {
            self.requested[node].values = u32::try_from(self.values.len()).unwrap_or_default();
            self.values.push(Values::default());
        }
        let mut parent = self.index.nodes[node].parent;
        while !self.requested[parent].below {
            self.requested[parent].below = true;
            parent = self.index.nodes[parent].parent;
        }
    }

    fn needs(&self, root: Root) -> bool {
        self.requested[root as usize].below
    }

    fn attributes(&mut self, attributes: &'a Attributes) {
        for child in &self.index.nodes[Root::Attributes as usize].children {
            if let Some(text) = attributes.get(&self.index.nodes[*child].name)
                && let Some(values) = self.values_of(*child)
            {
                *values = Values::of_text(text);
            }
        }
    }

    fn values_of(&mut self, node: usize) -> Option<&mut Values<'a>> {
        let values = Some(self.requested[node].values as usize).filter(|values| *values > 0)?;
        self.values.get_mut(values)
    }

    /// Reads JSON, which ingest has validated. If it is invalid nevertheless, the values before the mistake count.
    fn json(&mut self, json: &'a str, root: Root) {
        let _ = self.value(&mut Scanner::new(json), root as usize, 0);
    }

    fn value(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        let Requested { values, below } = self.requested[node];
        match scanner.peek()? {
            _ if depth > JSON_DEPTH_MAX => None,
            b'{' if below => self.object(scanner, node, depth),
            b'{' => scanner.skip_value(),
            b'[' => self.array(scanner, node, depth),
            _ if values > 0 => {
                let value = Scalar::read(scanner.next()?);
                if let Some(values) = self.values_of(node).filter(|held| held.values.len() < PAYLOAD_FILTER_VALUES_MAX)
                {
                    values.values.extend(value);
                }
                Some(())
            }
            _ => scanner.skip_value(),
        }
    }

    /// Adds the values of an array's elements, because an array stands for its elements.
    fn array(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        scanner.next()?;
        while scanner.peek()? != b']' {
            self.value(scanner, node, depth + 1)?;
        }
        scanner.next().map(drop)
    }

    fn object(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        // Skips each JSON member and first remembers its position, because only the last of several members with the same name
        // counts.
        let mut members: Vec<(usize, usize, Scanner<'a>)> = Vec::new();
        scanner.next()?;
        while scanner.peek()? != b'}' {
            let Token::Key(name) = scanner.next()? else { return None };
            // A name with half of a surrogate pair is not text, so it matches no field.
            let child = unescape(name).and_then(|name| self.index.search(node, &name).ok());
            if let Some(child) = child.filter(|child| self.is_requested(*child)) {
                members.push((child, members.len(), *scanner));
            }
            scanner.skip_value()?;
        }
        scanner.next()?;
        members.sort_unstable_by_key(|(child, position, _)| (*child, *position));
        for (at, &(child, _, mut value)) in members.iter().enumerate() {
            if members.get(at + 1).is_none_or(|(next, ..)| *next != child) {
                if let Some(values) = self.values_of(child) {
                    values.is_present = true;
                }
                self.value(&mut value, child, depth + 1)?;
            }
        }
        Some(())
    }

    fn is_requested(&self, node: usize) -> bool {
        self.requested[node].values > 0 || self.requested[node].below
    }
}
