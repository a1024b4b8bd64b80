//! The Rust types and the schemas say the same.

use apache_avro::Schema;
use serde_json::Value;

use crate::samples;

#[test]
fn every_message_survives_being_written_and_read() {
    for sample in samples::all().into_iter().chain(samples::bare()) {
        let name = sample.message_type.name;
        assert_eq!(
            (sample.is_read_back)(&sample.datum, sample.message_type.schema()),
            Ok(true),
            "{name}"
        );
    }
}

/// Avro fills in a field that has a default, so writing and reading alone would not notice one that the Rust type lacks.
#[test]
fn every_field_of_a_schema_is_a_field_of_its_rust_type_and_the_other_way_round() {
    for sample in samples::all() {
        compare(
            sample.message_type.schema(),
            &sample.json,
            sample.message_type.name,
        );
    }
}

fn compare(schema: &Schema, value: &Value, place: &str) {
    match schema {
        Schema::Record(record) => {
            let object = value
                .as_object()
                .unwrap_or_else(|| panic!("{place} is not a struct in Rust"));
            let mut in_rust: Vec<&str> = object.keys().map(String::as_str).collect();
            let mut in_avro: Vec<&str> = record.fields.iter().map(|field| field.name.as_str()).collect();
            in_rust.sort_unstable();
            in_avro.sort_unstable();
            assert_eq!(in_rust, in_avro, "{place}: left is the Rust type, right is avro/");
            for field in &record.fields {
                compare(
                    &field.schema,
                    &object[&field.name],
                    &format!("{place}.{}", field.name),
                );
            }
        }
        Schema::Array(array) => {
            let items = value
                .as_array()
                .unwrap_or_else(|| panic!("{place} is not a list in Rust"));
            assert!(
                !items.is_empty(),
                "{place}: the sample must have an item, or nothing is compared"
            );
            items.iter().for_each(|item| compare(&array.items, item, place));
        }
        Schema::Union(union) => {
            assert!(
                !value.is_null(),
                "{place}: the sample must have a value, or nothing is compared"
            );
            let present = union
                .variants()
                .iter()
                .find(|variant| !matches!(variant, Schema::Null));
            compare(present.unwrap(), value, place);
        }
        Schema::Boolean => assert!(value.is_boolean(), "{place}"),
        Schema::Int | Schema::Long | Schema::TimestampMicros => assert!(value.is_i64(), "{place}"),
        Schema::String | Schema::Uuid(_) => assert!(value.is_string(), "{place}"),
        // The contract gets by with the kinds above; another one needs a line here.
        other => panic!("{place}: {other:?} is not compared yet"),
    }
}

/// What a newer program writes, with a field that ours does not know.
#[test]
fn a_message_of_a_newer_version_is_read_without_its_new_field() {
    for sample in samples::all().into_iter().chain(samples::bare()) {
        let name = sample.message_type.name;
        let mut newer: Value = serde_json::from_str(sample.message_type.schema_text).unwrap();
        let field = serde_json::json!({"name": "added_later", "type": "string", "default": ""});
        newer["fields"].as_array_mut().unwrap().push(field);
        let newer = Schema::parse(&newer).unwrap();
        // A field is written behind those before it: here, a string of one letter.
        let datum = [sample.datum.as_slice(), &[2, b'x']].concat();
        assert_eq!((sample.is_read_back)(&datum, &newer), Ok(true), "{name}");
    }
}

#[test]
fn damaged_bytes_are_an_error_and_never_a_panic() {
    for sample in samples::all() {
        let schema = sample.message_type.schema();
        let name = sample.message_type.name;
        for cut in 0..sample.datum.len() {
            assert!(
                (sample.is_read_back)(&sample.datum[..cut], schema).is_err(),
                "{name} cut to {cut} bytes"
            );
        }
        let longer = [sample.datum.as_slice(), &[0]].concat();
        assert!(
            (sample.is_read_back)(&longer, schema).is_err(),
            "{name} with a byte too many"
        );
    }
}
