//! What one request may ask for, found before it is validated.
//!
//! Counted with every fragment unfolded, each fragment looked at once, so that neither a small text that unfolds into a
//! huge one nor a circle costs anything. The complexity limit of the schema comes on top and knows page sizes.

use std::collections::HashMap;

use async_graphql::{
    Name, Positioned,
    parser::types::{ExecutableDocument, FragmentDefinition, Selection, SelectionSet},
};

use crate::config::Limits;

/// Operations in one document.
const MAX_OPERATIONS: usize = 10;
/// Fragments in one document.
const MAX_FRAGMENTS: usize = 50;

/// A request asks for too much. The text says how much would do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMuch {
    #[error("The query is nested deeper than {0} fields. Ask in several requests.")]
    Depth(u16),
    #[error("The query has more than {0} fields. Ask in several requests.")]
    Fields(u16),
    #[error("The query has more than {0} fields at its root. Ask in several requests.")]
    RootFields(u16),
    #[error("The query gives more than {0} fields another name. Ask in several requests.")]
    Aliases(u16),
    #[error("The query has more than {0} directives. Ask in several requests.")]
    Directives(u16),
    #[error("The document has more than {MAX_OPERATIONS} operations. Send the one that is meant.")]
    Operations,
    #[error("The document has more than {MAX_FRAGMENTS} fragments. Ask in several requests.")]
    Fragments,
    #[error("The fragment `{0}` contains itself.")]
    Circle(Name),
}

/// How much a selection asks for, fragments unfolded.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    depth: usize,
    fields: usize,
    /// Fields of the selection itself, fragments unfolded.
    own: usize,
    aliases: usize,
    directives: usize,
    /// Whether it asks for the schema.
    introspects: bool,
}

enum Looked {
    /// Being looked at: to meet it again is a circle.
    Open,
    Done(Extent),
}

/// What a document within the limits asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Whether any of its operations asks for the schema, by `__schema` or `__type`.
    pub introspects: bool,
}

impl Extent {
    fn with_directives(mut self, more: usize) -> Self {
        self.directives = self.directives.saturating_add(more);
        self
    }

    /// Whether this is within `limits`, wherever in a document it stands.
    fn within(&self, limits: Limits) -> Result<(), TooMuch> {
        if self.fields > usize::from(limits.max_fields) {
            return Err(TooMuch::Fields(limits.max_fields));
        }
        if self.aliases > usize::from(limits.max_aliases) {
            return Err(TooMuch::Aliases(limits.max_aliases));
        }
        if self.directives > usize::from(limits.max_directives) {
            return Err(TooMuch::Directives(limits.max_directives));
        }
        Ok(())
    }
}

/// Checks every operation of a document.
pub(crate) fn check(document: &ExecutableDocument, limits: Limits) -> Result<Checked, TooMuch> {
    if document.operations.iter().count() > MAX_OPERATIONS {
        return Err(TooMuch::Operations);
    }
    if document.fragments.len() > MAX_FRAGMENTS {
        return Err(TooMuch::Fragments);
    }
    let mut counter = Counter {
        fragments: &document.fragments,
        looked: HashMap::new(),
    };
    // Those that nobody uses too: the validation looks at them before it refuses them.
    for name in document.fragments.keys() {
        counter.fragment(name)?.within(limits)?;
    }
    let mut introspects = false;
    for (_, operation) in document.operations.iter() {
        let mut extent = counter.selection(&operation.node.selection_set.node)?;
        extent.directives = extent.directives.saturating_add(operation.node.directives.len());
        if extent.depth > usize::from(limits.max_depth) {
            return Err(TooMuch::Depth(limits.max_depth));
        }
        extent.within(limits)?;
        if extent.own > usize::from(limits.max_root_fields) {
            return Err(TooMuch::RootFields(limits.max_root_fields));
        }
        introspects |= extent.introspects;
    }
    Ok(Checked { introspects })
}

struct Counter<'d> {
    fragments: &'d HashMap<Name, Positioned<FragmentDefinition>>,
    looked: HashMap<&'d Name, Looked>,
}

impl<'d> Counter<'d> {
    /// The recursion is bounded: the parser refuses what is nested deeper than 64, and a fragment is entered once.
    fn selection(&mut self, set: &'d SelectionSet) -> Result<Extent, TooMuch> {
        let mut whole = Extent::default();
        for item in &set.items {
            let part = match &item.node {
                Selection::Field(field) => {
                    let below = self.selection(&field.node.selection_set.node)?;
                    let name = field.node.name.node.as_str();
                    Extent {
                        depth: if name.starts_with("__") {
                            1
                        } else {
                            below.depth + 1
                        },
                        fields: below.fields.saturating_add(1),
                        own: 1,
                        aliases: below
                            .aliases
                            .saturating_add(usize::from(field.node.alias.is_some())),
                        directives: below.directives.saturating_add(field.node.directives.len()),
                        introspects: below.introspects || matches!(name, "__schema" | "__type"),
                    }
                }
                Selection::InlineFragment(fragment) => {
                    let inside = self.selection(&fragment.node.selection_set.node)?;
                    inside.with_directives(fragment.node.directives.len())
                }
                Selection::FragmentSpread(spread) => {
                    let inside = self.fragment(&spread.node.fragment_name.node)?;
                    inside.with_directives(spread.node.directives.len())
                }
            };
            whole.depth = whole.depth.max(part.depth);
            whole.fields = whole.fields.saturating_add(part.fields);
            whole.own = whole.own.saturating_add(part.own);
            whole.aliases = whole.aliases.saturating_add(part.aliases);
            whole.directives = whole.directives.saturating_add(part.directives);
            whole.introspects |= part.introspects;
        }
        Ok(whole)
    }

    fn fragment(&mut self, name: &'d Name) -> Result<Extent, TooMuch> {
        match self.looked.get(name) {
            Some(Looked::Done(extent)) => return Ok(*extent),
            Some(Looked::Open) => return Err(TooMuch::Circle(name.clone())),
            None => {}
        }
        // An unknown fragment is the validation's to refuse.
        let Some(fragment) = self.fragments.get(name) else {
            return Ok(Extent::default());
        };
        self.looked.insert(name, Looked::Open);
        let extent = self.selection(&fragment.node.selection_set.node)?;
        self.looked.insert(name, Looked::Done(extent));
        Ok(extent)
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const LIMITS: Limits = Limits {
        max_depth: 12,
        max_fields: 1_500,
        max_root_fields: 20,
        max_aliases: 100,
        max_directives: 50,
    };

    fn checked(query: &str) -> Result<(), TooMuch> {
        check(&parse_query(query).unwrap(), LIMITS).map(drop)
    }

    #[test]
    fn aliases_and_directives_are_limited_and_fragments_hide_none() {
        let aliases = |count: usize| (0..count).map(|n| format!("a{n}: b ")).collect::<String>();
        assert_eq!(checked(&format!("{{ a {{ {} }} }}", aliases(100))), Ok(()));
        assert_eq!(
            checked(&format!("{{ a {{ {} }} }}", aliases(101))),
            Err(TooMuch::Aliases(100))
        );
        let twice = format!(
            "{{ a {{ ...f }} b {{ ...f }} }} fragment f on T {{ {} }}",
            aliases(60)
        );
        assert_eq!(checked(&twice), Err(TooMuch::Aliases(100)));
        let directives = |count: usize| "@skip(if: false) ".repeat(count);
        assert_eq!(checked(&format!("{{ a {} }}", directives(50))), Ok(()));
        for query in [
            format!("{{ a {} }}", directives(51)),
            format!("{{ ... {} {{ a }} }}", directives(51)),
            format!("{{ ...f {} }} fragment f on Query {{ a }}", directives(51)),
            format!("query {} {{ a }}", directives(51)),
        ] {
            assert_eq!(checked(&query), Err(TooMuch::Directives(50)), "{query}");
        }
    }

    #[test]
    fn to_ask_for_the_schema_is_noticed_in_fragments_too() {
        let asks = |query: &str| check(&parse_query(query).unwrap(), LIMITS).unwrap().introspects;
        assert!(asks("{ __schema { types { name } } }"));
        assert!(asks(
            "{ ...f } fragment f on Query { __type(name: \"Query\") { name } }"
        ));
        assert!(!asks("{ __typename products { nodes { id __typename } } }"));
    }

    #[test]
    fn depth_is_limited_but_not_for_introspection() {
        let nested = |outer: &str, depth: usize| {
            format!("{{ {outer} {} }}", "{ a ".repeat(depth) + &"}".repeat(depth))
        };
        assert_eq!(checked(&nested("a", 11)), Ok(()));
        assert_eq!(checked(&nested("a", 12)), Err(TooMuch::Depth(12)));
        assert_eq!(checked(&nested("__schema", 20)), Ok(()));
    }

    #[test]
    fn a_small_text_that_unfolds_into_a_huge_one_is_refused_at_once() {
        let mut bomb = "{ a { ...f0 } }".to_owned();
        for level in 0..40 {
            bomb.push_str(&format!(
                " fragment f{level} on T {{ ...f{next} ...f{next} }}",
                next = level + 1
            ));
        }
        bomb.push_str(" fragment f40 on T { a }");
        assert_eq!(checked(&bomb), Err(TooMuch::Fields(1_500)));
    }

    #[test]
    fn a_circle_of_fragments_is_refused() {
        let circle = "{ ...a } fragment a on Query { ...b } fragment b on Query { ...a }";
        assert!(matches!(checked(circle), Err(TooMuch::Circle(_))));
    }

    #[test]
    fn root_fields_and_operations_are_limited() {
        let aliases: String = (0..21).map(|n| format!("a{n}: a ")).collect();
        assert_eq!(checked(&format!("{{ {aliases} }}")), Err(TooMuch::RootFields(20)));
        let operations: String = (0..11).map(|n| format!("query q{n} {{ a }} ")).collect();
        assert_eq!(checked(&operations), Err(TooMuch::Operations));
    }
}
