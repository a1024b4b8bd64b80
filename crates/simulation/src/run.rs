//! Runs schedules: draws them, replays them, makes a failing one small, tells it.

use std::fmt;

use crate::{
    choices::{Choice, Profile},
    coverage::Coverage,
    fault::Mutation,
    random::Random,
    scenario::{MOST_SAGAS, Scenario, Setting},
    world::{OPERATOR_CHOICES, Plan, World},
};

/// Replays while a failing schedule is made smaller. Each takes some 50 microseconds.
const MOST_SHRINKS: u32 = 20_000;

/// Runs the schedules of one saga.
pub struct Simulation<'a, S: Scenario> {
    setting: Setting<'a, S>,
    mutation: Option<Mutation>,
    coverage: Coverage,
    schedules: u64,
    moves: u64,
}

impl<S: Scenario> fmt::Debug for Simulation<'_, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Simulation")
            .field("saga", &self.setting.scenario.name())
            .field("mutation", &self.mutation)
            .field("schedules", &self.schedules)
            .finish_non_exhaustive()
    }
}

/// A schedule after which something was wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The saga, by its name on the command line.
    pub saga: &'static str,
    /// The seed; none for a schedule that was not drawn.
    pub seed: Option<u64>,
    /// What was switched off.
    pub mutation: Option<Mutation>,
    /// The rule, in words.
    pub rule: String,
    /// What happened, in order, in the smallest schedule that was found.
    pub script: Vec<String>,
    /// The choices of that schedule.
    pub choices: Vec<u32>,
}

impl<'a, S: Scenario> Simulation<'a, S> {
    /// A simulation of `scenario`.
    #[must_use]
    pub fn new(scenario: &'a S) -> Self {
        let setting = Setting::new(scenario);
        Self {
            coverage: Coverage::of(&setting),
            setting,
            mutation: None,
            schedules: 0,
            moves: 0,
        }
    }

    /// Switches a part off.
    #[must_use]
    pub fn without(mut self, mutation: Option<Mutation>) -> Self {
        self.mutation = mutation;
        self
    }

    /// How often each thing happened to each step so far.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Schedules so far, without those replayed to make a failing one smaller.
    #[must_use]
    pub const fn schedules(&self) -> u64 {
        self.schedules
    }

    /// Things that happened in them.
    #[must_use]
    pub const fn moves(&self) -> u64 {
        self.moves
    }

    /// Runs `schedules` schedules from `seed` on: each has the next seed.
    ///
    /// # Errors
    /// The first that fails, made small.
    pub fn run(&mut self, seed: u64, schedules: u64) -> Result<(), Box<Violation>> {
        for seed in seed..seed.saturating_add(schedules) {
            let mut choices = Vec::new();
            let mut source = Drawn::new(seed);
            if self.one(&mut source, &mut choices).is_err() {
                return Err(Box::new(self.violation(Some(seed), choices)));
            }
        }
        Ok(())
    }

    /// Runs every schedule that departs from the fair one at most `departures` times, anywhere and in any way, each
    /// departure within `apart` moves of the one before. One saga, no refusal.
    ///
    /// # Errors
    /// The first that fails, made small.
    pub fn explore(&mut self, departures: u32, apart: usize) -> Result<(), Box<Violation>> {
        let setup = vec![0; self.setup_length()];
        self.explore_from(&setup, departures, usize::MAX, apart)
    }

    fn explore_from(
        &mut self,
        prefix: &[u32],
        departures: u32,
        within: usize,
        apart: usize,
    ) -> Result<(), Box<Violation>> {
        let mut counting = Counting {
            prefix,
            at: 0,
            fans: Vec::new(),
        };
        let mut choices = Vec::new();
        if self.one(&mut counting, &mut choices).is_err() {
            return Err(Box::new(self.violation(None, choices)));
        }
        if departures == 0 {
            return Ok(());
        }
        for (later, (others, faults)) in counting.fans.into_iter().enumerate().take(within) {
            let ways = (1..others)
                .map(Choice::Other)
                .chain((0..faults).map(Choice::Fault));
            for way in ways {
                let mut next = prefix.to_vec();
                next.resize(prefix.len() + later, 0);
                next.push(way.number());
                self.explore_from(&next, departures - 1, apart, apart)?;
            }
        }
        Ok(())
    }

    fn setup_length(&self) -> usize {
        1 + MOST_SAGAS * self.setting.steps.len() + OPERATOR_CHOICES
    }

    /// Runs one schedule and notes its choices.
    fn one(&mut self, source: &mut impl Source, choices: &mut Vec<u32>) -> Result<(), String> {
        let mut world = begin(&self.setting, self.mutation, source, choices, false);
        let result = play(&mut world, source, choices);
        self.schedules += 1;
        self.moves += u64::from(world.moves);
        self.coverage.add(&world.seen);
        result
    }

    fn replay(&self, choices: &[u32], script: bool) -> (Result<(), String>, Vec<u32>, Vec<String>) {
        let mut source = Replayed { choices, at: 0 };
        let mut made = Vec::new();
        let mut world = begin(&self.setting, self.mutation, &mut source, &mut made, script);
        let result = play(&mut world, &mut source, &mut made);
        (result, made, world.into_script())
    }

    /// Makes a failing schedule small and tells it.
    fn violation(&self, seed: Option<u64>, choices: Vec<u32>) -> Violation {
        let choices = self.shrink(choices);
        let (result, choices, script) = self.replay(&choices, true);
        Violation {
            saga: self.setting.scenario.name(),
            seed,
            mutation: self.mutation,
            rule: result
                .err()
                .unwrap_or_else(|| "it does not fail when it is replayed".to_owned()),
            script,
            choices,
        }
    }

    /// Leaves out and undoes choices as long as some rule is still broken.
    fn shrink(&self, mut choices: Vec<u32>) -> Vec<u32> {
        let mut left = MOST_SHRINKS;
        let mut fails = |candidate: &[u32]| {
            left = left.saturating_sub(1);
            left > 0 && self.replay(candidate, false).0.is_err()
        };
        let setup = self.setup_length();
        loop {
            let before = choices.clone();
            // Leave out whole stretches, long ones first.
            let mut stretch = choices.len().saturating_sub(setup).max(1);
            while stretch > 0 {
                let mut from = setup;
                while from + stretch <= choices.len() {
                    let mut candidate = choices.clone();
                    candidate.drain(from..from + stretch);
                    if fails(&candidate) {
                        choices = candidate;
                    } else {
                        from += stretch;
                    }
                }
                stretch /= 2;
            }
            // Make what is left fair.
            for place in 0..choices.len() {
                for smaller in [0, choices[place] / 2, choices[place].saturating_sub(2)] {
                    if smaller < choices[place] {
                        let mut candidate = choices.clone();
                        candidate[place] = smaller;
                        if fails(&candidate) {
                            choices = candidate;
                        }
                    }
                }
            }
            while choices.len() > setup && choices.last() == Some(&0) {
                choices.pop();
            }
            if choices == before {
                return choices;
            }
        }
    }
}

/// Begins a schedule: what is chosen before anything moves.
fn begin<'w, 's, S: Scenario>(
    setting: &'w Setting<'s, S>,
    mutation: Option<Mutation>,
    source: &mut impl Source,
    choices: &mut Vec<u32>,
    script: bool,
) -> World<'w, 's, S> {
    let steps = setting.steps.len();
    let mut draw = |what| {
        let drawn = source.setup(what);
        choices.push(drawn);
        drawn
    };
    let plan = Plan {
        sagas: 1 + draw(Setup::MoreSagas) as usize % MOST_SAGAS,
        refusals: (0..MOST_SAGAS)
            .map(|_| (0..steps).fold(0, |mask, step| mask | (draw(Setup::Refusal) & 1) << step))
            .collect(),
        operators: std::array::from_fn(|_| draw(Setup::Operator) % 3),
    };
    World::new(setting, plan, mutation, script)
}

/// Plays a schedule that has begun: as chosen, then fair, then operators settle what is parked.
fn play<S: Scenario>(
    world: &mut World<'_, '_, S>,
    source: &mut impl Source,
    choices: &mut Vec<u32>,
) -> Result<(), String> {
    let mut options = Vec::new();
    while world.broken().is_none() {
        let Some(choice) = source.next(world, &mut options) else {
            break;
        };
        choices.push(choice.number());
        let action = match choice {
            Choice::Fair => world.first_option(),
            Choice::Other(nth) => {
                world.options(&mut options);
                options.get(nth as usize % options.len().max(1)).copied()
            }
            Choice::Fault(nth) => {
                world.faults(&mut options);
                options.get(nth as usize % options.len().max(1)).copied()
            }
        };
        // Nothing can be done about a choice that is not there: it is passed over.
        if let Some(action) = action {
            world.happen(action);
        }
    }
    world.come_to_rest();
    world.settle();
    world.broken().map_or(Ok(()), |rule| Err(rule.to_owned()))
}

/// What is chosen before a schedule begins.
#[derive(Debug, Clone, Copy)]
enum Setup {
    MoreSagas,
    Refusal,
    Operator,
}

/// Where choices come from.
trait Source {
    fn setup(&mut self, what: Setup) -> u32;

    /// The next choice; none: from now on all is fair.
    fn next<S: Scenario>(
        &mut self,
        world: &World<'_, '_, S>,
        options: &mut Vec<crate::world::Action>,
    ) -> Option<Choice>;
}

/// Choices drawn at random.
struct Drawn {
    random: Random,
    profile: Profile,
    made: u32,
    refusals: u32,
}

impl Drawn {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let profile = Profile::draw(&mut random);
        let refusals = if random.chance(50) { 0 } else { 30 };
        Self {
            random,
            profile,
            made: 0,
            refusals,
        }
    }
}

impl Source for Drawn {
    fn setup(&mut self, what: Setup) -> u32 {
        match what {
            Setup::MoreSagas => match self.random.below(20) {
                0..14 => 0,
                14..19 => 1,
                _ => 2,
            },
            Setup::Refusal => u32::from(self.random.chance(self.refusals)),
            Setup::Operator => self.random.below(3),
        }
    }

    fn next<S: Scenario>(
        &mut self,
        world: &World<'_, '_, S>,
        options: &mut Vec<crate::world::Action>,
    ) -> Option<Choice> {
        self.made += 1;
        if self.made > self.profile.length {
            return None;
        }
        if self.made <= self.profile.quiet {
            return Some(Choice::Fair);
        }
        if self.random.chance(self.profile.faults) {
            world.faults(options);
            let weight =
                |action: &crate::world::Action| action.fault().map_or(0, |kind| self.profile.weights[kind]);
            let all: u32 = options.iter().map(weight).sum();
            if all > 0 {
                let mut drawn = self.random.below(all);
                for (nth, action) in (0..).zip(options.iter()) {
                    let its = weight(action);
                    if drawn < its {
                        return Some(Choice::Fault(nth));
                    }
                    drawn -= its;
                }
            }
        }
        if self.random.chance(self.profile.others) {
            world.options(options);
            if !options.is_empty() {
                let all = u32::try_from(options.len()).unwrap_or(u32::MAX);
                return Some(Choice::Other(self.random.below(all)));
            }
        }
        Some(Choice::Fair)
    }
}

/// Choices made before.
struct Replayed<'a> {
    choices: &'a [u32],
    at: usize,
}

impl Source for Replayed<'_> {
    fn setup(&mut self, _what: Setup) -> u32 {
        self.at += 1;
        self.choices.get(self.at - 1).copied().unwrap_or(0)
    }

    fn next<S: Scenario>(
        &mut self,
        _world: &World<'_, '_, S>,
        _options: &mut Vec<crate::world::Action>,
    ) -> Option<Choice> {
        self.at += 1;
        self.choices.get(self.at - 1).map(|number| Choice::read(*number))
    }
}

/// Choices made before, then fair ones while anything goes on, counting what else could have been chosen.
struct Counting<'a> {
    prefix: &'a [u32],
    at: usize,
    fans: Vec<(u32, u32)>,
}

impl Source for Counting<'_> {
    fn setup(&mut self, _what: Setup) -> u32 {
        self.at += 1;
        self.prefix[self.at - 1]
    }

    fn next<S: Scenario>(
        &mut self,
        world: &World<'_, '_, S>,
        options: &mut Vec<crate::world::Action>,
    ) -> Option<Choice> {
        if let Some(number) = self.prefix.get(self.at) {
            self.at += 1;
            return Some(Choice::read(*number));
        }
        world.options(options);
        let others = u32::try_from(options.len()).unwrap_or(u32::MAX);
        if others == 0 {
            return None;
        }
        world.faults(options);
        self.fans
            .push((others, u32::try_from(options.len()).unwrap_or(u32::MAX)));
        Some(Choice::Fair)
    }
}

/// The script, the rule, and how to see it again.
impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.script {
            writeln!(formatter, "{line}")?;
        }
        writeln!(formatter, "\nBroken: {}", self.rule)?;
        write!(
            formatter,
            "Replay: cargo run -p simulation -- --saga {}",
            self.saga
        )?;
        if let Some(seed) = self.seed {
            write!(formatter, " --seed {seed}")?;
        } else {
            let choices: Vec<String> = self.choices.iter().map(u32::to_string).collect();
            write!(formatter, " --choices {}", choices.join(","))?;
        }
        if let Some(mutation) = self.mutation {
            write!(formatter, " --without {}", mutation.name())?;
        }
        Ok(())
    }
}

impl<S: Scenario> Simulation<'_, S> {
    /// Plays one schedule by its choices, as a [`Violation`] gives them, and tells it.
    ///
    /// # Errors
    /// The rule that it breaks, with its script.
    pub fn play(&self, choices: &[u32]) -> Result<Vec<String>, Box<Violation>> {
        let (result, made, script) = self.replay(choices, true);
        match result {
            Ok(()) => Ok(script),
            Err(rule) => Err(Box::new(Violation {
                saga: self.setting.scenario.name(),
                seed: None,
                mutation: self.mutation,
                rule,
                script,
                choices: made,
            })),
        }
    }

    /// Runs the schedule of a seed and tells it: whole when it breaks no rule, made small when it does.
    ///
    /// # Errors
    /// The rule that it breaks, with its script.
    pub fn tell(&mut self, seed: u64) -> Result<Vec<String>, Box<Violation>> {
        let mut choices = Vec::new();
        match self.one(&mut Drawn::new(seed), &mut choices) {
            Ok(()) => Ok(self.replay(&choices, true).2),
            Err(_) => Err(Box::new(self.violation(Some(seed), choices))),
        }
    }
}
