//! What was started in which version, for the end of a run: a table cannot claim what did not run.

use std::{collections::BTreeMap, fs::OpenOptions, io::Write, path::Path};

use crate::environment;

/// Adds a line to the file that [`environment::RECORD`] names, if it names one.
pub(crate) fn started(part: &str, version: &str) {
    let Some(path) = std::env::var_os(environment::RECORD) else {
        return;
    };
    if let Err(error) = add(Path::new(&path), part, version) {
        tracing::warn!(part, %error, "cannot be recorded");
    }
}

/// Adds a line to a record.
///
/// # Errors
/// When it cannot be written.
pub fn add(record: &Path, part: &str, version: &str) -> std::io::Result<()> {
    // One short write in append mode: lines of several processes do not mix.
    let mut file = OpenOptions::new().create(true).append(true).open(record)?;
    file.write_all(format!("{part}\t{version}\n").as_bytes())
}

/// The table of a record: part, version, how often it was started.
///
/// # Errors
/// When the file cannot be read.
pub fn table(record: &Path) -> std::io::Result<String> {
    let text = std::fs::read_to_string(record)?;
    let mut counts: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in text.lines() {
        if let Some(entry) = line.split_once('\t') {
            *counts.entry(entry).or_default() += 1;
        }
    }
    let mut table = format!("{:<28} {:<16} {}\n", "part", "version", "starts");
    for ((part, version), count) in counts {
        table.push_str(&format!("{part:<28} {version:<16} {count}\n"));
    }
    Ok(table)
}
