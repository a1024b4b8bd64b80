//! The command line. `belay up` runs the whole system in one process; the other commands work on it.
//!
//! | file | job |
//! |---|---|
//! | `up.rs` | `belay up`: starts the system, says where it is, drains it |
//! | `system.rs` | the parts, embedded or given, and every service on them |
//! | `provision.rs` | databases and roles |
//! | `data_dir.rs` | what is kept, and how the other commands find the system |
//! | `token.rs` | `belay token` |
//! | `audit.rs` | `belay audit`: the invariants, as SQL |
//! | `load.rs` | `belay load`: customers by the thousand, and an audit after |
//! | `doctor.rs` | `belay doctor` |
//! | `output.rs` | results on standard output, everything else on standard error |

pub mod audit;
pub mod data_dir;
pub mod doctor;
pub mod load;
mod output;
pub mod provision;
pub mod system;
pub mod token;
pub mod up;
