//! Makes things happen.

use std::rc::Rc;

use saga::{Input, OperatorAction, OperatorNote, Parked, Resolution};

use crate::{
    broker::{Broker, EVENTS, reader_of},
    fault::{Mutation, Seen},
    rules::engine::is_current,
    scenario::Scenario,
    service::{Away, CONSUMERS, DESK},
    world::{Action, OPERATOR_CHOICES, World},
};

impl<S: Scenario> World<'_, '_, S> {
    pub(crate) fn happen(&mut self, action: Action) {
        self.moves += 1;
        match action {
            Action::Commit(index) => self.commit(index, false),
            Action::DieAfter(index) => self.commit(index, true),
            Action::DieBefore(index) => self.die_before_commit(index),
            Action::DeleteSent(service) => self.delete(service),
            Action::Send(service) => {
                let all = self.services[service].outbox.rows.len();
                self.send(service, all);
            }
            Action::RelayPartly(service, part) => self.send_partly(service, part),
            Action::RelayDies(service) => self.relay_dies(service),
            Action::Read { place, most } => self.read(place, most),
            Action::FireTimers => self.fire_timers(),
            Action::Resubmit(saga) => self.submit(saga),
            Action::Release(index) => self.release(index),
            Action::Advance | Action::TimePasses => self.advance(),
            Action::Twice(place, record) => self.deliver_twice(place, record),
            Action::HoldBack(place, ms) => self.hold_back(place, ms),
            Action::Lose(place) => self.lose(place),
            Action::Forget => self.forget(),
            Action::Away(service, ms) => self.go_away(service, ms),
            Action::Move(place) => self.move_partition(place),
            Action::Cancel(saga) => {
                self.say(|_| format!("the customer cancels saga {}", saga + 1));
                self.work_on(DESK, 1 << saga, |changes, view| changes.cancel(view, saga));
            }
            Action::Operator(saga, action) => self.act(saga, action),
            Action::HoldExpires(saga, step) => {
                let name = self.setting.steps[step].name.clone();
                self.say(|_| format!("what is held for {name} of saga {} passes its time", saga + 1));
                self.work_on(DESK, 1 << saga, |changes, view| {
                    changes.input(view, saga, Input::HoldExpired { step: name });
                });
            }
        }
    }

    /// What an operator does with a parked saga: as chosen, and in the end whatever ends it.
    pub(super) fn operate(&mut self, saga: usize, round: usize, parked: &Parked) {
        let choice = self.plan.operators.get(round).copied();
        let action = match (choice, parked) {
            (Some(1) | None, Parked::Forward) => OperatorAction::Compensate,
            (Some(2), Parked::Forward) => OperatorAction::Resolve(Resolution::Completed),
            (Some(2), Parked::Compensation { .. }) => OperatorAction::Resolve(Resolution::Cancelled),
            (None, Parked::Compensation { .. }) if round > OPERATOR_CHOICES => {
                OperatorAction::Resolve(Resolution::Cancelled)
            }
            (Some(_), Parked::Forward | Parked::Compensation { .. })
            | (None, Parked::Compensation { .. }) => OperatorAction::Retry,
        };
        self.act(saga, action);
        // Nothing else is under way, so this is that transaction.
        let last = self.open.len() - 1;
        self.commit(last, false);
    }

    fn act(&mut self, saga: usize, action: OperatorAction) {
        self.say(|_| format!("an operator says {action:?} for saga {}", saga + 1));
        let note = OperatorNote {
            actor: "operator".to_owned(),
            reason: "simulated".to_owned(),
        };
        self.work_on(DESK, 1 << saga, |changes, view| {
            changes.input(view, saga, Input::Operator { action, note });
        });
    }

    /// The relay hands the first rows to the broker, which takes them.
    fn send(&mut self, service: usize, most: usize) {
        let topics = self.setting.services.len() + 1;
        let sagas = self.submissions.len();
        for row in 0..most {
            let row = &mut self.services[service].outbox.rows[row];
            let message = Rc::clone(&row.message);
            let (commit, is_first) = (row.commit, !row.published);
            row.published = true;
            if is_first {
                let place = (service * topics + message.topic) * sagas + message.saga;
                if self.last_published[place] > commit {
                    let told = self.tell(&message);
                    self.breaks(|| {
                        format!("{told} is published after a message of its key that was committed later")
                    });
                }
                self.last_published[place] = commit;
            }
            self.say(|world| {
                format!(
                    "{}: sends {}",
                    world.setting.services[service],
                    world.tell(&message)
                )
            });
            let sequence = message.sequence;
            self.broker.append(message);
            let outbox = &mut self.services[service].outbox;
            outbox.sent.push(sequence);
            outbox.handed_over_to = outbox.handed_over_to.max(sequence);
        }
    }

    /// The broker takes only the first rows of the batch.
    fn send_partly(&mut self, service: usize, part: usize) {
        let rows = &self.services[service].outbox.rows;
        let refused: Vec<_> = rows[part..].iter().map(|row| Rc::clone(&row.message)).collect();
        self.say(|world| {
            format!(
                "the broker takes only {part} of the messages of {}",
                world.setting.services[service]
            )
        });
        self.saw_all(&refused, Seen::RelayPartly);
        self.send(service, part);
        let outbox = &mut self.services[service].outbox;
        outbox.handed_over_to = outbox.rows.last().map_or(0, |row| row.message.sequence);
        if part == 0 {
            self.delete(service);
        }
    }

    fn delete(&mut self, service: usize) {
        let deletes_all = self.is(Mutation::DeleteUnacknowledged);
        let outbox = &mut self.services[service].outbox;
        let gone = if deletes_all {
            outbox.delete_handed_over()
        } else {
            outbox.delete_sent()
        };
        if let Some(lost) = gone.into_iter().find(|row| !row.published) {
            let told = self.tell(&lost.message);
            self.breaks(|| format!("{told} was deleted and never sent"));
        }
    }

    fn relay_dies(&mut self, service: usize) {
        self.say(|world| {
            format!(
                "the relay of {} dies between send and delete",
                world.setting.services[service]
            )
        });
        let outbox = &mut self.services[service].outbox;
        let sent = std::mem::take(&mut outbox.sent);
        let rows = outbox
            .rows
            .iter()
            .filter(|row| sent.contains(&row.message.sequence));
        let messages: Vec<_> = rows.map(|row| Rc::clone(&row.message)).collect();
        self.saw_all(&messages, Seen::RelayBetween);
    }

    fn release(&mut self, index: usize) {
        let (_, message) = self.held_back.remove(index);
        self.say(|world| format!("comes at last: {}", world.tell(&message)));
        self.broker.append(message);
    }

    fn advance(&mut self) {
        let Some(time) = self.next_time() else { return };
        self.now = time;
        for service in &mut self.services {
            match service.away {
                Away::Until(until) if until <= time => service.away = Away::Here,
                Away::Here | Away::Until(_) | Away::ForGood => {}
            }
        }
    }

    fn deliver_twice(&mut self, place: usize, record: usize) {
        let message = Rc::clone(&self.broker.partitions[place].records[record]);
        self.say(|world| format!("is delivered again: {}", world.tell(&message)));
        self.broker.append(message);
    }

    fn hold_back(&mut self, place: usize, ms: u64) {
        let partition = &mut self.broker.partitions[place];
        let message = partition.records.remove(partition.position);
        self.order_is_disturbed = true;
        self.say(|world| format!("is held back for {ms} ms: {}", world.tell(&message)));
        self.saw_all([&message], Seen::Reordered);
        self.held_back.push((self.now + ms, message));
    }

    fn lose(&mut self, place: usize) {
        let partition = &mut self.broker.partitions[place];
        let message = partition.records.remove(partition.position);
        // A copy of it that is still on its way comes behind later ones.
        self.order_is_disturbed = true;
        self.events_were_lost |= message.topic == EVENTS;
        self.say(|world| format!("is lost: {}", world.tell(&message)));
        self.saw_all([&message], Seen::Lost);
    }

    fn forget(&mut self) {
        self.say(|_| "the broker forgets everything".to_owned());
        let unread: Vec<_> = self
            .broker
            .partitions
            .iter()
            .flat_map(|its| its.unread().to_vec())
            .collect();
        // What is being handled and is rolled back does not come again either.
        let in_work = self.open.iter().flat_map(|open| &open.messages);
        self.events_were_lost |= unread
            .iter()
            .chain(in_work)
            .any(|message| message.topic == EVENTS);
        self.saw_all(&unread, Seen::Forgotten);
        self.broker.forget();
    }

    fn go_away(&mut self, service: usize, ms: Option<u64>) {
        self.say(|world| {
            let name = &world.setting.services[service];
            let how_long = ms.map_or_else(|| "until it is repaired".to_owned(), |ms| format!("for {ms} ms"));
            format!("{name} goes away {how_long}")
        });
        let its = &mut self.services[service];
        its.away = ms.map_or(Away::ForGood, |ms| Away::Until(self.now + ms));
        its.outbox.sent.clear();
        self.open.retain(|open| open.service != service);
        for worker in 0..CONSUMERS {
            self.rewind(service, worker);
        }
        for (index, step) in self.setting.steps.iter().enumerate() {
            let is_waited_for = (0..self.submissions.len())
                .filter_map(|saga| self.sagas.state(saga))
                .any(|state| is_current(state.step(&step.name)));
            if step.service == service && is_waited_for {
                self.saw(index, Seen::Away);
            }
        }
    }

    fn move_partition(&mut self, place: usize) {
        let reader = reader_of(Broker::<S>::topic(place));
        self.say(|world| {
            format!(
                "{}: a partition moves to its other instance",
                world.setting.services[reader]
            )
        });
        let in_work = self
            .open
            .iter()
            .filter(|open| open.batch.is_some_and(|batch| batch.place == place));
        let messages: Vec<_> = in_work.flat_map(|open| open.messages.clone()).collect();
        self.saw_all(&messages, Seen::Moved);
        let partition = &mut self.broker.partitions[place];
        partition.owner = CONSUMERS - 1 - partition.owner;
        partition.rewind();
        // The new owner begins at once, while the former one is still at work.
        let unread = partition.unread().len();
        if unread > 0 && self.can_read(place, unread) {
            self.read(place, unread);
        }
    }
}
