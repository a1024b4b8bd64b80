//! Which Java runs a part.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// A directory with `bin/java`, before everything that is found.
const VARIABLE: &str = "BELAY_JAVA_HOME";

/// Small, and quick to start: a part lives for some minutes. The first compiler alone starts in half the time of both.
pub(crate) fn options(heap_megabytes: u32) -> Vec<OsString> {
    vec![
        format!("-Xmx{heap_megabytes}m").into(),
        "-XX:+UseSerialGC".into(),
        "-XX:TieredStopAtLevel=1".into(),
        "-Xshare:auto".into(),
    ]
}

/// A `java` of at least this major version: of `BELAY_JAVA_HOME`, of `JAVA_HOME`, of the path, or of the usual places.
///
/// # Errors
/// When there is none; says what to install.
pub(crate) fn at_least(major: u32, part: &str) -> anyhow::Result<PathBuf> {
    let mut known = Vec::new();
    for java in candidates() {
        match version(&java) {
            Some(found) if found >= major => return Ok(java),
            Some(found) => known.push(format!("{} is {found}", java.display())),
            None => {}
        }
    }
    let known = if known.is_empty() {
        "there is none".to_owned()
    } else {
        known.join(", ")
    };
    anyhow::bail!(
        "{part} needs Java {major} or later ({known}): install one (Debian: apt-get install --no-install-recommends \
         openjdk-{major}-jre-headless, where it has it), or name its directory in {VARIABLE}"
    )
}

fn candidates() -> Vec<PathBuf> {
    let named = [VARIABLE, "JAVA_HOME"]
        .into_iter()
        .filter_map(std::env::var_os)
        .map(|home| Path::new(&home).join("bin/java"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).map(|d| d.join("java")).collect();
    let mut usual: Vec<PathBuf> = ["/usr/lib/jvm", "/opt/java", "/Library/Java/JavaVirtualMachines"]
        .into_iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flat_map(|entries| entries.filter_map(Result::ok))
        .flat_map(|entry| {
            [
                entry.path().join("bin/java"),
                entry.path().join("Contents/Home/bin/java"),
            ]
        })
        .collect();
    usual.sort();
    named
        .chain(on_path)
        .chain(usual)
        .filter(|java| java.exists())
        .collect()
}

/// The major version, from the file that every Java has beside its programs, else by asking it.
fn version(java: &Path) -> Option<u32> {
    let release = java.canonicalize().ok()?.parent()?.parent()?.join("release");
    if let Some(major) = std::fs::read_to_string(release)
        .ok()
        .as_deref()
        .and_then(major_of)
    {
        return Some(major);
    }
    let output = Command::new(java).arg("-version").output().ok()?;
    major_of(&String::from_utf8_lossy(&output.stderr))
}

/// The number after the first quotation mark that follows a version's name: `JAVA_VERSION="17.0.15"`,
/// `openjdk version "21.0.2"`. Java 8 calls itself 1.8.
fn major_of(text: &str) -> Option<u32> {
    let line = text
        .lines()
        .find(|line| line.starts_with("JAVA_VERSION=") || line.contains(" version \""))?;
    let number: String = line
        .split('"')
        .nth(1)?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_either_text() {
        assert_eq!(
            major_of("IMPLEMENTOR=\"x\"\nJAVA_VERSION=\"17.0.15\"\n"),
            Some(17)
        );
        assert_eq!(major_of("openjdk version \"21.0.2\" 2024-01-16\n"), Some(21));
        assert_eq!(major_of("java version \"1.8.0_402\"\n"), Some(1));
        assert_eq!(major_of("nothing"), None);
    }

    #[test]
    fn a_java_that_nobody_has_is_asked_for_in_one_line() {
        let error = at_least(9999, "the registry").unwrap_err().to_string();
        assert!(error.contains("the registry needs Java 9999 or later"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
}
