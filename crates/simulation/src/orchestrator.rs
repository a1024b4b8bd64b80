//! The orchestrator: the real engine between a map of sagas and the messages, as purchase-manager's `orchestrator.rs`
//! and `store.rs` put it between tables and Kafka.
//!
//! | here | models |
//! |---|---|
//! | [`Changes::submit`], [`Changes::cancel`], [`Changes::input`] | `Batch::submit`, `cancel`, `input` |
//! | [`Changes::take`] | `Batch::take`: version, log, timers, outbox |
//! | [`Sagas::apply`] | `store::save`, `log::append`, `timers::write` at the commit |

use saga::{
    Cancellation, Decision, Direction, Effect, Input, LogEntry, OperatorAction, Outcome, State, StepName,
    Timer, decide, start, start_cancelled,
};

use crate::{
    broker::{Body, EVENTS, commands_of},
    fault::Seen,
    rules::engine,
    scenario::{Scenario, Setting},
};

type StateOf<S> = State<<S as Scenario>::Data>;
type LogOf<S> = LogEntry<<S as Scenario>::Data, <S as Scenario>::Command, <S as Scenario>::Reply>;
type DecisionOf<S> = Decision<<S as Scenario>::Data, <S as Scenario>::Command, <S as Scenario>::Reply>;

/// A row of the table `saga`.
pub(crate) struct Row<S: Scenario> {
    pub(crate) state: Option<StateOf<S>>,
    pub(crate) early_cancel: Option<Cancellation>,
    pub(crate) version: u32,
    /// How often an operator had it tried again.
    pub(crate) retries: u32,
}

impl<S: Scenario> Clone for Row<S> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            early_cancel: self.early_cancel.clone(),
            version: self.version,
            retries: self.retries,
        }
    }
}

/// A row of `saga_timer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DueTimer {
    pub(crate) timer: Timer,
    pub(crate) due: u64,
}

/// The orchestrator's tables, by saga.
pub(crate) struct Sagas<S: Scenario> {
    pub(crate) rows: Vec<Option<Row<S>>>,
    pub(crate) logs: Vec<Vec<LogOf<S>>>,
    pub(crate) timers: Vec<Vec<DueTimer>>,
    /// The first command sent under each command id, by saga, step and direction.
    pub(crate) first_commands: Vec<Option<S::Command>>,
}

enum TimerChange {
    Set(DueTimer),
    Clear(StepName, Direction),
    /// Taken because it ran out, as `timers::take_due` deletes it.
    Taken(Timer),
}

/// What a transaction of the orchestrator writes.
pub(crate) struct Changes<S: Scenario> {
    pub(crate) rows: Vec<(usize, Row<S>)>,
    log: Vec<(usize, LogOf<S>)>,
    timers: Vec<(usize, TimerChange)>,
    first_commands: Vec<(usize, S::Command)>,
    pub(crate) outgoing: Vec<(usize, usize, Body<S>)>,
    pub(crate) broken: Option<String>,
    pub(crate) seen: Vec<(usize, Seen)>,
    pub(crate) said: Vec<String>,
}

/// What a transaction of the orchestrator can see.
pub(crate) struct View<'a, 's, S: Scenario> {
    pub(crate) setting: &'a Setting<'s, S>,
    pub(crate) sagas: &'a Sagas<S>,
    pub(crate) now: u64,
    pub(crate) speaks: bool,
}

impl<S: Scenario> Sagas<S> {
    pub(crate) fn new(setting: &Setting<'_, S>, sagas: usize) -> Self {
        Self {
            rows: (0..sagas).map(|_| None).collect(),
            logs: (0..sagas).map(|_| Vec::new()).collect(),
            timers: vec![Vec::new(); sagas],
            first_commands: (0..sagas * setting.steps.len() * 2).map(|_| None).collect(),
        }
    }

    pub(crate) fn state(&self, saga: usize) -> Option<&StateOf<S>> {
        self.rows[saga].as_ref()?.state.as_ref()
    }

    /// Commits.
    pub(crate) fn apply(&mut self, changes: Changes<S>) {
        for (saga, row) in changes.rows {
            self.rows[saga] = Some(row);
        }
        for (saga, entry) in changes.log {
            self.logs[saga].push(entry);
        }
        for (saga, change) in changes.timers {
            let timers = &mut self.timers[saga];
            match change {
                TimerChange::Set(set) => {
                    timers.retain(|its| {
                        (&its.timer.step, its.timer.direction) != (&set.timer.step, set.timer.direction)
                    });
                    timers.push(set);
                }
                TimerChange::Clear(step, direction) => {
                    timers.retain(|its| (&its.timer.step, its.timer.direction) != (&step, direction));
                }
                TimerChange::Taken(timer) => timers.retain(|its| its.timer != timer),
            }
        }
        for (place, command) in changes.first_commands {
            self.first_commands[place].get_or_insert(command);
        }
    }
}

impl<S: Scenario> Changes<S> {
    pub(crate) const fn new() -> Self {
        Self {
            rows: Vec::new(),
            log: Vec::new(),
            timers: Vec::new(),
            first_commands: Vec::new(),
            outgoing: Vec::new(),
            broken: None,
            seen: Vec::new(),
            said: Vec::new(),
        }
    }

    fn row(&mut self, view: &View<'_, '_, S>, saga: usize) -> Option<&mut Row<S>> {
        let place = match self.rows.iter().position(|(its, _)| *its == saga) {
            Some(place) => place,
            None => {
                self.rows.push((saga, view.sagas.rows[saga].clone()?));
                self.rows.len() - 1
            }
        };
        Some(&mut self.rows[place].1)
    }

    /// A submission, perhaps again.
    pub(crate) fn submit(&mut self, view: &View<'_, '_, S>, saga: usize) {
        let setting = view.setting;
        let (id, data) = (setting.ids[saga], setting.data[saga].clone());
        let row = self.row(view, saga);
        if row.as_ref().is_some_and(|row| row.state.is_some()) {
            let version = row.map_or(0, |row| row.version);
            self.outgoing.push((EVENTS, saga, Body::Updated { version }));
            return;
        }
        let decision = match row.and_then(|row| row.early_cancel.clone()) {
            Some(cancellation) => start_cancelled(setting.definition, id, data, cancellation),
            None => start(setting.definition, id, data),
        };
        if self.rows.iter().all(|(its, _)| *its != saga) {
            self.rows.push((
                saga,
                Row {
                    state: None,
                    early_cancel: None,
                    version: 0,
                    retries: 0,
                },
            ));
        }
        self.take(view, saga, None, decision);
    }

    /// A customer's cancel, perhaps before the submission.
    pub(crate) fn cancel(&mut self, view: &View<'_, '_, S>, saga: usize) {
        let cancellation = Cancellation {
            by: "customer".to_owned(),
            reason: None,
        };
        match self.row(view, saga) {
            Some(row) if row.state.is_some() => self.input(view, saga, Input::Cancel(cancellation)),
            Some(_) => {}
            None => self.rows.push((
                saga,
                Row {
                    state: None,
                    early_cancel: Some(cancellation),
                    version: 0,
                    retries: 0,
                },
            )),
        }
    }

    /// Timers of a saga that ran out.
    pub(crate) fn time_out(&mut self, view: &View<'_, '_, S>, saga: usize, timer: Timer) {
        self.timers.push((saga, TimerChange::Taken(timer.clone())));
        self.input(view, saga, Input::Timer(timer));
    }

    /// Anything that only an existing saga can meet.
    pub(crate) fn input(&mut self, view: &View<'_, '_, S>, saga: usize, input: Input<S::Reply>) {
        let Some(before) = self.row(view, saga).and_then(|row| row.state.clone()) else {
            return;
        };
        if let Input::Operator {
            action: OperatorAction::Retry,
            ..
        } = &input
            && let Some(row) = self.row(view, saga)
        {
            row.retries += 1;
        }
        let decision = decide(
            view.setting.definition,
            view.setting.ids[saga],
            before.clone(),
            input,
        );
        self.take(view, saga, Some(&before), decision);
    }

    /// Puts a decision into the transaction.
    fn take(
        &mut self,
        view: &View<'_, '_, S>,
        saga: usize,
        before: Option<&StateOf<S>>,
        decision: DecisionOf<S>,
    ) {
        let setting = view.setting;
        let retries = self.row(view, saga).map_or(0, |row| row.retries);
        if let Err(broken) = engine::check(setting, before, &decision, retries) {
            self.broken.get_or_insert(broken);
        }
        let Decision {
            state,
            effects,
            outcome,
        } = decision;
        if view.speaks {
            let status = state.status().kind();
            self.said
                .push(format!("{:15}saga {}: {outcome:?}, {status}", "", saga + 1));
        }
        let changed = outcome == Outcome::Applied;
        let version = match self.row(view, saga) {
            Some(row) => {
                row.state = Some(state);
                row.version += u32::from(changed);
                row.version
            }
            None => 0,
        };
        for effect in effects {
            if view.speaks {
                self.said
                    .extend(told(&effect).map(|told| format!("{:17}{told}", "")));
            }
            match effect {
                Effect::Send(sent) => self.send(view, saga, sent),
                Effect::SetTimer { timer, after } => {
                    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    let due = view.now.saturating_add(after_ms);
                    self.timers
                        .push((saga, TimerChange::Set(DueTimer { timer, due })));
                }
                Effect::ClearTimer(key) => self
                    .timers
                    .push((saga, TimerChange::Clear(key.step, key.direction))),
                Effect::Log(entry) => {
                    self.note(setting, before, &entry);
                    self.log.push((saga, entry));
                }
                Effect::Changed => self.outgoing.push((EVENTS, saga, Body::Updated { version })),
            }
        }
    }

    fn send(&mut self, view: &View<'_, '_, S>, saga: usize, sent: saga::SentCommand<S::Command>) {
        let setting = view.setting;
        let Some(step) = setting.step(&sent.step) else {
            self.broken
                .get_or_insert_with(|| format!("a command for the unknown step {}", sent.step));
            return;
        };
        let (meant, direction) = setting.scenario.means(&sent);
        let Some(meant) = setting.step(&meant) else {
            self.broken
                .get_or_insert_with(|| format!("the command of {} means the unknown {meant}", sent.step));
            return;
        };
        let place = (saga * setting.steps.len() + step) * 2 + sent.direction as usize;
        match &view.sagas.first_commands[place] {
            Some(first) => {
                let (first, again) = (format!("{first:?}"), format!("{:?}", sent.command));
                if first != again {
                    self.broken.get_or_insert_with(|| {
                        format!(
                            "{} ({}) is sent again under the same id with another content: {first}, then {again}",
                            sent.step, sent.direction
                        )
                    });
                }
            }
            None => self.first_commands.push((place, sent.command)),
        }
        let to = match u32::try_from(meant) {
            Ok(meant) => (u32::try_from(saga).unwrap_or(u32::MAX), meant, direction),
            Err(_) => return,
        };
        self.outgoing.push((
            commands_of(setting.steps[step].service),
            saga,
            Body::Command {
                step,
                direction: sent.direction,
                means: to,
                command_id: sent.command_id,
                attempt: sent.attempt,
            },
        ));
    }

    fn note(&mut self, setting: &Setting<'_, S>, before: Option<&StateOf<S>>, entry: &LogOf<S>) {
        let seen = match entry {
            LogEntry::ReplyAccepted { .. } => Seen::Success,
            LogEntry::ReplyRefused { .. } => Seen::Refusal,
            LogEntry::TimedOut(_) => Seen::Timeout,
            LogEntry::ReplyLate { .. } => Seen::LateReply,
            LogEntry::HoldExpired { .. } => Seen::HoldExpired,
            LogEntry::CancelAccepted(_) | LogEntry::CancelRefused { .. } => {
                return self.note_current(setting, before, Seen::Cancelled);
            }
            LogEntry::OperatorActed { action, .. } => {
                let seen = match action {
                    OperatorAction::Retry => Seen::OperatorRetry,
                    OperatorAction::Compensate => Seen::OperatorCompensate,
                    OperatorAction::Resolve(_) => Seen::OperatorResolve,
                };
                return self.note_current(setting, before, seen);
            }
            LogEntry::OperatorRefused { .. } => {
                return self.note_current(setting, before, Seen::OperatorRefused);
            }
            LogEntry::Submitted { .. }
            | LogEntry::SubmittedCancelled { .. }
            | LogEntry::CommandSent(_)
            | LogEntry::RollbackAcknowledged { .. }
            | LogEntry::ReplyUnexpected { .. }
            | LogEntry::StatusChanged(_) => return,
        };
        if let Some(step) = entry.step().and_then(|step| setting.step(step)) {
            self.seen.push((step, seen));
        }
    }

    /// Notes something that is about the whole saga for the steps that it waits for.
    fn note_current(&mut self, setting: &Setting<'_, S>, before: Option<&StateOf<S>>, seen: Seen) {
        let Some(before) = before else { return };
        for (index, step) in setting.steps.iter().enumerate() {
            if engine::is_current(before.step(&step.name)) {
                self.seen.push((index, seen));
            }
        }
    }
}

/// What of an effect is worth a line of a script.
fn told<D, C, R>(effect: &Effect<D, C, R>) -> Option<String> {
    match effect {
        Effect::Send(_) | Effect::SetTimer { .. } => Some(effect.to_string()),
        Effect::Log(
            LogEntry::TimedOut(_) | LogEntry::ReplyLate { .. } | LogEntry::ReplyUnexpected { .. },
        ) => Some(effect.to_string()),
        Effect::Log(_) | Effect::ClearTimer(_) | Effect::Changed => None,
    }
}
