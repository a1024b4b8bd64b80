use super::*;

fn known(caller: &str, key: &PrivateKey) -> Known {
    Known {
        caller: caller.to_owned(),
        key: key.public(),
    }
}

/// A token of `key`'s with these claims.
fn token(key: &PrivateKey, algorithm: Algorithm, claims: &Claims) -> String {
    let mut head = Header::new(algorithm);
    head.kid = Some(key.public().id());
    let signed_with = match algorithm {
        Algorithm::HS256 => EncodingKey::from_secret(key.public().to_string().as_bytes()),
        _ => key.encoding(),
    };
    jsonwebtoken::encode(&head, claims, &signed_with).unwrap()
}

fn claims() -> Claims {
    let now = get_current_timestamp();
    Claims {
        iss: "bff".to_owned(),
        aud: "orders".to_owned(),
        iat: now,
        exp: now + 60,
    }
}

fn signed(identity: &Identity, service: &str) -> String {
    let mut headers = HeaderMap::new();
    identity.sign(service, &mut headers).unwrap();
    let value = headers[header::AUTHORIZATION].to_str().unwrap();
    value.strip_prefix("Bearer ").unwrap().to_owned()
}

#[test]
fn a_caller_is_known_by_its_key() {
    let key = PrivateKey::fresh();
    let orders = Callers::new("orders", &[known("bff", &key)]);
    let identity = Identity::new("bff", &key);
    let token = signed(&identity, "orders");
    assert_eq!(orders.check(&token), Ok("bff".to_owned()));
    // Once more, from memory; and the caller does not sign anew for every request.
    assert_eq!(orders.check(&token), Ok("bff".to_owned()));
    assert_eq!(signed(&identity, "orders"), token);
}

#[test]
fn a_token_is_for_one_service_alone() {
    let key = PrivateKey::fresh();
    let payments = Callers::new("payments", &[known("bff", &key)]);
    let identity = Identity::new("bff", &key);
    assert_eq!(
        payments.check(&signed(&identity, "orders")),
        Err(Refusal::Audience)
    );
}

#[test]
fn an_unknown_key_and_a_key_under_anothers_name_are_refused() {
    let key = PrivateKey::fresh();
    let other = PrivateKey::fresh();
    let orders = Callers::new("orders", &[known("bff", &key), known("notifications", &other)]);
    let stranger = Identity::new("bff", &PrivateKey::fresh());
    assert_eq!(orders.check(&signed(&stranger, "orders")), Err(Refusal::Key));
    let pretender = Identity::new("bff", &other);
    assert_eq!(orders.check(&signed(&pretender, "orders")), Err(Refusal::Caller));
    // Another's signature under a known key's id.
    let (head, _) = {
        let token = signed(&Identity::new("bff", &key), "orders");
        let (head, rest) = token.split_once('.').unwrap();
        (head.to_owned(), rest.to_owned())
    };
    let forged = signed(&pretender, "orders");
    let (_, rest) = forged.split_once('.').unwrap();
    assert_eq!(orders.check(&format!("{head}.{rest}")), Err(Refusal::Signature));
}

#[test]
fn while_a_key_is_replaced_both_are_known() {
    let (old, new) = (PrivateKey::fresh(), PrivateKey::fresh());
    let both = Callers::new("orders", &[known("bff", &old), known("bff", &new)]);
    for key in [&old, &new] {
        assert!(both.check(&signed(&Identity::new("bff", key), "orders")).is_ok());
    }
    let after = Callers::new("orders", &[known("bff", &new)]);
    assert_eq!(
        after.check(&signed(&Identity::new("bff", &old), "orders")),
        Err(Refusal::Key)
    );
}

#[test]
fn times_are_checked_with_five_minutes_for_the_clocks() {
    let key = PrivateKey::fresh();
    let orders = Callers::new("orders", &[known("bff", &key)]);
    let at =
        |iat: u64, exp: u64| orders.check(&token(&key, Algorithm::ES256, &Claims { iat, exp, ..claims() }));
    let now = get_current_timestamp();
    assert_eq!(at(now, now + 60), Ok("bff".to_owned()));
    // Clocks that are five minutes apart, to either side.
    assert_eq!(at(now - 300, now - 240), Ok("bff".to_owned()));
    assert_eq!(at(now + 300, now + 360), Ok("bff".to_owned()));
    assert_eq!(at(now - 500, now - 440), Err(Refusal::Time));
    assert_eq!(at(now + 500, now + 560), Err(Refusal::Time));
    assert_eq!(at(now, now + 3_600), Err(Refusal::TooLong));
}

#[test]
fn a_token_that_was_right_once_does_not_stay_right() {
    let key = PrivateKey::fresh();
    let orders = Callers::new("orders", &[known("bff", &key)]);
    let now = get_current_timestamp();
    let old = Claims {
        iat: now - 500,
        exp: now - 440,
        ..claims()
    };
    let token = token(&key, Algorithm::ES256, &old);
    for _ in 0..2 {
        assert_eq!(orders.check(&token), Err(Refusal::Time));
    }
}

#[test]
fn nothing_but_the_one_algorithm_is_taken() {
    let key = PrivateKey::fresh();
    let orders = Callers::new("orders", &[known("bff", &key)]);
    // The public key as the secret of an HMAC.
    let hmac = token(&key, Algorithm::HS256, &claims());
    assert_eq!(orders.check(&hmac), Err(Refusal::Malformed));
    let right = token(&key, Algorithm::ES256, &claims());
    let (_, rest) = right.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    let none = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"none","kid":"{}"}}"#, key.public().id()));
    assert_eq!(
        orders.check(&format!("{none}.{payload}.")),
        Err(Refusal::Malformed)
    );
    for nonsense in ["", "a.b.c", "Bearer", &"a".repeat(10_000)] {
        assert_eq!(orders.check(nonsense), Err(Refusal::Malformed), "{nonsense}");
    }
}

#[test]
fn a_service_that_is_told_of_nobody_lets_nobody_in() {
    let orders = Callers::new("orders", &[]);
    let anybody = Identity::new("bff", &PrivateKey::fresh());
    assert_eq!(orders.check(&signed(&anybody, "orders")), Err(Refusal::Key));
}
