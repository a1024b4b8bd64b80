//! Goal: a released version of the purchase saga decides for ever as it did when it was released, whatever becomes of the engine
//! and of the steps. Method: golden transcripts. `transcripts/purchase-N.txt` has scenarios, each a list of inputs with
//! every effect and the state in the end; they are played again and compared line by line.
//!
//! A missing transcript is recorded, one that is there is never written over:
//! `BLESS=1 cargo test -p purchase-manager --test it transcript` for a version that is about to be released. See docs/versions.md.

mod record;
mod sample;

use std::{fmt::Write, fs, path::PathBuf};

use purchase_manager::{
    definitions::PurchaseSaga,
    exchange::{Command, Reply},
    purchase::Purchase,
    purchase_saga::{VERSIONS, step},
};
use saga::{Cancellation, Decision, Definition, Direction, Effect, Input, LogEntry, RetryPolicy, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::versions::version_2;

/// Two sends of a command, so that spent budgets are short to read. The pauses are not part of a version.
const RETRY: RetryPolicy = RetryPolicy::new(
    std::time::Duration::from_secs(10),
    std::time::Duration::from_secs(30),
    2,
);

/// The saga of every scenario.
const SAGA: Uuid = sample::ID;

/// What happens in a scenario.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Given {
    Submit(Purchase),
    SubmitCancelled {
        purchase: Purchase,
        cancellation: Cancellation,
    },
    Then(Input<Reply>),
}

impl Given {
    fn happen(
        self,
        definition: &PurchaseSaga,
        state: Option<State<Purchase>>,
    ) -> Decision<Purchase, Command, Reply> {
        match (self, state) {
            (Self::Submit(purchase), None) => saga::start(definition, SAGA, purchase),
            (
                Self::SubmitCancelled {
                    purchase,
                    cancellation,
                },
                None,
            ) => saga::start_cancelled(definition, SAGA, purchase, cancellation),
            (Self::Then(input), Some(state)) => saga::decide(definition, SAGA, state, input),
            (given, _) => panic!("a scenario begins with its submission, and has one: {given:?}"),
        }
    }
}

/// A scenario as it is played: its lines, and where the saga stands.
struct Played<'a> {
    definition: &'a PurchaseSaga,
    state: Option<State<Purchase>>,
    lines: Vec<String>,
}

impl<'a> Played<'a> {
    fn new(definition: &'a PurchaseSaga) -> Self {
        Self {
            definition,
            state: None,
            lines: Vec::new(),
        }
    }

    /// Lets it happen, and writes it down.
    fn give(&mut self, given: Given) {
        self.lines.push(format!("< {}", json(&given)));
        let decision = given.happen(self.definition, self.state.take());
        for effect in &decision.effects {
            self.lines.push(format!("  {}", in_a_line(effect)));
        }
        self.lines.push(format!("  outcome: {:?}", decision.outcome));
        self.state = Some(decision.state);
    }

    /// The lines, with the state in the end.
    fn end(mut self) -> Vec<String> {
        let state = self.state.expect("a scenario has inputs");
        self.lines.push(format!("= {}", json(&state)));
        self.lines
    }
}

/// An effect with everything that somebody else gets to see of it. How long a timer runs is not part of a version.
fn in_a_line(effect: &Effect<Purchase, Command, Reply>) -> String {
    let word = |direction| match direction {
        Direction::Forward => "command",
        Direction::Compensation => "rollback",
    };
    match effect {
        Effect::Send(sent) => format!(
            "send the {} of {} to {} (attempt {}, id {}): {}",
            word(sent.direction),
            sent.step,
            sent.participant,
            sent.attempt,
            sent.command_id,
            json(&sent.command)
        ),
        Effect::SetTimer { timer, .. } => format!(
            "wait for the {} of {} (attempt {})",
            word(timer.direction),
            timer.step,
            timer.attempt
        ),
        Effect::ClearTimer(key) => format!("wait no more for the {} of {}", word(key.direction), key.step),
        // What was sent is in its own line.
        Effect::Log(LogEntry::CommandSent(sent)) => {
            format!("log command_sent {} {}", sent.step, sent.direction)
        }
        Effect::Log(entry) => format!("log {}", json(entry)),
        Effect::Changed => "tell of the change".to_owned(),
    }
}

/// JSON on one line, the fields in the order of the alphabet: their order in the program says nothing.
fn json(value: &impl Serialize) -> String {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.into_iter().collect();
                fields.sort_by(|(one, _), (other, _)| one.cmp(other));
                Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, value)| (name, sorted(value)))
                        .collect(),
                )
            }
            Value::Array(values) => Value::Array(values.into_iter().map(sorted).collect()),
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => plain,
        }
    }
    sorted(serde_json::to_value(value).unwrap()).to_string()
}

/// Plays every scenario of a transcript again. The error is for the person who changed something.
fn replay(definition: &PurchaseSaga, transcript: &str) -> Result<usize, String> {
    let lines: Vec<&str> = transcript.lines().collect();
    let begins: Vec<usize> = (0..lines.len())
        .filter(|&n| lines[n].starts_with("## "))
        .collect();
    for (index, &begin) in begins.iter().enumerate() {
        let end = begins.get(index + 1).copied().unwrap_or(lines.len());
        let scenario = &lines[begin + 1..end];
        replay_scenario(definition, &lines[begin][3..], begin + 1, scenario)?;
    }
    Ok(begins.len())
}

fn replay_scenario(
    definition: &PurchaseSaga,
    name: &str,
    first: usize,
    released: &[&str],
) -> Result<(), String> {
    let released: Vec<&str> = released.iter().copied().filter(|line| !line.is_empty()).collect();
    let mut played = Played::new(definition);
    for line in &released {
        if let Some(given) = line.strip_prefix("< ") {
            let given = serde_json::from_str(given).map_err(|error| {
                different(
                    definition,
                    name,
                    "an input cannot be read any more",
                    line,
                    &error.to_string(),
                )
            })?;
            played.give(given);
        } else if let Some(state) = line.strip_prefix("= ") {
            // Sagas under way have such states in their rows.
            let read: State<Purchase> = serde_json::from_str(state).map_err(|error| {
                different(
                    definition,
                    name,
                    "a stored state cannot be read any more",
                    line,
                    &error.to_string(),
                )
            })?;
            if let Err(why) = definition.accepts(&read) {
                return Err(different(
                    definition,
                    name,
                    "a stored state is not this version's",
                    line,
                    &why.to_string(),
                ));
            }
        }
    }
    let now = played.end();
    for (offset, line) in released.iter().enumerate() {
        let other = now.get(offset).map_or("(nothing)", String::as_str);
        if other != *line {
            let given = released[..=offset]
                .iter()
                .rev()
                .find(|line| line.starts_with("< "));
            let place = format!(
                "line {} of the transcript, after the input\n    {}",
                first + offset + 1,
                given.copied().unwrap_or_default()
            );
            return Err(different(definition, name, &place, line, other));
        }
    }
    match now.get(released.len()) {
        Some(more) => Err(different(definition, name, "at its end", "(nothing)", more)),
        None => Ok(()),
    }
}

fn different(definition: &PurchaseSaga, scenario: &str, place: &str, released: &str, now: &str) -> String {
    let (name, version) = (definition.name(), definition.version());
    format!(
        "version {version} of the saga `{name}` no longer decides as it was released.\n\
         Scenario \"{scenario}\", {place}\n  released: {}\n  now:      {}\n\
         A released version never changes, because purchases follow it: put back what was changed, and make the change version \
         {} (docs/versions.md).",
        released.trim(),
        now.trim(),
        version + 1
    )
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

fn file_of(definition: &PurchaseSaga) -> String {
    format!("{}-{}.txt", definition.name(), definition.version())
}

/// The transcript of a version as it is recorded.
fn transcript_of(definition: &PurchaseSaga) -> String {
    let mut text = format!(
        "# What version {} of the saga `{}` decides. Recorded when it was released; never changed after.\n\
         # < an input, then its effects in their order, = the state in the end.\n",
        definition.version(),
        definition.name()
    );
    for (name, lines) in record::scenarios(definition) {
        write!(text, "\n## {name}\n\n{}\n", lines.join("\n")).unwrap();
    }
    text
}

#[test]
fn every_released_version_decides_as_it_did() {
    for version in VERSIONS {
        let definition = version(RETRY).unwrap();
        let file = directory().join(file_of(&definition));
        if !file.exists() && std::env::var_os("BLESS").is_some() {
            fs::write(&file, transcript_of(&definition)).unwrap();
        }
        let transcript = fs::read_to_string(&file).unwrap_or_else(|error| {
            panic!(
                "version {} has no transcript ({}: {error}). Record it before it is released: \
                 BLESS=1 cargo test -p purchase-manager --test it transcript",
                definition.version(),
                file.display()
            )
        });
        match replay(&definition, &transcript) {
            Ok(scenarios) => assert!(scenarios > 20, "only {scenarios} scenarios in {}", file.display()),
            Err(difference) => panic!("{difference}"),
        }
    }
}

/// A version leaves the program together with its transcript, and on purpose.
#[test]
fn every_transcript_has_its_version() {
    let known: Vec<String> = VERSIONS
        .iter()
        .map(|version| file_of(&version(RETRY).unwrap()))
        .collect();
    for entry in fs::read_dir(directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            known.contains(&name),
            "transcripts/{name} is of a version that the program lacks: put the version back, or take the transcript \
             away when no purchase follows it any more (docs/versions.md)"
        );
    }
}

#[test]
fn a_transcript_has_every_step_answered_refused_not_answered_and_rolled_back() {
    for version in [VERSIONS[0], version_2] {
        let definition = version(RETRY).unwrap();
        let transcript = transcript_of(&definition);
        replay(&definition, &transcript).unwrap();
        for step in definition.outline() {
            let name = step.name.as_str();
            let has = |what: &str| {
                assert!(
                    transcript.contains(what),
                    "{what} of version {}",
                    definition.version()
                )
            };
            has(&format!(
                "send the command of {name} to {} (attempt 2",
                step.participant
            ));
            if step.can_roll_back {
                has(&format!(
                    "send the rollback of {name} to {} (attempt 2",
                    step.participant
                ));
                has(&format!("## {name}: its rollback is not acknowledged"));
            }
        }
    }
}

/// Somebody turns the two last steps of the released version into a sequence instead of making a new version.
#[test]
fn a_change_to_a_released_version_is_told_with_scenario_line_and_both_answers() {
    let released = VERSIONS[0](RETRY).unwrap();
    let transcript = transcript_of(&released);
    let changed = Definition::builder("purchase", 1)
        .retry(RETRY)
        .step(step::validate_inventory())
        .step(step::reserve_products())
        .step(step::authorize_payment())
        .pivot(step::create_order())
        .step(step::confirm_reservation())
        .step(step::capture_payment())
        .build()
        .unwrap();
    let told = replay(&changed, &transcript).unwrap_err();
    for part in [
        "version 1 of the saga `purchase` no longer decides as it was released",
        "Scenario \"everybody agrees\", line ",
        "released: log command_sent capture-payment forward",
        "now:      tell of the change",
        "make the change version 2",
    ] {
        assert!(told.contains(part), "{part} is missing in:\n{told}");
    }
}

#[test]
fn a_step_that_is_added_without_a_new_version_is_told() {
    let transcript = transcript_of(&VERSIONS[0](RETRY).unwrap());
    let fewer = Definition::builder("purchase", 1)
        .retry(RETRY)
        .step(step::reserve_products())
        .step(step::authorize_payment())
        .pivot(step::create_order())
        .parallel([step::confirm_reservation(), step::capture_payment()])
        .build()
        .unwrap();
    let told = replay(&fewer, &transcript).unwrap_err();
    assert!(told.contains("without a new version"), "{told}");
}

/// A field more in a command, an input that cannot be read: whatever a line says otherwise is found.
#[test]
fn every_line_of_a_transcript_counts() {
    let definition = VERSIONS[0](RETRY).unwrap();
    let transcript = transcript_of(&definition);
    let lines: Vec<&str> = transcript.lines().collect();
    let end = lines.iter().position(|line| line.starts_with("= ")).unwrap();
    for n in (0..=end).filter(|&n| lines[n].starts_with("  ") || lines[n].starts_with("= ")) {
        let mut changed: Vec<&str> = lines.clone();
        changed.remove(n);
        assert!(
            replay(&definition, &changed.join("\n")).is_err(),
            "without line {n}: {}",
            lines[n]
        );
    }
}
