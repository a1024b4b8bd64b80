//! Where a field that failed leaves its null.
//!
//! By the specification (<https://spec.graphql.org/October2021/#sec-Handling-Field-Errors>) a field that may be null
//! becomes null and its neighbours stay; one that may not takes the object or list around it along. The library leaves
//! failed fields out of the answer instead. This extension sees every field and list item as it is resolved and puts
//! the nulls where they belong. It takes every list item as one that may not be null, as the library tells it; the
//! schema has no others.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use async_graphql::{
    QueryPathNode, Response, ServerError, ServerResult, Value,
    extensions::{Extension, ExtensionContext, ExtensionFactory, NextExecute, NextResolve, ResolveInfo},
};

/// Stands for an error that is recorded already, so that the library has something to pass on.
const RECORDED: &str = "recorded";

/// Makes one [`Nulls`] for every request.
#[derive(Debug)]
pub(crate) struct NullsFactory;

impl ExtensionFactory for NullsFactory {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Nulls::default())
    }
}

#[derive(Debug, Default)]
struct Nulls {
    failed: Mutex<Failed>,
    /// Whether there is anything in `failed`, so that a request without errors takes no lock.
    any: AtomicBool,
}

#[derive(Debug, Default)]
struct Failed {
    errors: Vec<ServerError>,
    /// The paths of objects and lists of which something that may not be null has failed.
    spoiled: HashSet<Vec<String>>,
}

#[async_trait::async_trait]
impl Extension for Nulls {
    async fn execute(
        &self,
        ctx: &ExtensionContext<'_>,
        operation_name: Option<&str>,
        next: NextExecute<'_>,
    ) -> Response {
        let mut response = next.run(ctx, operation_name).await;
        if self.any.swap(false, Ordering::AcqRel) {
            let failed = std::mem::take(
                &mut *self
                    .failed
                    .lock()
                    .expect("nothing panics while it holds this lock"),
            );
            response.errors.retain(|error| error.message != RECORDED);
            response.errors.extend(failed.errors);
            if failed.spoiled.contains(&Vec::new()) {
                response.data = Value::Null;
            }
        }
        response
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        let (node, may_be_null) = (*info.path_node, !info.return_type.ends_with('!'));
        let error = match next.run(ctx, info).await {
            Ok(value) if !self.any.load(Ordering::Acquire) || !self.is_spoiled(node) => return Ok(value),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        self.fail(node, may_be_null, error)
    }
}

impl Nulls {
    fn is_spoiled(&self, node: QueryPathNode<'_>) -> bool {
        let failed = self
            .failed
            .lock()
            .expect("nothing panics while it holds this lock");
        failed.spoiled.contains(&node.to_string_vec())
    }

    fn fail(
        &self,
        node: QueryPathNode<'_>,
        may_be_null: bool,
        error: Option<ServerError>,
    ) -> ServerResult<Option<Value>> {
        let mut failed = self
            .failed
            .lock()
            .expect("nothing panics while it holds this lock");
        self.any.store(true, Ordering::Release);
        failed
            .errors
            .extend(error.filter(|error| error.message != RECORDED));
        if may_be_null {
            return Ok(Some(Value::Null));
        }
        let mut around = node.to_string_vec();
        around.pop();
        failed.spoiled.insert(around);
        Err(ServerError::new(RECORDED, None))
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::{EmptyMutation, EmptySubscription, Object, Result, Schema};
    use serde_json::{Value as Json, json};

    use super::*;

    struct Thing {
        broken: bool,
    }

    #[Object]
    impl Thing {
        async fn name(&self) -> &str {
            "a thing"
        }

        async fn maybe(&self) -> Result<Option<i32>> {
            Err("no number".into())
        }

        async fn surely(&self) -> Result<i32> {
            if self.broken {
                Err("no number".into())
            } else {
                Ok(7)
            }
        }
    }

    struct Query;

    #[Object]
    impl Query {
        async fn optional(&self) -> Option<Thing> {
            Some(Thing { broken: true })
        }

        async fn required(&self) -> Thing {
            Thing { broken: true }
        }

        async fn list(&self) -> Option<Vec<Thing>> {
            Some(vec![Thing { broken: false }, Thing { broken: true }])
        }
    }

    async fn answered(query: &str) -> (Json, Vec<Json>) {
        let schema = Schema::build(Query, EmptyMutation, EmptySubscription)
            .extension(NullsFactory)
            .finish();
        let answer = serde_json::to_value(schema.execute(query).await).unwrap();
        let errors = answer["errors"].as_array().cloned().unwrap_or_default();
        (
            answer["data"].clone(),
            errors.into_iter().map(|error| error["path"].clone()).collect(),
        )
    }

    #[tokio::test]
    async fn a_field_that_may_be_null_becomes_null_and_its_neighbours_stay() {
        let (data, paths) = answered("{ required { maybe name } }").await;
        assert_eq!(data, json!({ "required": { "maybe": null, "name": "a thing" } }));
        assert_eq!(paths, [json!(["required", "maybe"])]);
        let (alone, _) = answered("{ optional { maybe } }").await;
        assert_eq!(alone, json!({ "optional": { "maybe": null } }));
    }

    #[tokio::test]
    async fn a_field_that_may_not_be_null_takes_what_is_around_it_along() {
        let (data, paths) = answered("{ optional { name surely } list { name } }").await;
        assert_eq!(data["optional"], Json::Null);
        assert_eq!(
            data["list"],
            json!([{ "name": "a thing" }, { "name": "a thing" }])
        );
        assert_eq!(paths, [json!(["optional", "surely"])]);
        assert_eq!(answered("{ list { surely } }").await.0, json!({ "list": null }));
        let (data, paths) = answered("{ a: optional { name } required { name surely } }").await;
        assert_eq!(data, Json::Null);
        assert_eq!(paths, [json!(["required", "surely"])]);
    }
}
