//! The moves that decisions are made of: command a stage, roll back, park, end. Each changes the state and
//! notes the effects.

use uuid::Uuid;

use crate::{
    definition::{DefinedStep, Definition},
    effect::{Decision, Effect, SentCommand, TimerKey},
    input::{Outcome, Timer},
    log::LogEntry,
    names::{Direction, StepName, command_id},
    state::{Cause, Ending, Left, Parked, State, Status, StepState, Tries},
    step::Rollback,
};

/// A decision in the making.
pub(crate) struct Run<'a, D, C, R> {
    pub(crate) definition: &'a Definition<D, C, R>,
    pub(crate) saga_id: Uuid,
    pub(crate) state: State<D>,
    effects: Vec<Effect<D, C, R>>,
}

/// A step whose command is pending.
pub(crate) struct Awaited<'a, D, C, R> {
    pub(crate) step: &'a DefinedStep<D, C, R>,
    pub(crate) leg: Leg<'a, D, C, R>,
    pub(crate) tries: Tries,
}

/// The direction of a command, with what it takes to go there.
pub(crate) enum Leg<'a, D, C, R> {
    Forward,
    Rollback {
        rollback: &'a Rollback<D, C, R>,
        left: Left,
    },
}

impl<'a, D, C, R> Run<'a, D, C, R>
where
    D: Clone,
    C: Clone,
{
    pub(crate) const fn new(definition: &'a Definition<D, C, R>, saga_id: Uuid, state: State<D>) -> Self {
        Self {
            definition,
            saga_id,
            state,
            effects: Vec::new(),
        }
    }

    pub(crate) fn decided(mut self, outcome: Outcome) -> Decision<D, C, R> {
        if outcome == Outcome::Applied {
            self.effects.push(Effect::Changed);
        }
        Decision {
            state: self.state,
            effects: self.effects,
            outcome,
        }
    }

    pub(crate) fn log(&mut self, entry: LogEntry<D, C, R>) {
        self.effects.push(Effect::Log(entry));
    }

    /// Everything whose reply counts. Of an ended saga nothing does.
    pub(crate) fn awaited(&self) -> impl Iterator<Item = Awaited<'a, D, C, R>> + use<'_, 'a, D, C, R> {
        let ended = self.state.has_ended();
        let definition = self.definition;
        definition
            .steps()
            .filter(move |_| !ended)
            .filter_map(|step| match *self.state.step(&step.name) {
                StepState::Pending { tries } => Some(Awaited {
                    step,
                    leg: Leg::Forward,
                    tries,
                }),
                StepState::Undoing { left, tries } => {
                    let rollback = step.rollback.as_ref()?;
                    Some(Awaited {
                        step,
                        leg: Leg::Rollback { rollback, left },
                        tries,
                    })
                }
                StepState::Idle
                | StepState::Done { .. }
                | StepState::Refused { .. }
                | StepState::InDoubt { .. }
                | StepState::Undone { .. } => None,
            })
    }

    pub(crate) fn command_id(&self, awaited: &Awaited<'a, D, C, R>) -> Uuid {
        command_id(self.saga_id, awaited.step.name.as_str(), awaited.leg.direction())
    }

    /// Goes on forward: waits for the stage under way, commands the next one, or completes.
    pub(crate) fn go_on(&mut self) {
        let definition = self.definition;
        let under_way = definition.stages().find(|stage| {
            !stage
                .iter()
                .all(|step| matches!(self.state.step(&step.name), StepState::Done { .. }))
        });
        let Some(stage) = under_way else {
            return self.enter(Status::Completed {
                ending: Ending::Reached,
            });
        };
        self.enter(if stage.iter().any(|step| self.is_stuck(step)) {
            Status::Parked {
                parked: Parked::Forward,
            }
        } else {
            Status::Running
        });
        if stage
            .iter()
            .all(|step| *self.state.step(&step.name) == StepState::Idle)
        {
            for step in stage {
                self.send(step, Leg::Forward, self.fresh_budget(0));
            }
        }
    }

    /// Turns back: what is pending is in doubt from now on, and rolled back like what is done.
    pub(crate) fn roll_back(&mut self, cause: Cause) {
        self.give_up_pending();
        self.enter(Status::Compensating { cause });
        self.undo_next();
    }

    /// Commands the next rollback, newest step first; without one left the saga is compensated. Only a saga
    /// that turned back has a cause; there is nothing to undo in another.
    pub(crate) fn undo_next(&mut self) {
        let Some(cause) = self.state.status.cause().cloned() else {
            return;
        };
        let definition = self.definition;
        let next = definition.steps().rev().find_map(|step| {
            let left = self.state.step(&step.name).left()?;
            Some((
                step,
                Leg::Rollback {
                    rollback: step.rollback.as_ref()?,
                    left,
                },
            ))
        });
        match next {
            Some((step, leg)) => {
                self.enter(Status::Compensating { cause });
                self.send(step, leg, self.fresh_budget(0));
            }
            None => self.enter(Status::Compensated {
                cause,
                ending: Ending::Reached,
            }),
        }
    }

    pub(crate) fn park_rollback(&mut self) {
        let Some(cause) = self.state.status.cause().cloned() else {
            return;
        };
        self.enter(Status::Parked {
            parked: Parked::Compensation { cause },
        });
    }

    /// Stops waiting for everything pending, because the saga goes on without it. A rollback is left as
    /// it is: it can only be given up by resolving a saga that is parked on it.
    pub(crate) fn give_up_pending(&mut self) {
        let pending: Vec<_> = self.awaited().collect();
        for awaited in pending {
            self.stop_waiting(&awaited);
            match awaited.leg {
                Leg::Forward => self.state.set_step(
                    &awaited.step.name,
                    StepState::InDoubt {
                        attempts: awaited.tries.attempts(),
                    },
                ),
                Leg::Rollback { .. } => {}
            }
        }
    }

    /// Sends a command, first or again, and waits for its reply.
    pub(crate) fn send(&mut self, step: &DefinedStep<D, C, R>, leg: Leg<'a, D, C, R>, tries: Tries) {
        let attempt = tries.attempts();
        self.put_out(step, leg, attempt);
        self.state.set_step(&step.name, leg.waiting(tries));
        let nth = match tries {
            Tries::Live { attempt, last } => (attempt + self.definition.retry().sends()).saturating_sub(last),
            Tries::Spent { attempts } => attempts,
        };
        let direction = leg.direction();
        let after = self
            .definition
            .retry()
            .wait(self.saga_id, step.name.as_str(), direction, nth);
        let timer = Timer {
            step: step.name.clone(),
            direction,
            attempt,
        };
        self.effects.push(Effect::SetTimer { timer, after });
    }

    /// Sends a rollback once more without waiting for it, or waiting on as before.
    pub(crate) fn repeat_rollback(&mut self, name: &StepName) {
        let Some(step) = self.definition.step(name) else {
            return;
        };
        let Some(rollback) = step.rollback.as_ref() else {
            return;
        };
        let (left, attempt) = match *self.state.step(name) {
            StepState::Undoing { left, tries } => (left, tries.attempts()),
            StepState::Undone { left, attempts } => (left, attempts),
            StepState::Done { attempts } => (Left::Done { attempts }, 1),
            StepState::InDoubt { attempts } => (Left::InDoubt { attempts }, 1),
            StepState::Idle | StepState::Pending { .. } | StepState::Refused { .. } => return,
        };
        self.put_out(step, Leg::Rollback { rollback, left }, attempt);
    }

    pub(crate) fn set_tries(&mut self, awaited: &Awaited<'a, D, C, R>, tries: Tries) {
        self.state
            .set_step(&awaited.step.name, awaited.leg.waiting(tries));
    }

    /// A whole budget on top of the attempts made so far.
    pub(crate) const fn fresh_budget(&self, attempts: u32) -> Tries {
        Tries::Live {
            attempt: attempts + 1,
            last: attempts + self.definition.retry().sends(),
        }
    }

    pub(crate) fn stop_waiting(&mut self, awaited: &Awaited<'a, D, C, R>) {
        if !awaited.is_spent() {
            let key = TimerKey {
                step: awaited.step.name.clone(),
                direction: awaited.leg.direction(),
            };
            self.effects.push(Effect::ClearTimer(key));
        }
    }

    pub(crate) fn enter(&mut self, status: Status) {
        if self.state.status != status {
            self.log(LogEntry::StatusChanged(status.clone()));
            self.state.status = status;
        }
    }

    fn put_out(&mut self, step: &DefinedStep<D, C, R>, leg: Leg<'a, D, C, R>, attempt: u32) {
        let make = match leg {
            Leg::Forward => step.command,
            Leg::Rollback { rollback, .. } => rollback.command,
        };
        let direction = leg.direction();
        let sent = SentCommand {
            step: step.name.clone(),
            participant: step.participant.clone(),
            direction,
            attempt,
            command_id: command_id(self.saga_id, step.name.as_str(), direction),
            command: make(&self.state.data),
        };
        self.log(LogEntry::CommandSent(sent.clone()));
        self.effects.push(Effect::Send(sent));
    }

    /// The step holds its stage up until a reply or an operator comes.
    fn is_stuck(&self, step: &DefinedStep<D, C, R>) -> bool {
        match self.state.step(&step.name) {
            StepState::Pending {
                tries: Tries::Spent { .. },
            }
            | StepState::Refused { .. } => true,
            StepState::Pending {
                tries: Tries::Live { .. },
            }
            | StepState::Idle
            | StepState::Done { .. }
            | StepState::InDoubt { .. }
            | StepState::Undoing { .. }
            | StepState::Undone { .. } => false,
        }
    }
}

impl<D, C, R> Awaited<'_, D, C, R> {
    pub(crate) fn is_for(&self, timer: &Timer) -> bool {
        self.step.name == timer.step && self.leg.direction() == timer.direction
    }

    pub(crate) const fn is_spent(&self) -> bool {
        match self.tries {
            Tries::Spent { .. } => true,
            Tries::Live { .. } => false,
        }
    }
}

impl<D, C, R> Leg<'_, D, C, R> {
    pub(crate) const fn direction(&self) -> Direction {
        match self {
            Self::Forward => Direction::Forward,
            Self::Rollback { .. } => Direction::Compensation,
        }
    }

    const fn waiting(&self, tries: Tries) -> StepState {
        match *self {
            Self::Forward => StepState::Pending { tries },
            Self::Rollback { left, .. } => StepState::Undoing { left, tries },
        }
    }
}

impl<D, C, R> Clone for Leg<'_, D, C, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D, C, R> Copy for Leg<'_, D, C, R> {}
