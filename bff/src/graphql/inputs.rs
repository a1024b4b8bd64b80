//! Whether the variables of a request are what its operation declares.
//!
//! The specification has them coerced before anything is carried out, and a request whose variables cannot be is no
//! well-formed one. The library coerces each where it is used, so a field would fail instead, after others may have been
//! carried out. Asked here first, by the types of our own SDL.

use std::collections::{HashMap, HashSet};

use async_graphql::{
    InputType, Name, Pos, Positioned, Value,
    parser::{
        parse_schema,
        types::{BaseType, Type, TypeKind, TypeSystemDefinition, VariableDefinition},
    },
};
use chrono::{DateTime, Utc};
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::scalars::{CurrencyCode, DecimalScalar, Long};

/// Characters of a name or a value that a refusal quotes.
const LONGEST_QUOTE: usize = 60;

/// The types that an argument can have.
#[derive(Debug)]
pub(crate) struct Inputs(HashMap<Name, Input>);

#[derive(Debug)]
enum Input {
    Scalar(Scalar),
    Enum(HashSet<Name>),
    Object { fields: Vec<Field>, one_of: bool },
}

#[derive(Debug, Clone, Copy)]
enum Scalar {
    Int,
    Float,
    String,
    Boolean,
    Id,
    /// Read by its own rules; the text says what is wrong.
    Read(fn(Value) -> Result<(), String>),
    /// Anything goes, or only the field knows.
    Any,
}

#[derive(Debug)]
struct Field {
    name: Name,
    ty: Type,
    has_default: bool,
}

/// A variable, or a part of one, is not what it is declared to be. The text says which and what to write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The variable ${path} {problem}")]
pub(crate) struct Mismatch {
    path: String,
    problem: String,
}

impl Inputs {
    /// The input types of a schema in GraphQL's own language.
    ///
    /// # Panics
    /// When `sdl` is none: it is the program's own.
    pub fn of(sdl: &str) -> Self {
        let document = parse_schema(sdl).expect("our own schema is well-formed");
        let builtin = [
            ("Int", Scalar::Int),
            ("Float", Scalar::Float),
            ("String", Scalar::String),
            ("Boolean", Scalar::Boolean),
            ("ID", Scalar::Id),
        ];
        let builtin = builtin.map(|(name, scalar)| (Name::new(name), Input::Scalar(scalar)));
        let mut types = HashMap::from(builtin);
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let name = definition.node.name.node;
            let input = match definition.node.kind {
                TypeKind::Scalar => Input::Scalar(custom(&name)),
                TypeKind::Enum(values) => {
                    Input::Enum(values.values.into_iter().map(|one| one.node.value.node).collect())
                }
                TypeKind::InputObject(object) => Input::Object {
                    one_of: definition
                        .node
                        .directives
                        .iter()
                        .any(|one| one.node.name.node == "oneOf"),
                    fields: object
                        .fields
                        .into_iter()
                        .map(|field| Field {
                            name: field.node.name.node,
                            ty: field.node.ty.node,
                            has_default: field.node.default_value.is_some(),
                        })
                        .collect(),
                },
                TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_) => continue,
            };
            types.insert(name, input);
        }
        Self(types)
    }

    /// Whether `given` can be coerced to the variables that an operation declares. What is given and not declared is
    /// ignored, as the specification has it.
    ///
    /// # Errors
    /// The first variable that cannot.
    pub fn check(
        &self,
        declared: &[Positioned<VariableDefinition>],
        given: &Map<String, Json>,
    ) -> Result<(), Mismatch> {
        for variable in declared {
            let variable = &variable.node;
            let name = variable.name.node.as_str();
            let ty = &variable.var_type.node;
            match given.get(name) {
                Some(value) => self.value(ty, value, &Path::Variable(name))?,
                None if ty.nullable || variable.default_value.is_some() => {}
                None => return Err(Path::Variable(name).is(format!("must be given: it is of type {ty}."))),
            }
        }
        Ok(())
    }

    fn value(&self, ty: &Type, value: &Json, path: &Path<'_>) -> Result<(), Mismatch> {
        if value.is_null() {
            return if ty.nullable {
                Ok(())
            } else {
                Err(path.is(format!("must not be null: it is of type {ty}.")))
            };
        }
        match &ty.base {
            BaseType::List(item) => match value {
                Json::Array(values) => values
                    .iter()
                    .enumerate()
                    .try_for_each(|(index, value)| self.value(item, value, &Path::Item(path, index))),
                // One value stands for a list of it.
                single => self.value(item, single, path),
            },
            BaseType::Named(name) => match self.0.get(name) {
                Some(Input::Scalar(scalar)) => scalar.read(name, value).map_err(|problem| path.is(problem)),
                Some(Input::Enum(names)) => match value.as_str() {
                    Some(text) if names.contains(text) => Ok(()),
                    Some(_) | None => Err(path.is(format!("must be one of the names of {name}."))),
                },
                Some(Input::Object { fields, one_of }) => match value {
                    Json::Object(given) => self.object(name, fields, *one_of, given, path),
                    _ => Err(path.is(format!("must be an object of type {name}."))),
                },
                // A type that is none of ours, or none for input, is the validation's to refuse.
                None => Ok(()),
            },
        }
    }

    fn object(
        &self,
        name: &Name,
        fields: &[Field],
        one_of: bool,
        given: &Map<String, Json>,
        path: &Path<'_>,
    ) -> Result<(), Mismatch> {
        if let Some(unknown) = given
            .keys()
            .find(|key| fields.iter().all(|field| field.name != **key))
        {
            return Err(path.is(format!("has a field {}, which {name} has not.", quoted(unknown))));
        }
        if one_of && (given.len() != 1 || given.values().any(Json::is_null)) {
            return Err(path.is(format!("must have exactly one field of {name}, and no null.")));
        }
        for field in fields {
            let path = Path::Field(path, &field.name);
            match given.get(field.name.as_str()) {
                Some(value) => self.value(&field.ty, value, &path)?,
                None if field.ty.nullable || field.has_default => {}
                None => return Err(path.is(format!("must be given: it is of type {}.", field.ty))),
            }
        }
        Ok(())
    }
}

/// The scalars of our own that arguments have. [`Scalar::Any`] are those that every JSON value is one of.
fn custom(name: &str) -> Scalar {
    fn read<T: InputType>(value: Value) -> Result<(), String> {
        let parsed = T::parse(Some(value)).map(drop);
        parsed.map_err(|error| error.into_server_error(Pos::default()).message)
    }
    match name {
        "UUID" => Scalar::Read(read::<Uuid>),
        "DateTime" => Scalar::Read(read::<DateTime<Utc>>),
        "Decimal" => Scalar::Read(read::<DecimalScalar>),
        "CurrencyCode" => Scalar::Read(read::<CurrencyCode>),
        "Long" => Scalar::Read(read::<Long>),
        _ => Scalar::Any,
    }
}

impl Scalar {
    fn read(self, name: &str, value: &Json) -> Result<(), String> {
        let good = match self {
            Self::Int => value.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()),
            Self::Float => value.is_number(),
            Self::String => value.is_string(),
            Self::Boolean => value.is_boolean(),
            Self::Id => value.is_string() || value.is_i64() || value.is_u64(),
            Self::Read(read) => {
                return match value {
                    Json::Array(_) | Json::Object(_) => Err(format!("must be of type {name}.")),
                    simple => Value::from_json(simple.clone())
                        .map_err(|error| error.to_string())
                        .and_then(read)
                        .map_err(|why| format!("must be of type {name}: {why}")),
                };
            }
            Self::Any => true,
        };
        match (good, self) {
            (true, _) => Ok(()),
            (false, Self::Int) => Err("must be a whole number of 32 bits.".to_owned()),
            (false, _) => Err(format!("must be of type {name}.")),
        }
    }
}

/// Where a value is. Written out only when something is wrong there.
enum Path<'p> {
    Variable(&'p str),
    Field(&'p Path<'p>, &'p str),
    Item(&'p Path<'p>, usize),
}

impl Path<'_> {
    fn is(&self, problem: String) -> Mismatch {
        Mismatch {
            path: self.to_string(),
            problem,
        }
    }
}

impl std::fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(&quoted(name)),
            Self::Field(of, name) => write!(f, "{of}.{name}"),
            Self::Item(of, index) => write!(f, "{of}[{index}]"),
        }
    }
}

fn quoted(name: &str) -> String {
    let mut short: String = name.chars().take(LONGEST_QUOTE).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::{parse_query, types::DocumentOperations};
    use serde_json::json;

    use super::*;

    const SDL: &str = "
        scalar UUID scalar Decimal scalar JSON
        enum Size { SMALL LARGE }
        input Line { id: ID! count: Int! = 1 size: Size }
        input Either @oneOf { a: Int b: Int }
        type Query { a: Int }";

    /// What is said of these variables of an operation that declares `declared`.
    fn said(declared: &str, given: Json) -> Option<String> {
        let document = parse_query(format!("query ({declared}) {{ a }}")).unwrap();
        let DocumentOperations::Single(operation) = document.operations else {
            panic!("one operation")
        };
        let Json::Object(given) = given else {
            panic!("an object")
        };
        let inputs = Inputs::of(SDL);
        let checked = inputs.check(&operation.node.variable_definitions, &given);
        checked.err().map(|mismatch| mismatch.to_string())
    }

    #[test]
    fn what_can_be_coerced_passes() {
        let id = "0192f0c4-0000-7000-8000-000000000001";
        for (declared, given) in [
            ("$a: Int", json!({})),
            ("$a: Int", json!({ "a": null, "unknown": 7 })),
            ("$a: Int! = 3", json!({})),
            ("$a: Int!", json!({ "a": -2_147_483_648 })),
            ("$a: Float!", json!({ "a": 1 })),
            ("$a: ID!, $b: ID!", json!({ "a": 7, "b": "x" })),
            ("$a: [Int!]", json!({ "a": 1 })),
            ("$a: [[Int]]", json!({ "a": [[1, null], null] })),
            (
                "$a: UUID!, $b: Decimal, $c: JSON",
                json!({ "a": id, "b": "1.5", "c": { "d": [] } }),
            ),
            (
                "$a: [Line!]!",
                json!({ "a": [{ "id": "x" }, { "id": 1, "count": 2, "size": "LARGE" }] }),
            ),
            ("$a: Either", json!({ "a": { "b": 1 } })),
            ("$a: Query", json!({ "a": 1 })),
        ] {
            assert_eq!(said(declared, given.clone()), None, "{declared} {given}");
        }
    }

    #[test]
    fn what_cannot_is_named_with_its_place() {
        for (declared, given, words) in [
            ("$a: Int!", json!({}), "$a must be given"),
            ("$a: Int!", json!({ "a": null }), "$a must not be null"),
            ("$a: Int! = 3", json!({ "a": null }), "$a must not be null"),
            ("$a: Int", json!({ "a": 2_147_483_648_u64 }), "32 bits"),
            ("$a: Int", json!({ "a": 1.5 }), "32 bits"),
            ("$a: Int", json!({ "a": "1" }), "32 bits"),
            ("$a: Float", json!({ "a": "1" }), "of type Float"),
            ("$a: String", json!({ "a": 1 }), "of type String"),
            ("$a: Boolean", json!({ "a": "true" }), "of type Boolean"),
            ("$a: ID", json!({ "a": 1.5 }), "of type ID"),
            ("$a: UUID", json!({ "a": "x" }), "of type UUID"),
            ("$a: UUID", json!({ "a": {} }), "of type UUID"),
            ("$a: Decimal", json!({ "a": 12.5 }), "write it as a string"),
            ("$a: [Int!]", json!({ "a": [1, null] }), "$a[1] must not be null"),
            ("$a: Line", json!({ "a": 7 }), "an object of type Line"),
            ("$a: Line", json!({ "a": { "count": 1 } }), "$a.id must be given"),
            (
                "$a: [Line]",
                json!({ "a": [{ "id": 1, "size": "HUGE" }] }),
                "$a[0].size must be one of",
            ),
            (
                "$a: Line",
                json!({ "a": { "id": 1, "count": null } }),
                "$a.count must not be null",
            ),
            (
                "$a: Line",
                json!({ "a": { "id": 1, "color": 1 } }),
                "has a field color",
            ),
            ("$a: Either", json!({ "a": { "a": 1, "b": 1 } }), "exactly one"),
        ] {
            let said = said(declared, given.clone()).unwrap_or_default();
            assert!(said.contains(words), "{declared} {given}: {said:?}");
        }
    }

    #[test]
    fn every_scalar_that_an_argument_can_have_is_read_by_its_own_rules() {
        let inputs = Inputs::of(&super::super::sdl());
        let unread: Vec<_> = inputs
            .0
            .iter()
            .filter(|(_, input)| matches!(input, Input::Scalar(Scalar::Any)))
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(unread, ["JSON"], "add what is new to `custom`");
    }
}
