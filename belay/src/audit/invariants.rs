//! The invariants, in the order and the words of the design, each one statement over the temporary tables.
//!
//! | table | a row is |
//! |---|---|
//! | `submission` | a purchase that the edge accepted (kept a day after it was acknowledged) |
//! | `purchase` | a saga; `purchase_at_rest` those that ended by themselves long enough ago |
//! | `open_purchase` | a purchase that has neither ended nor is stuck, also when no saga knows it |
//! | `purchase_line` | a product of a purchase |
//! | `product`, `movement`, `promised` | stock, what came and went, and the units that reservations hold, per product |
//! | `reservation` | units of a product that are promised to a purchase |
//! | `placed_order`, `payment`, `notification` | an order, a payment, an outcome that was told or is to be told |
//! | `waiting_message`, `capture`, `regression`, `handled`, `parked` | the mailboxes of all services |
//! | `setting` | `at_rest_s`, `bound_s` |
//!
//! With a window the tables hold what moved within it alone ([`super::snapshot`]).

/// One line of the design's list.
#[derive(Debug, Clone, Copy)]
pub struct Invariant {
    /// Its name in the design.
    pub id: &'static str,
    /// What must hold.
    pub what: &'static str,
    /// How many rows it is checked on.
    pub checked: &'static str,
    /// Every row that violates it: `subject`, which names it for good, and `detail`, in words.
    pub violations: &'static str,
}

/// All of them.
pub const INVARIANTS: &[Invariant] = &[
    Invariant {
        id: "I1",
        what: "no product is oversold: on hand − reserved ≥ 0",
        checked: "select count(*) from product",
        violations: "
            select id::text as subject, format('%s: %s on hand, %s reserved', sku, on_hand, reserved) as detail
            from product
            where on_hand - reserved < 0",
    },
    Invariant {
        id: "I2",
        what: "initial + received = available + reserved + dispatched, and reserved is what reservations hold",
        checked: "select count(*) from product",
        violations: "
            select p.id::text as subject,
                   format('%s: %s initial, %s received, %s available, %s reserved (%s by reservations), %s dispatched',
                          p.sku, p.initial_on_hand, coalesce(m.received, 0), p.on_hand - p.reserved, p.reserved,
                          coalesce(r.units, 0), coalesce(m.dispatched, 0)) as detail
            from product p
            left join movement m on m.product_id = p.id
            left join promised r on r.product_id = p.id
            where p.initial_on_hand + coalesce(m.received, 0)
                  <> (p.on_hand - p.reserved) + p.reserved + coalesce(m.dispatched, 0)
               or p.reserved <> coalesce(r.units, 0)",
    },
    // The age counts while the system is stopped too, so only what is open now can be judged.
    Invariant {
        id: "I3",
        what: "every accepted purchase ends, or is parked, within its bound",
        checked: "select count(*) from submission s full join purchase p on p.id = s.purchase_id",
        violations: "
            select o.id::text as subject, format('%s for %s s', o.standing, round(o.age_s)) as detail
            from open_purchase o, setting
            where o.age_s > bound_s
              and not exists (select from parked k where k.key = o.id::text)",
    },
    Invariant {
        id: "I4",
        what: "at rest every reservation is confirmed, dispatched or released; of a completed purchase, not released",
        checked: "select count(*) from reservation r join purchase_at_rest p on p.id = r.purchase_id",
        violations: "
            select format('%s/%s', r.purchase_id, r.product_id) as subject,
                   format('%s, and the purchase is %s', r.state, p.standing) as detail
            from reservation r
            join purchase_at_rest p on p.id = r.purchase_id
            where r.state not in ('confirmed', 'dispatched', 'released')
               or (p.standing = 'COMPLETED' and r.state = 'released')
            union all
            select format('%s/%s', r.purchase_id, r.product_id), format('%s, and no purchase knows it', r.state)
            from reservation r
            where r.state = 'held' and not exists (select from purchase p where p.id = r.purchase_id)
            union all
            select format('%s/%s', l.purchase_id, l.product_id), 'completed without a reservation'
            from purchase_line l
            join purchase_at_rest p on p.id = l.purchase_id and p.standing = 'COMPLETED'
            where not exists (select from reservation r
                              where r.purchase_id = l.purchase_id and r.product_id = l.product_id)",
    },
    Invariant {
        id: "I5",
        what: "no order without an authorized or captured payment; completed means ordered and captured",
        checked: "select count(*) from placed_order where state <> 'CANCELLED'",
        violations: "
            select o.purchase_id::text as subject,
                   format('order %s is %s, and no payment is authorized or captured', o.id, o.state) as detail
            from placed_order o
            where o.state <> 'CANCELLED'
              and not exists (select from payment y
                              where y.purchase_id = o.purchase_id and y.state in ('AUTHORIZED', 'CAPTURED'))
            union all
            select p.id::text, 'completed without a captured payment'
            from purchase_at_rest p
            where p.standing = 'COMPLETED'
              and not exists (select from payment y where y.purchase_id = p.id and y.state = 'CAPTURED')
            union all
            select p.id::text, 'completed without an order'
            from purchase_at_rest p
            where p.standing = 'COMPLETED'
              and not exists (select from placed_order o where o.purchase_id = p.id and o.state <> 'CANCELLED')",
    },
    Invariant {
        id: "I6",
        what: "at most one order, authorization and reservation set per purchase",
        checked: "select count(*) from purchase",
        violations: "
            select purchase_id::text as subject, format('%s orders', count(*)) as detail
            from placed_order group by purchase_id having count(*) > 1
            union all
            select purchase_id::text, format('%s payments that were authorized', count(*))
            from payment where state <> 'DECLINED' group by purchase_id having count(*) > 1
            union all
            select format('%s/%s', r.purchase_id, r.product_id),
                   format('%s units in %s reservations, %s bought', sum(r.quantity), count(*), coalesce(l.quantity, 0))
            from reservation r
            join purchase p on p.id = r.purchase_id
            left join (select purchase_id, product_id, sum(quantity) as quantity from purchase_line
                       group by purchase_id, product_id) l
                   on l.purchase_id = r.purchase_id and l.product_id = r.product_id
            group by r.purchase_id, r.product_id, l.quantity
            having count(*) > 1 or sum(r.quantity) <> coalesce(l.quantity, 0)",
    },
    Invariant {
        id: "I7",
        what: "compensated means no live order, payment void, stock returned",
        checked: "select count(*) from purchase_at_rest where standing in ('REJECTED', 'CANCELLED')",
        violations: "
            select p.id::text as subject, format('%s, and order %s is %s', p.standing, o.id, o.state) as detail
            from purchase_at_rest p join placed_order o on o.purchase_id = p.id
            where p.standing in ('REJECTED', 'CANCELLED') and o.state <> 'CANCELLED'
            union all
            select p.id::text, format('%s, and payment %s is %s', p.standing, y.id, y.state)
            from purchase_at_rest p join payment y on y.purchase_id = p.id
            where p.standing in ('REJECTED', 'CANCELLED') and y.state in ('AUTHORIZED', 'CAPTURED')
            union all
            select p.id::text, format('%s, and %s units of %s are %s', p.standing, r.quantity, r.product_id, r.state)
            from purchase_at_rest p join reservation r on r.purchase_id = p.id
            where p.standing in ('REJECTED', 'CANCELLED') and r.state <> 'released'",
    },
    // The consumers look for it with every message; what they saw is in their regression tables.
    Invariant {
        id: "I8",
        what: "per key, published order equals commit order",
        checked: "select coalesce(sum(messages), 0)::bigint from handled",
        violations: "
            select format('%s/%s/%s', service, consumer, message_id) as subject,
                   format('message %s of key %s on %s came behind a later one', sequence, key, stream) as detail
            from regression",
    },
    // A busy outbox has rows at every look, but not the same ones. A captured one has none: its slot tells.
    Invariant {
        id: "I9",
        what: "every outbox drains to empty",
        checked: "select count(distinct service) from handled",
        violations: "
            select format('%s/%s', service, seq) as subject,
                   format('%s to %s for key %s waits for %s s', type, topic, key, round(age_s)) as detail
            from waiting_message, setting
            where age_s >= at_rest_s
            union all
            select format('%s/%s', service, slot),
                   case when lost then 'the replication slot has lost its log: messages were not sent'
                        else format('no connector reads the outbox, %s bytes of the log are unconfirmed', behind_bytes) end
            from capture
            where lost or not active",
    },
    Invariant {
        id: "I10",
        what: "every acknowledged idempotency key maps to exactly one saga",
        checked: "select count(*) from submission where is_acknowledged",
        violations: "
            select min(s.idempotency_key::text) as subject,
                   format('%s sagas of its customer for purchase %s', count(p.id), min(s.purchase_id::text)) as detail
            from submission s
            left join purchase p on p.id = s.purchase_id and p.customer_id = s.customer_id
            where s.is_acknowledged
            group by s.customer_id, s.idempotency_key
            having count(p.id) <> 1
            union all
            select purchase_id::text, format('%s keys for one purchase', count(*))
            from submission where is_acknowledged
            group by purchase_id having count(*) > 1",
    },
    // Notifications are kept for 90 days at least (notifications/src/retention.rs), so only what ended within them can be judged.
    // A cancellation that met no submission is no purchase yet, and what an operator ended by word is told all the same.
    Invariant {
        id: "I11",
        what: "every outcome has exactly one notification",
        checked: "select count(*) from notification",
        violations: "
            select p.id::text as subject,
                   format('%s, and %s notifications say so', p.standing, count(n.purchase_id)) as detail
            from purchase p
            cross join setting
            left join notification n on n.purchase_id = p.id and n.outcome = p.standing
            where p.standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and p.is_submitted and p.idle_s >= at_rest_s
              and p.idle_s < 89 * 86400
            group by p.id, p.standing having count(n.purchase_id) <> 1
            union all
            select n.purchase_id::text, format('told that it is %s, and it is %s', n.outcome, coalesce(p.standing, 'unknown'))
            from notification n left join purchase p on p.id = n.purchase_id
            where n.outcome is distinct from p.standing",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_the_designs() {
        let ids: Vec<_> = INVARIANTS.iter().map(|invariant| invariant.id).collect();
        assert_eq!(
            ids,
            ["I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11"]
        );
    }
}
