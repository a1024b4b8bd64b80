//! Many buyers for few units: everything that is there is sold, and nothing twice.

use e2e::World;

#[tokio::test(flavor = "multi_thread")]
async fn fifty_buyers_for_the_last_ten_units_get_exactly_ten() {
    let world = World::start().await;
    let admin = world.someone("ada", "admin");
    let rope = admin.create_product("Last rope", "15.00", 10).await;
    let buyers = (0..50).map(|n| {
        let buyer = world.customer(&format!("buyer-{n}"));
        let rope = rope.clone();
        async move {
            let id = buyer.submit(&[(&rope, 1)], "tok_ok").await;
            buyer.followed(&id).await
        }
    });
    let ended = futures::future::join_all(buyers).await;
    let of = |state: &str| ended.iter().filter(|purchase| purchase["state"] == state).count();
    assert_eq!((of("COMPLETED"), of("REJECTED")), (10, 40));
    assert!(
        ended
            .iter()
            .filter(|purchase| purchase["state"] == "REJECTED")
            .all(|purchase| purchase["failure"]["code"] == "INSUFFICIENT_STOCK")
    );
    assert_eq!(admin.stock(&rope).await, (10, 10, 0));
    world.audit_is_clean().await;
}
