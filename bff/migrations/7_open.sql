-- When purchase-manager first told that a purchase had ended or waits for an operator. How many of a customer's have not bounds how
-- many more are taken. Expand only: an older program leaves it null, and only young rows are counted.
alter table submission add column ended_at timestamptz;
create index submission_under_way on submission (customer_id, submitted_at) where ended_at is null;
