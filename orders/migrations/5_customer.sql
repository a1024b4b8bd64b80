-- A customer's orders, newest first: the ids are version 7, so they sort by time.
create index orders_customer on orders (customer_id, order_id desc);
