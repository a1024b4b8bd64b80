//! The commands of `belay` but for `up` and `load`, which the whole-system suite covers.

mod audit;
mod commands;
mod databases;
mod doctor;
mod token;
