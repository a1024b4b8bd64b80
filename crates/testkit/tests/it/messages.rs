use contracts::{ids::PurchaseId, orders::CancelOrder, topics};

#[tokio::test]
async fn a_repeated_command_is_another_message_for_the_same_command() {
    let codec = testkit::codec("purchase-manager").await;
    let purchase_id = PurchaseId::fresh();
    let cancel = CancelOrder { purchase_id };
    let first = testkit::command(&codec, topics::ORDERS_COMMANDS, purchase_id, &cancel).await;
    let again = testkit::repeated(&first);
    assert_eq!(first.decode::<CancelOrder>().unwrap(), cancel);
    assert_eq!(first.key, purchase_id.to_string());
    assert_eq!(first.envelope.source, "/belay/purchase-manager");
    assert_ne!(first.envelope.id, again.envelope.id);
    assert_eq!(first.envelope.command_id, again.envelope.command_id);
    let elsewhere = testkit::command(&codec, topics::ORDERS_COMMANDS, PurchaseId::fresh(), &cancel).await;
    assert_ne!(first.envelope.command_id, elsewhere.envelope.command_id);
}

#[tokio::test]
async fn a_decoded_message_is_what_was_encoded() {
    let codec = testkit::codec("purchase-manager").await;
    let cancel = CancelOrder {
        purchase_id: PurchaseId::fresh(),
    };
    let outgoing = codec
        .outgoing(topics::ORDERS_COMMANDS, cancel.purchase_id, &cancel)
        .unwrap();
    assert_eq!(testkit::decoded::<CancelOrder>(&codec, &outgoing).await, cancel);
}
