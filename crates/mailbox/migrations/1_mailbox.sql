-- Messages to be sent, written in the transaction of the business change that they tell of.
-- The columns id to payload bear the names that Debezium's outbox event router expects, so that change data capture
-- can take the relay's place without a change of the schema.
create table outbox (
    -- The relay's order. Drawn while the key's row lock is held and one at a time (cache 1), so that per key it is the
    -- order of the commits.
    seq bigint generated always as identity (cache 1) primary key,
    id uuid not null,
    -- The topic.
    aggregatetype text not null,
    -- The key.
    aggregateid text not null,
    type text not null,
    payload bytea not null,
    source text not null,
    traceparent text,
    tracestate text,
    command_id uuid,
    causation_id uuid,
    reply_to text,
    created_at timestamptz not null default now()
);

-- Rows come and go by the thousand while the table stays nearly empty: vacuum by count, not by share.
alter table outbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- Messages already handled. A message is claimed in the transaction of the change that it causes.
create table inbox (
    consumer text not null,
    message_id uuid not null,
    -- Sender and topic: within one, the sequence of a key only grows.
    stream text not null,
    key text not null,
    sequence bigint,
    at timestamptz not null default now(),
    primary key (consumer, message_id)
);
-- To see whether a message of the same stream and key with a higher sequence has been handled before (invariant I8).
create index inbox_key on inbox (key, sequence);
-- For a retention by age.
create index inbox_at on inbox using brin (at);

-- Messages that arrived behind a later one of their key: evidence against invariant I8. Must stay empty.
create table regression (
    consumer text not null,
    message_id uuid not null,
    stream text not null,
    key text not null,
    sequence bigint not null,
    at timestamptz not null default now(),
    primary key (consumer, message_id)
);

-- Messages that wait for an operator.
create table parked (
    id uuid primary key,
    -- The consumer that could not handle it, or 'relay' for one that the broker would not take.
    consumer text not null,
    topic text not null,
    partition integer,
    "offset" bigint,
    -- Null when the key cannot be read; such a message holds up nobody.
    key text,
    message_id uuid,
    message_type text,
    command_id uuid,
    headers jsonb not null,
    payload bytea,
    -- 'failed' for the message that could not be handled, 'behind' for those of its key that wait for it.
    cause text not null check (cause in ('failed', 'behind')),
    error_class text not null,
    error text not null,
    parked_at timestamptz not null default now(),
    resolved_at timestamptz,
    resolution text check (resolution in ('replayed', 'discarded')),
    resolved_by text,
    reason text,
    check ((resolved_at is null) = (resolution is null))
);
create index parked_open on parked (consumer, topic, key) where resolved_at is null;
-- A command that is sent again while it is parked waits once.
create unique index parked_command on parked (consumer, topic, key, command_id)
    where resolved_at is null and command_id is not null;

-- What was done for each command, and what was answered: the operation barrier.
create table operation (
    saga_id uuid not null,
    step text not null,
    direction text not null check (direction in ('forward', 'rollback')),
    outcome text not null check (outcome in ('done', 'refused', 'superseded')),
    -- The answer, to be given again to a duplicate of the command.
    reply jsonb not null,
    at timestamptz not null default now(),
    primary key (saga_id, step, direction)
);

-- The ids under which the registry keeps our schemas, to notice that it was exchanged for another one.
create table registry_subject (
    subject text primary key,
    schema_id integer not null
);

-- HTTP writes already carried out, and their answers: the same key is answered the same again.
create table request (
    -- Who and what for: a key is unique within it.
    scope text not null,
    key uuid not null,
    -- SHA-256 of the request, to tell a repetition from another request with the same key.
    hash bytea not null,
    -- Set in the transaction that claims the key, so never null once committed.
    response jsonb,
    at timestamptz not null default now(),
    primary key (scope, key)
);
