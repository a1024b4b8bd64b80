-- SHA-256 of the schema that has the id. A new version of a schema has another id in the same registry, so only ids of
-- the same schema can be compared. Null: written before this column was there, and compared as the same.
alter table registry_subject add column schema_hash bytea;
