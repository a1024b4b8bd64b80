//! The saga's log: every input as it was taken, every command sent, every change of status. It shows the
//! whole saga, and [`crate::rebuild`] makes its state from it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    effect::SentCommand,
    input::{Cancellation, HoldAnswer, Input, OperatorAction, OperatorNote, Timer},
    legality::{ActionRefused, CancelRefused},
    names::{Direction, StepName},
    state::Status,
    step::Refusal,
};

/// One row of the log. Serde writes it as `{"kind": …, "body": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "body", rename_all = "snake_case")]
pub enum LogEntry<D, C, R> {
    /// The saga began.
    Submitted {
        definition: String,
        version: u16,
        data: D,
    },
    /// The saga met a cancel that had come before it, and commanded nobody.
    SubmittedCancelled {
        definition: String,
        version: u16,
        data: D,
        cancellation: Cancellation,
    },
    CommandSent(SentCommand<C>),
    ReplyAccepted {
        step: StepName,
        command_id: Uuid,
        reply: R,
    },
    ReplyRefused {
        step: StepName,
        command_id: Uuid,
        reply: R,
        refusal: Refusal,
    },
    RollbackAcknowledged {
        step: StepName,
        command_id: Uuid,
        reply: R,
    },
    /// The command was not pending. `answers` says whose it was, if it is one of this saga's.
    ReplyLate {
        command_id: Uuid,
        answers: Option<(StepName, Direction)>,
        reply: R,
    },
    /// The command was pending, but cannot have this reply.
    ReplyUnexpected {
        step: StepName,
        direction: Direction,
        command_id: Uuid,
        reply: R,
    },
    TimedOut(Timer),
    CancelAccepted(Cancellation),
    CancelRefused {
        cancellation: Cancellation,
        why: CancelRefused,
    },
    OperatorActed {
        action: OperatorAction,
        note: OperatorNote,
    },
    OperatorRefused {
        action: OperatorAction,
        note: OperatorNote,
        why: ActionRefused,
    },
    HoldExpired {
        step: StepName,
        answer: HoldAnswer,
    },
    StatusChanged(Status),
}

impl<D, C, R> LogEntry<D, C, R> {
    /// The entry's kind in snake case, as serde writes it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Submitted { .. } => "submitted",
            Self::SubmittedCancelled { .. } => "submitted_cancelled",
            Self::CommandSent(_) => "command_sent",
            Self::ReplyAccepted { .. } => "reply_accepted",
            Self::ReplyRefused { .. } => "reply_refused",
            Self::RollbackAcknowledged { .. } => "rollback_acknowledged",
            Self::ReplyLate { .. } => "reply_late",
            Self::ReplyUnexpected { .. } => "reply_unexpected",
            Self::TimedOut(_) => "timed_out",
            Self::CancelAccepted(_) => "cancel_accepted",
            Self::CancelRefused { .. } => "cancel_refused",
            Self::OperatorActed { .. } => "operator_acted",
            Self::OperatorRefused { .. } => "operator_refused",
            Self::HoldExpired { .. } => "hold_expired",
            Self::StatusChanged(_) => "status_changed",
        }
    }

    /// The step that the entry is about, if it is about one.
    #[must_use]
    pub fn step(&self) -> Option<&StepName> {
        match self {
            Self::CommandSent(sent) => Some(&sent.step),
            Self::TimedOut(timer) => Some(&timer.step),
            Self::ReplyAccepted { step, .. }
            | Self::ReplyRefused { step, .. }
            | Self::RollbackAcknowledged { step, .. }
            | Self::ReplyUnexpected { step, .. }
            | Self::HoldExpired { step, .. } => Some(step),
            Self::ReplyLate { answers, .. } => answers.as_ref().map(|(step, _)| step),
            Self::Submitted { .. }
            | Self::SubmittedCancelled { .. }
            | Self::CancelAccepted(_)
            | Self::CancelRefused { .. }
            | Self::OperatorActed { .. }
            | Self::OperatorRefused { .. }
            | Self::StatusChanged(_) => None,
        }
    }

    /// The input that this entry records, if it records one. The beginning is not an [`Input`]; commands and
    /// changes of status follow from inputs.
    #[must_use]
    pub fn into_input(self) -> Option<Input<R>> {
        match self {
            Self::ReplyAccepted {
                command_id, reply, ..
            }
            | Self::ReplyRefused {
                command_id, reply, ..
            }
            | Self::RollbackAcknowledged {
                command_id, reply, ..
            }
            | Self::ReplyLate {
                command_id, reply, ..
            }
            | Self::ReplyUnexpected {
                command_id, reply, ..
            } => Some(Input::Reply { command_id, reply }),
            Self::TimedOut(timer) => Some(Input::Timer(timer)),
            Self::CancelAccepted(cancellation) | Self::CancelRefused { cancellation, .. } => {
                Some(Input::Cancel(cancellation))
            }
            Self::OperatorActed { action, note } | Self::OperatorRefused { action, note, .. } => {
                Some(Input::Operator { action, note })
            }
            Self::HoldExpired { step, .. } => Some(Input::HoldExpired { step }),
            Self::Submitted { .. }
            | Self::SubmittedCancelled { .. }
            | Self::CommandSent(_)
            | Self::StatusChanged(_) => None,
        }
    }
}
