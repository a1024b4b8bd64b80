//! What the repository pins is what the code says of it.

use std::path::Path;

use serde_json::{Value, json};

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn pinned(part: &str) -> String {
    let pom = read(&format!("parts/{part}/pom.xml"));
    let (_, rest) = pom.split_once("<part.version>").expect("the pom has a version");
    rest.split_once('<').expect("and its end").0.to_owned()
}

#[test]
fn the_versions_are_those_that_are_fetched() {
    assert_eq!(pinned("kafka"), parts::kafka::VERSION);
    assert_eq!(pinned("keycloak"), parts::keycloak::VERSION);
    assert_eq!(pinned("debezium"), parts::connect::DEBEZIUM);
}

#[test]
fn every_file_by_maven_has_a_checksum() {
    for part in ["kafka", "registry", "keycloak", "debezium"] {
        let sums = read(&format!("parts/{part}/sha256"));
        assert!(!sums.trim().is_empty(), "{part}");
        for line in sums.lines() {
            let (sum, file) = line.split_once("  ").expect("a sum and a name");
            assert!(sum.len() == 64 && !file.is_empty(), "{part}: {line}");
        }
    }
}

#[test]
fn every_package_of_npm_has_a_checksum_and_none_a_host() {
    let lock: Value = serde_json::from_str(&read("parts/maildev/package-lock.json")).unwrap();
    let packages = lock["packages"].as_object().unwrap();
    for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
        assert!(
            package["integrity"]
                .as_str()
                .is_some_and(|sum| sum.starts_with("sha512-")),
            "{name}"
        );
        assert!(package.get("resolved").is_none(), "{name} names a host");
    }
}

/// Two files, because Keycloak imports files: this holds them together.
#[test]
fn the_test_realm_is_the_shops_realm_with_a_password_grant_and_people() {
    let mut shop: Value = serde_json::from_str(&read("keycloak/belay-realm.json")).unwrap();
    let test: Value = serde_json::from_str(&read("keycloak/belay-test-realm.json")).unwrap();
    assert!(
        shop.get("users").is_none(),
        "the shop's realm comes without people"
    );
    for client in shop["clients"].as_array().unwrap() {
        assert_eq!(
            client["directAccessGrantsEnabled"],
            json!(false),
            "and without a password grant"
        );
    }
    shop["realm"] = json!(parts::keycloak::REALM);
    shop["displayName"] = test["displayName"].clone();
    // A token outlives a test, and nobody is locked out of it.
    shop["accessTokenLifespan"] = json!(3600);
    shop["bruteForceProtected"] = json!(false);
    // Tests sign in by the hundred, with passwords that are no secret.
    shop["passwordPolicy"] = json!("hashAlgorithm(pbkdf2-sha256) and hashIterations(1000)");
    shop["clients"][0]["directAccessGrantsEnabled"] = json!(true);
    shop["users"] = test["users"].clone();
    assert_eq!(shop, test);
    for user in test["users"].as_array().unwrap() {
        let name = user["username"].as_str().unwrap();
        assert_eq!(
            user["credentials"][0]["value"],
            json!(parts::keycloak::password_of(name))
        );
    }
}
