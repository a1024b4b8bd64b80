//! Goal: every field of the schema has an expectation of who may ask for it, and the edge behaves so.
//! Method: the fields are read from the SDL and compared with `guards.txt`: a field that is not in it fails, and so does a line
//! without a field. Every field at a root is then asked for as each role, with arguments made up from the SDL.
//!
//! Fields of other types are reached through a root, and their guards are asked by hand where data is needed; what is held
//! where is written in `guards.txt`. Objects of somebody else are in `purchases`, `operators` and `acting`.

use std::{collections::BTreeMap, fmt::Write as _};

use async_graphql::parser::{
    parse_schema,
    types::{
        BaseType, FieldDefinition, InputValueDefinition, ServiceDocument, Type, TypeKind,
        TypeSystemDefinition,
    },
};
use serde_json::{Value, json};

use crate::edge::{Around, Edge};

/// Roles, lowest first. A field is for one of them and all above.
const ROLES: [&str; 4] = ["ANONYMOUS", "CUSTOMER", "OPERATOR", "ADMIN"];
const EXPECTED: &str = include_str!("guards.txt");

struct Sdl {
    types: BTreeMap<String, TypeKind>,
}

impl Sdl {
    fn read() -> Self {
        let document: ServiceDocument = parse_schema(bff::sdl()).unwrap();
        let types = document
            .definitions
            .into_iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(found) => {
                    Some((found.node.name.node.to_string(), found.node.kind))
                }
                TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
            });
        Self {
            types: types.collect(),
        }
    }

    fn fields(&self, name: &str) -> Vec<&FieldDefinition> {
        match self.types.get(name) {
            Some(TypeKind::Object(object)) => object.fields.iter().map(|field| &field.node).collect(),
            _ => Vec::new(),
        }
    }

    /// `Type.field` with the role that `@auth` names.
    fn guards(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        for (name, kind) in &self.types {
            let TypeKind::Object(_) = kind else { continue };
            for field in self.fields(name) {
                let auth = field
                    .directives
                    .iter()
                    .find(|directive| directive.node.name.node == "auth");
                let role = auth.map_or("ANONYMOUS".to_owned(), |directive| {
                    let requires = directive.node.get_argument("requires");
                    requires.map_or("CUSTOMER".to_owned(), |value| value.node.to_string())
                });
                found.insert(format!("{name}.{}", field.name.node), role);
            }
        }
        found
    }

    /// A value of this type, in the language of queries.
    fn value(&self, ty: &Type) -> String {
        let name = match &ty.base {
            BaseType::List(_) => return "[]".to_owned(),
            BaseType::Named(name) => name.as_str(),
        };
        match name {
            "Int" => "1".to_owned(),
            "Boolean" => "false".to_owned(),
            "UUID" => "\"0192f0c4-0000-7000-8000-000000000001\"".to_owned(),
            "Decimal" => "\"1\"".to_owned(),
            "CurrencyCode" => "\"EUR\"".to_owned(),
            "DateTime" => "\"2026-01-01T00:00:00Z\"".to_owned(),
            _ => match self.types.get(name) {
                Some(TypeKind::InputObject(input)) => {
                    format!(
                        "{{ {} }}",
                        self.arguments(input.fields.iter().map(|field| &field.node))
                    )
                }
                Some(TypeKind::Enum(words)) => words.values[0].node.value.node.to_string(),
                _ => "\"x\"".to_owned(),
            },
        }
    }

    /// What has to be given, and nothing else.
    fn arguments<'a>(&self, wanted: impl Iterator<Item = &'a InputValueDefinition>) -> String {
        let mut text = String::new();
        for argument in wanted.filter(|one| !one.ty.node.nullable && one.default_value.is_none()) {
            write!(text, "{}: {} ", argument.name.node, self.value(&argument.ty.node)).unwrap();
        }
        text
    }

    /// A document that asks for one field of a root.
    fn document(&self, operation: &str, field: &FieldDefinition) -> String {
        let arguments = self.arguments(field.arguments.iter().map(|argument| &argument.node));
        let arguments = if arguments.is_empty() {
            String::new()
        } else {
            format!("({arguments})")
        };
        let selection = if self.is_object(&field.ty.node) {
            "{ __typename }"
        } else {
            ""
        };
        format!("{operation} {{ {}{arguments} {selection} }}", field.name.node)
    }

    fn is_object(&self, ty: &Type) -> bool {
        match &ty.base {
            BaseType::List(inner) => self.is_object(inner),
            BaseType::Named(name) => matches!(
                self.types.get(name.as_str()),
                Some(TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_))
            ),
        }
    }
}

fn expected() -> BTreeMap<String, String> {
    let lines = EXPECTED
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let words = lines.map(|line| {
        let mut words = line.split_whitespace();
        let field = words.next().unwrap().to_owned();
        let role = words
            .next()
            .unwrap_or_else(|| panic!("{field} has no role in guards.txt"));
        assert!(ROLES.contains(&role), "{field}: {role} is no role");
        (field, role.to_owned())
    });
    words.collect()
}

#[test]
fn every_field_has_an_expectation_and_the_schema_shows_it() {
    let (guards, expected) = (Sdl::read().guards(), expected());
    let missing: Vec<_> = guards
        .keys()
        .filter(|field| !expected.contains_key(*field))
        .collect();
    assert!(
        missing.is_empty(),
        "say in tests/it/guards.txt who may ask for {missing:?}"
    );
    let stale: Vec<_> = expected
        .keys()
        .filter(|field| !guards.contains_key(*field))
        .collect();
    assert!(
        stale.is_empty(),
        "these are in tests/it/guards.txt and no longer in the schema: {stale:?}"
    );
    for (field, role) in &expected {
        assert_eq!(
            &guards[field], role,
            "{field}: what the schema shows, and what is expected"
        );
    }
}

async fn codes(edge: &Edge, token: Option<&str>, document: &str) -> Vec<String> {
    let answer = edge.ask(token, document, json!({})).await;
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    errors
        .iter()
        .map(|error: &Value| error["extensions"]["code"].as_str().unwrap_or("none").to_owned())
        .collect()
}

#[tokio::test]
async fn every_root_answers_each_role_as_expected() {
    let sdl = Sdl::read();
    let edge = Around::new().await.with_products(&[]).await.start().await;
    let issuer = &edge.around.issuer;
    let tokens = [
        None,
        Some(issuer.token("anna", &["customer"])),
        Some(issuer.token("olga", &["operator"])),
        Some(issuer.token("ada", &["admin"])),
    ];
    let expected = expected();
    for (root, operation) in [("Query", "query"), ("Mutation", "mutation")] {
        let fields = sdl.fields(root);
        assert!(!fields.is_empty());
        for field in fields {
            let document = sdl.document(operation, field);
            let wanted = &expected[&format!("{root}.{}", field.name.node)];
            let lowest = ROLES.iter().position(|role| role == wanted).unwrap();
            for (rank, token) in tokens.iter().enumerate() {
                let codes = codes(&edge, token.as_deref(), &document).await;
                let refused = match rank {
                    _ if rank >= lowest => None,
                    0 => Some("UNAUTHENTICATED"),
                    _ => Some("FORBIDDEN"),
                };
                let what = format!("{document} as {}: {codes:?}", ROLES[rank]);
                match refused {
                    Some(code) => assert_eq!(codes, [code], "{what}"),
                    None => assert!(
                        !codes
                            .iter()
                            .any(|code| ["UNAUTHENTICATED", "FORBIDDEN"].contains(&code.as_str())),
                        "{what}"
                    ),
                }
            }
        }
    }
    edge.stop().await;
}
