//! The whole system as one value: services, broker, clock. What can happen next is listed by `options`, and made to
//! happen by `happen` and `transactions`.

mod happen;
mod options;
mod transactions;

use std::rc::Rc;

use saga::Parked;

use crate::{
    barrier::Operations,
    broker::{Body, Broker, Message, SUBMISSIONS},
    fault::{Mutation, Seen},
    orchestrator::Sagas,
    participant::Effects,
    rules::at_rest,
    scenario::{Answer, EDGE, Scenario, Setting},
    service::{Away, Open, Service},
};

pub(crate) use options::{Action, FAULT_KINDS};

/// The first wait of the edge before it submits again, doubled up to [`LONGEST_RESEND_MS`].
const FIRST_RESEND_MS: u64 = 10_000;
const LONGEST_RESEND_MS: u64 = 60_000;
/// Moves until rest, far more than any schedule takes. Reached only where something goes round in circles.
const MOST_MOVES: u32 = 20_000;
/// Characters of a reply in a script.
const LONGEST_REPLY: usize = 72;
/// How often operators look at what is parked before it must have ended.
const OPERATOR_ROUNDS: usize = 8;
/// Faults that mend themselves do so within this time.
const LONGEST_FAULT_MS: u64 = 180_000;

/// What the edge knows of a purchase that it accepted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Submission {
    acknowledged: bool,
    resend_at: u64,
    sends: u32,
    /// The highest version that it was told.
    pub(crate) told: u32,
}

/// What is chosen before a schedule begins.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sagas: usize,
    /// Which steps refuse, a bit each, by saga.
    pub(crate) refusals: Vec<u32>,
    /// What operators do with what is parked, round by round.
    pub(crate) operators: [u32; OPERATOR_CHOICES],
}

/// The rounds in which operators choose; after that they end what is parked.
pub(crate) const OPERATOR_CHOICES: usize = 3;

pub(crate) struct World<'w, 's, S: Scenario> {
    pub(crate) setting: &'w Setting<'s, S>,
    plan: Plan,
    mutation: Option<Mutation>,
    now: u64,
    next_message: u32,
    commits: u32,
    pub(crate) broker: Broker<S>,
    pub(crate) services: Vec<Service<S>>,
    pub(crate) sagas: Sagas<S>,
    pub(crate) submissions: Vec<Submission>,
    operations: Vec<Operations<Answer>>,
    effects: Vec<Effects>,
    open: Vec<Open<S>>,
    /// Messages that are held back: when they come, and where from.
    held_back: Vec<(u64, Rc<Message<S>>)>,
    /// The commit of the last row published for the first time, by service, topic and saga.
    last_published: Vec<u32>,
    /// The order in which messages come is not that in which they were sent.
    order_is_disturbed: bool,
    pub(crate) events_were_lost: bool,
    pub(crate) seen: Vec<u64>,
    pub(crate) moves: u32,
    broken: Option<String>,
    script: Option<Vec<String>>,
}

impl<'w, 's, S: Scenario> World<'w, 's, S> {
    pub(crate) fn new(
        setting: &'w Setting<'s, S>,
        plan: Plan,
        mutation: Option<Mutation>,
        script: bool,
    ) -> Self {
        let services = setting.services.len();
        let sagas = plan.sagas;
        let mut world = Self {
            setting,
            mutation,
            now: 0,
            next_message: 1,
            commits: 0,
            broker: Broker::new(services),
            services: (0..services).map(|_| Service::new()).collect(),
            sagas: Sagas::new(setting, sagas),
            submissions: vec![
                Submission {
                    acknowledged: false,
                    resend_at: 0,
                    sends: 0,
                    told: 0,
                };
                sagas
            ],
            operations: (0..services).map(|_| Operations::default()).collect(),
            effects: vec![Effects::default(); sagas * setting.steps.len()],
            open: Vec::new(),
            held_back: Vec::new(),
            last_published: vec![0; services * (services + 1) * sagas],
            order_is_disturbed: false,
            events_were_lost: false,
            seen: vec![0; setting.steps.len()],
            moves: 0,
            broken: None,
            script: script.then(Vec::new),
            plan,
        };
        for saga in 0..sagas {
            world.submit(saga);
        }
        world
    }

    /// The effects of a saga, by step.
    pub(crate) fn effects(&self, saga: usize) -> &[Effects] {
        let steps = self.setting.steps.len();
        &self.effects[saga * steps..][..steps]
    }

    /// The script so far.
    pub(crate) fn into_script(self) -> Vec<String> {
        self.script.unwrap_or_default()
    }

    /// The rule that was broken first.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    fn breaks(&mut self, rule: impl FnOnce() -> String) {
        if self.broken.is_none() {
            self.broken = Some(rule());
        }
    }

    fn say(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.script.is_some() {
            let line = format!("{:>9.3} s  {}", self.now as f64 / 1000.0, line(self));
            if let Some(script) = &mut self.script {
                script.push(line);
            }
        }
    }

    fn saw(&mut self, step: usize, seen: Seen) {
        self.seen[step] |= 1 << seen as u32;
    }

    fn saw_all<'m>(&mut self, messages: impl IntoIterator<Item = &'m Rc<Message<S>>>, seen: Seen)
    where
        S: 'm,
    {
        for step in messages.into_iter().filter_map(|message| message.step()) {
            self.saw(step, seen);
        }
    }

    /// Goes on until nothing moves, nothing else going wrong.
    pub(crate) fn come_to_rest(&mut self) {
        let until = self.now + self.longest_ms();
        let limit = self.moves + MOST_MOVES;
        while self.broken.is_none() {
            let Some(action) = self.first_option() else { break };
            self.happen(action);
            if self.moves > limit {
                self.breaks(|| format!("it does not come to rest within {MOST_MOVES} moves"));
            }
            if self.now > until {
                let now = self.now;
                self.breaks(|| {
                    format!(
                        "it is not at rest {} s after the last fault",
                        (now - until) / 1000
                    )
                });
            }
        }
        if self.broken.is_none()
            && let Err(rule) = at_rest::check(self)
        {
            self.breaks(|| rule);
        }
    }

    /// Repairs what is down, and has operators settle what is parked: then everything must end.
    pub(crate) fn settle(&mut self) {
        for round in 0..OPERATOR_ROUNDS {
            let parked = self.parked();
            let is_quiet = parked.is_empty()
                && self
                    .services
                    .iter()
                    .all(|its| its.is_here() && its.parked.is_empty());
            if self.broken.is_some() || is_quiet {
                return;
            }
            self.repair();
            for (saga, parked) in parked {
                self.operate(saga, round, &parked);
            }
            self.come_to_rest();
        }
        if !self.parked().is_empty() {
            self.breaks(|| "operators cannot bring it to an end".to_owned());
        }
    }

    fn parked(&self) -> Vec<(usize, Parked)> {
        (0..self.plan.sagas)
            .filter_map(|saga| match self.sagas.state(saga)?.status() {
                saga::Status::Parked { parked } => Some((saga, parked.clone())),
                saga::Status::Running
                | saga::Status::Compensating { .. }
                | saga::Status::Completed { .. }
                | saga::Status::Compensated { .. } => None,
            })
            .collect()
    }

    /// Services come back; of the parked messages those that failed are discarded, the others are replayed.
    fn repair(&mut self) {
        self.order_is_disturbed = true;
        for service in 0..self.services.len() {
            self.services[service].away = Away::Here;
            let parked = std::mem::take(&mut self.services[service].parked);
            let mut failed = Vec::new();
            for message in parked {
                let key = (message.topic, message.saga);
                if failed.contains(&key) {
                    self.broker.append(message);
                } else {
                    failed.push(key);
                    self.services[service].inbox.settle(narrow(key.0), narrow(key.1));
                }
            }
        }
        self.say(|_| "an operator repairs what is down".to_owned());
    }

    /// The sum of all budgets, twice for what an operator adds, and what faults take that mend themselves.
    fn longest_ms(&self) -> u64 {
        let definition = self.setting.definition;
        let mut sum = 0;
        for step in &self.setting.steps {
            for direction in [saga::Direction::Forward, saga::Direction::Compensation] {
                for nth in 1..=definition.retry().sends() {
                    let wait =
                        definition
                            .retry()
                            .wait(self.setting.ids[0], step.name.as_str(), direction, nth);
                    sum += u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 1024);
                }
            }
        }
        2 * sum + LONGEST_FAULT_MS
    }

    fn submit(&mut self, saga: usize) {
        let resend = &mut self.submissions[saga];
        let wait = FIRST_RESEND_MS << resend.sends.min(8);
        resend.resend_at = self.now + wait.min(LONGEST_RESEND_MS);
        resend.sends += 1;
        self.commit_message(EDGE, SUBMISSIONS, saga, Body::Submit);
        self.say(|_| format!("edge: submits saga {}", saga + 1));
    }

    /// Writes one message in a transaction of its own.
    fn commit_message(&mut self, service: usize, topic: usize, saga: usize, body: Body<S>) {
        let message = self.message(service, topic, saga, body);
        self.commits += 1;
        let commit = self.commits;
        self.services[service].outbox.insert(Rc::new(message), commit);
    }

    fn message(&mut self, service: usize, topic: usize, saga: usize, body: Body<S>) -> Message<S> {
        let id = self.next_message;
        self.next_message += 1;
        let outbox = &mut self.services[service].outbox;
        let sequence = outbox.next;
        outbox.next += 1;
        Message {
            id,
            source: service,
            topic,
            saga,
            sequence,
            body,
        }
    }

    /// A message in words.
    fn tell(&self, message: &Message<S>) -> String {
        let step = |step: usize| &self.setting.steps[step].name;
        let what = match &message.body {
            Body::Submit => "the submission".to_owned(),
            Body::Command {
                step: its,
                direction: saga::Direction::Forward,
                attempt,
                ..
            } => format!("the command {} (attempt {attempt})", step(*its)),
            Body::Command {
                step: its, attempt, ..
            } => {
                format!("the rollback {} (attempt {attempt})", step(*its))
            }
            Body::Reply {
                step: its,
                direction,
                reply,
                ..
            } => {
                let reply: String = format!("{reply:?}").chars().take(LONGEST_REPLY).collect();
                format!("the reply to {} ({direction}) {reply}", step(*its))
            }
            Body::Updated { version } => format!("version {version}"),
        };
        format!("{what} of saga {} [message {}]", message.saga + 1, message.id)
    }
}

/// Indexes of a world are small.
pub(crate) fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
