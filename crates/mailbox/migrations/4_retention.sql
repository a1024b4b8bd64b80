-- What is kept for a time only is found by its age, oldest first, so that it can be deleted in small batches. The rows come in
-- the order of time, so each of these indexes grows at its end alone.
create index inbox_age on inbox (at);
-- A block range tells nothing any more once the place of deleted rows is used again.
drop index inbox_at;
create index operation_age on operation (at);
create index request_age on request (at);
create index parked_resolved on parked (resolved_at) where resolved_at is not null;

-- The outbox is read from its lowest number on, past everything that was deleted and not yet vacuumed. So it is vacuumed without
-- pauses: a vacuum that spares the disk is overtaken by the relay.
alter table outbox set (autovacuum_vacuum_cost_delay = 0);
