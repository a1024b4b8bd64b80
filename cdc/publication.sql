-- What a connector may read of one service: the rows that are inserted into its outbox, and nothing else.
-- Run by an administrator in the service's database, once the service has made its tables, and before slot.sql:
--
--   create role belay_cdc login replication password '…';        (once per server)
--   psql -v ON_ERROR_STOP=1 -v schema=orders -v reader=belay_cdc -f publication.sql -f slot.sql "$ADMIN_URL"
--
-- Running it again changes nothing. Publication and slot bear the same name: database and schema.
select set_config('belay.schema', :'schema', false), set_config('belay.reader', :'reader', false);

do $$
declare
    schema text := current_setting('belay.schema');
    reader text := current_setting('belay.reader');
    name text := left(regexp_replace(lower(current_database() || '_' || schema), '[^a-z0-9_]', '_', 'g'), 63);
begin
    execute format('grant connect on database %I to %I', current_database(), reader);
    execute format('grant usage on schema %I to %I', schema, reader);
    execute format('grant select on %I.outbox to %I', schema, reader);
    -- Only inserts: a row is deleted in the transaction that inserts it, and that is nobody's business.
    if not exists (select from pg_publication where pubname = name) then
        execute format('create publication %I for table %I.outbox with (publish = ''insert'')', name, schema);
    end if;
end
$$;
