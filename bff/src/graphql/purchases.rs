//! Pages of purchases: everybody's for operators, one's own for customers.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object};
use chrono::{DateTime, Utc};
use contracts::{ids::PurchaseId, operator::PurchaseSearch};

use super::{
    authorization::{Requires, auth},
    failure::Failure,
    ids,
    paging::{self, Page},
    purchase::PurchaseObject,
    reader::Reader,
};
use crate::{
    auth::Role,
    domain::{purchase::Purchase, words::PurchaseState},
    store::submission::OpenSearch,
};

/// Characters of a text to look for at most.
const MAX_CHARACTERS: usize = 200;

/// Which purchases are looked for. What is left out excludes nothing.
#[derive(Debug, Default, InputObject)]
pub(crate) struct PurchaseFilter {
    states: Option<Vec<PurchaseState>>,
    /// The step that they wait for, forward or backward, such as `authorize-payment`.
    step: Option<String>,
    customer_id: Option<ID>,
    /// The whole of it, in any case.
    reference: Option<String>,
    /// Of one of the lines, as it was bought.
    sku: Option<String>,
    /// Inclusive.
    created_after: Option<DateTime<Utc>>,
    /// Exclusive.
    created_before: Option<DateTime<Utc>>,
    /// Open, and without a change for at least so long.
    stuck_for_seconds: Option<i32>,
}

/// A filter as the services understand it.
#[derive(Debug, Clone, Default)]
pub(super) struct Wanted {
    pub states: Option<Vec<PurchaseState>>,
    pub search: PurchaseSearch,
    open: OpenSearch,
}

/// A page of purchases.
pub(super) type PurchasePage = Page<PurchaseObject, Totals>;

/// What a page of purchases says of the whole list.
#[derive(Debug)]
pub(crate) struct Totals(PurchaseSearch);

/// What a page of purchases says of the whole list.
#[Object]
impl Totals {
    /// How many there are, of those that purchase-manager knows; null when there are more than 10000.
    #[graphql(guard = "Requires(Role::Operator)", directive = auth::apply(Role::Operator))]
    async fn total_count(&self, ctx: &Context<'_>) -> Result<Option<i32>, Failure> {
        let reader = ctx.data_unchecked::<Arc<Reader>>();
        let total = reader.count_purchases(&self.0).await?;
        Ok(total.and_then(|total| i32::try_from(total).ok()))
    }
}

impl PurchaseFilter {
    /// Reads the filter.
    ///
    /// # Errors
    /// [`Failure::BadInput`] for what nothing can match by mistake.
    pub(super) fn read(self) -> Result<Wanted, Failure> {
        let customer = match &self.customer_id {
            Some(id) => Some(ids::as_customer(id).ok_or_else(|| ids::not_an_id_of("customer"))?),
            None => None,
        };
        if self.stuck_for_seconds.is_some_and(|seconds| seconds < 0) {
            return Err(Failure::BadInput(
                "`stuckForSeconds` must not be below zero.".to_owned(),
            ));
        }
        let (step, sku) = (text("step", self.step)?, text("sku", self.sku)?);
        let reference = text("reference", self.reference)?.map(|reference| reference.to_uppercase());
        let (after, before) = (since_1970(self.created_after), since_1970(self.created_before));
        let micros = |at: DateTime<Utc>| at.timestamp_micros();
        Ok(Wanted {
            search: PurchaseSearch {
                states: self.states.as_ref().map(|states| {
                    let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
                    words.join(",")
                }),
                step,
                customer: customer.clone(),
                reference: reference.clone(),
                sku: sku.clone(),
                created_after: after.map(micros),
                created_before: before.map(micros),
                stuck_for_seconds: self.stuck_for_seconds,
                before: None,
                limit: None,
            },
            open: OpenSearch {
                customer,
                reference,
                sku,
                created_after: after,
                created_before: before,
                waiting_for_seconds: self.stuck_for_seconds.map(f64::from),
            },
            states: self.states,
        })
    }
}

impl Wanted {
    /// Whether a submission that purchase-manager does not know yet may be wanted: it is pending, and at no step.
    fn open(&self) -> Option<&OpenSearch> {
        let pending = self
            .states
            .as_ref()
            .is_none_or(|states| states.contains(&PurchaseState::Pending));
        (pending && self.search.step.is_none()).then_some(&self.open)
    }

    /// Whether an event's purchase is wanted. One that has just changed is not stuck.
    pub fn matches(&self, purchase: &Purchase) -> bool {
        let PurchaseSearch {
            states: _,
            step,
            customer,
            reference,
            sku,
            created_after,
            created_before,
            stuck_for_seconds,
            before: _,
            limit: _,
        } = &self.search;
        let created = purchase.created_at.timestamp_micros();
        self.states
            .as_ref()
            .is_none_or(|states| states.contains(&purchase.state))
            && step.as_ref().is_none_or(|step| purchase.waits_for(step))
            && customer
                .as_ref()
                .is_none_or(|customer| *customer == purchase.customer)
            && reference
                .as_ref()
                .is_none_or(|reference| *reference == purchase.reference)
            && sku
                .as_ref()
                .is_none_or(|sku| purchase.lines.iter().any(|line| line.sku == *sku))
            && created_after.is_none_or(|after| created >= after)
            && created_before.is_none_or(|before| created < before)
            && stuck_for_seconds.is_none_or(|seconds| seconds == 0)
    }

    /// The same, of these states alone.
    pub fn among(&self, states: &[PurchaseState]) -> Self {
        let both: Vec<PurchaseState> = match &self.states {
            Some(own) => own.iter().copied().filter(|own| states.contains(own)).collect(),
            None => states.to_vec(),
        };
        let words: Vec<&str> = both.iter().map(|state| state.as_str()).collect();
        let search = PurchaseSearch {
            states: Some(words.join(",")),
            ..self.search.clone()
        };
        Self {
            states: Some(both),
            search,
            open: self.open.clone(),
        }
    }

    /// At most `limit` of the purchases, newest first, older than `before`.
    pub async fn find(
        &self,
        reader: &Reader,
        before: Option<PurchaseId>,
        limit: i64,
    ) -> Result<Vec<Arc<Purchase>>, Failure> {
        if self.states.as_ref().is_some_and(Vec::is_empty) {
            // No state at all is asked for.
            return Ok(Vec::new());
        }
        let search = PurchaseSearch {
            before,
            limit: Some(limit),
            ..self.search.clone()
        };
        reader.find_purchases(&search, self.open(), limit).await
    }
}

/// A page for operators.
pub(super) async fn page(
    ctx: &Context<'_>,
    first: Option<i32>,
    after: Option<String>,
    filter: PurchaseFilter,
) -> Result<PurchasePage, Failure> {
    let size = paging::size(first)?;
    let before = place(after.as_deref())?;
    let wanted = filter.read()?;
    let reader = ctx.data_unchecked::<Arc<Reader>>();
    let found = wanted.find(reader, before, size + 1).await?;
    Ok(of(found, size, before.is_none(), wanted.search))
}

/// The place of a cursor.
pub(super) fn place(after: Option<&str>) -> Result<Option<PurchaseId>, Failure> {
    paging::place(after, |text| text.parse().ok())
}

/// A page of what was found; `search` is what the whole list is.
pub(super) fn of(found: Vec<Arc<Purchase>>, size: i64, begins: bool, search: PurchaseSearch) -> PurchasePage {
    paging::page_with(Totals(search), found, size, begins, |purchase| {
        (purchase.id.to_string(), PurchaseObject(purchase))
    })
}

fn text(field: &str, text: Option<String>) -> Result<Option<String>, Failure> {
    let Some(text) = text else { return Ok(None) };
    if text.chars().count() > MAX_CHARACTERS || text.contains(char::is_control) {
        return Err(Failure::BadInput(format!(
            "`{field}` must be at most {MAX_CHARACTERS} characters of one line."
        )));
    }
    Ok(Some(text.trim().to_owned()))
}

/// Nothing is older than 1970, so an earlier time is the same as that.
fn since_1970(at: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    at.map(|at| at.max(DateTime::UNIX_EPOCH))
}
