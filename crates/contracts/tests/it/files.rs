//! The schema files themselves.

use std::{collections::BTreeSet, path::PathBuf};

use apache_avro::Schema;
use serde_json::Value;

use crate::{avro, samples};

/// A file of `avro/<owner>/`.
pub struct File {
    pub owner: String,
    pub record: String,
    pub path: PathBuf,
    pub text: String,
}

impl File {
    /// The name that the record must have.
    pub fn full_name(&self) -> String {
        format!("belay.{}.{}", self.owner.replace('-', "_"), self.record)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }
}

/// Every current schema, by owner and name.
pub fn all() -> Vec<File> {
    let mut files = Vec::new();
    for owner in std::fs::read_dir(avro())
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        if !owner.is_dir() || owner.ends_with("published") {
            continue;
        }
        for path in std::fs::read_dir(&owner)
            .unwrap()
            .map(|entry| entry.unwrap().path())
        {
            assert_eq!(
                path.extension().and_then(|e| e.to_str()),
                Some("avsc"),
                "{}",
                path.display()
            );
            files.push(File {
                owner: owner.file_name().unwrap().to_str().unwrap().to_owned(),
                record: path.file_stem().unwrap().to_str().unwrap().to_owned(),
                text: std::fs::read_to_string(&path).unwrap(),
                path,
            });
        }
    }
    files.sort_by_key(File::full_name);
    files
}

#[test]
fn every_file_parses_and_is_named_as_its_record() {
    for file in all() {
        let place = file.path.display();
        let schema = Schema::parse_str(&file.text).unwrap_or_else(|error| panic!("{place}: {error}"));
        let Schema::Record(record) = schema else {
            panic!("{place} is not a record")
        };
        assert_eq!(record.name.to_string(), file.full_name(), "{place}");
    }
}

#[test]
fn every_file_has_a_rust_type_and_every_rust_type_a_file() {
    let files: BTreeSet<String> = all().iter().map(File::full_name).collect();
    let types: BTreeSet<String> = samples::all()
        .iter()
        .map(|sample| sample.message_type.name.to_owned())
        .collect();
    assert_eq!(
        files, types,
        "left: avro/<owner>/*.avsc; right: tests/it/samples.rs"
    );
}

#[test]
fn every_record_and_field_says_what_it_is() {
    for file in all() {
        let mut silent = Vec::new();
        find_silent(&file.json(), &file.record, &mut silent);
        assert_eq!(silent, Vec::<String>::new(), "{}: no `doc`", file.path.display());
    }
}

fn find_silent(value: &Value, path: &str, silent: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let described =
                object.get("type").is_some_and(|kind| kind == "record") || object.contains_key("name");
            if described
                && object
                    .get("doc")
                    .and_then(Value::as_str)
                    .is_none_or(str::is_empty)
            {
                silent.push(path.to_owned());
            }
            for (key, inner) in object.iter().filter(|(key, _)| *key != "default") {
                find_silent(inner, &format!("{path}.{key}"), silent);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_silent(item, &format!("{path}[{index}]"), silent);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Avro takes a union's default from its first branch, and only a field with a default may come and go.
#[test]
fn every_optional_field_is_null_unless_it_is_written() {
    for file in all() {
        check_unions(&file.json(), &file.path.display().to_string());
    }
}

fn check_unions(value: &Value, place: &str) {
    match value {
        Value::Object(object) => {
            if let Some(Value::Array(branches)) = object.get("type") {
                assert_eq!(
                    branches.first(),
                    Some(&Value::from("null")),
                    "{place}: {}",
                    object["name"]
                );
                assert_eq!(branches.len(), 2, "{place}: {}", object["name"]);
                assert_eq!(
                    object.get("default"),
                    Some(&Value::Null),
                    "{place}: {}",
                    object["name"]
                );
            }
            object.values().for_each(|inner| check_unions(inner, place));
        }
        Value::Array(items) => items.iter().for_each(|inner| check_unions(inner, place)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
