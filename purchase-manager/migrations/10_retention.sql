-- How far the logs of ended sagas have been deleted, in the order in which they ended. One row; whoever holds it deletes.
create table log_mark (
    only_row boolean primary key default true check (only_row),
    ended_at timestamptz not null,
    saga_id uuid not null
);
insert into log_mark (ended_at, saga_id) values ('epoch', '00000000-0000-0000-0000-000000000000');
