//! `belay identity`: what it prints is what services take.

use contracts::calls;
use host::identity::{Callers, Identity, Known, PrivateKey};
use std::collections::BTreeMap;

use crate::commands::{belay, stdout};

fn settings(line: &str) -> BTreeMap<String, String> {
    let output = belay(line.split_whitespace());
    assert!(output.status.success());
    let text = stdout(&output);
    let pairs = text.lines().map(|line| line.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn known(settings: &BTreeMap<String, String>) -> Vec<Known> {
    let callers = settings["BELAY_CALLERS"].split(',');
    callers.map(|text| text.parse().unwrap()).collect()
}

#[test]
fn everyone_who_asks_gets_a_key_that_services_know_them_by() {
    let printed = settings("identity");
    let known = known(&printed);
    assert_eq!(printed.len(), calls::callers().count() + 1);
    for caller in calls::callers() {
        let key: PrivateKey = printed[&format!("BELAY_IDENTITY_KEY_{}", caller.to_uppercase())]
            .parse()
            .unwrap();
        let named = known.iter().find(|known| known.caller == caller).unwrap();
        assert_eq!(named.key, key.public());
    }
    assert_ne!(printed, settings("identity"), "every key is new");
}

#[test]
fn one_callers_key_is_replaced_without_an_interruption() {
    let (before, fresh) = (settings("identity"), settings("identity --caller bff"));
    assert_eq!(fresh.len(), 2);
    let key = |settings: &BTreeMap<String, String>| -> PrivateKey {
        settings["BELAY_IDENTITY_KEY_BFF"].parse().unwrap()
    };
    let both = Callers::new("orders", &[known(&before), known(&fresh)].concat());
    for settings in [&before, &fresh] {
        let identity = Identity::new("bff", &key(settings));
        let mut headers = reqwest::header::HeaderMap::new();
        identity.sign("orders", &mut headers).unwrap();
        let token = headers["authorization"]
            .to_str()
            .unwrap()
            .strip_prefix("Bearer ")
            .unwrap();
        assert_eq!(both.check(token), Ok("bff".to_owned()));
    }
}
