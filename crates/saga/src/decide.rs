//! The decisions: what each input means for a saga in each state. Total and pure.

use uuid::Uuid;

use crate::{
    definition::{DefinedStep, Definition},
    effect::Decision,
    input::{Cancellation, HoldAnswer, Input, OperatorAction, OperatorNote, Outcome, Resolution, Timer},
    legality::{may_act, may_cancel, pivot_is_commanded},
    log::LogEntry,
    names::{Direction, StepName, command_id},
    run::{Awaited, Leg, Run},
    state::{Cause, Ending, Parked, State, Status, StepState, Tries},
    step::{Kind, Verdict},
};

/// Begins a saga: commands its first stage.
#[must_use]
pub fn start<D, C, R>(definition: &Definition<D, C, R>, saga_id: Uuid, data: D) -> Decision<D, C, R>
where
    D: Clone,
    C: Clone,
{
    let mut run = Run::new(definition, saga_id, State::fresh(definition, data));
    run.log(LogEntry::Submitted {
        definition: definition.name().to_owned(),
        version: definition.version(),
        data: run.state.data.clone(),
    });
    run.go_on();
    run.decided(Outcome::Applied)
}

/// Begins a saga whose cancel came first: it is compensated at once and commands nobody. The caller keeps
/// the [`Cancellation`] of a saga that it does not know, and calls this instead of [`start`] when the saga
/// is submitted after all.
#[must_use]
pub fn start_cancelled<D, C, R>(
    definition: &Definition<D, C, R>,
    saga_id: Uuid,
    data: D,
    cancellation: Cancellation,
) -> Decision<D, C, R>
where
    D: Clone,
    C: Clone,
{
    let mut run = Run::new(definition, saga_id, State::fresh(definition, data));
    run.log(LogEntry::SubmittedCancelled {
        definition: definition.name().to_owned(),
        version: definition.version(),
        data: run.state.data.clone(),
        cancellation: cancellation.clone(),
    });
    run.enter(Status::Compensated {
        cause: Cause::Cancelled { cancellation },
        ending: Ending::Reached,
    });
    run.decided(Outcome::Applied)
}

/// Decides what `input` means for a saga in `state`. Total: there is an outcome for every state and input,
/// and it says when nothing was done and why.
#[must_use]
pub fn decide<D, C, R>(
    definition: &Definition<D, C, R>,
    saga_id: Uuid,
    state: State<D>,
    input: Input<R>,
) -> Decision<D, C, R>
where
    D: Clone,
    C: Clone,
{
    let compatible = definition.accepts(&state);
    let mut run = Run::new(definition, saga_id, state);
    let outcome = match (compatible, input) {
        (Err(incompatible), _) => Outcome::Incompatible(incompatible),
        (Ok(()), Input::Reply { command_id, reply }) => run.reply(command_id, reply),
        (Ok(()), Input::Timer(timer)) => run.timer(timer),
        (Ok(()), Input::Cancel(cancellation)) => run.cancel(cancellation),
        (Ok(()), Input::Operator { action, note }) => run.operator(action, note),
        (Ok(()), Input::HoldExpired { step }) => run.hold_expired(&step),
    };
    run.decided(outcome)
}

impl<'a, D, C, R> Run<'a, D, C, R>
where
    D: Clone,
    C: Clone,
{
    /// A reply counts only if its command is pending. So the late reply to the forward command of a step in
    /// doubt changes nothing once the saga turned back: whatever it says, its rollback is sent and waited
    /// for, because the participant, not the order of arrival here, knows which of the two came first.
    fn reply(&mut self, id: Uuid, reply: R) -> Outcome {
        let pending = self.awaited().find(|awaited| self.command_id(awaited) == id);
        let Some(awaited) = pending else {
            let answers = self.commanded_under(id);
            self.log(LogEntry::ReplyLate {
                command_id: id,
                answers,
                reply,
            });
            return Outcome::LateReply;
        };
        match awaited.leg {
            Leg::Forward => self.forward_reply(&awaited, id, reply),
            Leg::Rollback { rollback, left } if (rollback.acknowledged)(&reply) => {
                let step = &awaited.step.name;
                self.log(LogEntry::RollbackAcknowledged {
                    step: step.clone(),
                    command_id: id,
                    reply,
                });
                self.stop_waiting(&awaited);
                self.state.set_step(
                    step,
                    StepState::Undone {
                        left,
                        attempts: awaited.tries.attempts(),
                    },
                );
                self.undo_next();
                Outcome::Applied
            }
            Leg::Rollback { .. } => self.unexpected(&awaited, id, reply),
        }
    }

    fn forward_reply(&mut self, awaited: &Awaited<'a, D, C, R>, id: Uuid, reply: R) -> Outcome {
        let step = awaited.step;
        let attempts = awaited.tries.attempts();
        // Read on a copy: a reply that turns out to be unexpected must not leave half of itself behind.
        let mut data = self.state.data.clone();
        match (step.reply)(&mut data, &reply) {
            Verdict::Unexpected => return self.unexpected(awaited, id, reply),
            Verdict::Accepted => {
                self.log(LogEntry::ReplyAccepted {
                    step: step.name.clone(),
                    command_id: id,
                    reply,
                });
                self.stop_waiting(awaited);
                self.state.data = data;
                self.state.set_step(&step.name, StepState::Done { attempts });
                self.go_on();
            }
            Verdict::Refused(refusal) => {
                self.log(LogEntry::ReplyRefused {
                    step: step.name.clone(),
                    command_id: id,
                    reply,
                    refusal: refusal.clone(),
                });
                self.stop_waiting(awaited);
                self.state.data = data;
                self.state.set_step(
                    &step.name,
                    StepState::Refused {
                        attempts,
                        refusal: refusal.clone(),
                    },
                );
                match step.kind {
                    Kind::Compensatable | Kind::Pivot => {
                        self.roll_back(Cause::Refused {
                            step: step.name.clone(),
                            refusal,
                        });
                    }
                    Kind::Retriable => self.go_on(),
                }
            }
        }
        Outcome::Applied
    }

    fn unexpected(&mut self, awaited: &Awaited<'a, D, C, R>, id: Uuid, reply: R) -> Outcome {
        self.log(LogEntry::ReplyUnexpected {
            step: awaited.step.name.clone(),
            direction: awaited.leg.direction(),
            command_id: id,
            reply,
        });
        Outcome::UnexpectedReply
    }

    /// A timeout means unknown: ask again, and when the budget is spent, turn back while that is possible,
    /// else wait for an operator.
    fn timer(&mut self, timer: Timer) -> Outcome {
        let ran_out = self.awaited().find_map(|awaited| match awaited.tries {
            Tries::Live { attempt, last } if awaited.is_for(&timer) && attempt == timer.attempt => {
                Some((awaited, last))
            }
            Tries::Live { .. } | Tries::Spent { .. } => None,
        });
        let Some((awaited, last)) = ran_out else {
            return Outcome::StaleTimer;
        };
        let attempt = timer.attempt;
        self.log(LogEntry::TimedOut(timer));
        if attempt < last {
            self.send(
                awaited.step,
                awaited.leg,
                Tries::Live {
                    attempt: attempt + 1,
                    last,
                },
            );
            return Outcome::Applied;
        }
        self.set_tries(&awaited, Tries::Spent { attempts: attempt });
        match awaited.leg {
            Leg::Forward if pivot_is_commanded(self.definition, &self.state) => self.go_on(),
            Leg::Forward => self.roll_back(Cause::BudgetSpent {
                step: awaited.step.name.clone(),
            }),
            Leg::Rollback { .. } => self.park_rollback(),
        }
        Outcome::Applied
    }

    fn cancel(&mut self, cancellation: Cancellation) -> Outcome {
        match may_cancel(self.definition, &self.state) {
            Ok(()) => {
                self.log(LogEntry::CancelAccepted(cancellation.clone()));
                self.roll_back(Cause::Cancelled { cancellation });
                Outcome::Applied
            }
            Err(why) => {
                self.log(LogEntry::CancelRefused { cancellation, why });
                Outcome::CancelRefused(why)
            }
        }
    }

    fn operator(&mut self, action: OperatorAction, note: OperatorNote) -> Outcome {
        if let Err(why) = may_act(&self.state, action) {
            self.log(LogEntry::OperatorRefused { action, note, why });
            return Outcome::ActionRefused(why);
        }
        self.log(LogEntry::OperatorActed {
            action,
            note: note.clone(),
        });
        match action {
            OperatorAction::Retry => self.retry(),
            OperatorAction::Compensate => self.roll_back(Cause::Operator { note }),
            OperatorAction::Resolve(resolution) => self.resolve(resolution, note),
        }
        Outcome::Applied
    }

    /// Sends again what has no running timer: commands whose budget is spent and, on the way forward, refused
    /// retriable steps. Of a saga that turned back only the rollback is retried (test
    /// `a_retry_of_a_rollback_leaves_a_refused_retriable_step_alone`).
    fn retry(&mut self) {
        let cause = self.state.status.cause().cloned();
        let goes_forward = cause.is_none();
        self.enter(cause.map_or(Status::Running, |cause| Status::Compensating { cause }));
        let spent: Vec<_> = self.awaited().filter(Awaited::is_spent).collect();
        for awaited in spent {
            self.send(
                awaited.step,
                awaited.leg,
                self.fresh_budget(awaited.tries.attempts()),
            );
        }
        let retriable = |step: &&DefinedStep<D, C, R>| goes_forward && step.kind == Kind::Retriable;
        for step in self.definition.steps().filter(retriable) {
            if let StepState::Refused { attempts, .. } = *self.state.step(&step.name) {
                self.send(step, Leg::Forward, self.fresh_budget(attempts));
            }
        }
    }

    /// Ends the saga by an operator's word. Nothing pending counts any more.
    fn resolve(&mut self, resolution: Resolution, note: OperatorNote) {
        self.give_up_pending();
        let cause = self.state.status.cause().cloned();
        let ending = Ending::Resolved { note: note.clone() };
        self.enter(match resolution {
            Resolution::Completed => Status::Completed { ending },
            Resolution::Cancelled => Status::Compensated {
                cause: cause.unwrap_or(Cause::Operator { note }),
                ending,
            },
        });
    }

    /// A saga that goes forward keeps what is held for it; a clock alone never decides. One that turned back
    /// says so again, because its rollback may have been lost or overtaken.
    fn hold_expired(&mut self, step: &StepName) -> Outcome {
        let answer = match self.state.status {
            Status::Running
            | Status::Completed { .. }
            | Status::Parked {
                parked: Parked::Forward,
            } => HoldAnswer::Kept,
            Status::Compensating { .. }
            | Status::Compensated { .. }
            | Status::Parked {
                parked: Parked::Compensation { .. },
            } => self.hold_after_turning_back(step),
        };
        self.log(LogEntry::HoldExpired {
            step: step.clone(),
            answer,
        });
        if answer == HoldAnswer::RolledBackAgain {
            self.repeat_rollback(step);
        }
        Outcome::Hold(answer)
    }

    fn hold_after_turning_back(&self, name: &StepName) -> HoldAnswer {
        let has_rollback = self
            .definition
            .step(name)
            .is_some_and(|step| step.rollback.is_some());
        match self.state.step(name) {
            StepState::Done { .. } | StepState::InDoubt { .. } if has_rollback => {
                if self.state.has_ended() {
                    HoldAnswer::RolledBackAgain
                } else {
                    HoldAnswer::RollbackToCome
                }
            }
            StepState::Undoing { .. } | StepState::Undone { .. } if has_rollback => {
                HoldAnswer::RolledBackAgain
            }
            StepState::Idle
            | StepState::Pending { .. }
            | StepState::Done { .. }
            | StepState::Refused { .. }
            | StepState::InDoubt { .. }
            | StepState::Undoing { .. }
            | StepState::Undone { .. } => HoldAnswer::NothingToRollBack,
        }
    }

    /// Whose command `id` is, pending or not.
    fn commanded_under(&self, id: Uuid) -> Option<(StepName, Direction)> {
        let directions = [Direction::Forward, Direction::Compensation];
        self.definition
            .steps()
            .flat_map(|step| directions.map(|direction| (&step.name, direction)))
            .find(|(step, direction)| command_id(self.saga_id, step.as_str(), *direction) == id)
            .map(|(step, direction)| (step.clone(), direction))
    }
}
