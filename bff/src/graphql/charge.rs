//! What an operation costs, taken from its viewer's bucket once it is known to be valid and before anything is done for it.

use std::sync::{Arc, Mutex};

use async_graphql::{
    ErrorExtensionValues, ServerError, ValidationResult, Value,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation},
};

use super::{Code, MAX_COMPLEXITY};
use crate::transport::{Standing, Throttle};

/// One operation of a viewer: what it was charged, once it was.
#[derive(Debug)]
pub(crate) struct Charge {
    throttle: Throttle,
    viewer: String,
    standing: Mutex<Option<Standing>>,
}

impl Charge {
    /// For an operation of `viewer`.
    pub fn new(throttle: &Throttle, viewer: &str) -> Self {
        Self {
            throttle: throttle.clone(),
            viewer: viewer.to_owned(),
            standing: Mutex::default(),
        }
    }

    /// How the viewer's bucket stands; none before the operation is charged.
    pub fn standing(&self) -> Option<Standing> {
        *self.standing.lock().expect("nobody panics with it")
    }

    fn take(&self, cost: usize) -> Result<(), ServerError> {
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        let taken = self.throttle.take(&self.viewer, cost);
        let (standing, wait) = match taken {
            Ok(standing) => (standing, None),
            Err((standing, wait)) => (standing, Some(wait)),
        };
        *self.standing.lock().expect("nobody panics with it") = Some(standing);
        let Some(wait) = wait else {
            return Ok(());
        };
        metrics::counter!("belay_graphql_rate_limited_total").increment(1);
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let message = format!(
            "This costs {cost} points and {} are left: ask again in {wait} ms, or for less.",
            standing.remaining
        );
        let mut error = ServerError::new(message, None);
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        extensions.set("code", Code::RateLimited.as_str());
        extensions.set("retryAfterMs", Value::from(wait));
        extensions.set("cost", standing.extension());
        Err(error)
    }
}

/// Charges every operation that has a [`Charge`] in its data.
#[derive(Debug)]
pub(crate) struct ChargeFactory;

impl ExtensionFactory for ChargeFactory {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Charging)
    }
}

struct Charging;

#[async_trait::async_trait]
impl Extension for Charging {
    async fn validation(
        &self,
        ctx: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        let result = next.run(ctx).await?;
        // What is over the limit of one request is refused after this, and is not carried out.
        if result.complexity <= MAX_COMPLEXITY
            && let Some(charge) = ctx.data_opt::<Arc<Charge>>()
        {
            charge
                .take(result.complexity.max(1))
                .map_err(|error| vec![error])?;
        }
        Ok(result)
    }
}
