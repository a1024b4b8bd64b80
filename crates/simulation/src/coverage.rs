//! How often each thing happened to each step.

use std::fmt;

use saga::Kind;

use crate::{
    fault::Seen,
    scenario::{Answer, Scenario, Setting},
};

/// In how many schedules each thing happened to each step. A cell that cannot be hit is none.
#[derive(Debug, Clone)]
pub struct Coverage {
    steps: Vec<String>,
    cells: Vec<Option<u64>>,
}

impl Coverage {
    pub(crate) fn of<S: Scenario>(setting: &Setting<'_, S>) -> Self {
        let cells = setting.steps.iter().enumerate().flat_map(|(index, step)| {
            let refusable = setting.reply(0, index, Answer::Refused).is_some();
            Seen::ALL.iter().map(move |seen| {
                let possible = match seen {
                    Seen::Refusal => refusable,
                    // Later ones at the same participant find rows that are there, and wait for their locks.
                    Seen::Raced => setting.steps[..index]
                        .iter()
                        .all(|earlier| earlier.service != step.service),
                    Seen::Overtaken | Seen::Superseded | Seen::HoldExpired => step.can_roll_back,
                    Seen::LateReply
                    | Seen::Success
                    | Seen::Timeout
                    | Seen::MessageTwice
                    | Seen::CommandTwice
                    | Seen::Reordered
                    | Seen::ParticipantBeforeCommit
                    | Seen::ParticipantAfterCommit
                    | Seen::OrchestratorBeforeCommit
                    | Seen::OrchestratorAfterCommit
                    | Seen::RelayBetween
                    | Seen::RelayPartly
                    | Seen::Lost
                    | Seen::Forgotten
                    | Seen::Moved
                    | Seen::Away
                    | Seen::Cancelled
                    | Seen::OperatorRefused
                    | Seen::OperatorRetry
                    | Seen::OperatorCompensate
                    | Seen::OperatorResolve => true,
                };
                possible.then_some(0)
            })
        });
        Self {
            cells: cells.collect(),
            steps: setting
                .steps
                .iter()
                .map(|step| match step.kind {
                    Kind::Compensatable => step.name.to_string(),
                    Kind::Pivot => format!("{} (pivot)", step.name),
                    Kind::Retriable => format!("{} (retriable)", step.name),
                })
                .collect(),
        }
    }

    /// Adds what one schedule has seen: a bit for each thing, by step.
    pub(crate) fn add(&mut self, seen: &[u64]) {
        for (step, bits) in seen.iter().enumerate() {
            let row = &mut self.cells[step * Seen::ALL.len()..][..Seen::ALL.len()];
            for (bit, cell) in row.iter_mut().enumerate() {
                if bits & (1 << bit) != 0 {
                    *cell = Some(cell.unwrap_or_default() + 1);
                }
            }
        }
    }

    /// What never happened and could have.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (index, cell) in self.cells.iter().enumerate() {
            if *cell == Some(0) {
                let (step, seen) = (index / Seen::ALL.len(), index % Seen::ALL.len());
                missing.push(format!("{}: {}", self.steps[step], Seen::ALL[seen].name()));
            }
        }
        missing
    }
}

/// A row for each thing, a column for each step.
impl fmt::Display for Coverage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<36}", "schedules in which it happened")?;
        for step in &self.steps {
            write!(formatter, " {step:>20.20}")?;
        }
        for (bit, seen) in Seen::ALL.iter().enumerate() {
            write!(formatter, "\n{:<36}", seen.name())?;
            for step in 0..self.steps.len() {
                match self.cells[step * Seen::ALL.len() + bit] {
                    Some(times) => write!(formatter, " {times:>20}")?,
                    None => write!(formatter, " {:>20}", "-")?,
                }
            }
        }
        Ok(())
    }
}
