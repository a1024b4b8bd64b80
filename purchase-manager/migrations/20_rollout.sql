-- The programs at work on these tables and the versions of a saga that each has, so that no version is activated that one of
-- them lacks. A program writes its row before it reads active_definition and takes it away when it ends; one that was killed
-- has not been seen for a while.
create table saga_program (
    id uuid primary key,
    definition text not null,
    versions integer[] not null,
    started_at timestamptz not null default now(),
    seen_at timestamptz not null default now()
);

-- Who had new sagas follow which version, and why.
create table activation (
    id bigint generated always as identity primary key,
    name text not null,
    -- The version before; none for the first one.
    replaced integer,
    version integer not null,
    actor text not null,
    reason text not null,
    at timestamptz not null default now()
);
