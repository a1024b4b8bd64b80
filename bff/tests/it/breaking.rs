//! Goal: a client that works with the last release works with this one. Method: the schema's text is compared with
//! `schema.released.graphql`, the text of the last release; what takes something away fails with its reason, what adds passes.
//!
//! A release renews that file: run the test with `RELEASE=1`.

use std::collections::BTreeMap;

use async_graphql::parser::{
    parse_schema,
    types::{
        BaseType, ConstDirective, FieldDefinition, InputValueDefinition, Type, TypeDefinition, TypeKind,
        TypeSystemDefinition,
    },
};
use async_graphql::{Name, Positioned};

/// The types of a schema by name.
fn types(sdl: &str) -> BTreeMap<String, TypeDefinition> {
    let document = parse_schema(sdl).unwrap();
    document
        .definitions
        .into_iter()
        .filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => {
                Some((definition.node.name.node.to_string(), definition.node))
            }
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        })
        .collect()
}

/// What a client of the old schema could stumble over in the new one.
fn breaking(old: &str, new: &str) -> Vec<String> {
    let (old, new) = (types(old), types(new));
    let mut found = Vec::new();
    for (name, before) in &old {
        match new.get(name) {
            None => found.push(format!("the type {name} is gone")),
            Some(after) => compare_types(name, before, after, &mut found),
        }
    }
    found
}

fn compare_types(name: &str, before: &TypeDefinition, after: &TypeDefinition, found: &mut Vec<String>) {
    match (&before.kind, &after.kind) {
        (TypeKind::Scalar, TypeKind::Scalar) => {}
        (TypeKind::Object(old), TypeKind::Object(new)) => {
            gone(name, "implements", &old.implements, &new.implements, found);
            compare_fields(name, &old.fields, &new.fields, found);
        }
        (TypeKind::Interface(old), TypeKind::Interface(new)) => {
            gone(name, "implements", &old.implements, &new.implements, found);
            compare_fields(name, &old.fields, &new.fields, found);
        }
        (TypeKind::Union(old), TypeKind::Union(new)) => {
            gone(name, "may be", &old.members, &new.members, found);
        }
        (TypeKind::Enum(old), TypeKind::Enum(new)) => {
            let values = |list: &[Positioned<async_graphql::parser::types::EnumValueDefinition>]| {
                list.iter()
                    .map(|value| value.node.value.clone())
                    .collect::<Vec<_>>()
            };
            gone(name, "has", &values(&old.values), &values(&new.values), found);
        }
        (TypeKind::InputObject(old), TypeKind::InputObject(new)) => {
            compare_inputs(name, &old.fields, &new.fields, found);
        }
        (
            TypeKind::Scalar
            | TypeKind::Object(_)
            | TypeKind::Interface(_)
            | TypeKind::Union(_)
            | TypeKind::Enum(_)
            | TypeKind::InputObject(_),
            _,
        ) => found.push(format!("{name} is another kind of type")),
    }
}

fn gone(name: &str, verb: &str, old: &[Positioned<Name>], new: &[Positioned<Name>], found: &mut Vec<String>) {
    let kept = |wanted: &Name| new.iter().any(|one| one.node == *wanted);
    for one in old.iter().filter(|one| !kept(&one.node)) {
        found.push(format!("{name} no longer {verb} {}", one.node));
    }
}

fn compare_fields(
    holder: &str,
    old: &[Positioned<FieldDefinition>],
    new: &[Positioned<FieldDefinition>],
    found: &mut Vec<String>,
) {
    for before in old.iter().map(|field| &field.node) {
        let name = format!("{holder}.{}", before.name.node);
        let Some(after) = new.iter().find(|field| field.node.name.node == before.name.node) else {
            found.push(format!("the field {name} is gone"));
            continue;
        };
        let after = &after.node;
        if !gives(&before.ty.node, &after.ty.node) {
            found.push(format!(
                "{name} was {} and is {}: clients do not expect that",
                before.ty.node, after.ty.node
            ));
        }
        compare_inputs(&name, &before.arguments, &after.arguments, found);
        let (was, is) = (role(&before.directives), role(&after.directives));
        if is > was {
            found.push(format!("{name} asks for a higher role than before"));
        }
    }
}

/// Arguments of a field, or fields of an input.
fn compare_inputs(
    holder: &str,
    old: &[Positioned<InputValueDefinition>],
    new: &[Positioned<InputValueDefinition>],
    found: &mut Vec<String>,
) {
    for before in old.iter().map(|input| &input.node) {
        let name = &before.name.node;
        match new.iter().find(|input| input.node.name.node == *name) {
            None => found.push(format!("{holder} no longer takes {name}")),
            Some(after) if !takes(&before.ty.node, &after.node) => found.push(format!(
                "{name} of {holder} was {} and is {}: what clients send is refused",
                before.ty.node, after.node.ty.node
            )),
            Some(_) => {}
        }
    }
    for added in new.iter().map(|input| &input.node) {
        let known = old.iter().any(|input| input.node.name.node == added.name.node);
        if !known && is_required(added) {
            found.push(format!(
                "{holder} now requires {}: clients do not send it",
                added.name.node
            ));
        }
    }
}

fn is_required(input: &InputValueDefinition) -> bool {
    !input.ty.node.nullable && input.default_value.is_none()
}

/// Whether whoever expects the old type can read the new one: only null may have become impossible.
fn gives(old: &Type, new: &Type) -> bool {
    (old.nullable || !new.nullable)
        && match (&old.base, &new.base) {
            (BaseType::Named(old), BaseType::Named(new)) => old == new,
            (BaseType::List(old), BaseType::List(new)) => gives(old, new),
            (BaseType::Named(_), BaseType::List(_)) | (BaseType::List(_), BaseType::Named(_)) => false,
        }
}

/// Whether whatever was sent as the old type is taken: only null may have become possible.
fn takes(old: &Type, new: &InputValueDefinition) -> bool {
    fn fits(old: &Type, new: &Type) -> bool {
        (new.nullable || !old.nullable)
            && match (&old.base, &new.base) {
                (BaseType::Named(old), BaseType::Named(new)) => old == new,
                (BaseType::List(old), BaseType::List(new)) => fits(old, new),
                (BaseType::Named(_), BaseType::List(_)) | (BaseType::List(_), BaseType::Named(_)) => false,
            }
    }
    fits(old, &new.ty.node)
}

/// The role that `@auth` asks for, from 0 for anybody.
fn role(directives: &[Positioned<ConstDirective>]) -> usize {
    let auth = directives
        .iter()
        .find(|directive| directive.node.name.node == "auth");
    let Some(auth) = auth else { return 0 };
    let requires = auth
        .node
        .arguments
        .iter()
        .find(|(name, _)| name.node == "requires")
        .map_or_else(|| "CUSTOMER".to_owned(), |(_, value)| value.node.to_string());
    let roles = ["ANONYMOUS", "CUSTOMER", "OPERATOR", "ADMIN"];
    roles.iter().position(|role| *role == requires).unwrap()
}

#[test]
fn nothing_that_clients_of_the_last_release_use_is_taken_away() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/schema.released.graphql");
    let current = bff::sdl();
    if std::env::var_os("RELEASE").is_some() {
        std::fs::write(path, &current).unwrap();
    }
    let released = std::fs::read_to_string(path).expect("the last release's schema is committed");
    let found = breaking(&released, &current);
    assert!(
        found.is_empty(),
        "this breaks clients of the last release:\n  {}\nAdd something new beside it, and let the old one live on; or, when nobody can \
         use it, renew schema.released.graphql with RELEASE=1 and say so in CHANGELOG.md",
        found.join("\n  ")
    );
}

const OLD: &str = "
    directive @auth(requires: Role! = CUSTOMER) on FIELD_DEFINITION
    enum Role { ANONYMOUS CUSTOMER OPERATOR ADMIN }
    enum Color { RED BLUE }
    interface Node { id: ID! }
    union Thing = Lamp | Rope
    input Wish { color: Color, size: Int! = 3 }
    type Lamp implements Node { id: ID!, color: Color, sizes: [Int!]!, secret: String @auth(requires: OPERATOR) }
    type Rope { length: Int! }
    type Query { lamp(wish: Wish, first: Int = 20): Lamp, rope: Rope }";

fn after(change: &[(&str, &str)]) -> Vec<String> {
    let mut new = OLD.to_owned();
    for (from, to) in change {
        assert!(new.contains(from), "{from}");
        new = new.replacen(from, to, 1);
    }
    breaking(OLD, &new)
}

#[test]
fn additions_pass() {
    assert_eq!(after(&[]), [""; 0]);
    for (from, to) in [
        ("RED BLUE", "RED BLUE GREEN"),
        ("type Rope {", "type Rope { color: Color, "),
        ("color: Color, sizes", "color: Color!, sizes"),
        (
            "lamp(wish: Wish,",
            "lamp(wish: Wish, deep: Boolean! = false, more: Int,",
        ),
        ("size: Int! = 3", "size: Int! = 3, note: String"),
        ("Lamp | Rope", "Lamp | Rope | Query"),
        ("type Rope", "type Cord { length: Int } type Rope"),
        ("@auth(requires: OPERATOR)", "@auth"),
    ] {
        assert_eq!(after(&[(from, to)]), [""; 0], "{to}");
    }
}

#[test]
fn what_is_taken_away_is_named() {
    for (from, to, reason) in [
        ("RED BLUE", "RED", "Color no longer has BLUE"),
        ("length: Int!", "width: Int!", "the field Rope.length is gone"),
        ("length: Int!", "length: Int", "Rope.length was Int! and is Int"),
        (
            "length: Int!",
            "length: String!",
            "Rope.length was Int! and is String!",
        ),
        (
            "sizes: [Int!]!",
            "sizes: [Int]!",
            "Lamp.sizes was [Int!]! and is [Int]!",
        ),
        ("implements Node", "", "Lamp no longer implements Node"),
        ("Lamp | Rope", "Lamp", "Thing no longer may be Rope"),
        (
            "first: Int = 20",
            "first: Int!",
            "first of Query.lamp was Int and is Int!",
        ),
        ("wish: Wish, ", "", "Query.lamp no longer takes wish"),
        (
            "rope: Rope }",
            "rope(id: ID!): Rope }",
            "Query.rope now requires id",
        ),
        (
            "input Wish {",
            "input Wish { note: String!,",
            "Wish now requires note",
        ),
        ("color: Color, size:", "size:", "Wish no longer takes color"),
        (
            "union Thing = Lamp | Rope",
            "scalar Thing",
            "Thing is another kind of type",
        ),
        ("union Thing = Lamp | Rope", "", "the type Thing is gone"),
        (
            "requires: OPERATOR",
            "requires: ADMIN",
            "Lamp.secret asks for a higher role",
        ),
    ] {
        let found = after(&[(from, to)]);
        assert_eq!(found.len(), 1, "{to}: {found:?}");
        assert!(found[0].starts_with(reason), "{found:?}");
    }
}
