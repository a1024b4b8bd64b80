-- How to reach a customer, as the token of their last purchase said, for the mails that tell how a purchase ended. Personal
-- data has this one place: it is on no topic and in no other service's tables.
create table contact (
    -- Subject of the customer's token.
    customer_id text primary key,
    name text,
    email text,
    updated_at timestamptz not null default now()
);
create index contact_updated on contact (updated_at);
