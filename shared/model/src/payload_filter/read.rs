//! Reads a customer's filter and reports the position of its first mistake.

use serde_json::{Map, Value};

use super::scalar::Scalar;
use super::{Node, Op, PayloadFilter};
use crate::event::is_attribute_name;
use crate::json::pointer_token;
use crate::limits::{
    FILTER_VALUES_MAX, PAYLOAD_FILTER_BYTES_MAX, PAYLOAD_FILTER_DEPTH_MAX, PAYLOAD_FILTER_FIELD_BYTES_MAX,
    PAYLOAD_FILTER_FIELD_NAMES_MAX, PAYLOAD_FILTER_LIST_VALUES_MAX, PAYLOAD_FILTER_TESTS_MAX,
    PAYLOAD_FILTER_TEXT_BYTES_MAX,
};
use crate::subscription::InvalidSubscription;

const FORMS: &str = r#"expected {"all": [..]}, {"any": [..]}, {"not": {..}} or {"field": .., "op": .., "value": ..}"#;
const OPS: &str = "expected one of eq ne in prefix suffix gt gte lt lte exists";
const FIELD: &str = "expected data., metadata. or attributes. and a name, such as data.amount; a dot or backslash in a name is \\. or \\\\";

/// The field of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) root: Root,
    /// The names on the path to the field, outermost first; not empty.
    pub(super) names: Vec<Box<str>>,
    /// The field as the customer wrote it.
    pub(super) text: Box<str>,
}

/// The part of an event that contains the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Data,
    Metadata,
    Attributes,
}

impl PayloadFilter {
    /// Reads a filter.
    ///
    /// # Errors
    /// The first mistake: the allowed values, and a JSON pointer into the endpoint, such as `/payload_filter/all/0/op`.
    pub fn read(json: &Value) -> Result<Self, InvalidSubscription> {
        if json.to_string().len() > PAYLOAD_FILTER_BYTES_MAX {
            return invalid("/payload_filter", format!("at most {PAYLOAD_FILTER_BYTES_MAX} bytes of compact JSON"));
        }
        let mut reader = Reader { fields: Vec::new(), listed: 0 };
        let root = reader.node(json, "/payload_filter", 1)?;
        Ok(Self { root, fields: reader.fields })
    }
}

fn invalid<T>(pointer: impl Into<String>, detail: impl Into<String>) -> Result<T, InvalidSubscription> {
    Err(InvalidSubscription { pointer: pointer.into(), detail: detail.into() })
}

struct Reader {
    fields: Vec<Field>,
    /// The number of values read so far in all lists.
    listed: usize,
}

impl Reader {
    fn node(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Node, InvalidSubscription> {
        if depth > PAYLOAD_FILTER_DEPTH_MAX {
            return invalid(pointer, format!("at most {PAYLOAD_FILTER_DEPTH_MAX} levels"));
        }
        let Some(object) = json.as_object() else { return invalid(pointer, FORMS) };
        let only = |name: &str| known_members(object, &[name], pointer);
        if let Some(nodes) = object.get("all") {
            only("all")?;
            return self.nodes(nodes, &format!("{pointer}/all"), depth).map(Node::All);
        }
        if let Some(nodes) = object.get("any") {
            only("any")?;
            return self.nodes(nodes, &format!("{pointer}/any"), depth).map(Node::Any);
        }
        if let Some(node) = object.get("not") {
            only("not")?;
            return self.node(node, &format!("{pointer}/not"), depth + 1).map(|node| Node::Not(node.into()));
        }
        self.test(object, pointer)
    }

    fn nodes(&mut self, json: &Value, pointer: &str, depth: usize) -> Result<Vec<Node>, InvalidSubscription> {
        let Some(nodes) = json.as_array().filter(|nodes| !nodes.is_empty()) else {
            return invalid(pointer, "expected a list of conditions that is not empty");
        };
        let read = |(index, node)| self.node(node, &format!("{pointer}/{index}"), depth + 1);
        nodes.iter().enumerate().map(read).collect()
    }

    fn test(&mut self, object: &Map<String, Value>, pointer: &str) -> Result<Node, InvalidSubscription> {
        let (Some(field), Some(op)) = (object.get("field"), object.get("op")) else { return invalid(pointer, FORMS) };
        known_members(object, &["field", "op", "value"], pointer)?;
        let number = self.fields.len();
        if number == PAYLOAD_FILTER_TESTS_MAX {
            return invalid(pointer, format!("at most {PAYLOAD_FILTER_TESTS_MAX} tests"));
        }
        let field = field.as_str().map_or_else(|| Err(FIELD.to_owned()), read_field);
        match field {
            Ok(field) => self.fields.push(field),
            Err(detail) => return invalid(format!("{pointer}/field"), detail),
        }
        let Some(op) = op.as_str() else { return invalid(format!("{pointer}/op"), OPS) };
        let op = read_op(op, object.get("value"), pointer)?;
        if let Op::In(values) = &op {
            self.listed += values.len();
            if self.listed > PAYLOAD_FILTER_LIST_VALUES_MAX {
                let detail =
                    format!("at most {PAYLOAD_FILTER_LIST_VALUES_MAX} values in all lists of a filter together");
                return invalid(format!("{pointer}/value"), detail);
            }
        }
        Ok(Node::Test(number, op))
    }
}

fn known_members(object: &Map<String, Value>, known: &[&str], pointer: &str) -> Result<(), InvalidSubscription> {
    match object.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => {
            let detail = format!("unknown here; allowed: {}", known.join(", "));
            invalid(format!("{pointer}/{}", pointer_token(name)), detail)
        }
        None => Ok(()),
    }
}

/// Reads a field such as `data.customer.email`.
pub(super) fn read_field(text: &str) -> Result<Field, String> {
    if text.len() > PAYLOAD_FILTER_FIELD_BYTES_MAX {
        return Err(format!("at most {PAYLOAD_FILTER_FIELD_BYTES_MAX} bytes"));
    }
    let (mut names, mut name) = (Vec::new(), String::new());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '.' => names.push(std::mem::take(&mut name)),
            '\\' => match characters.next() {
                Some(literal @ ('.' | '\\')) => name.push(literal),
                _ => return Err(FIELD.into()),
            },
            '\0' => return Err("U+0000 is not allowed".into()),
            other => name.push(other),
        }
    }
    names.push(name);
    if names.len() > PAYLOAD_FILTER_FIELD_NAMES_MAX {
        return Err(format!("at most {PAYLOAD_FILTER_FIELD_NAMES_MAX} names"));
    }
    let root = match names.remove(0).as_str() {
        "data" => Root::Data,
        "metadata" => Root::Metadata,
        "attributes" => Root::Attributes,
        _ => return Err(FIELD.into()),
    };
    if names.is_empty() || names.iter().any(String::is_empty) {
        return Err(FIELD.into());
    }
    if root == Root::Attributes && !(names.len() == 1 && is_attribute_name(&names[0])) {
        return Err("attributes cannot have this name".into());
    }
    Ok(Field { root, names: names.into_iter().map(Into::into).collect(), text: text.into() })
}

fn read_op(op: &str, value: Option<&Value>, pointer: &str) -> Result<Op, InvalidSubscription> {
    let at = format!("{pointer}/value");
    let scalar = || match value.map(|value| read_scalar(value, &at)) {
        Some(scalar) => scalar,
        None => invalid(&at, "missing"),
    };
    let text = || match scalar()? {
        Scalar::Text(text) if !text.is_empty() => Ok(text.into_owned()),
        _ => invalid(&at, "expected a text that is not empty"),
    };
    let ordered = || match scalar()? {
        ordered @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(ordered),
        _ => invalid(&at, "expected a number or a text"),
    };
    Ok(match op {
        "eq" => Op::Eq(scalar()?),
        "ne" => Op::Ne(scalar()?),
        "in" => Op::In(read_list(value, &at)?),
        "prefix" => Op::Prefix(text()?),
        "suffix" => Op::Suffix(text()?),
        "gt" => Op::Gt(ordered()?),
        "gte" => Op::Gte(ordered()?),
        "lt" => Op::Lt(ordered()?),
        "lte" => Op::Lte(ordered()?),
        "exists" => match value {
            None => Op::Exists(true),
            Some(Value::Bool(wanted)) => Op::Exists(*wanted),
            Some(_) => return invalid(at, "expected true, false or nothing"),
        },
        _ => return invalid(format!("{pointer}/op"), OPS),
    })
}

fn read_list(value: Option<&Value>, pointer: &str) -> Result<Vec<Scalar<'static>>, InvalidSubscription> {
    let Some(values) = value.and_then(Value::as_array).filter(|v| (1..=FILTER_VALUES_MAX).contains(&v.len())) else {
        return invalid(pointer, format!("expected a list of 1 to {FILTER_VALUES_MAX} values"));
    };
    let read = |(index, value)| read_scalar(value, &format!("{pointer}/{index}"));
    let mut list = values.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    list.sort_by(|a, b| a.total(b));
    list.dedup_by(|a, b| a.total(b).is_eq());
    Ok(list)
}

fn read_scalar(value: &Value, pointer: &str) -> Result<Scalar<'static>, InvalidSubscription> {
    match value {
        Value::Null => Ok(Scalar::Null),
        Value::Bool(value) => Ok(Scalar::Bool(*value)),
        Value::Number(number) => Ok(Scalar::Number(number.into())),
        Value::String(text) if text.len() > PAYLOAD_FILTER_TEXT_BYTES_MAX || text.contains('\0') => {
            invalid(pointer, format!("at most {PAYLOAD_FILTER_TEXT_BYTES_MAX} bytes, without U+0000"))
        }
        Value::String(text) => Ok(Scalar::Text(text.clone().into())),
        Value::Array(_) | Value::Object(_) => invalid(pointer, "expected a text, a number, true, false or null"),
    }
}
