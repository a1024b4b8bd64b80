//! Places at which a process can be made to die or to pause, and guards that can be switched off: for the fault suite, and in
//! debug builds alone.
//!
//! A program that is built for release has neither: [`reach`] and [`is_off`] are empty there, and nothing reads the variables
//! (ADR 10; test `failpoint::a_release_is_built_without_failpoints`). Nothing else of the program differs, so what the suite
//! sees die is what runs in production but for the optimizer.
//!
//! | variable | means |
//! |---|---|
//! | `BELAY_FAILPOINT` | `relay-sent=kill@3`: the third time that this place is reached, the process kills itself as `kill -9` would. `sagas-decided=pause@300`: every time, it waits 300 ms there |
//! | `BELAY_WITHOUT` | `inbox`, `barrier`, `row-lock` or `delete-rule`: that guard is switched off |
//!
//! A value that cannot be read ends the process: a fault that silently does not happen would be a test that silently passes.

/// Says which failpoint is armed.
pub const VARIABLE: &str = "BELAY_FAILPOINT";
/// Says which guard is switched off.
pub const WITHOUT: &str = "BELAY_WITHOUT";

/// A place beside a durable step: something is committed or acknowledged just before it or just after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A consumer has taken a batch; its transaction has not begun.
    BatchTaken,
    /// Inbox, changes and outbox of a batch are written and not committed.
    BatchWritten,
    /// They are committed; the offsets are not stored.
    BatchCommitted,
    /// The relay has read rows and sent none of them.
    RelaySelected,
    /// The broker has acknowledged them; they are still in the outbox.
    RelaySent,
    /// They are deleted.
    RelayDeleted,
    /// Purchase-manager has locked sagas and decided; nothing is written.
    SagasDecided,
    /// What timers brought about is written and not committed.
    TimersWritten,
    /// It is committed.
    TimersCommitted,
    /// A submission and its command are written and not committed.
    SubmissionWritten,
    /// They are committed; the customer has no answer.
    SubmissionCommitted,
    /// Mails are claimed; none is sent.
    MailsClaimed,
    /// Mails are sent; that they are is not written.
    MailsSent,
}

impl Point {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::BatchTaken,
        Self::BatchWritten,
        Self::BatchCommitted,
        Self::RelaySelected,
        Self::RelaySent,
        Self::RelayDeleted,
        Self::SagasDecided,
        Self::TimersWritten,
        Self::TimersCommitted,
        Self::SubmissionWritten,
        Self::SubmissionCommitted,
        Self::MailsClaimed,
        Self::MailsSent,
    ];

    /// As the variable and the suite's table have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchTaken => "batch-taken",
            Self::BatchWritten => "batch-written",
            Self::BatchCommitted => "batch-committed",
            Self::RelaySelected => "relay-selected",
            Self::RelaySent => "relay-sent",
            Self::RelayDeleted => "relay-deleted",
            Self::SagasDecided => "sagas-decided",
            Self::TimersWritten => "timers-written",
            Self::TimersCommitted => "timers-committed",
            Self::SubmissionWritten => "submission-written",
            Self::SubmissionCommitted => "submission-committed",
            Self::MailsClaimed => "mails-claimed",
            Self::MailsSent => "mails-sent",
        }
    }
}

/// What keeps a promise of the system, and can be taken away to see who notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// A message that was handled before is not handled again.
    Inbox,
    /// A command that was carried out before is not carried out again, and none after its rollback.
    Barrier,
    /// Sagas are locked while they are decided upon, and written only when nobody wrote them meanwhile.
    RowLock,
    /// Exactly what the broker acknowledged is deleted from the outbox.
    DeleteRule,
}

impl Guard {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Inbox, Self::Barrier, Self::RowLock, Self::DeleteRule];

    /// As the variable and the suite's table have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Barrier => "barrier",
            Self::RowLock => "row-lock",
            Self::DeleteRule => "delete-rule",
        }
    }
}

/// Lets happen what is armed here. Nothing, in a program that is built for release.
#[cfg(not(debug_assertions))]
#[inline]
pub async fn reach(_point: Point) {}

/// Whether a guard is switched off. Never, in a program that is built for release.
#[cfg(not(debug_assertions))]
#[inline]
#[must_use]
pub const fn is_off(_guard: Guard) -> bool {
    false
}

#[cfg(debug_assertions)]
pub use armed::{is_off, reach};

#[cfg(debug_assertions)]
mod armed {
    use std::{
        env,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use nix::sys::signal::{Signal, raise};

    use super::{Guard, Point, VARIABLE, WITHOUT};

    /// What is to happen at a place.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Action {
        /// Die when it is reached for this time.
        Kill(u64),
        /// Wait, every time.
        Pause(Duration),
    }

    static ARMED: LazyLock<Option<(Point, Action)>> = LazyLock::new(|| {
        let text = env::var(VARIABLE).ok()?;
        let armed = parse(&text)
            .unwrap_or_else(|| panic!("{VARIABLE}={text} cannot be read: write relay-sent=kill@3"));
        tracing::warn!("the failpoint {text} is armed: this is a test");
        Some(armed)
    });

    static OFF: LazyLock<Option<Guard>> = LazyLock::new(|| {
        let text = env::var(WITHOUT).ok()?;
        let guard = Guard::ALL.into_iter().find(|guard| guard.name() == text);
        tracing::warn!("the guard {text} is switched off: this is a test");
        Some(guard.unwrap_or_else(|| panic!("{WITHOUT}={text} is no guard")))
    });

    static REACHED: AtomicU64 = AtomicU64::new(0);

    pub(super) fn parse(text: &str) -> Option<(Point, Action)> {
        let (name, action) = text.split_once('=')?;
        let point = Point::ALL.into_iter().find(|point| point.name() == name)?;
        let (what, number) = action.split_once('@')?;
        let number: u64 = number.parse().ok()?;
        let action = match what {
            "kill" => Action::Kill(number),
            "pause" => Action::Pause(Duration::from_millis(number)),
            _ => return None,
        };
        Some((point, action))
    }

    /// Lets happen what is armed here.
    ///
    /// # Panics
    /// When the variable cannot be read.
    pub async fn reach(point: Point) {
        let Some((armed, action)) = *ARMED else { return };
        if armed != point {
            return;
        }
        match action {
            Action::Kill(time) => {
                if REACHED.fetch_add(1, Ordering::SeqCst) + 1 >= time {
                    // Nothing is flushed, dropped or told: that is the point.
                    let _ = raise(Signal::SIGKILL);
                }
            }
            Action::Pause(time) => tokio::time::sleep(time).await,
        }
    }

    /// Whether a guard is switched off.
    ///
    /// # Panics
    /// When the variable cannot be read.
    #[must_use]
    pub fn is_off(guard: Guard) -> bool {
        *OFF == Some(guard)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{
        Point,
        armed::{Action, parse},
    };

    #[test]
    fn a_failpoint_is_a_place_an_action_and_a_number() {
        assert_eq!(
            parse("relay-sent=kill@3"),
            Some((Point::RelaySent, Action::Kill(3)))
        );
        let pause = Action::Pause(Duration::from_millis(250));
        assert_eq!(
            parse("sagas-decided=pause@250"),
            Some((Point::SagasDecided, pause))
        );
        for wrong in [
            "relay-sent",
            "relay-sent=kill",
            "nowhere=kill@1",
            "relay-sent=sing@1",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    /// The profile of a release leaves debug assertions out unless it is told otherwise, and images are built with it.
    #[test]
    fn a_release_is_built_without_failpoints() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let read = |file: &str| std::fs::read_to_string(format!("{root}/{file}")).unwrap();
        assert!(
            !read("Cargo.toml").contains("debug-assertions"),
            "no profile may turn them on"
        );
        assert!(read("Dockerfile").contains("--release"));
        assert!(
            !read("Dockerfile").contains("debug-assertions")
                && !read("Dockerfile").contains("DEBUG_ASSERTIONS")
        );
    }
}
