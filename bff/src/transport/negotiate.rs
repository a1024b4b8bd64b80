//! Which media type is answered.

use axum::http::{HeaderMap, header};

/// The media types that a GraphQL answer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/graphql-response+json`: the status says whether the request was well-formed.
    Response,
    /// `application/json`: what older clients expect; every well-formed request is answered 200.
    Json,
}

impl MediaType {
    /// The value of `Content-Type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Response => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// What the client likes best among what we can answer; `application/json` when it does not say, as clients from before
/// the specification expect. None when it takes neither.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<MediaType> {
    let mut stated = false;
    let mut best: Option<(f32, MediaType)> = None;
    for value in headers.get_all(header::ACCEPT) {
        for range in value
            .to_str()
            .ok()?
            .split(',')
            .map(str::trim)
            .filter(|range| !range.is_empty())
        {
            stated = true;
            let Some((quality, media)) = read_range(range) else {
                continue;
            };
            if best.is_none_or(|(known, _)| quality > known) {
                best = Some((quality, media));
            }
        }
    }
    match best {
        Some((_, media)) => Some(media),
        None if stated => None,
        None => Some(MediaType::Json),
    }
}

/// One entry of an `Accept` header; none when it is not for us, or refused by a quality of zero.
fn read_range(range: &str) -> Option<(f32, MediaType)> {
    let mut parts = range.split(';').map(str::trim);
    let name = parts.next()?.to_ascii_lowercase();
    let mut quality = 1.0_f32;
    for parameter in parts {
        let (key, value) = parameter.split_once('=')?;
        match key.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.trim().parse().ok()?,
            "charset" if !is_utf8(value) => return None,
            _ => {}
        }
    }
    let media = match name.as_str() {
        "application/graphql-response+json" => MediaType::Response,
        "application/json" | "application/*" | "*/*" => MediaType::Json,
        _ => return None,
    };
    (quality > 0.0).then_some((quality, media))
}

/// Whether a request's body is JSON in UTF-8. Nothing else is taken: what a foreign page's form may send without being
/// asked must not reach a mutation.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let json = parts
        .next()
        .is_some_and(|name| name.eq_ignore_ascii_case("application/json"));
    json && parts.all(|parameter| match parameter.split_once('=') {
        Some((key, charset)) if key.trim().eq_ignore_ascii_case("charset") => is_utf8(charset),
        Some(_) | None => true,
    })
}

fn is_utf8(charset: &str) -> bool {
    charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn accept(value: &'static str) -> Option<MediaType> {
        accepted(&HeaderMap::from_iter([(
            header::ACCEPT,
            HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn the_client_chooses_and_json_is_the_default() {
        assert_eq!(accepted(&HeaderMap::new()), Some(MediaType::Json));
        assert_eq!(accept("*/*"), Some(MediaType::Json));
        assert_eq!(
            accept("application/graphql-response+json"),
            Some(MediaType::Response)
        );
        let both = "application/graphql-response+json; charset=utf-8, application/json; charset=utf-8";
        assert_eq!(accept(both), Some(MediaType::Response));
        assert_eq!(
            accept("application/graphql-response+json;q=0.5, application/json"),
            Some(MediaType::Json)
        );
        assert_eq!(accept("text/html"), None);
        assert_eq!(accept("application/json;q=0"), None);
    }

    #[test]
    fn only_json_in_utf8_is_taken() {
        let taken = |value: &'static str| {
            is_json(&HeaderMap::from_iter([(
                header::CONTENT_TYPE,
                HeaderValue::from_static(value),
            )]))
        };
        assert!(taken("application/json"));
        assert!(taken("Application/JSON; charset=UTF-8"));
        for wrong in [
            "text/plain",
            "application/json; charset=latin1",
            "multipart/form-data",
            "",
        ] {
            assert!(!taken(wrong), "{wrong}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
