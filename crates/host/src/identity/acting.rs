//! For whom a caller asks: carried beside its token, and recorded where something is changed.

use std::{
    cell::RefCell,
    pin::pin,
    task::{Context, Poll},
};

use axum::http::{HeaderName, HeaderValue};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::Stream;
use serde::{Deserialize, Serialize};

/// Carries [`Acting`] as JSON in base64url: subjects are any text, headers are not.
pub const HEADER: HeaderName = HeaderName::from_static("belay-acting");

/// Characters of a header that are looked at. A subject has 255 at most.
const LONGEST: usize = 4_096;

/// The person for whom a caller asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acting {
    /// The stable id of who it is, as the token issuer has it.
    pub subject: String,
    /// The highest role, in small letters.
    pub role: String,
}

impl Acting {
    /// The value of [`HEADER`].
    ///
    /// # Panics
    /// Never: two texts are always JSON, and base64url is always a header's value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let json = serde_json::to_vec(self).expect("two texts are JSON");
        HeaderValue::from_str(&BASE64_URL_SAFE_NO_PAD.encode(json)).expect("base64url is ASCII")
    }

    /// Who a header names; none when it is not written so.
    #[must_use]
    pub fn of_header(value: &HeaderValue) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(value.as_bytes()).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

tokio::task_local! {
    /// For whom the calls of this task are made.
    static CURRENT: RefCell<Option<Acting>>;
}

/// For whom the calls of this task are made, if for anybody.
#[must_use]
pub fn current() -> Option<Acting> {
    CURRENT.try_with(|acting| acting.borrow().clone()).ok().flatten()
}

/// Makes every call of `work` for `acting`. A task that `work` spawns has to be told anew: see [`current`].
pub async fn scope<F: Future>(acting: Option<Acting>, work: F) -> F::Output {
    CURRENT.scope(RefCell::new(acting), work).await
}

/// Like [`scope`], for a stream: every call that is made while it is polled.
pub fn stream<S: Stream + Unpin>(acting: Option<Acting>, mut inner: S) -> impl Stream<Item = S::Item> {
    futures::stream::poll_fn(move |context: &mut Context<'_>| -> Poll<Option<S::Item>> {
        CURRENT.sync_scope(RefCell::new(acting.clone()), || {
            pin!(&mut inner).poll_next(context)
        })
    })
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    fn alice() -> Acting {
        Acting {
            subject: "älice, 李".to_owned(),
            role: "customer".to_owned(),
        }
    }

    #[test]
    fn any_subject_fits_into_a_header() {
        assert_eq!(Acting::of_header(&alice().header()), Some(alice()));
        for wrong in ["", "alice", "e30"] {
            assert_eq!(
                Acting::of_header(&HeaderValue::from_static(wrong)),
                None,
                "{wrong}"
            );
        }
    }

    #[tokio::test]
    async fn who_acts_is_known_within_the_scope_alone() {
        assert_eq!(current(), None);
        assert_eq!(scope(Some(alice()), async { current() }).await, Some(alice()));
        let once = futures::stream::once(async { current() }).boxed();
        assert_eq!(stream(Some(alice()), once).next().await, Some(Some(alice())));
        assert_eq!(current(), None);
    }
}
