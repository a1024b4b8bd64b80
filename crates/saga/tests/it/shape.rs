//! Goal: a definition of the wrong shape is refused, in words that say what to do. Method: one wrong
//! definition for each rule.

use std::time::Duration;

use saga::{Definition, DefinitionBuilder, RetryPolicy, ShapeError, Verdict};

use crate::sagas::{Command, Heard, Reply, TestStep};

fn builder() -> DefinitionBuilder<Heard, Command, Reply> {
    Definition::builder("wrong", 1)
}

fn asks(step: TestStep) -> TestStep {
    step.command(|_| Command::Do(String::new()))
        .reply(|_, _| Verdict::Accepted)
}

fn undoes(step: TestStep) -> TestStep {
    step.rollback(|_| Command::Undo(String::new()), |_| true)
}

fn compensatable(name: &'static str) -> TestStep {
    undoes(asks(TestStep::compensatable(name, "somebody")))
}

fn pivot(name: &'static str) -> TestStep {
    undoes(asks(TestStep::pivot(name, "somebody")))
}

fn retriable(name: &'static str) -> TestStep {
    asks(TestStep::retriable(name, "somebody"))
}

#[track_caller]
fn refused(builder: DefinitionBuilder<Heard, Command, Reply>, expected: &ShapeError, says: &str) {
    let error = builder.build().expect_err("the shape is wrong");
    assert_eq!(error, *expected);
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn the_smallest_saga_is_a_pivot() {
    builder().pivot(pivot("p")).build().expect("one pivot is enough");
}

#[test]
fn a_saga_has_a_name() {
    let nameless = Definition::builder("", 1).pivot(pivot("p"));
    refused(nameless, &ShapeError::NoName, "give builder() the name");
}

#[test]
fn a_saga_has_steps() {
    refused(
        builder(),
        &ShapeError::NoSteps { saga: "wrong" },
        "add at least a pivot",
    );
}

#[test]
fn a_stage_has_steps() {
    let empty = builder().pivot(pivot("p")).parallel([]);
    refused(
        empty,
        &ShapeError::EmptyStage {
            saga: "wrong",
            stage: 2,
        },
        "put a step into it",
    );
}

#[test]
fn a_step_has_a_name_of_its_own() {
    let nameless = builder().step(compensatable("")).pivot(pivot("p"));
    refused(nameless, &ShapeError::NoStepName { stage: 1 }, "name it");
    let twins = builder()
        .step(compensatable("twin"))
        .pivot(pivot("p"))
        .step(retriable("twin"));
    refused(
        twins,
        &ShapeError::DuplicateStep { step: "twin".into() },
        "rename one",
    );
}

#[test]
fn a_step_has_a_participant_a_command_and_a_reader_of_its_reply() {
    let alone = builder().pivot(undoes(asks(TestStep::pivot("p", ""))));
    refused(
        alone,
        &ShapeError::NoParticipant { step: "p".into() },
        "name the service",
    );
    let silent = builder().pivot(undoes(
        TestStep::pivot("p", "somebody").reply(|_, _| Verdict::Accepted),
    ));
    refused(silent, &ShapeError::NoCommand { step: "p".into() }, ".command()");
    let deaf = builder().pivot(undoes(
        TestStep::pivot("p", "somebody").command(|_| Command::Do(String::new())),
    ));
    refused(deaf, &ShapeError::NoReply { step: "p".into() }, ".reply()");
}

#[test]
fn there_is_exactly_one_pivot_and_it_stands_alone() {
    let none = builder().step(compensatable("a"));
    refused(none, &ShapeError::NoPivot { saga: "wrong" }, "Step::pivot");
    let two = builder().pivot(pivot("p")).pivot(pivot("q"));
    refused(
        two,
        &ShapeError::SeveralPivots {
            first: "p".into(),
            second: "q".into(),
        },
        "keep one",
    );
    let beside = builder().parallel([compensatable("a"), pivot("p")]);
    refused(
        beside,
        &ShapeError::PivotInParallel { step: "p".into() },
        "a stage of its own",
    );
}

#[test]
fn everything_before_the_pivot_can_be_undone() {
    let retried = builder().step(retriable("a")).pivot(pivot("p"));
    refused(
        retried,
        &ShapeError::RetriableBeforePivot { step: "a".into() },
        "Step::compensatable",
    );
    let stays = builder()
        .step(asks(TestStep::compensatable("a", "somebody")))
        .pivot(pivot("p"));
    refused(stays, &ShapeError::NoRollback { step: "a".into() }, ".rollback()");
}

#[test]
fn the_pivot_can_be_undone_by_an_operator() {
    let stays = builder().pivot(asks(TestStep::pivot("p", "somebody")));
    refused(stays, &ShapeError::NoRollback { step: "p".into() }, ".rollback()");
}

#[test]
fn everything_after_the_pivot_can_only_be_retried() {
    let undone = builder().pivot(pivot("p")).step(compensatable("z"));
    refused(
        undone,
        &ShapeError::CompensatableAfterPivot { step: "z".into() },
        "Step::retriable",
    );
    let undone = builder().pivot(pivot("p")).step(undoes(retriable("z")));
    refused(
        undone,
        &ShapeError::RollbackAfterPivot { step: "z".into() },
        "remove it",
    );
}

#[test]
fn the_retry_policy_is_sane() {
    let second = Duration::from_secs(1);
    let with = |retry| builder().pivot(pivot("p")).retry(retry);
    refused(
        with(RetryPolicy::fast(Duration::ZERO, second, 2)),
        &ShapeError::ZeroTimeout,
        "zero",
    );
    refused(
        with(RetryPolicy::new(second * 9, second * 60, 8)),
        &ShapeError::TimeoutTooShort { first: second * 9 },
        "RetryPolicy::fast",
    );
    refused(
        with(RetryPolicy::new(second * 20, second * 10, 8)),
        &ShapeError::CapUnderFirst {
            first: second * 20,
            cap: second * 10,
        },
        "raise the cap",
    );
    refused(
        with(RetryPolicy::new(second * 10, second * 60, 0)),
        &ShapeError::NoSends,
        "at least one",
    );
    let many = RetryPolicy::new(second * 10, second * 60, 9);
    refused(
        with(many),
        &ShapeError::TooManySends { sends: 9 },
        "lower the number",
    );
    with(RetryPolicy::fast(second / 20, second, 3))
        .build()
        .expect("a fast policy is for tests");
}
