//! A whole saga as stages of steps, and whether it can carry on a stored state.

use std::fmt;

use crate::{
    names::{Participant, StepName},
    retry::RetryPolicy,
    shape::{self, ShapeError},
    state::State,
    step::{Kind, MakeCommand, ReadReply, Rollback, Step},
};

/// A saga's definition, whose shape has been checked. `D` is the saga's data, `C` a command that it sends,
/// `R` a reply that it receives.
pub struct Definition<D, C, R> {
    name: &'static str,
    version: u16,
    retry: RetryPolicy,
    stages: Vec<Vec<DefinedStep<D, C, R>>>,
}

/// The shape of one step of a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepOutline<'a> {
    /// The step.
    pub name: &'a StepName,
    /// Who carries it out.
    pub participant: &'a Participant,
    /// What may happen to it once it is done.
    pub kind: Kind,
    /// Whether it can be undone.
    pub can_roll_back: bool,
}

/// A step of a checked definition: nothing that it needs is missing.
pub(crate) struct DefinedStep<D, C, R> {
    pub(crate) name: StepName,
    pub(crate) participant: Participant,
    pub(crate) kind: Kind,
    pub(crate) command: MakeCommand<D, C>,
    pub(crate) reply: ReadReply<D, R>,
    pub(crate) rollback: Option<Rollback<D, C, R>>,
}

impl<D, C, R> Definition<D, C, R> {
    /// Starts a definition. A change to the steps of a saga that may be running needs the next `version`.
    #[must_use]
    pub fn builder(name: &'static str, version: u16) -> DefinitionBuilder<D, C, R> {
        DefinitionBuilder {
            name,
            version,
            retry: RetryPolicy::default(),
            stages: Vec::new(),
        }
    }

    /// The name that its sagas carry in their state.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The version that its sagas keep for life.
    #[must_use]
    pub const fn version(&self) -> u16 {
        self.version
    }

    /// How unanswered commands are repeated.
    #[must_use]
    pub const fn retry(&self) -> &RetryPolicy {
        &self.retry
    }

    /// The names of the steps, in the order in which they are commanded.
    pub fn step_names(&self) -> impl Iterator<Item = &StepName> {
        self.steps().map(|step| &step.name)
    }

    /// The shape of every step, in the order in which they are commanded: what a harness that plays the participants has to
    /// know.
    pub fn outline(&self) -> impl Iterator<Item = StepOutline<'_>> {
        self.steps().map(|step| StepOutline {
            name: &step.name,
            participant: &step.participant,
            kind: step.kind,
            can_roll_back: step.rollback.is_some(),
        })
    }

    /// Whether this definition can carry on `state`.
    ///
    /// # Errors
    ///
    /// Says in what the two differ. [`crate::decide`] asks this first and leaves such a state alone.
    pub fn accepts(&self, state: &State<D>) -> Result<(), Incompatible> {
        if state.definition() != self.name {
            return Err(Incompatible::Name {
                expected: self.name,
                found: state.definition().to_owned(),
            });
        }
        if state.version() != self.version {
            return Err(Incompatible::Version {
                expected: self.version,
                found: state.version(),
            });
        }
        if let Some(missing) = self.step_names().find(|name| !state.has_step(name)) {
            return Err(Incompatible::MissingStep {
                step: missing.clone(),
            });
        }
        match state.steps().find(|(name, _)| self.step(name).is_none()) {
            Some((unknown, _)) => Err(Incompatible::UnknownStep {
                step: unknown.clone(),
            }),
            None => Ok(()),
        }
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = &[DefinedStep<D, C, R>]> {
        self.stages.iter().map(Vec::as_slice)
    }

    pub(crate) fn steps(&self) -> impl DoubleEndedIterator<Item = &DefinedStep<D, C, R>> {
        self.stages.iter().flatten()
    }

    pub(crate) fn step(&self, name: &StepName) -> Option<&DefinedStep<D, C, R>> {
        self.steps().find(|step| step.name == *name)
    }
}

/// Why a stored state cannot be carried on by a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    #[error("the state belongs to the saga '{found}', not to '{expected}'")]
    Name { expected: &'static str, found: String },
    #[error(
        "the state belongs to version {found} of the saga, this is version {expected}: use a binary that has it"
    )]
    Version { expected: u16, found: u16 },
    #[error("the state lacks the step '{step}': steps were added without a new version")]
    MissingStep { step: StepName },
    #[error("the state has the unknown step '{step}': steps were removed or renamed without a new version")]
    UnknownStep { step: StepName },
}

/// Collects the stages of a definition; [`build`](Self::build) checks them.
pub struct DefinitionBuilder<D, C, R> {
    pub(crate) name: &'static str,
    pub(crate) version: u16,
    pub(crate) retry: RetryPolicy,
    pub(crate) stages: Vec<Vec<Step<D, C, R>>>,
}

impl<D, C, R> DefinitionBuilder<D, C, R> {
    /// The next step, commanded when everything before it is done.
    #[must_use]
    pub fn step(self, step: Step<D, C, R>) -> Self {
        self.parallel([step])
    }

    /// The pivot: a step made with [`Step::pivot`]. The same as [`step`](Self::step), and easier to see.
    #[must_use]
    pub fn pivot(self, pivot: Step<D, C, R>) -> Self {
        self.step(pivot)
    }

    /// The next steps, all commanded at once; what follows waits for all of them.
    #[must_use]
    pub fn parallel(mut self, steps: impl IntoIterator<Item = Step<D, C, R>>) -> Self {
        self.stages.push(steps.into_iter().collect());
        self
    }

    /// How unanswered commands are repeated, instead of [`RetryPolicy::default`].
    #[must_use]
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Checks the shape and gives the definition.
    ///
    /// # Errors
    ///
    /// The first rule that is broken, in words that say what to do; see [`ShapeError`].
    pub fn build(self) -> Result<Definition<D, C, R>, ShapeError> {
        shape::check(&self)?;
        let Self {
            name,
            version,
            retry,
            stages,
        } = self;
        let stages = stages
            .into_iter()
            .map(|stage| stage.into_iter().map(defined).collect())
            .collect::<Result<_, ShapeError>>()?;
        Ok(Definition {
            name,
            version,
            retry,
            stages,
        })
    }
}

fn defined<D, C, R>(step: Step<D, C, R>) -> Result<DefinedStep<D, C, R>, ShapeError> {
    let Step {
        name,
        participant,
        kind,
        command,
        reply,
        rollback,
    } = step;
    let Some(command) = command else {
        return Err(ShapeError::NoCommand { step: name });
    };
    let Some(reply) = reply else {
        return Err(ShapeError::NoReply { step: name });
    };
    Ok(DefinedStep {
        name,
        participant,
        kind,
        command,
        reply,
        rollback,
    })
}

impl<D, C, R> fmt::Debug for Definition<D, C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Definition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("retry", &self.retry)
            .field("stages", &self.stages)
            .finish()
    }
}

impl<D, C, R> fmt::Debug for DefinedStep<D, C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} by {}", self.name, self.participant)
    }
}

impl<D, C, R> fmt::Debug for DefinitionBuilder<D, C, R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("DefinitionBuilder")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("retry", &self.retry)
            .field("stages", &self.stages)
            .finish()
    }
}
