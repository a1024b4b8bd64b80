//! Rebuilding a saga's state from what happened to it.

use uuid::Uuid;

use crate::{
    decide::{decide, start, start_cancelled},
    definition::Definition,
    input::Input,
    log::LogEntry,
    state::State,
};

/// The state of a saga that started with `data` and then met `inputs`, in this order.
#[must_use]
pub fn replay<D, C, R>(
    definition: &Definition<D, C, R>,
    saga_id: Uuid,
    data: D,
    inputs: impl IntoIterator<Item = Input<R>>,
) -> State<D>
where
    D: Clone,
    C: Clone,
{
    go_on(
        definition,
        saga_id,
        start(definition, saga_id, data).state,
        inputs,
    )
}

/// The state of the saga whose whole log is `log`.
///
/// # Errors
///
/// The log does not begin with the saga's beginning, or is another definition's.
pub fn rebuild<D, C, R>(
    definition: &Definition<D, C, R>,
    saga_id: Uuid,
    log: impl IntoIterator<Item = LogEntry<D, C, R>>,
) -> Result<State<D>, RebuildError>
where
    D: Clone,
    C: Clone,
{
    let mut log = log.into_iter();
    let first = log.next().ok_or(RebuildError::Empty)?;
    let kind = first.kind();
    let (name, version, begun) = match first {
        LogEntry::Submitted {
            definition: name,
            version,
            data,
        } => (name, version, start(definition, saga_id, data)),
        LogEntry::SubmittedCancelled {
            definition: name,
            version,
            data,
            cancellation,
        } => (
            name,
            version,
            start_cancelled(definition, saga_id, data, cancellation),
        ),
        LogEntry::CommandSent(_)
        | LogEntry::ReplyAccepted { .. }
        | LogEntry::ReplyRefused { .. }
        | LogEntry::RollbackAcknowledged { .. }
        | LogEntry::ReplyLate { .. }
        | LogEntry::ReplyUnexpected { .. }
        | LogEntry::TimedOut(_)
        | LogEntry::CancelAccepted(_)
        | LogEntry::CancelRefused { .. }
        | LogEntry::OperatorActed { .. }
        | LogEntry::OperatorRefused { .. }
        | LogEntry::HoldExpired { .. }
        | LogEntry::StatusChanged(_) => return Err(RebuildError::NoBeginning { kind }),
    };
    if (name.as_str(), version) != (definition.name(), definition.version()) {
        return Err(RebuildError::OtherDefinition { name, version });
    }
    Ok(go_on(
        definition,
        saga_id,
        begun.state,
        log.filter_map(LogEntry::into_input),
    ))
}

fn go_on<D, C, R>(
    definition: &Definition<D, C, R>,
    saga_id: Uuid,
    begun: State<D>,
    inputs: impl IntoIterator<Item = Input<R>>,
) -> State<D>
where
    D: Clone,
    C: Clone,
{
    inputs.into_iter().fold(begun, |state, input| {
        decide(definition, saga_id, state, input).state
    })
}

/// Why a log does not give a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RebuildError {
    #[error("the log is empty")]
    Empty,
    #[error("the log begins with '{kind}', not with the saga's beginning: its older part is missing")]
    NoBeginning { kind: &'static str },
    #[error("the log belongs to '{name}' version {version}")]
    OtherDefinition { name: String, version: u16 },
}
