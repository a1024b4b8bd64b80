-- A reservation whose saga says nothing. Its time is this database's alone, and when it is over the saga is asked; nothing is
-- ever given back by the clock.
--
-- The default is the service's own, so that a program of the release before can still reserve.
alter table reservation
    add column expires_at timestamptz not null default now() + interval '1 hour',
    -- How often the saga was asked whether the units are still wanted.
    add column asked integer not null default 0,
    -- When it is asked next: at first when the time is over, then after a growing pause.
    add column ask_at timestamptz not null default now() + interval '1 hour';
-- What is held, in the order in which it has to be asked about. What is decided costs nothing here.
create index reservation_to_ask on reservation (ask_at) where state = 'held';
