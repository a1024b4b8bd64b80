//! A schedule is a list of choices: what happens next. A zero is what would happen if nothing went wrong, so the empty
//! list is the fair run, and whatever is left of a list when it ends is fair too.

use crate::random::Random;

/// What is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// What comes first.
    Fair,
    /// Of the things that can go on, the nth.
    Other(u32),
    /// Of the things that can go wrong, the nth.
    Fault(u32),
}

impl Choice {
    pub(crate) const fn read(number: u32) -> Self {
        match number {
            0 => Self::Fair,
            odd if odd % 2 == 1 => Self::Fault(odd / 2),
            even => Self::Other(even / 2),
        }
    }

    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Fair => 0,
            Self::Other(nth) => nth * 2,
            Self::Fault(nth) => nth * 2 + 1,
        }
    }
}

/// What the schedules of one seed are like. Each leaves some faults out, so that the others are met alone too.
#[derive(Debug, Clone)]
pub(crate) struct Profile {
    /// Fair moves before the first other choice, so that later steps meet as many faults as the first.
    pub(crate) quiet: u32,
    /// Choices before the run is fair again.
    pub(crate) length: u32,
    /// How often something goes wrong, in percent.
    pub(crate) faults: u32,
    /// How often the order is another one, in percent.
    pub(crate) others: u32,
    /// How likely each kind of fault is, against the others.
    pub(crate) weights: [u32; crate::world::FAULT_KINDS],
}

impl Profile {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let mut weights = [0; crate::world::FAULT_KINDS];
        let sparse = random.chance(50);
        for weight in &mut weights {
            *weight = if sparse && random.chance(60) {
                0
            } else {
                1 + random.below(8)
            };
        }
        let quiet = if random.chance(40) { 0 } else { random.below(90) };
        Self {
            quiet,
            length: quiet + random.below(50),
            faults: random.below(35),
            others: random.below(60),
            weights,
        }
    }
}
