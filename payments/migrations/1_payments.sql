-- Attempts to take money, one per purchase, the failed ones included.
create table payment (
    payment_id uuid primary key,
    -- Invariant I6, whatever else goes wrong: money is held at most once per purchase.
    purchase_id uuid not null unique,
    customer_id text not null,
    state text not null check (state in ('AUTHORIZED', 'CAPTURED', 'DECLINED', 'VOIDED', 'REFUNDED')),
    amount_minor bigint not null check (amount_minor > 0),
    currency text not null,
    -- The payment method as its owner knows it; the token is not kept.
    method_label text not null,
    decline_message text,
    updated_at timestamptz not null default now(),
    check ((state = 'DECLINED') = (decline_message is not null))
);
