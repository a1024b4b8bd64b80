//! The command line. `belay up` runs the whole system in one process; the other commands work on it.
//!
//! | file | job |
//! |---|---|
//! | `up.rs` | `belay up`: starts the system, says where it is, drains it |
//! | `system.rs` | the parts, embedded or given, and every service on them |
//! | `provision.rs` | databases and roles; `belay provision` in `provision/command.rs` |
//! | `cdc.rs` | what change data capture needs: publications, slots, connectors |
//! | `data_dir.rs` | what is kept, and how the other commands find the system |
//! | `topics.rs` | `belay topics`: makes and checks Kafka's topics, prints the rights that services need |
//! | `token.rs` | `belay token` |
//! | `identity.rs` | `belay identity`: keys between the services |
//! | `audit.rs` | `belay audit`: the invariants, as SQL |
//! | `operate.rs` | `belay parked` and `belay saga`: what operators do |
//! | `load.rs` | `belay load`: customers by the thousand, and an audit after |
//! | `doctor.rs` | `belay doctor` |
//! | `output.rs` | results on standard output, everything else on standard error |

pub mod audit;
pub mod cdc;
pub mod data_dir;
pub mod doctor;
pub mod identity;
pub mod load;
pub mod operate;
mod output;
pub mod provision;
pub mod system;
pub mod token;
pub mod topics;
pub mod up;
