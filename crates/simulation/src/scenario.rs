//! What the simulation has to be told of a saga, and the table that it makes of it.

use std::{fmt::Debug, rc::Rc};

use saga::{Definition, Direction, Kind, SentCommand, StepName};
use uuid::Uuid;

/// The most sagas that run at once in one schedule.
pub const MOST_SAGAS: usize = 3;

/// How a participant answers a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// Carried out.
    Done,
    /// The business says no.
    Refused,
    /// The rollback is carried out, or there was nothing to undo.
    Undone,
    /// The rollback of the command came first.
    Superseded,
}

impl Answer {
    const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Undone, Self::Superseded];
}

/// A saga to be simulated: its definition, and what its messages look like. Everything else, such as who takes part, what
/// can be undone and what must not be, is derived from the definition.
pub trait Scenario {
    /// The saga's data.
    type Data: Clone + PartialEq + Debug;
    /// What it sends.
    type Command: Clone + Debug;
    /// What it is answered.
    type Reply: Clone + Debug;

    /// The name by which it is asked for on the command line.
    fn name(&self) -> &'static str;

    /// The definition: the real one.
    fn definition(&self) -> &Definition<Self::Data, Self::Command, Self::Reply>;

    /// What a saga begins with.
    fn data(&self, saga_id: Uuid) -> Self::Data;

    /// What the reply looks like; none where the step cannot be answered so, such as a step that is never refused.
    fn reply(&self, saga_id: Uuid, step: &StepName, answer: Answer) -> Option<Self::Reply>;

    /// What its receiver takes a command for. Override it where the command itself says so: then a definition that sends a
    /// step's rollback under another step is caught.
    fn means(&self, sent: &SentCommand<Self::Command>) -> (StepName, Direction) {
        (sent.step.clone(), sent.direction)
    }
}

/// The definition of a scenario, its replies as they are sent.
pub(crate) type DefinitionOf<S> =
    Definition<<S as Scenario>::Data, <S as Scenario>::Command, <S as Scenario>::Reply>;

/// A step of the saga under test.
#[derive(Debug)]
pub(crate) struct StepInfo {
    pub(crate) name: StepName,
    /// Index of the service that carries it out.
    pub(crate) service: usize,
    pub(crate) kind: Kind,
    pub(crate) can_roll_back: bool,
}

/// Where the services stand in [`Setting::services`].
pub(crate) const EDGE: usize = 0;
pub(crate) const ORCHESTRATOR: usize = 1;

/// A scenario laid out as tables, made once for many schedules.
pub(crate) struct Setting<'a, S: Scenario> {
    pub(crate) scenario: &'a S,
    pub(crate) definition: &'a DefinitionOf<S>,
    pub(crate) steps: Vec<StepInfo>,
    /// The edge, the orchestrator, the participants.
    pub(crate) services: Vec<String>,
    pub(crate) ids: [Uuid; MOST_SAGAS],
    pub(crate) data: Vec<S::Data>,
    replies: Vec<Option<Rc<S::Reply>>>,
}

impl<'a, S: Scenario> Setting<'a, S> {
    pub(crate) fn new(scenario: &'a S) -> Self {
        let definition = scenario.definition();
        let mut services = vec!["edge".to_owned(), "orchestrator".to_owned()];
        let mut steps = Vec::new();
        for step in definition.outline() {
            let known = services
                .iter()
                .skip(2)
                .position(|name| name == step.participant.as_str());
            let service = known.map_or(services.len(), |index| index + 2);
            if known.is_none() {
                services.push(step.participant.as_str().to_owned());
            }
            steps.push(StepInfo {
                name: step.name.clone(),
                service,
                kind: step.kind,
                can_roll_back: step.can_roll_back,
            });
        }
        let ids = [1, 2, 3].map(|number| Uuid::from_u128(0x5a6a_0000_0000_7000_8000_0000_0000_0000 + number));
        let mut replies = Vec::new();
        for id in ids {
            for step in &steps {
                for answer in Answer::ALL {
                    replies.push(scenario.reply(id, &step.name, answer).map(Rc::new));
                }
            }
        }
        Self {
            scenario,
            definition,
            services,
            data: ids.iter().map(|id| scenario.data(*id)).collect(),
            ids,
            steps,
            replies,
        }
    }

    pub(crate) fn step(&self, name: &StepName) -> Option<usize> {
        self.steps.iter().position(|step| step.name == *name)
    }

    pub(crate) fn reply(&self, saga: usize, step: usize, answer: Answer) -> Option<Rc<S::Reply>> {
        self.replies[(saga * self.steps.len() + step) * Answer::ALL.len() + answer as usize].clone()
    }

    /// Whether the effect of a step that has no rollback is undone with those of its participant's other steps.
    pub(crate) fn is_undone_with_others(&self, step: usize) -> bool {
        let service = self.steps[step].service;
        self.steps
            .iter()
            .any(|other| other.service == service && other.can_roll_back)
    }
}
