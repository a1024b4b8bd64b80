//! What staff do to products: each write once per idempotency key, its event in the same transaction.
//!
//! A refusal leaves nothing behind, not even the key: what was refused may be sent again with the same key once the
//! reason is gone.

use contracts::{
    http::{AdjustInventory, CreateProduct, ProductWritten, Refusal, Restock, UpdateProduct},
    ids::{self, ProductId},
};
use mailbox::{
    Codec, Fault, Outbox,
    request::{self, Claim},
};
use serde::Serialize;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use crate::{
    domain::{
        edit::{self, Correction, Edit},
        level::Level,
        product::{self, Delivery, NewProduct},
    },
    handlers::product_changed,
    store::products::{self, InsertError, MovementKind, NewMovement},
};

/// Why a write was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The business says no.
    #[error("refused")]
    Refused(Vec<Refusal>),
    /// The database or the encoding failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl DeskError {
    fn refused(refusal: Refusal) -> Self {
        Self::Refused(vec![refusal])
    }
}

impl From<sqlx::Error> for DeskError {
    fn from(error: sqlx::Error) -> Self {
        Self::Fault(error.into())
    }
}

/// Where staff write. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Desk {
    pool: PgPool,
    codec: Codec,
    outbox: Outbox,
}

impl Desk {
    /// A desk that writes through `pool` and sends its events through `outbox`.
    #[must_use]
    pub fn new(pool: PgPool, codec: Codec, outbox: Outbox) -> Self {
        Self { pool, codec, outbox }
    }

    /// Enters a product and announces it.
    ///
    /// Cancellation before the commit leaves nothing behind; after it, the relay finds the event at its next poll.
    ///
    /// # Errors
    /// [`DeskError::Refused`] with `REQUIRED`, `INVALID`, `DUPLICATE_SKU` or `IDEMPOTENCY_KEY_REUSED`.
    pub async fn create(&self, request: &CreateProduct) -> Result<ProductWritten, DeskError> {
        let new = NewProduct::parse(request).map_err(DeskError::Refused)?;
        let (scope, key) = (
            format!("create-product:{}", request.actor),
            request.idempotency_key,
        );
        let mut transaction = self.pool.begin().await?;
        if let Some(repeated) = claim(&mut transaction, &scope, key, request).await? {
            return Ok(repeated);
        }
        let product = match products::insert(&mut transaction, ProductId::fresh(), &new).await {
            Ok(product) => product,
            Err(InsertError::DuplicateSku) => {
                return Err(DeskError::refused(product::duplicate_sku(&new.sku)));
            }
            Err(InsertError::Database(error)) => return Err(error.into()),
        };
        let event = product_changed(&self.codec, &product)?;
        let written = ProductWritten { product };
        answer(&mut transaction, &scope, key, &written).await?;
        self.outbox.append(&mut transaction, &[event]).await?;
        transaction.commit().await?;
        self.outbox.wake_relay();
        tracing::info!(product.id = %written.product.product_id, "a product was entered");
        Ok(written)
    }

    /// Puts units on the shelf; announces the product when its availability crosses.
    ///
    /// Cancellation before the commit leaves nothing behind; after it, the relay finds the event at its next poll.
    ///
    /// # Errors
    /// [`DeskError::Refused`] with `REQUIRED`, `INVALID` (also for more units than fit), `NOT_FOUND` or
    /// `IDEMPOTENCY_KEY_REUSED`.
    pub async fn restock(&self, product: ProductId, request: &Restock) -> Result<ProductWritten, DeskError> {
        let delivery = Delivery::parse(product, request).map_err(DeskError::Refused)?;
        let (scope, key) = (format!("restock:{}", request.actor), request.idempotency_key);
        let mut transaction = self.pool.begin().await?;
        // The product is part of what is hashed: the same key for another product is another request.
        if let Some(repeated) = claim(&mut transaction, &scope, key, &(product, request)).await? {
            return Ok(repeated);
        }
        let shelf = products::lock_shelf(&mut transaction, product)
            .await?
            .ok_or_else(|| DeskError::refused(product::unknown_product()))?;
        let level = shelf
            .level
            .restocked(delivery.quantity)
            .map_err(|error| DeskError::refused(product::too_many(error)))?;
        let movement = NewMovement {
            id: ids::fresh(),
            product,
            kind: MovementKind::Restock,
            delta: delivery.quantity,
            reason: &delivery.reason,
            actor: &delivery.actor,
        };
        let written = self.shelve(transaction, &scope, key, &movement, &level).await?;
        tracing::info!(product.id = %delivery.product_id, quantity = delivery.quantity, "a product was restocked");
        Ok(written)
    }

    /// Corrects the units on hand after a count; announces the product when its availability crosses.
    ///
    /// Cancellation before the commit leaves nothing behind; after it, the relay finds the event at its next poll.
    ///
    /// # Errors
    /// [`DeskError::Refused`] with `REQUIRED`, `INVALID`, `NOT_FOUND`, `VERSION_CONFLICT`, `INSUFFICIENT_STOCK` (promised
    /// units cannot be taken away) or `IDEMPOTENCY_KEY_REUSED`.
    pub async fn adjust(
        &self,
        product: ProductId,
        request: &AdjustInventory,
    ) -> Result<ProductWritten, DeskError> {
        let correction = Correction::parse(request).map_err(DeskError::Refused)?;
        let (scope, key) = (format!("adjust:{}", request.actor), request.idempotency_key);
        let mut transaction = self.pool.begin().await?;
        if let Some(repeated) = claim(&mut transaction, &scope, key, &(product, request)).await? {
            return Ok(repeated);
        }
        let shelf = products::lock_shelf(&mut transaction, product)
            .await?
            .ok_or_else(|| DeskError::refused(product::unknown_product()))?;
        correction.check(shelf.version).map_err(DeskError::refused)?;
        let level = shelf
            .level
            .adjusted(correction.delta)
            .map_err(|error| DeskError::refused(edit::not_adjustable(error)))?;
        let movement = NewMovement {
            id: ids::fresh(),
            product,
            kind: MovementKind::Adjustment,
            delta: correction.delta,
            reason: &correction.reason,
            actor: &correction.actor,
        };
        let written = self.shelve(transaction, &scope, key, &movement, &level).await?;
        tracing::info!(product.id = %product, delta = correction.delta, "a stock was corrected");
        Ok(written)
    }

    /// Changes a product's words, price or status, notes who did it, and announces it. What is so already stays untouched.
    ///
    /// Cancellation before the commit leaves nothing behind; after it, the relay finds the event at its next poll.
    ///
    /// # Errors
    /// [`DeskError::Refused`] with `REQUIRED`, `INVALID`, `NOT_FOUND`, `VERSION_CONFLICT` or `IDEMPOTENCY_KEY_REUSED`.
    pub async fn update(
        &self,
        product: ProductId,
        request: &UpdateProduct,
    ) -> Result<ProductWritten, DeskError> {
        let edit = Edit::parse(request).map_err(DeskError::Refused)?;
        let (scope, key) = (
            format!("update-product:{}", request.actor),
            request.idempotency_key,
        );
        let mut transaction = self.pool.begin().await?;
        if let Some(repeated) = claim(&mut transaction, &scope, key, &(product, request)).await? {
            return Ok(repeated);
        }
        let known = products::lock(&mut transaction, product)
            .await?
            .ok_or_else(|| DeskError::refused(product::unknown_product()))?;
        let (product, event) = match edit.of(&known).map_err(DeskError::refused)? {
            None => (known, None),
            Some(changed) => {
                let changed = products::edit(&mut transaction, ids::fresh(), &changed, &edit.actor).await?;
                let event = product_changed(&self.codec, &changed)?;
                (changed, Some(event))
            }
        };
        let written = ProductWritten { product };
        answer(&mut transaction, &scope, key, &written).await?;
        self.outbox.append(&mut transaction, event.as_slice()).await?;
        transaction.commit().await?;
        self.outbox.wake_relay();
        tracing::info!(product.id = %written.product.product_id, "a product was changed");
        Ok(written)
    }

    /// Writes a movement with its answer and, when the availability crosses, its event; commits.
    async fn shelve(
        &self,
        mut transaction: Transaction<'_, Postgres>,
        scope: &str,
        key: Uuid,
        movement: &NewMovement<'_>,
        level: &Level,
    ) -> Result<ProductWritten, DeskError> {
        let product = products::move_stock(&mut transaction, movement, level).await?;
        let event = level
            .crossing()
            .map(|_| product_changed(&self.codec, &product))
            .transpose()?;
        let written = ProductWritten { product };
        answer(&mut transaction, scope, key, &written).await?;
        self.outbox.append(&mut transaction, event.as_slice()).await?;
        transaction.commit().await?;
        self.outbox.wake_relay();
        Ok(written)
    }
}

/// Claims the key, or returns the answer that was given to it before.
async fn claim(
    connection: &mut PgConnection,
    scope: &str,
    key: Uuid,
    request: &impl Serialize,
) -> Result<Option<ProductWritten>, DeskError> {
    let hash = request::hash(request).map_err(Fault::deterministic)?;
    match request::claim(connection, scope, key, &hash).await? {
        Claim::Fresh => Ok(None),
        Claim::Repeated(answer) => Ok(Some(
            serde_json::from_value(answer).map_err(Fault::deterministic)?,
        )),
        Claim::Reused => Err(DeskError::refused(product::key_reused())),
    }
}

/// Keeps the answer for whoever comes with the key again.
async fn answer(
    connection: &mut PgConnection,
    scope: &str,
    key: Uuid,
    written: &ProductWritten,
) -> Result<(), DeskError> {
    let answer = serde_json::to_value(written).map_err(Fault::deterministic)?;
    Ok(request::answer(connection, scope, key, &answer).await?)
}
