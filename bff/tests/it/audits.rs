//! GraphQL over HTTP as the specification's own audits ask, by their ids: the 61 of `graphql-http` 1.23.1.
//!
//! Told again here, because `make test` needs no Node.js; the suite itself is run beside them where Node.js is
//! ([`the_suite_of_graphql_http_passes_and_has_the_audits_that_are_told_here`]), and its list of ids must be this one.

use std::{collections::BTreeSet, ops::RangeInclusive, process::Stdio};

use reqwest::{RequestBuilder, header::ACCEPT, header::CONTENT_TYPE};
use serde_json::{Value, json};

use crate::edge::{Around, Edge};

const JSON: &str = "application/json";
const RESPONSE: &str = "application/graphql-response+json";
const NAME: &str = "{ __typename }";
/// A field that nobody has.
const UNKNOWN: &str = "{ f0c2a1 }";
const VARIABLE: &str = "query Type($name: String!) { __type(name: $name) { name } }";
const COERCION: &str = "query CoerceFailure($id: ID!) { __typename }";

/// What an answer must be besides its status.
enum Then {
    Anything,
    /// Of this media type.
    Is(&'static str),
    NoErrors,
    NoData,
}

use Then::{Anything, Is, NoData, NoErrors};

struct Audit {
    id: String,
    request: RequestBuilder,
    status: RangeInclusive<u16>,
    then: Then,
}

/// Builds the list.
struct Audits<'e> {
    edge: &'e Edge,
    list: Vec<Audit>,
}

impl Audits<'_> {
    fn add(
        &mut self,
        id: impl Into<String>,
        request: RequestBuilder,
        status: RangeInclusive<u16>,
        then: Then,
    ) {
        self.list.push(Audit {
            id: id.into(),
            request,
            status,
            then,
        });
    }

    /// A POST of this text as JSON; `accept` is the header, none where it is empty.
    fn text(&self, accept: &str, body: String) -> RequestBuilder {
        let request = self
            .edge
            .http
            .post(self.edge.url("/graphql"))
            .header(CONTENT_TYPE, JSON);
        let request = if accept.is_empty() {
            request
        } else {
            request.header(ACCEPT, accept)
        };
        request.body(body)
    }

    fn post(&self, accept: &str, body: &Value) -> RequestBuilder {
        self.text(accept, body.to_string())
    }

    fn query(&self, accept: &str, query: &str) -> RequestBuilder {
        self.post(accept, &json!({ "query": query }))
    }

    fn get(&self, accept: &str, pairs: &[(&str, &str)]) -> RequestBuilder {
        let url = reqwest::Url::parse_with_params(&self.edge.url("/graphql"), pairs).unwrap();
        let request = self.edge.http.get(url);
        if accept.is_empty() {
            request
        } else {
            request.header(ACCEPT, accept)
        }
    }

    fn media_types(&mut self) {
        self.add("22EB", self.query(RESPONSE, NAME), 200..=200, Is(RESPONSE));
        self.add("4655", self.query(JSON, NAME), 200..=200, Is(JSON));
        self.add("47DE", self.query("*/*", NAME), 200..=200, Is(JSON));
        self.add("80D8", self.query("", NAME), 200..=200, Is(JSON));
        // That every answer is UTF-8 is checked with each.
        self.add("82A3", self.query("", NAME), 200..=200, Anything);
        let runner = json!({ "query": "{ __type(name: \"Run🏃Swim🏊\") { name } }" }).to_string();
        let said = self.edge.http.post(self.edge.url("/graphql"));
        let said = said
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .body(runner);
        self.add("BF61", said, 200..=200, Anything);
        self.add("78D5", self.query("", NAME), 200..=200, Anything);
    }

    fn methods(&mut self) {
        self.add("2C94", self.query("", NAME), 200..=200, Anything);
        self.add("5A70", self.get("", &[("query", NAME)]), 200..=200, Anything);
        let mutation = self.get(RESPONSE, &[("query", "mutation { __typename }")]);
        self.add("9C48", mutation, 400..=499, Anything);
        let untyped = self
            .edge
            .http
            .post(self.edge.url("/graphql"))
            .body(json!({ "query": NAME }).to_string());
        self.add("9ABE", untyped, 400..=499, Anything);
        self.add("03D4", self.query("", NAME), 200..=200, Anything);
        self.add("A5BF", self.text("", String::new()), 400..=400, Anything);
    }

    fn parameters(&mut self) {
        self.add(
            "423L",
            self.post(RESPONSE, &json!({ "notquery": NAME })),
            400..=400,
            Anything,
        );
        let typo = json!({ "qeury": NAME });
        self.add("8764", self.post("", &typo), 400..=599, Anything);
        self.add("3E3A", self.post("", &typo), 400..=400, Anything);
        let no_texts = [json!({ "obj": "ect" }), json!(0), json!(false), json!(["array"])];
        let no_objects = [json!("string"), json!(0), json!(false), json!(["array"])];
        for index in 0..4 {
            let wrong = |parameter: &str, value: &Value| {
                let mut body = json!({ "query": NAME });
                body[parameter] = value.clone();
                self.post("", &body)
            };
            let wrongs = [
                ("LKJ", wrong("query", &no_texts[index])),
                ("6C0", wrong("operationName", &no_texts[index])),
                ("476", wrong("variables", &no_objects[index])),
                ("58B", wrong("extensions", &no_objects[index])),
            ];
            for (id, request) in wrongs {
                self.add(format!("{id}{index}"), request, 400..=400, Anything);
            }
        }
        let named = json!({ "operationName": "Query", "query": "query Query { __typename }" });
        let variables = json!({ "query": VARIABLE, "variables": { "name": "sometype" } });
        let extensions = json!({ "query": NAME, "extensions": { "some": "value" } });
        for (accept, ids, then) in [
            (RESPONSE, ["34A2", "8161", "2EA1", "428F"], None),
            (JSON, ["13EE", "B8B3", "28B9", "1B7A"], Some(())),
        ] {
            let bodies = [&json!({ "query": NAME }), &named, &variables, &extensions];
            for (id, body) in ids.into_iter().zip(bodies) {
                let then = then.map_or(Anything, |()| NoErrors);
                self.add(id, self.post(accept, body), 200..=200, then);
            }
        }
        for (index, parameter) in ["variables", "operationName", "extensions"]
            .into_iter()
            .enumerate()
        {
            let mut body = json!({ "query": NAME });
            body[parameter] = Value::Null;
            self.add(
                format!("94B{index}"),
                self.post(RESPONSE, &body),
                200..=200,
                NoErrors,
            );
            self.add(format!("022{index}"), self.post(JSON, &body), 200..=200, NoErrors);
        }
        let pairs = [("query", VARIABLE), ("variables", "{\"name\":\"sometype\"}")];
        self.add("D6D5", self.get(RESPONSE, &pairs), 200..=200, NoErrors);
        self.add("6A70", self.get(JSON, &pairs), 200..=200, NoErrors);
    }

    fn failures(&mut self) {
        let broken = || "{ \"not a JSON".to_owned();
        self.add("B6DC", self.text(JSON, broken()), 200..=599, Anything);
        self.add("BCF8", self.text(JSON, broken()), 400..=400, Anything);
        self.add("B7N8", self.text(RESPONSE, broken()), 400..=400, Anything);
        let coercion = json!({ "query": COERCION, "variables": { "id": null } });
        self.add("572B", self.query(JSON, "{"), 200..=200, Anything);
        self.add("FDE2", self.query(JSON, UNKNOWN), 200..=200, Anything);
        self.add("7B9B", self.post(JSON, &coercion), 200..=200, Anything);
        for (query, [any, exact, data]) in [
            ("{", ["865D", "556A", "D586"]),
            (UNKNOWN, ["51FE", "74FF", "5E5B"]),
        ] {
            self.add(any, self.query(RESPONSE, query), 400..=599, Anything);
            self.add(exact, self.query(RESPONSE, query), 400..=400, Anything);
            self.add(data, self.query(RESPONSE, query), 200..=599, NoData);
        }
        self.add("86EE", self.post(RESPONSE, &coercion), 400..=400, Anything);
    }
}

/// Every audit, to be sent to this edge.
fn all(edge: &Edge) -> Vec<Audit> {
    let mut audits = Audits {
        edge,
        list: Vec::new(),
    };
    audits.media_types();
    audits.methods();
    audits.parameters();
    audits.failures();
    audits.list
}

async fn edge() -> Edge {
    Around::new().await.with_products(&[]).await.start().await
}

#[tokio::test]
async fn the_61_audits_of_graphql_over_http_pass() {
    let edge = edge().await;
    let audits = all(&edge);
    assert_eq!(audits.len(), 61);
    for Audit {
        id,
        request,
        status,
        then,
    } in audits
    {
        let response = request.send().await.unwrap();
        let answered = response.status().as_u16();
        let media = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
        let body = String::from_utf8(response.bytes().await.unwrap().to_vec()).expect("UTF-8");
        let found = format!("{id}: {answered} {media} {body}");
        assert!(status.contains(&answered), "{found}");
        let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{found}"));
        match then {
            Anything => {}
            Is(kind) => assert!(media.contains(kind), "{found}"),
            NoErrors => assert!(body.get("errors").is_none(), "{found}"),
            NoData => assert!(body.get("data").is_none(), "{found}"),
        }
    }
    edge.stop().await;
}

#[tokio::test]
#[ignore = "needs Node.js and what scripts/playground fetches: `make test` runs it where they are (scripts/test)"]
async fn the_suite_of_graphql_http_passes_and_has_the_audits_that_are_told_here() {
    let edge = edge().await;
    let modules = std::env::var("BELAY_PLAYGROUND_MODULES").expect("scripts/test says where graphql-http is");
    let ran = tokio::process::Command::new("node")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/playground/audits.mjs"))
        .args([modules, edge.url("/graphql")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ran = tokio::time::timeout(crate::edge::SOON * 3, ran)
        .await
        .expect("the suite ends")
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let results: Vec<Value> = serde_json::from_slice(&ran.stdout).unwrap();
    for result in &results {
        assert_eq!(result["status"], "ok", "{result}");
    }
    let theirs: BTreeSet<String> = results
        .iter()
        .map(|one| one["id"].as_str().unwrap().to_owned())
        .collect();
    let ours: BTreeSet<String> = all(&edge).into_iter().map(|audit| audit.id).collect();
    assert_eq!(theirs, ours);
    assert_eq!(results.len(), ours.len());
    edge.stop().await;
}
