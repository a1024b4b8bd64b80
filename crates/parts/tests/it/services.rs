//! Registry, Keycloak, mail catcher and Connect: each answers what the system asks of it.

use parts::{Connect, Kafka, KafkaOptions, Keycloak, Mail, Registry};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

async fn get(url: &str) -> Value {
    let answer = reqwest::get(url).await.unwrap().error_for_status().unwrap();
    answer.json().await.unwrap()
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn the_registry_speaks_as_confluents_and_begins_empty() {
    let mut registry = Registry::start().await.unwrap();
    assert_eq!(get(&format!("{}/subjects", registry.url())).await, json!([]));
    assert!(
        registry.version().starts_with(char::is_numeric),
        "{}",
        registry.version()
    );
    let url = registry.url().to_owned();
    registry.stop().await;
    assert!(reqwest::get(&url).await.is_err());
    registry.restart().await.unwrap();
    assert_eq!(get(&format!("{}/subjects", registry.url())).await, json!([]));
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn keycloaks_tokens_have_audience_and_roles_where_the_edge_looks() {
    let keycloak = Keycloak::start().await.unwrap();
    let people = keycloak.people();
    // Of the realm's file, and made when needed.
    for (name, role) in [
        ("ada", "admin"),
        ("olga", "operator"),
        ("alice", "customer"),
        ("dora", "operator"),
    ] {
        let token = people.token(name, role).await.unwrap();
        let claims = claims(&token);
        assert_eq!(claims["iss"], json!(keycloak.issuer()));
        let audiences = [json!("belay"), json!(["belay", "account"])];
        assert!(audiences.contains(&claims["aud"]), "{claims}");
        let roles = claims["realm_access"]["roles"].as_array().unwrap();
        assert!(roles.contains(&json!(role)), "{claims}");
        assert_eq!(claims["email"], json!(format!("{name}@example.com")));
        assert!(
            claims["sub"].is_string() && claims["name"].is_string(),
            "{claims}"
        );
    }
    let again = people.token("dora", "operator").await.unwrap();
    assert_eq!(claims(&again)["preferred_username"], "dora");
}

/// The middle part of a token. Read by hand, because these tests have no key.
fn claims(token: &str) -> Value {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for letter in token.split('.').nth(1).unwrap().bytes() {
        let value = ALPHABET.iter().position(|known| *known == letter).unwrap();
        bits = (bits << 6) | u32::try_from(value).unwrap();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
#[ignore = "starts a real part: make test-real"]
async fn the_mail_catcher_shows_what_it_was_sent() {
    let mail = Mail::start().await.unwrap();
    let stream = tokio::net::TcpStream::connect(mail.smtp()).await.unwrap();
    let (reader, mut writer) = stream.into_split();
    let mut answers = BufReader::new(reader).lines();
    assert!(answers.next_line().await.unwrap().unwrap().starts_with("220"));
    let message = "Subject: Hello\r\nFrom: a@example.com\r\nTo: b@example.com\r\n\r\nText\r\n.\r\n";
    for (command, expected) in [
        ("HELO test\r\n", "250"),
        ("MAIL FROM:<a@example.com>\r\n", "250"),
        ("RCPT TO:<b@example.com>\r\n", "250"),
        ("DATA\r\n", "354"),
        (message, "250"),
    ] {
        writer.write_all(command.as_bytes()).await.unwrap();
        let answer = answers.next_line().await.unwrap().unwrap();
        assert!(answer.starts_with(expected), "{command} {answer}");
    }
    let messages = get(&format!("{}/email", mail.http())).await;
    assert_eq!(messages[0]["subject"], "Hello");
}

#[tokio::test]
#[ignore = "starts real parts: make test-real"]
async fn connect_has_debezium_and_says_why_it_refuses() {
    let kafka = Kafka::start(KafkaOptions::default()).await.unwrap();
    let mut connect = Connect::start(&kafka.bootstrap()).await.unwrap();
    let plugins = get(&format!("{}/connector-plugins", connect.url())).await;
    let debezium = plugins
        .as_array()
        .unwrap()
        .iter()
        .find(|plugin| plugin["class"] == "io.debezium.connector.postgresql.PostgresConnector");
    assert_eq!(debezium.unwrap()["version"], parts::connect::DEBEZIUM);
    let refused = json!({ "name": "nowhere", "config": {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    } });
    let error = connect.create_connector(&refused).await.unwrap_err().to_string();
    assert!(
        error.contains("database.hostname") || error.contains("topic.prefix"),
        "{error}"
    );
}
