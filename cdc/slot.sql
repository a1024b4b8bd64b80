-- The replication slot of one service's outbox: from here on PostgreSQL keeps its log until the connector has confirmed it.
-- In a transaction of its own, because a slot cannot be made in one that has written. How to run it: publication.sql.
select pg_create_logical_replication_slot(name, 'pgoutput')
from (
    select left(regexp_replace(lower(current_database() || '_' || :'schema'), '[^a-z0-9_]', '_', 'g'), 63) as name
) slot
where not exists (select from pg_replication_slots where slot_name = name);
