-- The running instances of the service, each with what it reads: so that any of them can tell of all.
create table instance (
    id uuid primary key,
    version text not null,
    -- What it reads: a list of group, topic, partitions, lag and the time of the oldest message at hand.
    reads jsonb not null,
    started_at timestamptz not null default now(),
    -- Written again every few seconds while it lives.
    seen_at timestamptz not null default now()
);
