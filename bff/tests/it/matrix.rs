//! Goal: every field of the schema has an expectation of who may ask for it, and the edge behaves so.
//! Method: the fields are read from the SDL and compared with `guards.txt`: a field that is not in it fails, and so does a line
//! without a field. Every field at a root is then asked for as each role, with arguments made up from the SDL.
//!
//! Every field of a purchase, an order, a product and a viewer, and of whatever hangs on them, is then asked for as a stranger
//! without a token, its owner, another customer, an operator and an administrator, by ways that are found in the SDL.

use std::{collections::BTreeMap, fmt::Write as _};

use async_graphql::parser::{
    parse_schema,
    types::{
        BaseType, FieldDefinition, InputValueDefinition, ServiceDocument, Type, TypeKind,
        TypeSystemDefinition,
    },
};
use contracts::ids::PurchaseId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    edge::{Around, Edge, encoded, product, product_id, purchase_id},
    properties,
};

/// Roles, lowest first. A field is for one of them and all above.
const ROLES: [&str; 4] = ["ANONYMOUS", "CUSTOMER", "OPERATOR", "ADMIN"];
const EXPECTED: &str = include_str!("guards.txt");

/// How a field is reached.
#[derive(Debug, Clone)]
struct Way {
    /// As it is asked for, field by field.
    asked: Vec<String>,
    /// As it is answered.
    names: Vec<String>,
    /// `Type.field`, each of which has an expectation.
    fields: Vec<String>,
    /// Whether nothing can be selected of the last one.
    leaf: bool,
}

impl Way {
    fn document(&self) -> String {
        let opened = self.asked.join(" { ");
        let selected = if self.leaf { "" } else { " { __typename }" };
        format!("{{ {opened}{selected}{}", " }".repeat(self.asked.len()))
    }

    /// What an answer has at the end of the first `length` fields, of lists the first.
    fn answered<'a>(&self, answer: &'a Value, length: usize) -> &'a Value {
        self.names[..length].iter().fold(&answer["data"], |at, name| {
            let at = if at.is_array() { &at[0] } else { at };
            &at[name]
        })
    }
}

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

    /// The object type behind a field's type, if it is one.
    fn object_of<'t>(&self, ty: &'t Type) -> Option<&'t str> {
        match &ty.base {
            BaseType::List(inner) => self.object_of(inner),
            BaseType::Named(name) => {
                matches!(self.types.get(name.as_str()), Some(TypeKind::Object(_))).then_some(name.as_str())
            }
        }
    }

    /// A field as it is asked for, without what is selected of it: of a list one element, which is enough and costs little.
    fn asked(&self, field: &FieldDefinition) -> String {
        let given = field.arguments.iter().map(|argument| &argument.node);
        let mut arguments = self.arguments(given.clone());
        if given
            .clone()
            .any(|argument| argument.name.node == "first" && argument.ty.node.nullable)
        {
            arguments.push_str("first: 1");
        }
        if arguments.is_empty() {
            field.name.node.to_string()
        } else {
            format!("{}({arguments})", field.name.node)
        }
    }

    /// The ways from a root to every field below it, each type entered once, the nearest way first.
    fn ways(&self, root: &str, arguments: &str) -> Vec<Way> {
        let roots = self.fields("Query");
        let field = roots.iter().find(|field| field.name.node == root).unwrap();
        let first = self.object_of(&field.ty.node).expect("a root with an object");
        let mut entered = vec![first];
        let mut open = std::collections::VecDeque::from([(
            Way {
                asked: vec![format!("{root}{arguments}")],
                names: vec![root.to_owned()],
                fields: vec![format!("Query.{root}")],
                leaf: false,
            },
            first,
        )]);
        let mut ways = Vec::new();
        while let Some((way, name)) = open.pop_front() {
            for field in self.fields(name) {
                let mut further = way.clone();
                further.asked.push(self.asked(field));
                further.names.push(field.name.node.to_string());
                further.fields.push(format!("{name}.{}", field.name.node));
                further.leaf = !self.is_object(&field.ty.node);
                if let Some(below) = self.object_of(&field.ty.node)
                    && !entered.contains(&below)
                {
                    entered.push(below);
                    open.push_back((further.clone(), below));
                }
                ways.push(further);
            }
        }
        ways
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

#[tokio::test]
async fn every_field_answers_owner_stranger_and_staff_as_expected() {
    let sdl = Sdl::read();
    let expected = expected();
    let rank = |field: &String| ROLES.iter().position(|role| *role == expected[field]).unwrap();
    let products = [product("LAMP", 1_000)];
    let id = PurchaseId(Uuid::from_u128(0x0192_f0c4_0000_7000_8000_0000_0000_0001));
    let edge = properties::edge(&products, id).await;
    let token = |name: &str, role: &str| Some(edge.around.issuer.token(name, &[role]));
    let people = [
        ("nobody", None, 0),
        ("anna", token("anna", "customer"), 1),
        ("bert", token("bert", "customer"), 1),
        ("olga", token("olga", "operator"), 2),
        ("ada", token("ada", "admin"), 3),
    ];
    let order = encoded("Order", &format!("{id}/{id}"));
    let roots = [
        ("purchase", format!("(id: \"{}\")", purchase_id(id)), true),
        ("order", format!("(id: \"{order}\")"), true),
        (
            "product",
            format!("(id: \"{}\")", product_id(&products[0])),
            false,
        ),
        ("viewer", String::new(), false),
    ];
    let mut seen = std::collections::BTreeSet::new();
    let mut wrong = Vec::new();
    for (root, arguments, owned) in roots {
        for way in sdl.ways(root, &arguments) {
            let needed = way.fields.iter().map(rank).max().unwrap();
            for (name, token, role) in &people {
                let answer = edge.ask(token.as_deref(), &way.document(), json!({})).await;
                let errors = answer["errors"].as_array().cloned().unwrap_or_default();
                let codes: Vec<_> = errors
                    .iter()
                    .filter_map(|error| error["extensions"]["code"].as_str())
                    .collect();
                let refused = codes
                    .iter()
                    .any(|code| ["UNAUTHENTICATED", "FORBIDDEN"].contains(code));
                let reached = !way.answered(&answer, way.names.len() - 1).is_null();
                let told = !way.answered(&answer, way.names.len()).is_null();
                let right = if codes
                    .iter()
                    .any(|code| ["RATE_LIMITED", "COST_EXCEEDED"].contains(code))
                {
                    false
                } else if owned && *name == "bert" {
                    // Like a thing that is not there: no error that would tell of it.
                    codes.is_empty() && answer["data"][root].is_null()
                } else if *role < needed {
                    !told && (refused || !reached)
                } else {
                    !refused
                };
                if !right {
                    wrong.push(format!("{} as {name}: {answer}", way.document()));
                }
                if told {
                    seen.insert(way.fields.last().unwrap().clone());
                }
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong, the first ones:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(8)].join("\n")
    );
    // Of most of them somebody has had the value, so that it was not nothing that was kept from the others.
    for field in [
        "Purchase.audit",
        "Purchase.total",
        "Order.number",
        "Product.inventory",
        "InventoryLevel.onHand",
    ] {
        assert!(seen.contains(field), "nobody was told {field}: {seen:?}");
    }
    edge.stop().await;
}
