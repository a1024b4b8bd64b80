//! What can go wrong, what was seen to go wrong, and which part can be switched off.

/// A part that can be switched off, to see that the rules notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mutation {
    /// Every message counts as never handled.
    NoInbox,
    /// Every command is carried out, whatever became of it before.
    NoBarrier,
    /// Rows are neither locked nor compared when they are written.
    NoCompareAndSet,
    /// The relay deletes up to the last row that it handed over, acknowledged or not.
    DeleteUnacknowledged,
    /// Offsets are stored before the transaction commits.
    OffsetsFirst,
}

impl Mutation {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::NoInbox,
        Self::NoBarrier,
        Self::NoCompareAndSet,
        Self::DeleteUnacknowledged,
        Self::OffsetsFirst,
    ];

    /// As it is asked for on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoInbox => "no-inbox",
            Self::NoBarrier => "no-barrier",
            Self::NoCompareAndSet => "no-compare-and-set",
            Self::DeleteUnacknowledged => "delete-unacknowledged",
            Self::OffsetsFirst => "offsets-first",
        }
    }
}

macro_rules! seen {
    ($($(#[$doc:meta])* $name:ident $text:literal,)+) => {
        /// What was seen to happen to a step.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Seen {
            $($(#[$doc])* $name,)+
        }

        impl Seen {
            /// All of it, in the order of the columns of the coverage table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// A heading.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

seen! {
    /// Its command was accepted.
    Success "success",
    /// Its command was refused.
    Refusal "refusal",
    /// A command or a rollback was not answered in time.
    Timeout "timeout",
    /// A reply came when it no longer counted.
    LateReply "late reply",
    /// The same message came twice.
    MessageTwice "message twice",
    /// The same command came in two messages.
    CommandTwice "command twice",
    /// A message was held back while later ones passed it.
    Reordered "reordered",
    /// The rollback came before the command.
    Overtaken "rollback overtook",
    /// The command came after its rollback.
    Superseded "superseded",
    /// Its participant died before the commit.
    ParticipantBeforeCommit "participant died before commit",
    /// Its participant died after the commit, before the offset was stored.
    ParticipantAfterCommit "participant died after commit",
    /// The orchestrator died before the commit of what it makes of the reply.
    OrchestratorBeforeCommit "orchestrator died before commit",
    /// The same after the commit.
    OrchestratorAfterCommit "orchestrator died after commit",
    /// A relay died between send and delete.
    RelayBetween "relay died between send and delete",
    /// The broker took only a part of the relay's batch.
    RelayPartly "relay's batch partly taken",
    /// One of its messages was lost.
    Lost "message lost",
    /// The broker forgot everything, one of its messages unread.
    Forgotten "broker forgot",
    /// Its partition moved to another instance in the middle of a transaction.
    Moved "partition moved",
    /// Two transactions met over it.
    Raced "race",
    /// Its participant was away.
    Away "participant away",
    /// The customer cancelled while it was the saga's business.
    Cancelled "cancel",
    /// An operator's action was refused at that point.
    OperatorRefused "operator refused",
    /// An operator had it tried again.
    OperatorRetry "operator retry",
    /// An operator had everything rolled back.
    OperatorCompensate "operator compensate",
    /// An operator declared the saga ended.
    OperatorResolve "operator resolve",
    /// What is held for it passed its time.
    HoldExpired "hold expired",
}
