-- Numbers that people read. A sequence, because it never gives a number twice; that it leaves gaps does not matter,
-- these are not invoices.
create sequence order_number;

-- One order per purchase. The plural, because the singular is a word of SQL.
create table orders (
    order_id uuid primary key,
    -- Invariant I6, whatever else goes wrong: at most one order per purchase.
    purchase_id uuid not null unique,
    customer_id text not null,
    number text not null unique,
    state text not null check (state in ('PLACED', 'DISPATCHED', 'CANCELLED')),
    total_minor bigint not null check (total_minor >= 0),
    currency text not null,
    home_delivery boolean not null,
    placed_at timestamptz not null default now(),
    cancelled_at timestamptz,
    check ((state = 'CANCELLED') = (cancelled_at is not null))
);

create table order_line (
    order_id uuid not null references orders,
    -- From 1, as submitted.
    line integer not null check (line > 0),
    product_id uuid not null,
    sku text not null,
    -- As it was called when it was bought.
    name text not null,
    quantity integer not null check (quantity > 0),
    unit_price_minor bigint not null check (unit_price_minor >= 0),
    primary key (order_id, line)
);
