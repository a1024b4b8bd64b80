//! A participant: what each step leaves in its tables, behind the operation barrier.
//!
//! Models `mailbox::participant::ParticipantHandler` and, in place of a business, one effect for each step: forward
//! makes it, rollback takes it away together with the effects of the participant's steps that have no rollback of their
//! own, which is what the engine's documentation asks of a participant. What contradicts the tables is parked, as
//! payments parks a capture of a voided payment.

use saga::Direction;

use crate::{
    barrier::{Key, Outcome},
    scenario::{Answer, Scenario, Setting},
};

/// What a step has left behind for one saga.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Effects {
    /// How often it was done.
    pub(crate) done: u32,
    /// How often it was undone.
    pub(crate) undone: u32,
    /// It is there.
    pub(crate) live: bool,
    /// A rollback was carried out or acknowledged.
    pub(crate) rolled_back: bool,
}

/// The command contradicts what is stored: the message is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Contradiction;

/// Carries out one command on the effects of its saga.
pub(crate) fn decide<S: Scenario>(
    setting: &Setting<'_, S>,
    refuses: bool,
    effects: &mut [Effects],
    key: Key,
) -> Result<(Outcome, Answer), Contradiction> {
    let step = key.1 as usize;
    match key.2 {
        Direction::Forward if refuses => Ok((Outcome::Refused, Answer::Refused)),
        Direction::Forward => {
            let service = setting.steps[step].service;
            let is_gone = !setting.steps[step].can_roll_back
                && setting
                    .steps
                    .iter()
                    .zip(effects.iter())
                    .any(|(its, effect)| its.service == service && effect.rolled_back);
            if is_gone {
                return Err(Contradiction);
            }
            effects[step].done += 1;
            effects[step].live = true;
            Ok((Outcome::Done, Answer::Done))
        }
        Direction::Compensation => {
            undo(setting, effects, step);
            Ok((Outcome::Done, Answer::Undone))
        }
    }
}

/// Takes away what a step has left.
fn undo<S: Scenario>(setting: &Setting<'_, S>, effects: &mut [Effects], step: usize) {
    effects[step].undone += 1;
    effects[step].live = false;
    effects[step].rolled_back = true;
    let service = setting.steps[step].service;
    for (its, effect) in setting.steps.iter().zip(effects.iter_mut()) {
        if its.service == service && !its.can_roll_back && effect.live {
            effect.live = false;
            effect.undone += 1;
        }
    }
}
