use embedded::{postgres::Postgres, registry::Registry};
use reqwest::{Client, Method, StatusCode};
use schema_registry_converter::{
    async_impl::schema_registry::{SrSettings, get_schema_by_id, get_schema_by_subject, post_schema},
    schema_registry_common::{SchemaType, SubjectNameStrategy, SuppliedSchema},
};
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{ANYWHERE, passable_directory, start_postgres};

const FIRST: &str = r#"{"type":"record","name":"Thing","fields":[{"name":"a","type":"string"}]}"#;
const WITH_DEFAULT: &str = r#"{"type":"record","name":"Thing","fields":[{"name":"a","type":"string"},{"name":"b","type":"int","default":0}]}"#;
const OTHER_DEFAULT: &str = r#"{"type":"record","name":"Thing","fields":[{"name":"a","type":"string"},{"name":"b","type":"int","default":1}]}"#;
const BREAKING: &str =
    r#"{"type":"record","name":"Thing","fields":[{"name":"a","type":"string"},{"name":"c","type":"int"}]}"#;

#[tokio::test]
async fn schemas_are_registered_once_and_found_by_subject_version_and_id() {
    let world = World::start().await;
    assert_eq!(world.get("/subjects").await, ok(json!([])));
    let id = world.register("things", FIRST).await;
    assert_eq!(world.register("things", FIRST).await, id, "the same schema");
    let spaced = r#"{ "name": "Thing", "type": "record", "fields": [ {"type": "string", "name": "a"} ] }"#;
    assert_eq!(
        world.register("things", spaced).await,
        id,
        "the same but for space and order"
    );
    assert_eq!(
        world.register("other/things", FIRST).await,
        id,
        "the same under another subject"
    );
    let second = world.register("things", WITH_DEFAULT).await;
    let third = world.register("things", OTHER_DEFAULT).await;
    assert_eq!(
        (id, second, third),
        (1, 2, 3),
        "a default is part of a schema; ids have no gaps"
    );

    assert_eq!(
        world.get("/subjects").await,
        ok(json!(["other/things", "things"]))
    );
    assert_eq!(world.get("/subjects/things/versions").await, ok(json!([1, 2, 3])));
    let described = |version, id, schema| json!({"subject": "things", "version": version, "id": id, "schemaType": "AVRO", "schema": schema});
    assert_eq!(
        world.get("/subjects/things/versions/2").await,
        ok(described(2, second, WITH_DEFAULT))
    );
    let latest = ok(described(3, third, OTHER_DEFAULT));
    assert_eq!(world.get("/subjects/things/versions/latest").await, latest);
    assert_eq!(world.get("/subjects/things/versions/-1").await, latest);
    assert_eq!(world.get("/schemas/ids/1").await, ok(json!({ "schema": FIRST })));
    assert_eq!(
        world.post("/subjects/things", FIRST).await,
        ok(described(1, id, FIRST))
    );
    world.stop().await;
}

#[tokio::test]
async fn what_is_unknown_or_wrong_gets_confluents_codes() {
    let world = World::start().await;
    world.register("things", FIRST).await;
    let refused = async |answer: (StatusCode, Value), status: u16, code: u64| {
        assert_eq!(
            (answer.0.as_u16(), answer.1["error_code"].as_u64()),
            (status, Some(code)),
            "{}",
            answer.1
        );
        assert!(answer.1["message"].is_string());
    };
    refused(world.get("/subjects/none/versions").await, 404, 40401).await;
    refused(world.get("/subjects/none/versions/latest").await, 404, 40401).await;
    refused(world.get("/subjects/things/versions/2").await, 404, 40402).await;
    refused(world.get("/subjects/things/versions/newest").await, 422, 42202).await;
    refused(world.get("/subjects/things/versions/0").await, 422, 42202).await;
    refused(world.get("/schemas/ids/99").await, 404, 40403).await;
    refused(world.get("/schemas/ids/-1").await, 404, 40403).await;
    refused(world.get("/schemas/ids/many").await, 404, 40403).await;
    refused(world.get("/nothing/here").await, 404, 404).await;
    refused(world.get("/config/things").await, 404, 40408).await;
    refused(world.post("/subjects/none", FIRST).await, 404, 40401).await;
    refused(world.post("/subjects/things", WITH_DEFAULT).await, 404, 40403).await;
    refused(world.post("/subjects/things/versions", "{").await, 422, 42201).await;
    refused(
        world
            .post("/subjects/things/versions", r#"{"type":"record"}"#)
            .await,
        422,
        42201,
    )
    .await;
    let not_a_schema = json!({ "schema": 5 });
    refused(
        world
            .send(Method::POST, "/subjects/things/versions", &not_a_schema)
            .await,
        422,
        42201,
    )
    .await;
    let protobuf = json!({ "schema": "message A {}", "schemaType": "PROTOBUF" });
    refused(
        world
            .send(Method::POST, "/subjects/things/versions", &protobuf)
            .await,
        422,
        42201,
    )
    .await;
    let level = json!({ "compatibility": "SOMEHOW" });
    refused(world.send(Method::PUT, "/config", &level).await, 422, 42203).await;
    refused(world.post("/subjects/things/versions", BREAKING).await, 409, 409).await;
    assert_eq!(
        world.get("/subjects/things/versions").await,
        ok(json!([1])),
        "a refusal leaves nothing"
    );
    world.stop().await;
}

#[tokio::test]
async fn the_configured_level_decides_and_can_be_asked_beforehand() {
    let world = World::start().await;
    world.register("things", FIRST).await;
    assert_eq!(
        world.get("/config").await,
        ok(json!({ "compatibilityLevel": "FULL_TRANSITIVE" }))
    );
    let check = "/compatibility/subjects/things/versions/latest";
    assert_eq!(
        world.post(check, WITH_DEFAULT).await,
        ok(json!({ "is_compatible": true }))
    );
    assert_eq!(
        world.post(check, BREAKING).await,
        ok(json!({ "is_compatible": false }))
    );
    let (_, verbose) = world.post(&format!("{check}?verbose=true"), BREAKING).await;
    assert!(
        verbose["messages"][0].as_str().unwrap().contains("cannot read"),
        "{verbose}"
    );

    let forward = json!({ "compatibility": "FORWARD" });
    assert_eq!(
        world.send(Method::PUT, "/config/things", &forward).await,
        ok(forward.clone())
    );
    assert_eq!(
        world.get("/config/things").await,
        ok(json!({ "compatibilityLevel": "FORWARD" }))
    );
    assert_eq!(
        world.get("/config/others?defaultToGlobal=true").await,
        ok(json!({ "compatibilityLevel": "FULL_TRANSITIVE" }))
    );
    assert_eq!(
        world.post(check, BREAKING).await,
        ok(json!({ "is_compatible": true }))
    );
    world.register("things", BREAKING).await;
    let none = json!({ "compatibility": "NONE" });
    assert_eq!(world.send(Method::PUT, "/config", &none).await, ok(none.clone()));
    assert_eq!(
        world.get("/config").await,
        ok(json!({ "compatibilityLevel": "NONE" }))
    );
    world.stop().await;
}

#[tokio::test]
async fn ids_and_levels_survive_a_restart() {
    let mut world = World::start().await;
    let id = world.register("things", FIRST).await;
    world
        .send(Method::PUT, "/config", &json!({ "compatibility": "BACKWARD" }))
        .await;
    world.restart_registry().await;
    assert_eq!(world.register("things", FIRST).await, id);
    assert_eq!(
        world.get("/config").await,
        ok(json!({ "compatibilityLevel": "BACKWARD" }))
    );
    world.stop().await;
}

#[tokio::test]
async fn services_that_register_at_once_get_one_id() {
    let world = World::start().await;
    let all = (0..8).map(|_| {
        let (client, url) = (
            world.client.clone(),
            format!("{}/subjects/things/versions", world.registry.url()),
        );
        tokio::spawn(async move {
            let body = json!({ "schema": FIRST }).to_string();
            let answer = client.post(url).body(body).send().await.unwrap();
            answer.json::<Value>().await.unwrap()["id"].as_i64()
        })
    });
    let mut ids = Vec::new();
    for answer in all.collect::<Vec<_>>() {
        ids.push(answer.await.unwrap());
    }
    assert_eq!(ids, [Some(1); 8]);
    world.stop().await;
}

#[tokio::test]
async fn the_clients_of_the_services_understand_it() {
    let world = World::start().await;
    let settings = SrSettings::new(world.registry.url().to_owned());
    let supplied = SuppliedSchema::new(None, SchemaType::Avro, FIRST.to_owned());
    let posted = post_schema(&settings, "things/v1".to_owned(), supplied)
        .await
        .unwrap();
    let by_id = get_schema_by_id(posted.id, &settings).await.unwrap();
    assert_eq!(by_id.schema, FIRST);
    let name = SubjectNameStrategy::RecordNameStrategy("things/v1".to_owned());
    assert_eq!(
        get_schema_by_subject(&settings, &name).await.unwrap().id,
        posted.id
    );
    let breaking = SuppliedSchema::new(None, SchemaType::Avro, BREAKING.to_owned());
    let refusal = post_schema(&settings, "things/v1".to_owned(), breaking)
        .await
        .unwrap_err();
    assert!(!refusal.retriable, "{refusal}");
    world.stop().await;
}

/// A registry on a server of its own.
struct World {
    _directory: TempDir,
    postgres: Postgres,
    pool: PgPool,
    registry: Registry,
    client: Client,
}

impl World {
    async fn start() -> Self {
        let directory = passable_directory();
        let postgres = start_postgres(&directory).await;
        let pool = PgPoolOptions::new()
            .connect_with(postgres.options("postgres"))
            .await
            .unwrap();
        let registry = start_registry(&pool).await;
        Self {
            _directory: directory,
            postgres,
            pool,
            registry,
            client: Client::new(),
        }
    }

    async fn restart_registry(&mut self) {
        let next = start_registry(&self.pool).await;
        std::mem::replace(&mut self.registry, next).stop().await;
    }

    async fn stop(self) {
        self.registry.stop().await;
        self.pool.close().await;
        self.postgres.stop().await;
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.answer(self.client.get(self.url(path))).await
    }

    /// Posts a schema.
    async fn post(&self, path: &str, schema: &str) -> (StatusCode, Value) {
        self.send(Method::POST, path, &json!({ "schema": schema })).await
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        self.answer(self.client.request(method, self.url(path)).body(body.to_string()))
            .await
    }

    async fn register(&self, subject: &str, schema: &str) -> i64 {
        let path = format!("/subjects/{}/versions", subject.replace('/', "%2F"));
        let (status, answer) = self.post(&path, schema).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer["id"].as_i64().unwrap()
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.registry.url())
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> (StatusCode, Value) {
        let answer = request.send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }
}

async fn start_registry(pool: &PgPool) -> Registry {
    Registry::start(pool.clone(), ANYWHERE, &CancellationToken::new())
        .await
        .unwrap()
}

fn ok(body: Value) -> (StatusCode, Value) {
    (StatusCode::OK, body)
}
