//! Purchases that tests submit.

use contracts::{
    ids::{CustomerId, ProductId, PurchaseId},
    money::Currency,
    purchase_manager::{PurchaseLine, SubmitPurchase},
};

/// Two tents of 299.50 EUR.
pub fn tents() -> SubmitPurchase {
    let purchase_id = PurchaseId::fresh();
    SubmitPurchase {
        purchase_id,
        customer_id: CustomerId("alice".to_owned()),
        reference: purchase_id.reference(),
        lines: vec![PurchaseLine {
            product_id: ProductId::fresh(),
            sku: "TENT-2".to_owned(),
            name: "Tent".to_owned(),
            quantity: 2,
            unit_price_minor: 29_950,
        }],
        currency: Currency::EUR,
        total_minor: 59_900,
        payment_method_token: "tok_ok".to_owned(),
        home_delivery: false,
        note: None,
        submitted_at: 1_700_000_000_000_000,
    }
}
