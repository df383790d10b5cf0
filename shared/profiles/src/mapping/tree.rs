//! A JSON object whose members keep the order in which they were set.

use crate::json::write_string;

/// The members in the order in which they were set.
#[derive(Debug, Default)]
pub(super) struct Tree(Vec<(String, Node)>);

#[derive(Debug)]
enum Node {
    Json(String),
    Object(Tree),
}

impl Tree {
    /// Sets the value at a path to JSON text, unless the path already has a value.
    pub(super) fn set(&mut self, path: &[String], json: String) {
        let [name, rest @ ..] = path else { return };
        let place = self.0.iter().position(|(other, _)| other == name);
        match (rest, place.map(|place| &mut self.0[place].1)) {
            ([], None) => self.0.push((name.clone(), Node::Json(json))),
            (_, Some(Node::Object(inner))) => inner.set(rest, json),
            (_, Some(Node::Json(_))) => {}
            (_, None) => {
                let mut inner = Self::default();
                inner.set(rest, json);
                self.0.push((name.clone(), Node::Object(inner)));
            }
        }
    }

    pub(super) fn to_json(&self) -> String {
        let mut out = Vec::new();
        self.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (place, (name, node)) in self.0.iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write_string(out, name);
            out.push(b':');
            match node {
                Node::Json(json) => out.extend_from_slice(json.as_bytes()),
                Node::Object(inner) => inner.write(out),
            }
        }
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_the_first_value_stands() {
        let mut tree = Tree::default();
        for (path, json) in
            [("z", "1"), ("s.email", "\"a\""), ("b", "null"), ("s.name", "\"n\""), ("z", "2"), ("z.x", "3")]
        {
            let path: Vec<String> = path.split('.').map(str::to_owned).collect();
            tree.set(&path, json.into());
        }
        assert_eq!(tree.to_json(), r#"{"z":1,"s":{"email":"a","name":"n"},"b":null}"#);
        assert_eq!(Tree::default().to_json(), "{}");
    }
}
