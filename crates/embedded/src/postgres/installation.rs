//! Finding PostgreSQL's programs.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::PostgresError;

/// Oldest major version that will do: what PostgreSQL's own project still maintained when Belay
/// was begun.
pub const OLDEST_MAJOR: u32 = 14;

/// Names a directory of programs that is used before all others.
const BIN_VARIABLE: &str = "BELAY_POSTGRES_BIN";

/// A PostgreSQL on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The directory of `initdb` and `postgres`.
    pub bin_dir: PathBuf,
    /// As the program says it, such as `15.14`.
    pub version: String,
    /// The first number of the version: data directories fit one major version only.
    pub major: u32,
}

/// Finds the PostgreSQL that [`super::Postgres::start`] uses for a new data directory. Runs
/// `pg_config` and `postgres --version`: some milliseconds, blocking.
///
/// The directory in the variable `BELAY_POSTGRES_BIN` is the only one looked at when it is set.
/// Otherwise, in this order: `pg_config --bindir`, each directory of PATH,
/// `/usr/lib/postgresql/*/bin` and its like newest first, Homebrew's directories.
///
/// # Errors
///
/// [`PostgresError::NotThere`] for a variable that leads nowhere, [`PostgresError::Missing`], or
/// [`PostgresError::TooOld`] when nothing newer was found.
pub fn find_installation() -> Result<Installation, PostgresError> {
    find(named_directory().as_deref(), None)
}

/// The directory that the user names, if any.
pub(super) fn named_directory() -> Option<PathBuf> {
    env::var_os(BIN_VARIABLE)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Finds an installation in `named`, or everywhere if there is none; of `major` if such a one is
/// among the candidates, else the first that is new enough.
pub(super) fn find(named: Option<&Path>, major: Option<u32>) -> Result<Installation, PostgresError> {
    if let Some(directory) = named {
        let installation = inspect(directory).ok_or_else(|| PostgresError::NotThere {
            directory: directory.to_owned(),
        })?;
        return choose(vec![installation], major);
    }
    let candidates = candidates(env::var_os("PATH").as_deref());
    choose(
        candidates
            .iter()
            .filter_map(|directory| inspect(directory))
            .collect(),
        major,
    )
}

fn choose(found: Vec<Installation>, major: Option<u32>) -> Result<Installation, PostgresError> {
    let too_old = found.first().cloned();
    let good: Vec<Installation> = found
        .into_iter()
        .filter(|installation| installation.major >= OLDEST_MAJOR)
        .collect();
    good.iter()
        .find(|installation| Some(installation.major) == major)
        .or_else(|| good.first())
        .cloned()
        .ok_or(match too_old {
            Some(Installation { bin_dir, version, .. }) => PostgresError::TooOld { version, bin_dir },
            None => PostgresError::Missing,
        })
}

fn candidates(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    directories.extend(pg_config_bindir());
    for directory in path.map(env::split_paths).into_iter().flatten() {
        // A link in PATH leads to the directory where the other programs are.
        if let Ok(program) = directory.join("postgres").canonicalize() {
            directories.extend(program.parent().map(Path::to_owned));
        }
    }
    directories.extend(versioned("/usr/lib/postgresql", "", "bin"));
    directories.extend(versioned("/usr", "pgsql-", "bin"));
    for prefix in [
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
    ] {
        directories.extend(versioned(prefix, "postgresql@", "bin"));
        directories.push(Path::new(prefix).join("postgresql/bin"));
    }
    let mut seen = Vec::with_capacity(directories.len());
    for directory in directories {
        if !seen.contains(&directory) {
            seen.push(directory);
        }
    }
    seen
}

/// `pg_config` comes with the client library's headers, so it may name a directory that has no
/// server in it.
fn pg_config_bindir() -> Option<PathBuf> {
    let output = Command::new("pg_config").arg("--bindir").output().ok()?;
    let directory = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(directory.trim()))
}

/// `parent/<prefix><number>/<inner>` for all numbers there are, newest first.
fn versioned(parent: &str, prefix: &str, inner: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(prefix)?.parse().ok()?;
            Some((number, entry.path().join(inner)))
        })
        .collect();
    found.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    found.into_iter().map(|(_, path)| path).collect()
}

/// What is installed in the directory, if both programs are there and run.
fn inspect(directory: &Path) -> Option<Installation> {
    if !directory.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(directory.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    let (version, major) = parse_version(&String::from_utf8(output.stdout).ok()?)?;
    Some(Installation {
        bin_dir: directory.to_owned(),
        version,
        major,
    })
}

/// Reads `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`, or `18beta1` in its place.
fn parse_version(words: &str) -> Option<(String, u32)> {
    let version = words.split_once("(PostgreSQL)")?.1.split_whitespace().next()?;
    let digits = version
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(version.len());
    Some((version.to_owned(), version[..digits].parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation(major: u32) -> Installation {
        Installation {
            bin_dir: PathBuf::from(format!("/programs/{major}")),
            version: format!("{major}.1"),
            major,
        }
    }

    #[test]
    fn versions_are_read_from_what_the_program_says() {
        let read = |words| parse_version(words).unwrap();
        assert_eq!(
            read("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"),
            ("15.14".to_owned(), 15)
        );
        assert_eq!(
            read("postgres (PostgreSQL) 18beta1\n"),
            ("18beta1".to_owned(), 18)
        );
        assert_eq!(read("postgres (PostgreSQL) 9.6.24\n"), ("9.6.24".to_owned(), 9));
        assert_eq!(parse_version("not a database"), None);
    }

    #[test]
    fn the_first_that_is_new_enough_is_chosen() {
        let found = vec![installation(13), installation(16), installation(17)];
        assert_eq!(choose(found, None).unwrap().major, 16);
    }

    #[test]
    fn the_version_that_made_the_data_goes_before_the_first() {
        let found = || vec![installation(17), installation(15)];
        assert_eq!(choose(found(), Some(15)).unwrap().major, 15);
        assert_eq!(choose(found(), Some(14)).unwrap().major, 17);
    }

    #[test]
    fn nothing_installed_and_only_old_ones_are_told_apart() {
        assert!(matches!(choose(Vec::new(), None), Err(PostgresError::Missing)));
        let old = choose(vec![installation(12)], None).unwrap_err();
        assert!(matches!(&old, PostgresError::TooOld { version, .. } if version == "12.1"));
    }

    #[test]
    fn a_directory_is_a_candidate_once_however_it_is_named() {
        let path = env::join_paths(["/usr/bin", "/usr/bin"]).unwrap();
        let candidates = candidates(Some(&path));
        for (index, candidate) in candidates.iter().enumerate() {
            assert!(!candidates[..index].contains(candidate), "{candidate:?}");
        }
    }
}
