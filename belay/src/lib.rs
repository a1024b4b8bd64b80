//! The command line. `belay up` runs the whole system in one process; the other commands work on it.

pub mod data_dir;
