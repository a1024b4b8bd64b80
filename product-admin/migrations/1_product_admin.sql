-- The catalogue and the stock behind it. One row per product: a reservation touches one row, locked in id order.
--
-- Two versions, because two readers look at different things:
--   version        of what shoppers see. Grows with every ProductChanged and with nothing else, so a consumer of the
--                  events or of the change feed drops what is not newer.
--   stock_version  of what stands on the shelf. Grows when on_hand changes and not when units are reserved, so that
--                  an operator's correction of a count conflicts with another correction and not with every sale.
create table product (
    id uuid primary key,
    -- What staff and suppliers call it. Unique, so that a product is not entered twice under two ids.
    sku text not null constraint product_sku_key unique constraint product_sku_filled check (sku <> ''),
    name text not null constraint product_name_filled check (name <> ''),
    description text,
    -- Minor units of the currency. A product that costs nothing is a mistake at entry.
    price_minor bigint not null constraint product_price_positive check (price_minor > 0),
    -- The form of an ISO 4217 code: everything that reads it relies on three upper-case letters.
    currency text not null constraint product_currency_form check (currency ~ '^[A-Z]{3}$'),
    status text not null constraint product_status_known check (status in ('DRAFT', 'ACTIVE', 'ARCHIVED')),
    -- Units on hand when the product was entered, never changed after: initial_on_hand plus the sum of the product's
    -- stock movements is on_hand, which is invariant I2 (a dispatch is a movement with a negative delta).
    initial_on_hand integer not null constraint product_initial_not_negative check (initial_on_hand >= 0),
    -- Units in the building, those that are promised included.
    on_hand integer not null,
    -- Units promised to purchases: the sum of the product's reservations that are held or confirmed. Below zero, a
    -- reservation would have been given back twice.
    reserved integer not null default 0 constraint product_reserved_not_negative check (reserved >= 0),
    -- Availability as last announced to the catalogue. Kept, so that a change is announced once, when it crosses.
    availability text not null
        constraint product_availability_known check (availability in ('IN_STOCK', 'LOW_STOCK', 'OUT_OF_STOCK')),
    version integer not null default 1,
    stock_version integer not null default 1,
    created_at timestamptz not null default now(),
    -- Time of `version`. Not touched by stock that changes without crossing: such an update then changes no indexed
    -- column, and PostgreSQL needs no new index entries for the busiest write of the system.
    updated_at timestamptz not null default now(),
    -- Time of the last change of on_hand or reserved.
    stock_updated_at timestamptz not null default now(),
    -- Invariant I1: more is never promised than there is. The code decides this under a row lock; the constraint
    -- stands behind it, so that a fault of the code parks a message instead of overselling.
    constraint product_not_oversold check (on_hand - reserved >= 0)
);
-- Room in the page for the next version of a row, since the same few rows are updated all day.
alter table product set (fillfactor = 50);
-- The order of the change feed.
create index product_changes on product (updated_at, id);

-- Every change of on_hand, by whom and why. Rows are only ever added.
create table stock_movement (
    -- Version 7: later movements have greater ids, so the id is also the order of the pages.
    id uuid primary key,
    product_id uuid not null references product (id),
    kind text not null constraint stock_movement_kind_known check (kind in ('restock', 'adjustment', 'dispatch')),
    delta integer not null,
    -- Shown to auditors; a movement that nobody explained is worth nothing to them.
    reason text not null constraint stock_movement_reason_filled check (reason <> ''),
    -- Subject of the token of who did it.
    actor text not null constraint stock_movement_actor_filled check (actor <> ''),
    -- The purchase that a dispatch belongs to.
    purchase_id uuid,
    at timestamptz not null default now(),
    -- Goods arrive by a restock and leave by a dispatch; an adjustment corrects either way, but always something.
    constraint stock_movement_delta_fits check (
        case kind when 'restock' then delta > 0 when 'dispatch' then delta < 0 else delta <> 0 end
    ),
    constraint stock_movement_dispatch_has_purchase check (kind <> 'dispatch' or purchase_id is not null)
);
create index stock_movement_product on stock_movement (product_id, id desc);

-- Units promised to a purchase. A row is written only while its product's row is locked.
create table reservation (
    purchase_id uuid not null,
    product_id uuid not null references product (id),
    -- A promise of nothing, or of less, would give stock away when it is released.
    quantity integer not null constraint reservation_quantity_positive check (quantity > 0),
    -- held: promised until the saga decides; confirmed: sold, waits to be dispatched; released: given back.
    state text not null constraint reservation_state_known check (state in ('held', 'confirmed', 'released')),
    updated_at timestamptz not null default now(),
    -- A purchase holds a product once: at most one reservation set per purchase (invariant I6).
    primary key (purchase_id, product_id)
);

-- All that the consolidator may see of this schema.
create view product_for_validation as
    select id, price_minor, currency, status, on_hand - reserved as available from product;

-- The consolidator's role is made by whoever made the database, and is absent where one role owns everything.
do $$
begin
    if exists (select from pg_roles where rolname = 'belay_consolidator') then
        execute format('grant usage on schema %I to belay_consolidator', current_schema());
        grant select on product_for_validation to belay_consolidator;
    end if;
end
$$;
