-- To forget what was told long ago, oldest first.
create index notification_told on notification (ended_at) where state in ('sent', 'skipped');
