//! Why one version of a schema cannot read what another one wrote, in words that say which field, by which rule, and what to
//! do about it.
//!
//! The verdict is the library's ([`reads`]); this only finds the place. What it does not find it leaves to the library's
//! words, so a change is never let through because nobody could explain it.

use std::collections::BTreeMap;

use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};
use serde_json::Value;

/// Whether `reader` reads everything that `writer` wrote.
pub fn reads(reader: &Schema, writer: &Schema) -> Result<(), String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        Ok(Compatibility::Partial) => Err("some values would be lost".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// A version of a schema and the file it is in.
pub struct Version {
    pub file: String,
    pub text: String,
}

impl Version {
    fn schema(&self) -> Schema {
        Schema::parse_str(&self.text).unwrap_or_else(|error| panic!("avro/{}: {error}", self.file))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("avro/{}: {error}", self.file))
    }
}

/// What is wrong with `new` in the light of `old`, one sentence each; none when they read each other.
pub fn violations(old: &Version, new: &Version) -> Vec<String> {
    let (old_schema, new_schema) = (old.schema(), new.schema());
    let forward = reads(&old_schema, &new_schema).err();
    let backward = reads(&new_schema, &old_schema).err();
    if forward.is_none() && backward.is_none() {
        return Vec::new();
    }
    let mut found = Vec::new();
    compare("", &old.json(), &new.json(), &mut found);
    if found.is_empty() {
        let reasons = forward.into_iter().chain(backward);
        found.extend(reasons.map(|reason| format!("FULL_TRANSITIVE: {reason}")));
    }
    found
        .into_iter()
        .map(|what| format!("avro/{}, against avro/{}: {what}", new.file, old.file))
        .collect()
}

fn compare(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let (old_kind, new_kind) = (kind(old), kind(new));
    if old_kind != new_kind {
        found.push(format!(
            "{} changed its type from {old_kind} to {new_kind}. Rule: a type never changes, because running programs of the other \
             version read and write the old one. Leave the field as it is and add another one, with a default, of the new type",
            named(path)
        ));
        return;
    }
    match old_kind.as_str() {
        "record" => compare_records(path, old, new, found),
        "enum" => compare_symbols(path, old, new, found),
        "array" => compare(&format!("{path}[]"), &old["items"], &new["items"], found),
        "map" => compare(&format!("{path}{{}}"), &old["values"], &new["values"], found),
        "fixed" if old["size"] != new["size"] => found.push(format!(
            "{} changed its size from {} to {}. Rule: a fixed keeps its size. Add another field, with a default",
            named(path),
            old["size"],
            new["size"]
        )),
        _ => {
            if let (Value::Array(old), Value::Array(new)) = (old, new) {
                for (old, new) in old.iter().zip(new) {
                    compare(path, old, new, found);
                }
            }
        }
    }
}

fn compare_records(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    if old["name"] != new["name"] {
        found.push(format!(
            "the record {} is now called {}. Rule: a record keeps its name. Name it as before, or make it a new message",
            old["name"], new["name"]
        ));
    }
    let (old_fields, new_fields) = (fields(old), fields(new));
    for (name, field) in &new_fields {
        let place = below(path, name);
        match old_fields.get(name) {
            Some(before) => compare(&place, &before["type"], &field["type"], found),
            None if field.get("default").is_none() => found.push(format!(
                "the field `{place}` is new and has no default. Rule: a new field has a default, which readers take for the \
                 messages that were written without it. Give it one, such as [\"null\", …] with \"default\": null"
            )),
            None => {}
        }
    }
    for (name, field) in &old_fields {
        if !new_fields.contains_key(name) && field.get("default").is_none() {
            found.push(format!(
                "the field `{}` is gone and had no default. Rule: only a field with a default may go, because programs of the old \
                 version still expect it. Put it back; a renamed field is one that went and one that came",
                below(path, name)
            ));
        }
    }
}

fn compare_symbols(path: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    let symbols = |schema: &Value| -> Vec<String> {
        let all = schema["symbols"].as_array().into_iter().flatten();
        all.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let (old, new) = (symbols(old), symbols(new));
    for symbol in new.iter().filter(|symbol| !old.contains(symbol)) {
        found.push(format!(
            "{} has a new symbol {symbol}. Rule: an enum keeps its symbols, because programs of the old version cannot read another \
             one. Add a field of another type, with a default",
            named(path)
        ));
    }
    for symbol in old.iter().filter(|symbol| !new.contains(symbol)) {
        found.push(format!(
            "{} has lost the symbol {symbol}. Rule: an enum keeps its symbols, because messages with it still lie on the topic. Put \
             it back",
            named(path)
        ));
    }
}

fn fields(record: &Value) -> BTreeMap<String, Value> {
    let all = record["fields"].as_array().into_iter().flatten();
    all.filter_map(|field| Some((field["name"].as_str()?.to_owned(), field.clone())))
        .collect()
}

/// The Avro type, of a union with those of its branches.
fn kind(schema: &Value) -> String {
    match schema {
        Value::String(name) => name.clone(),
        Value::Array(branches) => {
            let branches: Vec<String> = branches.iter().map(kind).collect();
            format!("[{}]", branches.join(", "))
        }
        Value::Object(object) => object.get("type").map(kind).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn below(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

fn named(path: &str) -> String {
    if path.is_empty() {
        "the schema".to_owned()
    } else {
        format!("the field `{path}`")
    }
}

fn record(file: &str, fields: &str) -> Version {
    Version {
        file: file.to_owned(),
        text: format!(r#"{{"type":"record","name":"R","namespace":"belay.orders","fields":[{fields}]}}"#),
    }
}

/// The check is worth what the library's rules are worth, and its words what they name.
#[test]
fn what_breaks_compatibility_is_refused_with_the_field_the_rule_and_the_remedy() {
    let line = |quantity: &str| {
        format!(
            r#"{{"name":"a","type":"int"}},{{"name":"lines","type":{{"type":"array","items":{{"type":"record","name":"Line","fields":[{quantity}]}}}}}}"#
        )
    };
    let a = r#"{"name":"a","type":"int"}"#;
    let state = |symbols: &str| {
        format!(r#"{{"name":"state","type":{{"type":"enum","name":"State","symbols":[{symbols}]}}}}"#)
    };
    for (old, new, expected) in [
        (
            a.to_owned(),
            format!(r#"{a},{{"name":"b","type":"int"}}"#),
            vec!["the field `b` is new and has no default", "Give it one"],
        ),
        (
            a.to_owned(),
            r#"{"name":"b","type":"int","default":0}"#.to_owned(),
            vec!["the field `a` is gone and had no default", "Put it back"],
        ),
        (
            a.to_owned(),
            r#"{"name":"a","type":"long"}"#.to_owned(),
            vec![
                "the field `a` changed its type from int to long",
                "a type never changes",
            ],
        ),
        (
            a.to_owned(),
            r#"{"name":"a","type":["null","int"],"default":null}"#.to_owned(),
            vec!["the field `a` changed its type from int to [null, int]"],
        ),
        (
            line(r#"{"name":"quantity","type":"int"}"#),
            line(r#"{"name":"quantity","type":"string"}"#),
            vec!["the field `lines[].quantity` changed its type from int to string"],
        ),
        (
            state(r#""OPEN""#),
            state(r#""OPEN","CLOSED""#),
            vec!["the field `state` has a new symbol CLOSED", "Add a field"],
        ),
        (
            state(r#""OPEN","CLOSED""#),
            state(r#""OPEN""#),
            vec!["the field `state` has lost the symbol CLOSED"],
        ),
    ] {
        let found = violations(
            &record("published/belay.orders.R/1.avsc", &old),
            &record("orders/R.avsc", &new),
        )
        .join("\n");
        assert!(
            found.starts_with("avro/orders/R.avsc, against avro/published/belay.orders.R/1.avsc: "),
            "{new}: {found}"
        );
        for words in expected {
            assert!(found.contains(words), "{new}: {found}");
        }
        assert!(found.contains("Rule: "), "{found}");
    }
}

#[test]
fn what_keeps_compatibility_is_let_through() {
    let a = r#"{"name":"a","type":"int"}"#;
    for new in [
        format!(r#"{a},{{"name":"b","type":"int","default":0}}"#),
        format!(r#"{a},{{"name":"b","type":["null","int"],"default":null}}"#),
        r#"{"name":"a","type":"int","doc":"said better"}"#.to_owned(),
    ] {
        let (old, new) = (record("old", a), record("new", &new));
        assert_eq!(violations(&old, &new), Vec::<String>::new());
        assert_eq!(violations(&new, &old), Vec::<String>::new());
    }
}
