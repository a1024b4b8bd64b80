//! Random operations from the schema's own text, and what their answers must be like.

use std::collections::BTreeMap;

use async_graphql::parser::{
    parse_schema,
    types::{BaseType, FieldDefinition, InputValueDefinition, Type, TypeKind, TypeSystemDefinition},
};
use rand::{Rng, rngs::StdRng, seq::SliceRandom};
use serde_json::{Map, Value, json};

/// How deep a selection goes; with pages (connection, nodes, node) below a root, a few objects far.
const DEPTH: usize = 7;

/// The types of the schema, by name.
pub struct Schema(BTreeMap<String, TypeKind>);

/// Something selected: where it will be, and of which type.
pub struct Picked {
    key: String,
    ty: Type,
    /// Only for objects of this type.
    on: Option<String>,
    below: Vec<Picked>,
}

/// An operation that the schema takes.
pub struct Operation {
    pub document: String,
    pub variables: Map<String, Value>,
    pub picked: Vec<Picked>,
}

/// Draws one operation.
pub struct Draw<'s> {
    schema: &'s Schema,
    random: &'s mut StdRng,
    /// Ids of things that there are.
    ids: &'s [String],
    declared: Vec<String>,
    variables: Map<String, Value>,
    aliases: usize,
}

impl Schema {
    pub fn of(sdl: &str) -> Self {
        let definitions = parse_schema(sdl).unwrap().definitions.into_iter();
        let types = definitions.filter_map(|definition| match definition {
            TypeSystemDefinition::Type(one) => Some((one.node.name.node.to_string(), one.node.kind)),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Self(types.collect())
    }

    fn fields(&self, name: &str) -> Vec<&FieldDefinition> {
        match self.0.get(name) {
            Some(TypeKind::Object(object)) => object.fields.iter().map(|field| &field.node).collect(),
            Some(TypeKind::Interface(one)) => one.fields.iter().map(|field| &field.node).collect(),
            _ => Vec::new(),
        }
    }

    fn is_leaf(&self, name: &str) -> bool {
        !matches!(
            self.0.get(name),
            Some(TypeKind::Object(_) | TypeKind::Interface(_) | TypeKind::Union(_))
        )
    }

    /// The object types that an object of this type can be; itself for an object type.
    fn possible(&self, name: &str) -> Vec<&str> {
        let implements = |one: &TypeKind| match one {
            TypeKind::Object(object) => object.implements.iter().any(|interface| interface.node == name),
            _ => false,
        };
        match self.0.get(name) {
            Some(TypeKind::Union(union)) => union.members.iter().map(|member| member.node.as_str()).collect(),
            Some(TypeKind::Interface(_)) => {
                let all = self.0.iter().filter(|(_, kind)| implements(kind));
                all.map(|(name, _)| name.as_str()).collect()
            }
            _ => vec![self.0.get_key_value(name).map_or("", |(name, _)| name.as_str())],
        }
    }

    /// Why an answer's value is not what was asked for; nothing when it is.
    pub fn breach(&self, value: &Value, ty: &Type, picked: &[Picked], path: &str) -> Option<String> {
        if value.is_null() {
            return (!ty.nullable).then(|| format!("{path} is null, of type {ty}"));
        }
        let name = match &ty.base {
            BaseType::List(item) => {
                let Some(values) = value.as_array() else {
                    return Some(format!("{path} is no list"));
                };
                return values.iter().enumerate().find_map(|(index, value)| {
                    self.breach(value, item, picked, &format!("{path}[{index}]"))
                });
            }
            BaseType::Named(name) => name.as_str(),
        };
        if self.is_leaf(name) {
            return (!self.is_scalar(name, value)).then(|| format!("{path} is {value}, of type {name}"));
        }
        self.breach_of_object(value, name, picked, path)
    }

    /// As [`Self::breach`], for the root too: its type is none that a value can have.
    pub fn breach_of_object(
        &self,
        value: &Value,
        name: &str,
        picked: &[Picked],
        path: &str,
    ) -> Option<String> {
        let Some(fields) = value.as_object() else {
            return Some(format!("{path} is no object"));
        };
        let possible = self.possible(name);
        let actual = match (
            possible.as_slice(),
            fields.get("__typename").and_then(Value::as_str),
        ) {
            ([only], _) => *only,
            (_, Some(told)) if possible.contains(&told) => told,
            (_, told) => return Some(format!("{path} is a {told:?}, which is no {name}")),
        };
        let wanted = || {
            picked
                .iter()
                .filter(|one| one.on.as_deref().is_none_or(|on| on == actual))
        };
        if let Some(unasked) = fields.keys().find(|key| wanted().all(|one| one.key != **key)) {
            return Some(format!("{path}.{unasked} was not asked for"));
        }
        wanted().find_map(|one| match fields.get(&one.key) {
            Some(value) => self.breach(value, &one.ty, &one.below, &format!("{path}.{}", one.key)),
            None => Some(format!("{path}.{} is missing", one.key)),
        })
    }

    fn is_scalar(&self, name: &str, value: &Value) -> bool {
        let text = value.as_str();
        if let Some(TypeKind::Enum(names)) = self.0.get(name) {
            return text.is_some_and(|text| names.values.iter().any(|one| one.node.value.node == text));
        }
        match name {
            "Int" => value.as_i64().is_some_and(|whole| i32::try_from(whole).is_ok()),
            "Float" => value.is_number(),
            "Boolean" => value.is_boolean(),
            "String" | "ID" => text.is_some(),
            "UUID" => text.is_some_and(|text| uuid::Uuid::parse_str(text).is_ok()),
            "DateTime" => text.is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok()),
            "Decimal" => text.is_some_and(|text| rust_decimal::Decimal::from_str_exact(text).is_ok()),
            "CurrencyCode" => {
                text.is_some_and(|text| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase()))
            }
            // Any JSON value.
            _ => true,
        }
    }
}

impl<'s> Draw<'s> {
    pub fn new(schema: &'s Schema, random: &'s mut StdRng, ids: &'s [String]) -> Self {
        Self {
            schema,
            random,
            ids,
            declared: Vec::new(),
            variables: Map::new(),
            aliases: 0,
        }
    }

    /// An operation at this root type, which is sent by this keyword.
    pub fn operation(mut self, keyword: &str, root: &str) -> Operation {
        // A subscription may have one root field alone.
        let most = if keyword == "subscription" { 1 } else { 3 };
        let (text, picked) = self.selection(root, DEPTH, most, None);
        let declared = match self.declared.as_slice() {
            [] => String::new(),
            declared => format!("({})", declared.join(", ")),
        };
        Operation {
            document: format!("{keyword} Drawn{declared} {text}"),
            variables: self.variables,
            picked,
        }
    }

    fn selection(
        &mut self,
        holder: &str,
        depth: usize,
        most: usize,
        on: Option<&str>,
    ) -> (String, Vec<Picked>) {
        let schema = self.schema;
        let mut text = String::from("{");
        let mut picked = Vec::new();
        let possible = schema.possible(holder);
        if possible.len() > 1 || on.is_none() && self.random.gen_bool(0.1) && holder != "Subscription" {
            text.push_str(" __typename");
            picked.push(Picked {
                key: "__typename".to_owned(),
                ty: Type::new("String!").unwrap(),
                on: None,
                below: Vec::new(),
            });
        }
        let fields = schema.fields(holder).into_iter();
        let fields: Vec<_> = fields
            .filter(|field| schema.is_leaf(named(&field.ty.node)) || depth > 0)
            .collect();
        let count = self.random.gen_range(1..=most);
        for field in fields.choose_multiple(self.random, count) {
            let (field, one) = self.field(field, depth, on);
            text.push_str(&field);
            picked.push(one);
        }
        if possible.len() > 1 && depth > 0 {
            let count = self.random.gen_range(0..=2);
            for name in possible.choose_multiple(self.random, count) {
                let (inner, below) = self.selection(name, depth - 1, 4, Some(name));
                text.push_str(&format!(" ... on {name} {inner}"));
                picked.extend(below);
            }
        }
        if picked.is_empty() {
            return self.selection(holder, depth + 1, most, on);
        }
        text.push_str(" }");
        (text, picked)
    }

    /// A field under a name of its own, so that no two can be at odds.
    fn field(&mut self, field: &FieldDefinition, depth: usize, on: Option<&str>) -> (String, Picked) {
        self.aliases += 1;
        let key = format!("f{}", self.aliases);
        let mut text = format!(" {key}: {}", field.name.node);
        let arguments = self.arguments(&field.arguments.iter().map(|one| &one.node).collect::<Vec<_>>());
        text.push_str(&arguments);
        let holder = named(&field.ty.node).to_owned();
        let mut below = Vec::new();
        if !self.schema.is_leaf(&holder) {
            let (inner, picked) = self.selection(&holder, depth.saturating_sub(1), 4, None);
            text.push_str(&format!(" {inner}"));
            below = picked;
        }
        let on = on.map(str::to_owned);
        (
            text,
            Picked {
                key,
                ty: field.ty.node.clone(),
                on,
                below,
            },
        )
    }

    fn arguments(&mut self, declared: &[&InputValueDefinition]) -> String {
        let mut given = Vec::new();
        for argument in declared {
            let required = !argument.ty.node.nullable && argument.default_value.is_none();
            // Whatever makes pages is given, small: the default would cost more than a request may.
            let page = argument.name.node == "first";
            if !required && !page && self.random.gen_bool(0.5) {
                continue;
            }
            let value = if page {
                json!(self.random.gen_range(1..4))
            } else {
                self.value(&argument.ty.node, 3)
            };
            let written = if self.random.gen_bool(0.5) {
                let name = format!("v{}", self.declared.len());
                self.declared.push(format!("${name}: {}", argument.ty.node));
                self.variables.insert(name.clone(), value);
                format!("${name}")
            } else {
                self.literal(&value, &argument.ty.node)
            };
            given.push(format!("{}: {written}", argument.name.node));
        }
        if given.is_empty() {
            String::new()
        } else {
            format!("({})", given.join(", "))
        }
    }

    /// A value that the type takes; whether the field does is another matter.
    fn value(&mut self, ty: &Type, depth: usize) -> Value {
        if ty.nullable && (depth == 0 || self.random.gen_bool(0.2)) {
            return Value::Null;
        }
        let name = match &ty.base {
            BaseType::List(item) => {
                let count = self.random.gen_range(0..3);
                return (0..count)
                    .map(|_| self.value(item, depth.saturating_sub(1)))
                    .collect();
            }
            BaseType::Named(name) => name.as_str(),
        };
        let texts = [
            "",
            "LAMP",
            "tok_ok",
            "a reason",
            "ROPE-1",
            "%_\\",
            "äöü🏃",
            "null",
        ];
        match self.schema.0.get(name) {
            Some(TypeKind::Enum(names)) => {
                let one = names.values.choose(self.random).unwrap();
                json!(one.node.value.node.as_str())
            }
            Some(TypeKind::InputObject(object)) => {
                let mut fields = Map::new();
                for field in &object.fields {
                    let field = &field.node;
                    let required = !field.ty.node.nullable && field.default_value.is_none();
                    if required || self.random.gen_bool(0.5) {
                        let value = self.value(&field.ty.node, depth.saturating_sub(1));
                        fields.insert(field.name.node.to_string(), value);
                    }
                }
                Value::Object(fields)
            }
            _ => match name {
                "Int" => json!([0, 1, 3, -1, i32::MAX, i32::MIN].choose(self.random).unwrap()),
                "Float" => json!(self.random.gen_range(-10.0..10.0)),
                "Boolean" => json!(self.random.gen_bool(0.5)),
                "ID" if self.random.gen_bool(0.8) => json!(self.ids.choose(self.random).unwrap()),
                "UUID" => json!(uuid::Uuid::from_u128(self.random.r#gen())),
                "DateTime" => json!("2026-01-02T03:04:05Z"),
                "Decimal" => json!(
                    ["0", "12.50", "-1", "99999999999999"]
                        .choose(self.random)
                        .unwrap()
                ),
                "CurrencyCode" => json!(["EUR", "USD", "JPY"].choose(self.random).unwrap()),
                _ => json!(texts.choose(self.random).unwrap()),
            },
        }
    }

    /// A value as a document has it: names of fields and of enums without quotes.
    fn literal(&self, value: &Value, ty: &Type) -> String {
        match (value, &ty.base) {
            (Value::Null, _) => "null".to_owned(),
            (Value::Array(values), BaseType::List(item)) => {
                let values: Vec<_> = values.iter().map(|value| self.literal(value, item)).collect();
                format!("[{}]", values.join(", "))
            }
            (Value::Object(given), BaseType::Named(name)) => {
                let Some(TypeKind::InputObject(object)) = self.schema.0.get(name.as_str()) else {
                    return value.to_string();
                };
                let fields = object.fields.iter().filter_map(|field| {
                    let given = given.get(field.node.name.node.as_str())?;
                    Some(format!(
                        "{}: {}",
                        field.node.name.node,
                        self.literal(given, &field.node.ty.node)
                    ))
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
            }
            (Value::String(text), BaseType::Named(name))
                if matches!(self.schema.0.get(name.as_str()), Some(TypeKind::Enum(_))) =>
            {
                text.clone()
            }
            _ => value.to_string(),
        }
    }
}

/// The name of a type without its lists.
fn named(ty: &Type) -> &str {
    match &ty.base {
        BaseType::Named(name) => name,
        BaseType::List(item) => named(item),
    }
}
