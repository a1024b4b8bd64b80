-- Where a received message was read, for operators who look it up at the broker.
alter table saga_event
    add column partition integer,
    add column "offset" bigint,
    add column schema_id integer,
    -- The version that the customer was told with this entry: with it a PurchaseUpdated was sent.
    add column told_version integer;

-- A customer reads their reference to support.
create index saga_reference on saga ((state #>> '{data,reference}'));
