//! What can happen next.

use saga::{Kind, OperatorAction, Resolution};

use crate::{
    broker::{Broker, reader_of},
    scenario::{EDGE, ORCHESTRATOR, Scenario},
    service::{Away, DESK, TIMERS},
    world::World,
};

/// One thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Action {
    // What goes on.
    Commit(usize),
    DeleteSent(usize),
    Send(usize),
    /// The owner of a partition reads at most so many records.
    Read {
        place: usize,
        most: usize,
    },
    FireTimers,
    Resubmit(usize),
    Release(usize),
    Advance,
    // What goes wrong, or is not expected.
    DieBefore(usize),
    DieAfter(usize),
    RelayDies(usize),
    RelayPartly(usize, usize),
    Twice(usize, usize),
    HoldBack(usize, u64),
    Lose(usize),
    Forget,
    Away(usize, Option<u64>),
    TimePasses,
    Move(usize),
    Cancel(usize),
    Operator(usize, OperatorAction),
    HoldExpires(usize, usize),
}

/// Kinds of what goes wrong: those after [`Action::Advance`].
pub(crate) const FAULT_KINDS: usize = 14;

/// How long a message is held back: a little, or longer than a step is waited for.
const HELD_BACK_MS: [u64; 2] = [500, 60_000];
/// How long a service is away: less and more than a timeout.
const AWAY_MS: [u64; 2] = [3_000, 60_000];

const ACTIONS: [OperatorAction; 4] = [
    OperatorAction::Retry,
    OperatorAction::Compensate,
    OperatorAction::Resolve(Resolution::Completed),
    OperatorAction::Resolve(Resolution::Cancelled),
];

impl Action {
    /// Which kind of fault it is.
    pub(crate) const fn fault(self) -> Option<usize> {
        Some(match self {
            Self::Commit(_)
            | Self::DeleteSent(_)
            | Self::Send(_)
            | Self::Read { .. }
            | Self::FireTimers
            | Self::Resubmit(_)
            | Self::Release(_)
            | Self::Advance => return None,
            Self::DieBefore(_) => 0,
            Self::DieAfter(_) => 1,
            Self::RelayDies(_) => 2,
            Self::RelayPartly(..) => 3,
            Self::Twice(..) => 4,
            Self::HoldBack(..) => 5,
            Self::Lose(_) => 6,
            Self::Forget => 7,
            Self::Away(..) => 8,
            Self::TimePasses => 9,
            Self::Move(_) => 10,
            Self::Cancel(_) => 11,
            Self::Operator(..) => 12,
            Self::HoldExpires(..) => 13,
        })
    }
}

impl<S: Scenario> World<'_, '_, S> {
    /// What happens if nothing goes wrong. None: it is at rest.
    pub(crate) fn first_option(&self) -> Option<Action> {
        let mut first = None;
        self.each_option(&mut |action| {
            first = Some(action);
            true
        });
        first
    }

    /// Everything that can go on.
    pub(crate) fn options(&self, options: &mut Vec<Action>) {
        options.clear();
        self.each_option(&mut |action| {
            options.push(action);
            false
        });
    }

    /// Offers what can go on, first what comes first, until `enough`.
    fn each_option(&self, enough: &mut dyn FnMut(Action) -> bool) {
        for index in 0..self.open.len() {
            if enough(Action::Commit(index)) {
                return;
            }
        }
        for (index, service) in self.services.iter().enumerate() {
            if !service.is_here() {
                continue;
            }
            if !service.outbox.sent.is_empty() {
                if enough(Action::DeleteSent(index)) {
                    return;
                }
            } else if !service.outbox.rows.is_empty() && enough(Action::Send(index)) {
                return;
            }
        }
        for place in 0..self.broker.partitions.len() {
            let unread = self.broker.partitions[place].unread().len();
            if unread == 0 {
                continue;
            }
            if self.can_read(place, unread) && enough(Action::Read { place, most: unread }) {
                return;
            }
            if unread > 1 && self.can_read(place, 1) && enough(Action::Read { place, most: 1 }) {
                return;
            }
        }
        if self.can_fire() && enough(Action::FireTimers) {
            return;
        }
        for saga in 0..self.submissions.len() {
            if self.resubmits_at(saga).is_some_and(|at| at <= self.now) && enough(Action::Resubmit(saga)) {
                return;
            }
        }
        for (index, (due, _)) in self.held_back.iter().enumerate() {
            if *due <= self.now && enough(Action::Release(index)) {
                return;
            }
        }
        if self.next_time().is_some() {
            enough(Action::Advance);
        }
    }

    /// Everything that can go wrong.
    pub(crate) fn faults(&self, faults: &mut Vec<Action>) {
        faults.clear();
        for index in 0..self.open.len() {
            faults.push(Action::DieBefore(index));
            faults.push(Action::DieAfter(index));
        }
        for (index, service) in self.services.iter().enumerate() {
            if !service.is_here() {
                continue;
            }
            let outbox = &service.outbox;
            if !outbox.sent.is_empty() {
                faults.push(Action::RelayDies(index));
            } else if !outbox.rows.is_empty() {
                faults.push(Action::RelayPartly(index, outbox.rows.len() / 2));
            }
            if index > ORCHESTRATOR {
                faults.extend(AWAY_MS.map(|ms| Action::Away(index, Some(ms))));
                faults.push(Action::Away(index, None));
            }
        }
        let mut is_anything_there = false;
        for (place, partition) in self.broker.partitions.iter().enumerate() {
            let records = partition.records.len();
            if records == 0 {
                continue;
            }
            is_anything_there = true;
            faults.push(Action::Twice(place, records - 1));
            if partition.position < records {
                faults.push(Action::Twice(place, partition.position));
                faults.extend(HELD_BACK_MS.map(|ms| Action::HoldBack(place, ms)));
                faults.push(Action::Lose(place));
            }
            let in_work = self
                .open
                .iter()
                .any(|open| open.batch.is_some_and(|batch| batch.place == place));
            if in_work || partition.committed < partition.position {
                faults.push(Action::Move(place));
            }
        }
        if is_anything_there {
            faults.push(Action::Forget);
        }
        if self.next_time().is_some() {
            faults.push(Action::TimePasses);
        }
        self.faults_at_the_desk(faults);
    }

    /// What customers, operators and the clocks of participants do.
    fn faults_at_the_desk(&self, faults: &mut Vec<Action>) {
        if self.is_busy(ORCHESTRATOR, DESK) {
            return;
        }
        for saga in 0..self.submissions.len() {
            if self.locked(ORCHESTRATOR) & (1 << saga) != 0 {
                continue;
            }
            faults.push(Action::Cancel(saga));
            if self.sagas.state(saga).is_none() {
                continue;
            }
            faults.extend(ACTIONS.map(|action| Action::Operator(saga, action)));
            for (step, its) in self.setting.steps.iter().enumerate() {
                match its.kind {
                    Kind::Compensatable | Kind::Pivot => faults.push(Action::HoldExpires(saga, step)),
                    Kind::Retriable => {}
                }
            }
        }
    }

    fn is_busy(&self, service: usize, worker: usize) -> bool {
        self.open
            .iter()
            .any(|open| (open.service, open.worker) == (service, worker))
    }

    /// The sagas whose rows are locked at a service.
    pub(super) fn locked(&self, service: usize) -> u8 {
        let of_service = self.open.iter().filter(|open| open.service == service);
        of_service.fold(0, |all, open| all | open.locked)
    }

    pub(super) fn can_read(&self, place: usize, most: usize) -> bool {
        let reader = reader_of(Broker::<S>::topic(place));
        let partition = &self.broker.partitions[place];
        if !self.services[reader].is_here() || self.is_busy(reader, partition.owner) {
            return false;
        }
        let locked = self.locked(reader);
        locked == 0
            || partition.unread()[..most]
                .iter()
                .all(|message| locked & (1 << message.saga) == 0)
    }

    fn can_fire(&self) -> bool {
        if self.is_busy(ORCHESTRATOR, TIMERS) {
            return false;
        }
        let locked = self.locked(ORCHESTRATOR);
        (0..self.submissions.len()).any(|saga| {
            locked & (1 << saga) == 0 && self.sagas.timers[saga].iter().any(|timer| timer.due <= self.now)
        })
    }

    /// When the edge submits again: never while its last submission is still in the outbox.
    fn resubmits_at(&self, saga: usize) -> Option<u64> {
        let submission = &self.submissions[saga];
        let waits = self.services[EDGE]
            .outbox
            .rows
            .iter()
            .any(|row| row.message.saga == saga);
        (!submission.acknowledged && !waits).then_some(submission.resend_at)
    }

    /// The next time at which something is due that is not due yet.
    pub(super) fn next_time(&self) -> Option<u64> {
        let timers = self.sagas.timers.iter().flatten().map(|timer| timer.due);
        let resends = (0..self.submissions.len()).filter_map(|saga| self.resubmits_at(saga));
        let held_back = self.held_back.iter().map(|(due, _)| *due);
        let away = self.services.iter().filter_map(|service| match service.away {
            Away::Until(time) => Some(time),
            Away::Here | Away::ForGood => None,
        });
        timers
            .chain(resends)
            .chain(held_back)
            .chain(away)
            .filter(|time| *time > self.now)
            .min()
    }
}
