//! `__typename`, which the library resolves without validating it: it takes no arguments, has no fields, and no directive
//! but those that the schema has for every field. Found by `whatever_is_asked_is_answered_as_the_schema_says`.

use async_graphql::{
    Pos,
    parser::types::{ExecutableDocument, Field, Selection, SelectionSet},
};

/// Directives that stand at any field.
const DIRECTIVES: [&str; 2] = ["skip", "include"];

/// What is wrong with a `__typename`, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Misused {
    text: String,
    pub at: Pos,
}

/// Looks at every operation and every fragment. The parser refuses what is nested deeper than 64.
pub(crate) fn check(document: &ExecutableDocument) -> Result<(), Misused> {
    for (_, operation) in document.operations.iter() {
        selection(&operation.node.selection_set.node)?;
    }
    for fragment in document.fragments.values() {
        selection(&fragment.node.selection_set.node)?;
    }
    Ok(())
}

fn selection(set: &SelectionSet) -> Result<(), Misused> {
    for item in &set.items {
        match &item.node {
            Selection::Field(found) if found.node.name.node == "__typename" => {
                typename(&found.node, found.pos)?
            }
            Selection::Field(found) => selection(&found.node.selection_set.node)?,
            Selection::InlineFragment(fragment) => selection(&fragment.node.selection_set.node)?,
            Selection::FragmentSpread(_) => {}
        }
    }
    Ok(())
}

fn typename(field: &Field, at: Pos) -> Result<(), Misused> {
    let misused = |text: String| Err(Misused { text, at });
    if !field.arguments.is_empty() {
        return misused("`__typename` takes no arguments.".to_owned());
    }
    if !field.selection_set.node.items.is_empty() {
        return misused("`__typename` is a text and has no fields.".to_owned());
    }
    let mut names = field.directives.iter().map(|directive| &directive.node.name.node);
    match names.find(|name| !DIRECTIVES.contains(&name.as_str())) {
        Some(name) => misused(format!("There is no directive `@{name}` for a field.")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    #[test]
    fn a_name_of_a_type_is_asked_for_by_itself() {
        let asked = |query: &str| check(&parse_query(query).unwrap()).map_err(|wrong| wrong.text);
        for good in [
            "{ __typename }",
            "{ __typename @skip(if: true) @include(if: false) a { t: __typename } }",
        ] {
            assert_eq!(asked(good), Ok(()));
        }
        for (bad, why) in [
            ("{ __typename { a } }", "no fields"),
            ("{ a { __typename(b: 1) } }", "no arguments"),
            ("{ ... on Query { __typename @nonsense } }", "@nonsense"),
            (
                "{ ...f } fragment f on Query { __typename @nonsense }",
                "@nonsense",
            ),
        ] {
            let told = asked(bad).unwrap_err();
            assert!(told.contains(why), "{bad}: {told}");
        }
    }
}
