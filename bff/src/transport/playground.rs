//! A page to try things out. Nothing on it comes from elsewhere.
//!
//! GraphiQL where it was built (`scripts/playground`, which needs Node.js), with examples and a field for the token; a plain
//! page of our own otherwise. The plain one is at `/playground/plain` in any case.

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

/// A page may load its own script and style and talk to its own origin; nothing else (test `page`, in a browser).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file, as it is and packed.
#[derive(Debug, Clone, Copy)]
struct File {
    kind: &'static str,
    plain: &'static [u8],
    gzip: Option<&'static [u8]>,
}

/// A file of `assets/`: too small to be packed.
macro_rules! asset {
    ($kind:literal, $name:literal) => {
        File {
            kind: $kind,
            plain: include_bytes!(concat!("../../assets/", $name)),
            gzip: None,
        }
    };
}

/// A file that `scripts/playground` has built.
#[cfg(graphiql)]
macro_rules! built {
    ($kind:literal, $name:literal) => {
        File {
            kind: $kind,
            plain: include_bytes!(concat!("../../playground/dist/", $name)),
            gzip: Some(include_bytes!(concat!("../../playground/dist/", $name, ".gz"))),
        }
    };
}

#[cfg(not(graphiql))]
const GRAPHIQL: Option<[(&str, File); 3]> = None;
#[cfg(graphiql)]
const GRAPHIQL: Option<[(&str, File); 3]> = Some([
    ("/playground", built!("text/html", "playground.html")),
    (
        "/playground/playground.js",
        built!("text/javascript", "playground.js"),
    ),
    ("/playground/playground.css", built!("text/css", "playground.css")),
]);

const PLAIN: [(&str, File); 3] = [
    ("/playground/plain", asset!("text/html", "playground.html")),
    ("/playground/plain.js", asset!("text/javascript", "playground.js")),
    ("/playground/plain.css", asset!("text/css", "playground.css")),
];

/// Whether GraphiQL is in this build.
pub(crate) const HAS_GRAPHIQL: bool = GRAPHIQL.is_some();

/// The pages and what they are made of.
pub(crate) fn routes() -> Router {
    let mut router = Router::new();
    for (path, file) in PLAIN.into_iter().chain(GRAPHIQL.into_iter().flatten()) {
        router = router.route(path, get(async move |headers: HeaderMap| file.answer(&headers)));
    }
    if HAS_GRAPHIQL {
        return router;
    }
    let [(_, page), ..] = PLAIN;
    router.route(
        "/playground",
        get(async move |headers: HeaderMap| page.answer(&headers)),
    )
}

impl File {
    /// The file, packed for those who take it so, or nothing for those who have it.
    fn answer(self, asked: &HeaderMap) -> Response {
        let tag = self.tag();
        let fixed: [(HeaderName, &'static str); 4] = [
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::REFERRER_POLICY, "no-referrer"),
            // Kept, and asked for again each time: another build has another tag.
            (header::CACHE_CONTROL, "no-cache"),
        ];
        let named = [
            (header::ETAG, tag.clone()),
            (header::VARY, HeaderValue::from_static("accept-encoding")),
        ];
        if asked.get(header::IF_NONE_MATCH) == Some(&tag) {
            return (StatusCode::NOT_MODIFIED, fixed, named).into_response();
        }
        let kind = [(header::CONTENT_TYPE, format!("{}; charset=utf-8", self.kind))];
        match self.gzip.filter(|_| takes_gzip(asked)) {
            Some(packed) => {
                (fixed, named, kind, [(header::CONTENT_ENCODING, "gzip")], packed).into_response()
            }
            None => (fixed, named, kind, self.plain).into_response(),
        }
    }

    /// Another for another content: the checksum that gzip uses would do, this one is at hand. Not against malice.
    fn tag(self) -> HeaderValue {
        let sum = self.plain.iter().fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        HeaderValue::from_str(&format!("W/\"{sum:016x}\"")).expect("hexadecimal digits are a header value")
    }
}

fn takes_gzip(asked: &HeaderMap) -> bool {
    let values = asked.get_all(header::ACCEPT_ENCODING).into_iter();
    let mut named = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    named.any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, "q=1"));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(quality.trim(), "q=0" | "q=0.0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_for_those_who_take_it_and_nothing_for_those_who_have_it() {
        let file = File {
            kind: "text/css",
            plain: b"plain",
            gzip: Some(b"packed"),
        };
        let ask = |name: HeaderName, value: &str| {
            file.answer(&HeaderMap::from_iter([(
                name,
                HeaderValue::from_str(value).unwrap(),
            )]))
        };
        let packed = ask(header::ACCEPT_ENCODING, "br, gzip;q=0.8");
        assert_eq!(packed.headers()[header::CONTENT_ENCODING], "gzip");
        for plain in ["br", "gzip;q=0", "identity"] {
            let answer = ask(header::ACCEPT_ENCODING, plain);
            assert!(
                !answer.headers().contains_key(header::CONTENT_ENCODING),
                "{plain}"
            );
        }
        let known = packed.headers()[header::ETAG].to_str().unwrap();
        assert_eq!(
            ask(header::IF_NONE_MATCH, known).status(),
            StatusCode::NOT_MODIFIED
        );
        assert_eq!(ask(header::IF_NONE_MATCH, "W/\"other\"").status(), StatusCode::OK);
    }
}
