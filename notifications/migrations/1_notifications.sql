-- One row for each way in which a purchase has ended, whether or not a mail could be sent for it (invariant I11).
-- No name and no address: those are asked for when a mail is sent, and not kept.
create table notification (
    -- A function of purchase and outcome, so that the Message-ID made of it is the same whoever makes it, and when.
    notification_id uuid primary key,
    purchase_id uuid not null,
    outcome text not null check (outcome in ('COMPLETED', 'REJECTED', 'CANCELLED')),
    -- Subject of the customer's token.
    customer_id text not null,
    -- When the purchase ended.
    ended_at timestamptz not null,
    -- What the mail is made of; dropped when it is no longer needed.
    purchase jsonb,
    -- The W3C traceparent of the event, continued by the mail.
    trace text,
    -- 'sending' is a claim: committed before the mail server is called, and free again once due_at is past.
    state text not null check (state in ('pending', 'sending', 'sent', 'skipped', 'failed')),
    attempts integer not null default 0 check (attempts >= 0),
    -- When it is (next) sent, or when a claim lapses.
    due_at timestamptz,
    -- Why it is put off, skipped or parked. Without any address.
    reason text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    -- An event that comes twice, and an event that the change feed tells again, meet here.
    constraint notification_outcome unique (purchase_id, outcome),
    check ((state in ('pending', 'sending')) = (due_at is not null)),
    check ((state in ('sent', 'skipped')) = (purchase is null)),
    check (state not in ('skipped', 'failed') or reason is not null)
);
create index notification_due on notification (due_at) where due_at is not null;
-- What waits for an operator.
create index notification_failed on notification (updated_at) where state = 'failed';

-- How far purchase-manager's change feed has been read: everything that ended before is here.
create table feed_position (
    feed text primary key,
    -- Microseconds since 1970 in UTC, by purchase-manager's clock.
    seen_to bigint not null
);
