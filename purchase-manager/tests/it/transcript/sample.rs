//! Every answer that a participant could give, filled from its Avro schema: a step that is added needs nothing here.

use std::collections::HashMap;

use contracts::topics::{PURCHASE_REPLIES, TOPICS};
use purchase_manager::exchange::Reply;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Every id of a transcript.
pub const ID: Uuid = Uuid::from_u128(0x5a6a_0000_0000_4000_8000_0000_0000_0001);

/// One reply of every kind, in the order of the contract.
pub fn replies() -> Vec<Reply> {
    let topic = TOPICS
        .iter()
        .find(|topic| topic.name == PURCHASE_REPLIES)
        .unwrap();
    topic
        .messages()
        .into_iter()
        .map(|message| {
            let schema: Value = serde_json::from_str(message.schema_text).unwrap();
            let body = filled("", &schema, &mut HashMap::new());
            serde_json::from_value(json!({ "type": message.name, "body": body })).unwrap()
        })
        .collect()
}

/// A value of the schema. `field` is what it is called, for texts.
fn filled(field: &str, schema: &Value, named: &mut HashMap<String, Value>) -> Value {
    match schema {
        Value::String(name) => match name.as_str() {
            "null" => Value::Null,
            "boolean" => json!(true),
            "int" | "long" => json!(1),
            "string" if field == "currency" => json!("EUR"),
            "string" => json!(field),
            known => {
                let schema = named
                    .get(known)
                    .unwrap_or_else(|| panic!("the type {known} is new here"))
                    .clone();
                filled(field, &schema, named)
            }
        },
        // The last branch of a union is the one that is something.
        Value::Array(branches) => filled(field, branches.last().unwrap(), named),
        Value::Object(complex) => match (complex["type"].as_str(), complex.get("logicalType")) {
            (Some("string"), Some(logical)) if logical == "uuid" => json!(ID),
            (Some("record"), _) => {
                named.insert(complex["name"].as_str().unwrap().to_owned(), schema.clone());
                let mut fields = Map::new();
                for part in complex["fields"].as_array().unwrap() {
                    let name = part["name"].as_str().unwrap();
                    fields.insert(name.to_owned(), filled(name, &part["type"], named));
                }
                Value::Object(fields)
            }
            (Some("array"), _) => json!([filled(field, &complex["items"], named)]),
            (Some("enum"), _) => complex["symbols"][0].clone(),
            (_, _) => filled(field, &complex["type"], named),
        },
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => panic!("{other} is no schema"),
    }
}
