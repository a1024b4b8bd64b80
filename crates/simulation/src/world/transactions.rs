//! Transactions: read, claim, decide in memory, write inbox, tables and outbox at once, then store the offset. Models
//! `mailbox::consumer::Consumer::transact` and what is around it.
//!
//! A transaction is opened and committed in two moves, so that others come between. Rows that exist are locked from the
//! one to the other, and their `seq`s are drawn under that lock; rows that do not exist yet meet at their primary key.

use std::rc::Rc;

use saga::Input;

use crate::{
    barrier::{self, Barrier, Met},
    broker::{Body, Broker, Message, REPLIES, reader_of},
    fault::{Mutation, Seen},
    inbox::Mail,
    orchestrator::{Changes, View},
    participant::{self, Effects},
    scenario::{Answer, EDGE, ORCHESTRATOR, Scenario},
    service::{Batch, CONSUMERS, Open, TIMERS, Work},
    world::{World, narrow},
};

/// A message to be written: its topic, its key, what it says.
type Outgoing<S> = (usize, usize, Body<S>);

/// What a participant makes of a batch.
struct Answered<S: Scenario> {
    barrier: Barrier<Answer>,
    effects: Vec<(usize, usize, Effects)>,
    replies: Vec<Outgoing<S>>,
    park: Vec<Rc<Message<S>>>,
    seen: Vec<(usize, Seen)>,
}

impl<S: Scenario> World<'_, '_, S> {
    /// The owner of a partition takes a batch.
    pub(super) fn read(&mut self, place: usize, most: usize) {
        let service = reader_of(Broker::<S>::topic(place));
        let offsets_first = self.is(Mutation::OffsetsFirst);
        let partition = &mut self.broker.partitions[place];
        let from = partition.position;
        let records: Vec<_> = partition.records[from..from + most].to_vec();
        let batch = Batch {
            place,
            from,
            next: from + most,
            generation: partition.generation,
        };
        let worker = partition.owner;
        partition.position = batch.next;
        if offsets_first {
            partition.committed = batch.next;
        }
        self.say(|world| {
            let told: Vec<_> = records.iter().map(|message| world.tell(message)).collect();
            format!(
                "{} {}: reads {}",
                world.setting.services[service],
                worker + 1,
                told.join(", ")
            )
        });
        let mut open = Open::of(service, worker, 0);
        open.batch = Some(batch);
        self.claim(&mut open, records);
        open.sagas = open
            .messages
            .iter()
            .fold(0, |all, message| all | 1 << message.saga);
        let outgoing = match service {
            EDGE => Self::edge(&mut open),
            ORCHESTRATOR => {
                let messages = open.messages.clone();
                self.orchestrate(&mut open, |changes, view| {
                    for message in &messages {
                        take_message(changes, view, message);
                    }
                })
            }
            _ => self.participate(&mut open),
        };
        self.open(open, outgoing);
    }

    /// Sorts a batch by what the inbox says of each message.
    fn claim(&self, open: &mut Open<S>, records: Vec<Rc<Message<S>>>) {
        if self.is(Mutation::NoInbox) {
            open.messages = records;
            return;
        }
        let mails: Vec<Mail> = records.iter().map(|message| mail(message)).collect();
        let claims = self.services[open.service].inbox.claim(&mails);
        for message in records {
            if claims.blocked.contains(&message.id) {
                open.park.push(message);
            } else if claims.fresh.contains(&message.id)
                && open.messages.iter().all(|its| its.id != message.id)
            {
                open.messages.push(message);
            } else {
                open.known.push(message);
            }
        }
        open.claims = claims;
    }

    /// A transaction of the orchestrator that no message brought about.
    pub(super) fn work_on(
        &mut self,
        worker: usize,
        sagas: u8,
        work: impl FnOnce(&mut Changes<S>, &View<'_, '_, S>),
    ) {
        let mut open = Open::of(ORCHESTRATOR, worker, sagas);
        let outgoing = self.orchestrate(&mut open, work);
        self.open(open, outgoing);
    }

    /// Timers that ran out, of sagas that nobody else works on.
    pub(super) fn fire_timers(&mut self) {
        let locked = self.locked(ORCHESTRATOR);
        let mut due = Vec::new();
        for (saga, timers) in self.sagas.timers.iter().enumerate() {
            if locked & (1 << saga) == 0 {
                let ran_out = timers.iter().filter(|timer| timer.due <= self.now);
                due.extend(ran_out.map(|timer| (saga, timer.timer.clone())));
            }
        }
        let sagas = due.iter().fold(0, |all, (saga, _)| all | 1 << saga);
        self.say(|_| {
            let told: Vec<_> = due
                .iter()
                .map(|(saga, timer)| format!("{} ({}) of saga {}", timer.step, timer.direction, saga + 1))
                .collect();
            format!("orchestrator: timers run out: {}", told.join(", "))
        });
        self.work_on(TIMERS, sagas, |changes, view| {
            for (saga, timer) in due {
                changes.time_out(view, saga, timer);
            }
        });
    }

    /// Writes the outbox, last, and leaves the transaction open.
    fn open(&mut self, mut open: Open<S>, outgoing: Vec<Outgoing<S>>) {
        for (topic, saga, body) in outgoing {
            let message = self.message(open.service, topic, saga, body);
            open.outgoing.push(message);
        }
        self.open.push(open);
    }

    fn edge(open: &mut Open<S>) -> Vec<Outgoing<S>> {
        open.locked = open.sagas;
        let told = open.messages.iter().filter_map(|message| match message.body {
            Body::Updated { version } => Some((message.saga, version)),
            Body::Submit | Body::Command { .. } | Body::Reply { .. } => None,
        });
        open.work = Work::Edge(told.collect());
        Vec::new()
    }

    fn orchestrate(
        &mut self,
        open: &mut Open<S>,
        work: impl FnOnce(&mut Changes<S>, &View<'_, '_, S>),
    ) -> Vec<Outgoing<S>> {
        let mut changes = Changes::new();
        let view = View {
            setting: self.setting,
            sagas: &self.sagas,
            now: self.now,
            speaks: self.script.is_some(),
        };
        work(&mut changes, &view);
        open.locked = self.lock_mask(open.sagas, |saga| self.sagas.rows[saga].is_some());
        if let Some(broken) = changes.broken.take() {
            self.breaks(|| broken);
        }
        if let Some(script) = &mut self.script {
            script.append(&mut changes.said);
        }
        open.seen = std::mem::take(&mut changes.seen);
        let outgoing = std::mem::take(&mut changes.outgoing);
        open.work = Work::Orchestrator(changes);
        outgoing
    }

    fn participate(&mut self, open: &mut Open<S>) -> Vec<Outgoing<S>> {
        let service = open.service;
        open.locked = self.lock_mask(open.sagas, |saga| self.operations[service].knows(narrow(saga)));
        let answered = self.answer_all(service, open.sagas, &open.messages);
        for message in &answered.park {
            open.claims.release(message.id);
            open.messages.retain(|its| its.id != message.id);
        }
        open.park.extend(answered.park);
        open.seen = answered.seen;
        open.work = Work::Participant {
            barrier: answered.barrier,
            effects: answered.effects,
        };
        answered.replies
    }

    fn lock_mask(&self, sagas: u8, exists: impl Fn(usize) -> bool) -> u8 {
        if self.is(Mutation::NoCompareAndSet) {
            return 0;
        }
        (0..self.submissions.len())
            .filter(|saga| sagas & (1 << saga) != 0 && exists(*saga))
            .fold(0, |all, saga| all | 1 << saga)
    }

    /// Answers a batch of commands in memory.
    fn answer_all(&mut self, service: usize, sagas: u8, batch: &[Rc<Message<S>>]) -> Answered<S> {
        let setting = self.setting;
        let steps = setting.steps.len();
        let mut answered = Answered {
            barrier: Barrier::load(&self.operations[service], |saga| sagas & (1 << saga) != 0),
            effects: Vec::new(),
            replies: Vec::new(),
            park: Vec::new(),
            seen: Vec::new(),
        };
        let mut effects = self.effects.clone();
        for message in batch {
            let Body::Command {
                step,
                direction,
                means,
                command_id,
                ..
            } = message.body
            else {
                continue;
            };
            if answered.park.iter().any(|parked| parked.saga == message.saga) {
                answered.park.push(Rc::clone(message));
                continue;
            }
            let meant = means.1 as usize;
            let refuses = self.plan.refusals[message.saga] & (1 << meant) != 0
                && setting.reply(message.saga, meant, Answer::Refused).is_some();
            let its_effects = &mut effects[message.saga * steps..][..steps];
            let mut decide = || participant::decide(setting, refuses, its_effects, means);
            let met = if self.is(Mutation::NoBarrier) {
                decide().map(|(_, answer)| (Met::Fresh, answer))
            } else {
                barrier::answer(
                    &mut answered.barrier,
                    means,
                    decide,
                    Answer::Undone,
                    Answer::Superseded,
                )
            };
            let Ok((met, answer)) = met else {
                answered.park.push(Rc::clone(message));
                continue;
            };
            match met {
                Met::Fresh => {}
                Met::Repeated => answered.seen.push((step, Seen::CommandTwice)),
                Met::Acknowledged { overtook } => {
                    effects[message.saga * steps + meant].rolled_back = true;
                    if overtook {
                        answered.seen.push((step, Seen::Overtaken));
                    }
                }
            }
            if answer == Answer::Superseded {
                answered.seen.push((step, Seen::Superseded));
            }
            if let Some(script) = &mut self.script {
                script.push(format!(
                    "{:15}{}: {met:?}, {answer:?}",
                    "", setting.steps[step].name
                ));
            }
            let Some(reply) = setting.reply(message.saga, meant, answer) else {
                let name = &setting.steps[meant].name;
                self.breaks(|| format!("the scenario has no reply {answer:?} for {name}"));
                continue;
            };
            let body = Body::Reply {
                step,
                direction,
                command_id,
                reply,
            };
            answered.replies.push((REPLIES, message.saga, body));
        }
        for (index, effect) in effects.into_iter().enumerate() {
            if effect != self.effects[index] {
                answered.effects.push((index / steps, index % steps, effect));
            }
        }
        answered
    }

    /// Commits a transaction, or repeats it when another one came first. `dies`: before the offset is stored.
    pub(super) fn commit(&mut self, index: usize, dies: bool) {
        let mut open = self.open.remove(index);
        let (service, worker) = (open.service, open.worker);
        if self.collides(&open)
            || !self.write(service, std::mem::replace(&mut open.work, Work::Edge(Vec::new())))
        {
            self.give_back(&open);
            return;
        }
        self.say(|world| {
            let end = if dies { ", and dies" } else { "" };
            format!("{} {}: commits{end}", world.setting.services[service], worker + 1)
        });
        self.keep_claims(&mut open);
        self.saw_all(&open.known, Seen::MessageTwice);
        for (step, seen) in open.seen {
            self.saw(step, seen);
        }
        self.commits += 1;
        let commit = self.commits;
        for message in open.outgoing {
            self.services[service].outbox.insert(Rc::new(message), commit);
        }
        if let Some(batch) = open.batch {
            let partition = &mut self.broker.partitions[batch.place];
            if !dies && partition.generation == batch.generation {
                partition.committed = partition.committed.max(batch.next);
            }
        }
        if dies {
            let seen = if service == ORCHESTRATOR {
                Seen::OrchestratorAfterCommit
            } else {
                Seen::ParticipantAfterCommit
            };
            self.saw_all(&open.messages, seen);
            self.rewind(service, worker);
        }
    }

    /// Writes the business tables, all or nothing. False: a row was written by another transaction meanwhile.
    fn write(&mut self, service: usize, work: Work<S>) -> bool {
        match work {
            Work::Edge(told) => {
                for (saga, version) in told {
                    let submission = &mut self.submissions[saga];
                    submission.acknowledged = true;
                    submission.told = submission.told.max(version);
                }
            }
            Work::Orchestrator(changes) => {
                for (saga, row) in &changes.rows {
                    let before = self.sagas.rows[*saga].as_ref().map_or(0, |row| row.version);
                    if row.version < before {
                        self.breaks(|| format!("the version of saga {} goes back from {before}", saga + 1));
                    }
                }
                self.sagas.apply(changes);
            }
            Work::Participant { barrier, effects } => {
                if !self.is(Mutation::NoBarrier) && barrier.save(&mut self.operations[service]).is_err() {
                    return false;
                }
                for (saga, step, effect) in effects {
                    self.take_effect(saga, step, effect);
                }
            }
        }
        true
    }

    /// The instance dies: its transaction is rolled back, and it begins again at its stored offsets.
    pub(super) fn die_before_commit(&mut self, index: usize) {
        let open = self.open.remove(index);
        self.say(|world| {
            let name = &world.setting.services[open.service];
            format!("{name} {}: dies before the commit", open.worker + 1)
        });
        let seen = if open.service == ORCHESTRATOR {
            Seen::OrchestratorBeforeCommit
        } else {
            Seen::ParticipantBeforeCommit
        };
        self.saw_all(&open.messages, seen);
        self.rewind(open.service, open.worker);
    }

    /// The partitions of an instance are read again from the stored offset.
    pub(super) fn rewind(&mut self, service: usize, worker: usize) {
        if worker >= CONSUMERS {
            return;
        }
        for (place, partition) in self.broker.partitions.iter_mut().enumerate() {
            if reader_of(Broker::<S>::topic(place)) == service && partition.owner == worker {
                partition.rewind();
            }
        }
    }

    /// Whether another transaction wrote what this one found missing.
    fn collides(&self, open: &Open<S>) -> bool {
        if self.services[open.service].inbox.collides(&open.claims) {
            return true;
        }
        match &open.work {
            Work::Orchestrator(changes) if !self.is(Mutation::NoCompareAndSet) => changes
                .rows
                .iter()
                .any(|(saga, _)| open.locked & (1 << saga) == 0 && self.sagas.rows[*saga].is_some()),
            Work::Orchestrator(_) | Work::Edge(_) | Work::Participant { .. } => false,
        }
    }

    /// Rolls back: the same batch is tried again.
    fn give_back(&mut self, open: &Open<S>) {
        self.say(|world| {
            let name = &world.setting.services[open.service];
            format!(
                "{name} {}: meets another transaction and is rolled back",
                open.worker + 1
            )
        });
        self.saw_all(&open.messages, Seen::Raced);
        if let Some(batch) = open.batch {
            let partition = &mut self.broker.partitions[batch.place];
            if partition.generation == batch.generation {
                partition.position = batch.from;
            }
        }
    }

    fn keep_claims(&mut self, open: &mut Open<S>) {
        if !open.claims.behind.is_empty() && !self.order_is_disturbed {
            let behind = &open.claims.behind;
            self.breaks(|| format!("messages came behind later ones: {behind:?}"));
        }
        let its = &mut self.services[open.service];
        its.inbox.commit(&open.claims);
        for message in open.park.drain(..) {
            if its.parked.iter().all(|parked| parked.id != message.id) {
                its.inbox.park(narrow(message.topic), narrow(message.saga));
                its.parked.push(message);
            }
        }
        let mut twice = None;
        for message in &open.messages {
            let times = its.handled.entry(message.id).or_default();
            *times += 1;
            if *times > 1 {
                twice = Some(message);
            }
        }
        if let Some(message) = twice {
            let told = self.tell(message);
            self.breaks(|| format!("{told} was handled twice"));
        }
    }

    fn take_effect(&mut self, saga: usize, step: usize, effect: Effects) {
        let setting = self.setting;
        let name = &setting.steps[step].name;
        if effect.done > 1 || effect.undone > effect.done {
            self.breaks(|| {
                let Effects { done, undone, .. } = effect;
                format!(
                    "saga {}: {name} was done {done} times and undone {undone} times",
                    saga + 1
                )
            });
        }
        if effect.live && effect.rolled_back && setting.steps[step].can_roll_back {
            self.breaks(|| format!("saga {}: {name} was done after its rollback", saga + 1));
        }
        self.effects[saga * setting.steps.len() + step] = effect;
    }
}

/// What the orchestrator does with a message.
fn take_message<S: Scenario>(changes: &mut Changes<S>, view: &View<'_, '_, S>, message: &Message<S>) {
    match &message.body {
        Body::Submit => changes.submit(view, message.saga),
        Body::Reply {
            command_id, reply, ..
        } => {
            let input = Input::Reply {
                command_id: *command_id,
                reply: S::Reply::clone(reply),
            };
            changes.input(view, message.saga, input);
        }
        Body::Command { .. } | Body::Updated { .. } => {}
    }
}

fn mail<S: Scenario>(message: &Message<S>) -> Mail {
    Mail {
        id: message.id,
        topic: narrow(message.topic),
        key: narrow(message.saga),
        stream: narrow(message.source * 64 + message.topic),
        sequence: Some(message.sequence),
    }
}
