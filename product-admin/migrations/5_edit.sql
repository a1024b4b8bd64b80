-- Two products whose stock keeping units differ only in case are one product entered twice: people read, say and type them
-- without regard to it. The spelling stays as it was entered; what is unique is the word.
--
-- Should there be such products already, all but the first one entered get a number of their own behind their word, and the
-- change feed tells of it.
update product p
set sku = left(p.sku, 55) || '-' || right(p.id::text, 8), version = p.version + 1, updated_at = greatest(p.updated_at, now())
where exists (select from product earlier
              where lower(earlier.sku) = lower(p.sku) and (earlier.created_at, earlier.id) < (p.created_at, p.id));
create unique index product_sku_any_case on product (lower(sku));
alter table product drop constraint product_sku_key;

-- Every change of what staff may change of a product, by whom: the product as it was left. Rows are only ever added.
create table product_edit (
    -- Version 7: later changes have greater ids.
    id uuid primary key,
    product_id uuid not null references product (id),
    -- The version that the change made.
    version integer not null,
    name text not null,
    description text,
    price_minor bigint not null,
    currency text not null,
    status text not null,
    -- Subject of the token of who did it.
    actor text not null constraint product_edit_actor_filled check (actor <> ''),
    at timestamptz not null default now()
);
create index product_edit_product on product_edit (product_id, id desc);
