//! The fields that filters look at, and the one pass over an event that finds what they hold.

use super::read::{Field, Root};
use super::scan::Scanner;
use super::slot::Slot;
use super::{Budget, Node, PayloadFilter};
use crate::event::Attributes;
use crate::limits::{JSON_DEPTH_MAX, PAYLOAD_FILTER_VALUES_MAX};

/// What an event holds, as its producer wrote it.
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    /// `data`: JSON of any kind.
    pub data: &'a [u8],
    /// `metadata`: a JSON object.
    pub metadata: Option<&'a str>,
    /// `attributes`.
    pub attributes: &'a Attributes,
}

/// The fields of all filters that may be asked about one event (a tenant's), as one tree of names: whatever their number,
/// the event is read once.
#[derive(Debug)]
pub struct Fields {
    /// The roots come first, in the order of [`Root`].
    nodes: Vec<NameNode>,
}

#[derive(Debug)]
struct NameNode {
    name: Box<str>,
    /// A root is its own.
    parent: usize,
    /// By name.
    children: Vec<usize>,
}

/// A filter that knows its fields' places.
#[derive(Debug, Clone)]
pub struct BoundFilter {
    root: Node,
    /// Where each test looks: places in [`Fields`].
    fields: Box<[usize]>,
}

/// What the fields of an event hold.
#[derive(Debug)]
pub struct Found<'a> {
    wanted: Vec<Wanted>,
    /// Of the fields that were asked for; the first is of all others, and empty.
    slots: Vec<Slot<'a>>,
}

impl<'a> Found<'a> {
    fn slot(&self, place: usize) -> &Slot<'a> {
        &self.slots[self.wanted[place].slot as usize]
    }
}

impl BoundFilter {
    /// Whether the filter takes the event. What it asks about must have been collected, see [`Fields::collect`]. Where the
    /// budget does not cover it, it does not, and [`Budget::is_spent`] says so.
    pub fn takes(&self, found: &Found<'_>, budget: &mut Budget) -> bool {
        self.root.passes(&|test| found.slot(self.fields[test]), budget).unwrap_or(false)
    }

    /// How many tests it has.
    pub fn tests(&self) -> usize {
        self.fields.len()
    }

    /// What each test's field holds, in the tests' order.
    pub(super) fn slots<'s, 'a>(&'s self, found: &'s Found<'a>) -> impl Iterator<Item = &'s Slot<'a>> {
        self.fields.iter().map(|place| found.slot(*place))
    }
}

impl Default for Fields {
    fn default() -> Self {
        let root = |parent| NameNode { name: "".into(), parent, children: Vec::new() };
        Self { nodes: (0..=Root::Attributes as usize).map(root).collect() }
    }
}

impl Fields {
    /// Adds the fields of a filter, where they are not known yet.
    pub fn bind(&mut self, filter: PayloadFilter) -> BoundFilter {
        let PayloadFilter { root, fields } = filter;
        BoundFilter { root, fields: fields.iter().map(|field| self.place(field)).collect() }
    }

    fn place(&mut self, field: &Field) -> usize {
        let mut at = field.root as usize;
        for name in &field.names {
            at = match self.search(at, name) {
                Ok(child) => child,
                Err(position) => {
                    let child = self.nodes.len();
                    self.nodes.push(NameNode { name: name.clone(), parent: at, children: Vec::new() });
                    self.nodes[at].children.insert(position, child);
                    child
                }
            };
        }
        at
    }

    /// The child of this name, or its position among the children.
    fn search(&self, node: usize, name: &str) -> Result<usize, usize> {
        let children = &self.nodes[node].children;
        children.binary_search_by(|child| self.nodes[*child].name.as_ref().cmp(name)).map(|position| children[position])
    }

    /// Reads what `filters` ask about out of an event, and nothing else: a value that nobody asks about is passed over,
    /// `data` and `metadata` are not looked at when no filter does.
    pub fn collect<'f, 'a>(
        &self,
        filters: impl IntoIterator<Item = &'f BoundFilter>,
        payload: &Payload<'a>,
    ) -> Found<'a> {
        let mut walk =
            Walk { fields: self, wanted: vec![Wanted::default(); self.nodes.len()], slots: vec![Slot::default()] };
        for place in filters.into_iter().flat_map(|filter| filter.fields.iter()) {
            walk.want(*place);
        }
        // Text that breaks off holds what was found before.
        if walk.wanted[Root::Data as usize].below {
            let _ = walk.value(&mut Scanner::new(payload.data), Root::Data as usize, 0);
        }
        if let Some(metadata) = payload.metadata.filter(|_| walk.wanted[Root::Metadata as usize].below) {
            let _ = walk.value(&mut Scanner::new(metadata.as_bytes()), Root::Metadata as usize, 0);
        }
        walk.attributes(payload.attributes);
        Found { wanted: walk.wanted, slots: walk.slots }
    }
}

/// Whether anything asks about a node.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    /// About its own value: where what it holds goes. 0: nothing does.
    slot: u32,
    /// About something below it.
    below: bool,
}

struct Walk<'f, 'a> {
    fields: &'f Fields,
    wanted: Vec<Wanted>,
    slots: Vec<Slot<'a>>,
}

impl<'a> Walk<'_, 'a> {
    fn want(&mut self, place: usize) {
        if self.wanted[place].slot == 0 {
            self.wanted[place].slot = u32::try_from(self.slots.len()).unwrap_or_default();
            self.slots.push(Slot::default());
        }
        let mut at = self.fields.nodes[place].parent;
        while !self.wanted[at].below {
            self.wanted[at].below = true;
            at = self.fields.nodes[at].parent;
        }
    }

    fn attributes(&mut self, attributes: &'a Attributes) {
        for child in &self.fields.nodes[Root::Attributes as usize].children {
            if let Some(value) = attributes.get(&self.fields.nodes[*child].name)
                && let Some(slot) = self.slot_of(*child)
            {
                *slot = Slot::of_text(value);
            }
        }
    }

    fn slot_of(&mut self, node: usize) -> Option<&mut Slot<'a>> {
        let slot = Some(self.wanted[node].slot as usize).filter(|slot| *slot > 0)?;
        self.slots.get_mut(slot)
    }

    fn value(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        let Wanted { slot, below } = self.wanted[node];
        match scanner.peek()? {
            _ if depth > JSON_DEPTH_MAX => None,
            b'{' if below => self.object(scanner, node, depth),
            b'{' => scanner.skip(),
            b'[' => self.array(scanner, node, depth),
            _ if slot > 0 => {
                let value = scanner.scalar()?;
                if let Some(slot) = self.slot_of(node).filter(|slot| slot.values.len() < PAYLOAD_FILTER_VALUES_MAX) {
                    slot.values.extend(value);
                }
                Some(())
            }
            _ => scanner.skip(),
        }
    }

    /// An array stands for its elements.
    fn array(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        scanner.expect(b'[')?;
        if scanner.peek()? == b']' {
            return scanner.expect(b']');
        }
        loop {
            self.value(scanner, node, depth + 1)?;
            match scanner.mark()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    fn object(&mut self, scanner: &mut Scanner<'a>, node: usize, depth: usize) -> Option<()> {
        // All members are passed over first, because of a repeated name the last one counts, as everywhere.
        let mut wanted = Vec::new();
        scanner.expect(b'{')?;
        if scanner.peek()? == b'}' {
            return scanner.expect(b'}');
        }
        loop {
            let name = scanner.name()?;
            scanner.peek()?;
            let child = self.fields.search(node, &name).ok();
            wanted.extend(child.filter(|child| self.is_wanted(*child)).map(|child| (child, scanner.at)));
            scanner.skip()?;
            match scanner.mark()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        let end = scanner.at;
        wanted.sort_unstable();
        for (index, (child, at)) in wanted.iter().enumerate() {
            if wanted.get(index + 1).is_none_or(|(next, _)| next != child) {
                if let Some(slot) = self.slot_of(*child) {
                    slot.is_there = true;
                }
                scanner.at = *at;
                self.value(scanner, *child, depth + 1)?;
            }
        }
        scanner.at = end;
        Some(())
    }

    fn is_wanted(&self, node: usize) -> bool {
        self.wanted[node].slot > 0 || self.wanted[node].below
    }
}
