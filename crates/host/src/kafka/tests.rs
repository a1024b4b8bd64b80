use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Program {
    #[command(flatten)]
    kafka: KafkaArgs,
}

/// Reads a command line; words are separated by spaces.
fn settings_at(bootstrap: &str, line: &str) -> Result<KafkaSettings, Refusal> {
    let words = std::iter::once("program").chain(line.split_whitespace());
    let program = Program::try_parse_from(words).unwrap();
    program.kafka.settings(bootstrap, 500)
}

fn refusal(line: &str) -> String {
    settings_at("127.0.0.1:9092", line).unwrap_err().to_string()
}

fn security(line: &str) -> Security {
    settings_at("127.0.0.1:9092", line).unwrap().security
}

#[test]
fn nothing_said_is_an_open_connection() {
    assert!(matches!(security(""), Security::Plaintext));
}

#[test]
fn a_combination_that_cannot_work_is_refused_with_what_to_do() {
    let sasl = "--kafka-security sasl-ssl --kafka-sasl-mechanism";
    for (line, words) in [
        ("--kafka-ca x", "say --kafka-security ssl or sasl-ssl"),
        (
            "--kafka-security ssl --kafka-user x",
            "say --kafka-security sasl-ssl",
        ),
        ("--kafka-security sasl-ssl", "needs --kafka-sasl-mechanism"),
        (&format!("{sasl} PLAIN"), "PLAIN needs a user: add --kafka-user"),
        (
            &format!("{sasl} SCRAM-SHA-512 --kafka-user x"),
            "SCRAM-SHA-512 needs a password: set BELAY_KAFKA_PASSWORD",
        ),
        (
            &format!("{sasl} PLAIN --kafka-user x --kafka-password y --kafka-password-file /z"),
            "leave one out",
        ),
        (
            &format!("{sasl} PLAIN --kafka-user x --kafka-password-file /nowhere/at/all"),
            "--kafka-password-file /nowhere/at/all cannot be read",
        ),
        (
            &format!("{sasl} PLAIN --kafka-user x --kafka-password y --kafka-token-url https://z"),
            "--kafka-token-url is for OAUTHBEARER",
        ),
        (&format!("{sasl} OAUTHBEARER"), "add --kafka-token-url"),
        (
            &format!("{sasl} OAUTHBEARER --kafka-password x"),
            "OAUTHBEARER takes no password",
        ),
        (
            &format!("{sasl} OAUTHBEARER --kafka-token-url https://x/t"),
            "add --kafka-client-id",
        ),
        (
            &format!("{sasl} OAUTHBEARER --kafka-token-url https://x/t --kafka-client-id x"),
            "set BELAY_KAFKA_CLIENT_SECRET",
        ),
        (
            &format!(
                "{sasl} OAUTHBEARER --kafka-token-url http://x/t --kafka-client-id x --kafka-client-secret y"
            ),
            "use https",
        ),
        (
            &format!("{sasl} OAUTHBEARER --kafka-token-provider google --kafka-client-id x"),
            "--kafka-client-id is for --kafka-token-provider oidc",
        ),
        ("--kafka-security ssl --kafka-certificate /c", "add --kafka-key"),
        ("--kafka-security ssl --kafka-key /k", "add --kafka-certificate"),
        (
            "--kafka-security ssl --kafka-key-password x",
            "add --kafka-key and --kafka-certificate",
        ),
        (
            "--kafka-security ssl --kafka-ca /nowhere/at/all",
            "--kafka-ca /nowhere/at/all cannot be read",
        ),
    ] {
        let refusal = refusal(line);
        assert!(refusal.contains(words), "{line}: {refusal}");
    }
}

#[test]
fn a_login_over_an_open_connection_stays_on_this_machine_unless_it_is_allowed_to_leave() {
    let line =
        "--kafka-security sasl-plaintext --kafka-sasl-mechanism PLAIN --kafka-user x --kafka-password y";
    for near in [
        "127.0.0.1:9092",
        "localhost:9092,[::1]:9093",
        "SASL_PLAINTEXT://localhost:1",
    ] {
        assert!(settings_at(near, line).is_ok(), "{near}");
    }
    for far in [
        "broker:9092",
        "localhost:9092,10.0.0.7:9092",
        "localhost.example:9092",
    ] {
        let refusal = settings_at(far, line).unwrap_err().to_string();
        assert!(refusal.contains("say sasl-ssl"), "{far}: {refusal}");
        assert!(
            settings_at(far, &format!("{line} --kafka-allow-open-login")).is_ok(),
            "{far}"
        );
    }
}

#[test]
fn a_password_comes_from_a_file_without_its_line_end() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "sword fish \n").unwrap();
    let line = format!(
        "--kafka-security sasl-ssl --kafka-sasl-mechanism scram-sha-256 --kafka-user x --kafka-password-file {}",
        file.path().display()
    );
    match security(&line) {
        Security::SaslSsl(
            _,
            Login::Password {
                mechanism: PasswordMechanism::ScramSha256,
                password,
                ..
            },
        ) => {
            assert_eq!(password.reveal(), "sword fish ");
        }
        other => panic!("{other:?}"),
    }
    std::fs::write(file.path(), "\n").unwrap();
    assert!(refusal(&line).contains("--kafka-password-file is empty"));
}

#[test]
fn a_pem_is_a_text_or_a_file_and_a_file_that_is_none_is_refused() {
    assert!(matches!(
        parse_pem("-----BEGIN CERTIFICATE-----\nx\n").unwrap(),
        Pem::Text(_)
    ));
    assert_eq!(
        parse_pem("/run/secrets/ca.pem").unwrap(),
        Pem::File("/run/secrets/ca.pem".into())
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "der").unwrap();
    let line = format!("--kafka-security ssl --kafka-ca {}", file.path().display());
    assert!(refusal(&line).contains("is no PEM file"));
}

#[test]
fn neither_settings_nor_options_print_a_secret() {
    let line = "--kafka-security sasl-ssl --kafka-sasl-mechanism PLAIN --kafka-user x --kafka-password swordfish \
                --kafka-key-password swordfish --kafka-client-secret swordfish --kafka-property sasl.password=swordfish";
    let words = std::iter::once("program").chain(line.split_whitespace());
    let program = Program::try_parse_from(words).unwrap();
    assert!(!format!("{program:?}").contains("swordfish"), "{program:?}");
}

#[test]
fn a_property_is_a_name_and_a_value() {
    assert_eq!(
        parse_property("a.b=c=d"),
        Ok(("a.b".to_owned(), Secret::from("c=d".to_owned())))
    );
    assert!(parse_property("nothing").is_err());
    assert!(parse_property("=x").is_err());
}
