//! How often and when an unanswered command is sent again. A timeout means *unknown*, not *failed*, so the
//! same command is repeated with a growing, jittered wait until its budget is spent.

use std::time::Duration;

use uuid::Uuid;

use crate::{names::Direction, shape::ShapeError};

/// The shortest first timeout outside tests. A participant that is restarted or behind by a few seconds
/// must not be sent everything twice.
pub const MIN_FIRST_TIMEOUT: Duration = Duration::from_secs(10);

/// The most sends one budget may hold, so that a backlog is multiplied by a small number at worst.
pub const MAX_SENDS: u32 = 8;

/// The wait moves by up to this share, so that commands sent together are not repeated together.
const JITTER_PERMILLE: u64 = 200;

/// When a command is repeated, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    first: Duration,
    cap: Duration,
    sends: u32,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Steady,
    /// The first timeout may be under [`MIN_FIRST_TIMEOUT`].
    Fast,
}

impl Default for RetryPolicy {
    /// 10 s doubling to 30 s, 8 sends: at most 264 s until the budget is spent, well over a participant that is
    /// away for a minute; the budgets of a step and of its rollback together stay under the ten minutes in
    /// which a saga ends or is parked (test `two_budgets_fit_into_ten_minutes`).
    fn default() -> Self {
        Self::new(MIN_FIRST_TIMEOUT, Duration::from_secs(30), MAX_SENDS)
    }
}

impl RetryPolicy {
    /// The first wait (at least [`MIN_FIRST_TIMEOUT`]), the longest, and how often a command is sent in all
    /// (1 to [`MAX_SENDS`]). Checked by [`crate::DefinitionBuilder::build`].
    #[must_use]
    pub const fn new(first: Duration, cap: Duration, sends: u32) -> Self {
        Self {
            first,
            cap,
            sends,
            pace: Pace::Steady,
        }
    }

    /// For tests and demonstrations: the first wait may be as short as one likes.
    #[must_use]
    pub const fn fast(first: Duration, cap: Duration, sends: u32) -> Self {
        Self {
            first,
            cap,
            sends,
            pace: Pace::Fast,
        }
    }

    /// How often a command is sent before its budget is spent.
    #[must_use]
    pub const fn sends(&self) -> u32 {
        self.sends
    }

    /// How long to wait for a reply to the `nth` send of a budget (1 is the first). Between the first
    /// timeout and the cap; the same saga, step, direction and number always give the same wait.
    #[must_use]
    pub fn wait(&self, saga_id: Uuid, step: &str, direction: Direction, nth: u32) -> Duration {
        let doublings = nth.saturating_sub(1).min(31);
        let planned = self.first.saturating_mul(1 << doublings).min(self.cap);
        let swing = hash(saga_id, step, direction, nth) % (2 * JITTER_PERMILLE + 1);
        let moved = if swing < JITTER_PERMILLE {
            planned.saturating_sub(permille(planned, JITTER_PERMILLE - swing))
        } else {
            planned.saturating_add(permille(planned, swing - JITTER_PERMILLE))
        };
        self.reflect(planned, moved)
    }

    pub(crate) fn check(&self) -> Result<(), ShapeError> {
        if self.first.is_zero() {
            return Err(ShapeError::ZeroTimeout);
        }
        if self.pace == Pace::Steady && self.first < MIN_FIRST_TIMEOUT {
            return Err(ShapeError::TimeoutTooShort { first: self.first });
        }
        if self.cap < self.first {
            return Err(ShapeError::CapUnderFirst {
                first: self.first,
                cap: self.cap,
            });
        }
        if self.sends == 0 {
            return Err(ShapeError::NoSends);
        }
        if self.sends > MAX_SENDS {
            return Err(ShapeError::TooManySends { sends: self.sends });
        }
        Ok(())
    }

    /// Turns a wait that would leave the bounds back by as much. Cutting it off instead would give half of
    /// all first waits the very same length, which is what jitter is to avoid.
    fn reflect(&self, planned: Duration, moved: Duration) -> Duration {
        let reflected = if moved < self.first || moved > self.cap {
            planned.saturating_add(planned).saturating_sub(moved)
        } else {
            moved
        };
        reflected.clamp(self.first, self.cap)
    }
}

fn permille(of: Duration, permille: u64) -> Duration {
    Duration::from_nanos(u64::try_from(of.as_nanos()).unwrap_or(u64::MAX) / 1000 * permille)
}

/// FNV-1a, 64 bits, with a final mix: stable over releases and platforms, unlike the standard hasher.
fn hash(saga_id: Uuid, step: &str, direction: Direction, nth: u32) -> u64 {
    let bytes = saga_id
        .as_bytes()
        .iter()
        .chain(step.as_bytes())
        .chain(direction.as_str().as_bytes())
        .copied()
        .chain(nth.to_le_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 16
}
