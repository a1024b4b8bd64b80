-- One row per purchase. Locked, in the order of the ids, by whoever changes it.
create table saga (
    id uuid primary key,
    customer_id text not null,
    -- Null in a row that a cancellation left before the submission came.
    definition text,
    definition_version integer,
    -- Counts the visible changes; compared at every write, as a belt over the row lock.
    version integer not null,
    -- PENDING, RUNNING, COMPLETED, COMPENSATING, CANCELLED, REJECTED or STUCK: what the customer sees.
    standing text not null check (
        standing in ('PENDING', 'RUNNING', 'COMPLETED', 'COMPENSATING', 'CANCELLED', 'REJECTED', 'STUCK')),
    -- The engine's state with the purchase in it.
    state jsonb,
    -- When each command was first sent, settled, and will be sent again.
    timings jsonb not null default '{}',
    -- A cancellation that came before the submission.
    early_cancel jsonb,
    -- Rows in saga_event: the next seq is one more.
    log_length integer not null default 0,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    check ((state is null) = (definition is null)),
    check ((state is null) = (definition_version is null)),
    check (state is not null or early_cancel is not null)
);
-- A customer's purchases, newest first: the ids are version 7, so they sort by time.
create index saga_customer on saga (customer_id, id desc);
-- What is open: for the audit, and for the check of live definitions at start.
create index saga_open on saga (updated_at) where standing in ('PENDING', 'RUNNING', 'COMPENSATING', 'STUCK');

-- Every input as it was taken, every command sent, every change of status. The saga can be rebuilt from it.
create table saga_event (
    saga_id uuid not null references saga (id),
    seq integer not null,
    kind text not null,
    step text,
    at timestamptz not null default now(),
    -- The message that brought it about, if one did.
    message_id uuid,
    trace text,
    body jsonb not null,
    primary key (saga_id, seq)
);

-- When a command that is not answered is sent again.
create table saga_timer (
    saga_id uuid not null references saga (id),
    step text not null,
    direction text not null check (direction in ('forward', 'compensation')),
    -- The attempt that it waits for: a timer of an earlier attempt is stale.
    attempt integer not null,
    due_at timestamptz not null,
    primary key (saga_id, step, direction)
);
create index saga_timer_due on saga_timer (due_at);

-- The version of the definition that new sagas follow. Changed by hand once every instance has that version.
create table active_definition (
    name text primary key,
    version integer not null
);
