//! What can happen to a saga in a given state, for the random and the exhaustive runs.

use saga::{Direction, Input, OperatorAction, Resolution, State, StepName, Timer, command_id};
use uuid::Uuid;

use crate::{
    rules,
    sagas::{DIRECTIONS, Heard, Reply, Saga},
    script::{SAGA_ID, cancellation, note},
};

/// Something that may happen, named so that it makes sense in any state.
#[derive(Debug, Clone, Copy)]
pub enum Move {
    /// The n-th pending command is answered.
    Answer(usize, Reply),
    /// Any command of the saga is answered, pending or not: early, late, duplicated, reordered.
    Stray(usize, Direction, Reply),
    /// A command of nobody's is answered.
    Foreign(Reply),
    /// The timer of the n-th pending command runs out, if it has one.
    TimeOut(usize),
    /// Some timer runs out, most likely a stale one.
    StrayTimer(usize, Direction, u32),
    Cancel,
    Operator(OperatorAction),
    HoldExpires(usize),
}

pub const REPLIES: [Reply; 4] = [Reply::Yes, Reply::No, Reply::Undone, Reply::Nonsense];

pub const ACTIONS: [OperatorAction; 4] = [
    OperatorAction::Retry,
    OperatorAction::Compensate,
    OperatorAction::Resolve(Resolution::Completed),
    OperatorAction::Resolve(Resolution::Cancelled),
];

impl Move {
    /// The input that the move is in this state; `None` where it cannot happen.
    pub fn input(self, saga: &Saga, state: &State<Heard>) -> Option<Input<Reply>> {
        match self {
            Self::Answer(nth, reply) => {
                let (step, direction) = pending(state, nth)?;
                Some(answer(&step, direction, reply))
            }
            Self::Stray(nth, direction, reply) => Some(answer(&step(saga, nth), direction, reply)),
            Self::Foreign(reply) => Some(Input::Reply {
                command_id: Uuid::from_u128(1),
                reply,
            }),
            Self::TimeOut(nth) => {
                let timers = rules::live(state);
                let nth = nth.checked_rem(timers.len())?;
                let (key, attempt) = timers.into_iter().nth(nth)?;
                Some(Input::Timer(Timer {
                    step: key.step,
                    direction: key.direction,
                    attempt,
                }))
            }
            Self::StrayTimer(nth, direction, attempt) => Some(Input::Timer(Timer {
                step: step(saga, nth),
                direction,
                attempt,
            })),
            Self::Cancel => Some(Input::Cancel(cancellation())),
            Self::Operator(action) => Some(Input::Operator { action, note: note() }),
            Self::HoldExpires(nth) => Some(Input::HoldExpired {
                step: step(saga, nth),
            }),
        }
    }

    /// Every move for a saga of `steps` steps, of which at most two are pending at once.
    pub fn all(steps: usize) -> Vec<Self> {
        let mut all = vec![
            Self::Cancel,
            Self::Foreign(Reply::Yes),
            Self::TimeOut(0),
            Self::TimeOut(1),
        ];
        all.extend(ACTIONS.map(Self::Operator));
        for step in 0..steps {
            all.push(Self::HoldExpires(step));
            for direction in DIRECTIONS {
                all.extend(REPLIES.map(|reply| Self::Stray(step, direction, reply)));
                all.push(Self::StrayTimer(step, direction, 1));
            }
        }
        all
    }
}

fn pending(state: &State<Heard>, nth: usize) -> Option<(StepName, Direction)> {
    let pending: Vec<_> = rules::pending(state)
        .map(|(step, direction, _)| (step, direction))
        .collect();
    pending.get(nth.checked_rem(pending.len())?).cloned()
}

fn step(saga: &Saga, nth: usize) -> StepName {
    let steps: Vec<_> = saga.definition.step_names().cloned().collect();
    steps[nth % steps.len()].clone()
}

fn answer(step: &StepName, direction: Direction, reply: Reply) -> Input<Reply> {
    Input::Reply {
        command_id: command_id(SAGA_ID, step.as_str(), direction),
        reply,
    }
}
