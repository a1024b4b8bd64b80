-- The order in which messages were parked, which is per consumer, topic and key the order in which they are handled again.
alter table parked add column seq bigint generated always as identity;
create unique index parked_seq on parked (seq);
-- What waits in one line: the messages of a key, or a message alone whose key cannot be read.
alter table parked add column line text generated always as (coalesce('key ' || key, 'message ' || id::text)) stored;
create index parked_line on parked (consumer, topic, line, seq) where resolved_at is null;
-- How often it was tried, and when last.
alter table parked add column attempts integer not null default 1;
alter table parked add column failed_at timestamptz not null default now();

-- Lines that an operator wants to be handled again. A row goes when its line is empty, or when its first message fails again.
create table replay (
    consumer text not null,
    topic text not null,
    line text not null,
    actor text not null,
    reason text not null,
    requested_at timestamptz not null default now(),
    primary key (consumer, topic, line)
);

-- Who wanted what to happen to a parked message, and why. What came of it is in parked.
create table parked_action (
    id bigint generated always as identity primary key,
    parked_id uuid not null references parked (id),
    action text not null check (action in ('replay', 'discard')),
    actor text not null,
    reason text not null,
    at timestamptz not null default now()
);
create index parked_action_of on parked_action (parked_id, id);
