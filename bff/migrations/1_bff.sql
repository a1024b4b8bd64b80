-- Purchases that the edge has accepted, kept until purchase-manager has told of them and a day longer.
create table submission (
    purchase_id uuid primary key,
    -- Subject of the customer's token.
    customer_id text not null,
    idempotency_key uuid not null,
    -- SHA-256 of what was asked for, to tell a repetition from another purchase with the same key.
    request_hash bytea not null,
    reference text not null,
    -- As priced when it was submitted.
    lines jsonb not null,
    currency text not null check (currency ~ '^[A-Z]{3}$'),
    total_minor bigint not null check (total_minor >= 0),
    payment_method_token text not null,
    home_delivery boolean not null,
    note text,
    submitted_at timestamptz not null default now(),
    -- The W3C traceparent of the request, continued by every send.
    trace text not null,
    sent_at timestamptz not null default now(),
    -- Sends so far.
    attempts integer not null default 1 check (attempts > 0),
    -- When it is sent again unless it is acknowledged by then.
    next_send_at timestamptz not null,
    -- When purchase-manager's first event for it arrived.
    acknowledged_at timestamptz,
    -- Null as long as it is not acknowledged: such a row never expires.
    expires_at timestamptz,
    -- Two requests with one key at once meet here.
    constraint submission_key unique (customer_id, idempotency_key),
    check ((acknowledged_at is null) = (expires_at is null))
);
create index submission_due on submission (next_send_at) where acknowledged_at is null;
create index submission_expiring on submission (expires_at) where expires_at is not null;
-- For a customer's list, which shows what purchase-manager does not know yet.
create index submission_open on submission (customer_id, purchase_id desc) where acknowledged_at is null;

-- The catalogue as product-admin last told it. Only a newer version replaces a row.
create table catalogue_product (
    product_id uuid primary key,
    sku text not null,
    name text not null,
    description text,
    price_minor bigint not null,
    currency text not null,
    status text not null,
    availability text not null,
    version integer not null,
    updated_at timestamptz not null
);
-- Pages are in the order of the stock keeping units. Not unique: product-admin is who keeps them so.
create index catalogue_product_sku on catalogue_product (sku, product_id);
