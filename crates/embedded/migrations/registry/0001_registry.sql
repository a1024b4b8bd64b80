-- Ids are global, as in Confluent's wire format: one text has one id, whatever its subjects.
create table registered_schema (
    id integer primary key check (id > 0),
    -- SHA-256 of the text without insignificant white space and with sorted keys. The text itself
    -- can exceed what an index row holds.
    fingerprint bytea not null unique,
    -- As it was first submitted: readers get back what a person wrote.
    text text not null
);

create table subject_version (
    subject text not null,
    version integer not null check (version > 0),
    schema_id integer not null references registered_schema (id),
    primary key (subject, version),
    -- Registering a schema again in its subject gives its version again, never a second one.
    unique (subject, schema_id)
);

-- The empty subject is the default for all others; no real subject can be empty.
create table compatibility (
    subject text primary key,
    level text not null
);
