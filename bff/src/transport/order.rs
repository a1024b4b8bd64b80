//! The order of an answer's fields: as they were asked for, while the library has them as they were found.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned, Value,
    indexmap::IndexMap,
    parser::types::{FragmentDefinition, Selection, SelectionSet},
};

/// The response keys of a selection in the order of the document, each with those below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Order(IndexMap<Name, Order>);

impl Order {
    /// Reads the order of a selection that [`super::limits`] has let pass, so its fragments form no circle and unfold to a
    /// bounded number of fields.
    pub fn of(set: &SelectionSet, fragments: &HashMap<Name, Positioned<FragmentDefinition>>) -> Self {
        let mut order = Self::default();
        order.add(set, fragments);
        order
    }

    fn add(&mut self, set: &SelectionSet, fragments: &HashMap<Name, Positioned<FragmentDefinition>>) {
        for item in &set.items {
            match &item.node {
                Selection::Field(field) => {
                    let key = field.node.response_key().node.clone();
                    self.0
                        .entry(key)
                        .or_default()
                        .add(&field.node.selection_set.node, fragments);
                }
                Selection::InlineFragment(fragment) => self.add(&fragment.node.selection_set.node, fragments),
                Selection::FragmentSpread(spread) => {
                    if let Some(fragment) = fragments.get(&spread.node.fragment_name.node) {
                        self.add(&fragment.node.selection_set.node, fragments);
                    }
                }
            }
        }
    }

    /// Puts the fields of an answer in order.
    pub fn apply(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let place = |name: &Name| self.0.get_index_of(name).unwrap_or(usize::MAX);
                fields.sort_by(|one, _, other, _| place(one).cmp(&place(other)));
                for (name, field) in fields {
                    if let Some(below) = self.0.get(name) {
                        below.apply(field);
                    }
                }
            }
            Value::List(items) => items.iter_mut().for_each(|item| self.apply(item)),
            Value::Null
            | Value::Number(_)
            | Value::String(_)
            | Value::Boolean(_)
            | Value::Binary(_)
            | Value::Enum(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{parser::parse_query, value};

    use super::*;

    #[test]
    fn fields_are_in_the_order_of_the_document() {
        let document = parse_query("{ b: x { d ...more } a } fragment more on T { c d }").unwrap();
        let (_, operation) = document.operations.iter().next().unwrap();
        let order = Order::of(&operation.node.selection_set.node, &document.fragments);
        let mut answer = value!({ "a": 1, "b": [{ "c": 2, "d": 3 }] });
        order.apply(&mut answer);
        assert_eq!(answer.to_string(), "{b: [{d: 3, c: 2}], a: 1}");
    }
}
