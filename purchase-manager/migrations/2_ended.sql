-- The feed of ended purchases, in the order in which they ended. Partial, so that a purchase under way costs nothing here.
create index saga_ended on saga (updated_at, id)
    where standing in ('COMPLETED', 'REJECTED', 'CANCELLED') and state is not null;
