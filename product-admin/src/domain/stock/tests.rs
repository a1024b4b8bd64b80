use super::*;
use crate::domain::level::{Availability, ProductStatus};

fn product(n: u128) -> ProductId {
    ProductId(uuid::Uuid::from_u128(n))
}

fn purchase(n: u128) -> PurchaseId {
    PurchaseId(uuid::Uuid::from_u128(0x1000 + n))
}

fn active(on_hand: i32, reserved: i32) -> Level {
    let announced = Availability::of(on_hand - reserved);
    Level {
        status: ProductStatus::Active,
        on_hand,
        reserved,
        announced,
    }
}

fn stock(levels: &[(ProductId, Level)]) -> Stock {
    Stock::new(levels.iter().copied(), [])
}

fn line(product_id: ProductId, quantity: i32) -> ReserveLine {
    ReserveLine { product_id, quantity }
}

fn shortage(product_id: ProductId, requested: i32, available: i32) -> ReservationShortage {
    ReservationShortage {
        product_id,
        requested,
        available,
    }
}

#[test]
fn a_purchase_gets_all_of_its_lines_or_none() {
    let mut stock = stock(&[(product(1), active(10, 0)), (product(2), active(1, 0))]);
    let refused = stock
        .reserve(purchase(1), &[line(product(1), 4), line(product(2), 2)])
        .unwrap();
    assert_eq!(refused, Err(vec![shortage(product(2), 2, 1)]));
    assert_eq!(stock.changes(), Changes::default());

    let held = stock
        .reserve(purchase(2), &[line(product(1), 4), line(product(2), 1)])
        .unwrap();
    assert_eq!(held, Ok(()));
    let changes = stock.changes();
    assert_eq!(
        changes.levels.iter().map(|(_, l)| l.reserved).collect::<Vec<_>>(),
        [4, 1]
    );
    assert_eq!(changes.reservations.len(), 2);
}

#[test]
fn every_short_line_is_listed_and_an_unknown_or_inactive_product_counts_as_empty() {
    let archived = Level {
        status: ProductStatus::Archived,
        ..active(50, 0)
    };
    let draft = Level {
        status: ProductStatus::Draft,
        ..active(50, 0)
    };
    let mut stock = stock(&[
        (product(1), active(3, 2)),
        (product(2), archived),
        (product(3), draft),
        (product(4), active(9, 0)),
    ]);
    let lines: Vec<ReserveLine> = (1..=5).map(|n| line(product(n), 2)).collect();
    assert_eq!(
        stock.reserve(purchase(1), &lines).unwrap(),
        Err(vec![
            shortage(product(1), 2, 1),
            shortage(product(2), 2, 0),
            shortage(product(3), 2, 0),
            shortage(product(5), 2, 0),
        ])
    );
}

#[test]
fn several_purchases_of_one_batch_never_oversell_a_product() {
    let mut stock = stock(&[(product(1), active(10, 0))]);
    let held = (0..50)
        .filter(|n| {
            stock
                .reserve(purchase(*n), &[line(product(1), 3)])
                .unwrap()
                .is_ok()
        })
        .count();
    assert_eq!(held, 3);
    let changes = stock.changes();
    assert_eq!(
        changes.levels,
        [(
            product(1),
            Level {
                reserved: 9,
                ..active(10, 0)
            }
        )]
    );
    assert_eq!(changes.reservations.len(), 3);
}

#[test]
fn what_is_released_can_be_sold_in_the_same_batch() {
    let mut stock = stock(&[(product(1), active(10, 0))]);
    assert_eq!(
        stock.reserve(purchase(1), &[line(product(1), 10)]).unwrap(),
        Ok(())
    );
    assert!(
        stock
            .reserve(purchase(2), &[line(product(1), 1)])
            .unwrap()
            .is_err()
    );
    stock.release(purchase(1)).unwrap();
    assert_eq!(
        stock.reserve(purchase(3), &[line(product(1), 10)]).unwrap(),
        Ok(())
    );
    assert_eq!(stock.changes().levels[0].1.reserved, 10);
}

#[test]
fn a_confirmed_reservation_can_still_be_released_and_only_once() {
    let mut stock = stock(&[(product(1), active(10, 2))]);
    stock
        .reserve(purchase(1), &[line(product(1), 5)])
        .unwrap()
        .unwrap();
    stock.confirm(purchase(1)).unwrap();
    assert_eq!(stock.changes().levels[0].1.reserved, 7);
    stock.release(purchase(1)).unwrap();
    stock.release(purchase(1)).unwrap();
    let changes = stock.changes();
    assert_eq!(changes.levels, [], "the level is what it was");
    assert_eq!(changes.reservations[0].2.state, ReservationState::Released);
}

#[test]
fn only_held_units_are_confirmed() {
    let mut stock = stock(&[(product(1), active(10, 0))]);
    assert_eq!(
        stock.confirm(purchase(1)),
        Err(Contradiction::NotHeld(purchase(1)))
    );
    stock
        .reserve(purchase(1), &[line(product(1), 1)])
        .unwrap()
        .unwrap();
    stock.confirm(purchase(1)).unwrap();
    assert_eq!(
        stock.confirm(purchase(1)),
        Err(Contradiction::NotHeld(purchase(1)))
    );
    stock.release(purchase(1)).unwrap();
    assert_eq!(
        stock.confirm(purchase(1)),
        Err(Contradiction::NotHeld(purchase(1)))
    );
}

#[test]
fn lines_that_contradict_themselves_are_no_business_refusal() {
    let mut stock = stock(&[(product(1), active(10, 0))]);
    let (purchase, one) = (purchase(1), product(1));
    assert_eq!(
        stock.reserve(purchase, &[]),
        Err(Contradiction::NoLines(purchase))
    );
    for quantity in [0, -1, i32::MIN] {
        assert_eq!(
            stock.reserve(purchase, &[line(one, quantity)]),
            Err(Contradiction::Quantity {
                purchase,
                product: one,
                quantity
            })
        );
    }
    assert_eq!(
        stock.reserve(purchase, &[line(one, 1), line(one, 1)]),
        Err(Contradiction::Twice {
            purchase,
            product: one
        })
    );
    assert_eq!(
        stock.reserve(purchase, &[line(one, i32::MAX)]).unwrap(),
        Err(vec![shortage(one, i32::MAX, 10)])
    );
}

#[test]
fn a_purchase_reserves_once() {
    let mut stock = stock(&[(product(1), active(10, 0)), (product(2), active(10, 0))]);
    stock
        .reserve(purchase(1), &[line(product(1), 1)])
        .unwrap()
        .unwrap();
    assert_eq!(
        stock.reserve(purchase(1), &[line(product(2), 1)]),
        Err(Contradiction::AlreadyReserved(purchase(1)))
    );
}

#[test]
fn stock_that_contradicts_a_release_is_left_alone() {
    let reservation = Reservation {
        quantity: 3,
        state: ReservationState::Held,
    };
    let mut stock = Stock::new(
        [(product(1), active(10, 2))],
        [(purchase(1), product(1), reservation)],
    );
    let (purchase, product) = (purchase(1), product(1));
    assert_eq!(
        stock.release(purchase),
        Err(Contradiction::Underflow { purchase, product })
    );

    let mut stock = Stock::new([], [(purchase, product, reservation)]);
    assert_eq!(
        stock.release(purchase),
        Err(Contradiction::NotLocked { purchase, product })
    );
    assert_eq!(
        stock.confirm(purchase),
        Err(Contradiction::NotLocked { purchase, product })
    );
}

#[test]
fn availability_is_announced_once_a_batch_and_only_when_it_crosses() {
    let mut stock = stock(&[(product(1), active(10, 0))]);
    let crossing = |stock: &Stock| {
        stock
            .changes()
            .levels
            .first()
            .and_then(|(_, level)| level.crossing())
    };
    stock
        .reserve(purchase(1), &[line(product(1), 4)])
        .unwrap()
        .unwrap();
    assert_eq!(crossing(&stock), None, "6 are left");
    stock
        .reserve(purchase(2), &[line(product(1), 1)])
        .unwrap()
        .unwrap();
    assert_eq!(crossing(&stock), Some(Availability::LowStock));
    stock
        .reserve(purchase(3), &[line(product(1), 5)])
        .unwrap()
        .unwrap();
    assert_eq!(crossing(&stock), Some(Availability::OutOfStock));
    stock.release(purchase(1)).unwrap();
    stock.release(purchase(3)).unwrap();
    assert_eq!(crossing(&stock), None, "9 are left, as the catalogue believes");
}
