//! `belay doctor`: what is missing on this machine, and how to get it.

use std::{
    env, io,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use embedded::postgres::{Installation, OLDEST_MAJOR, PostgresError, find_installation};
use nix::{
    sys::{
        resource::{Resource, getrlimit},
        statvfs::statvfs,
    },
    unistd::{AccessFlags, Uid, User, access},
};

use crate::{
    data_dir::{DataDir, DataDirError},
    output,
};

/// Five databases with their write-ahead log (at most 1 GB by PostgreSQL's default) seldom need more than this.
const FREE_SPACE_NEEDED_MB: u64 = 512;

/// Seven services, their databases and the embedded broker hold about 300 files; the rest is for connections.
const OPEN_FILES_NEEDED: u64 = 1024;

/// Where `belay up` listens when it is not told.
const PREFERRED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Looks for what `belay` needs on this machine, and says how to get what is missing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The data directory that `belay up` would use.
    #[arg(long, env = "BELAY_DATA", default_value = ".belay", value_name = "DIR")]
    pub data: PathBuf,
    /// The address that `belay up` would be told to listen on [default: 127.0.0.1:8080, or a free port when it is taken].
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
}

/// How one part stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// There.
    Ok,
    /// Needed, and not there.
    Missing,
    /// Not there, and needed for some tests only.
    Optional,
}

impl Standing {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Optional => "optional",
        }
    }
}

/// One line of the examination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked for.
    pub part: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What was found; what to do where that is missing.
    pub words: String,
}

impl Check {
    fn ok(part: &'static str, words: impl Into<String>) -> Self {
        Self {
            part,
            standing: Standing::Ok,
            words: words.into(),
        }
    }

    fn missing(part: &'static str, words: impl Into<String>) -> Self {
        Self {
            part,
            standing: Standing::Missing,
            words: words.into(),
        }
    }
}

/// Prints the examination. The exit code is 1 when something needed is missing.
///
/// # Errors
/// When standard output cannot be written.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    // Runs programs to ask for their versions, which blocks.
    let checks = tokio::task::spawn_blocking(move || examine(&args.data, args.http)).await?;
    let rows: Vec<[String; 3]> = checks
        .iter()
        .map(|check| {
            [
                check.part.to_owned(),
                check.standing.as_str().to_owned(),
                check.words.clone(),
            ]
        })
        .collect();
    output::result(&output::table(["part", "state", "found, or what to do"], &rows))?;
    let is_missing = checks.iter().any(|check| check.standing == Standing::Missing);
    Ok(if is_missing {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Looks at everything. Blocks for some tenths of a second.
#[must_use]
pub fn examine(data: &Path, http: Option<SocketAddr>) -> Vec<Check> {
    vec![
        postgres(find_installation()),
        tool(&RUST),
        tool(&C_COMPILER),
        tool(&CXX_COMPILER),
        tool(&MAKE),
        port(data, http),
        directory(data),
        free_space(data),
        user(Uid::effective().is_root(), |name| {
            User::from_name(name).ok().flatten().is_some()
        }),
        open_files(),
        tool(&JAVA),
        tool(&NODE),
        tool(&CHROMIUM),
    ]
}

/// A program that others are built or tested with.
struct Tool {
    part: &'static str,
    /// A variable that names the program instead.
    variable: Option<&'static str>,
    /// Under which names it is known.
    names: &'static [&'static str],
    version_flag: &'static str,
    absent: Standing,
    remedy: &'static str,
}

const RUST: Tool = Tool {
    part: "Rust",
    variable: Some("CARGO"),
    names: &["cargo"],
    version_flag: "--version",
    absent: Standing::Missing,
    remedy: "needed to build: install rustup (https://rustup.rs), which takes the version from rust-toolchain.toml",
};
const C_COMPILER: Tool = Tool {
    part: "C compiler",
    variable: Some("CC"),
    names: &["cc", "gcc", "clang"],
    version_flag: "--version",
    absent: Standing::Missing,
    remedy: "needed to build the Kafka client: `apt-get install build-essential`, `xcode-select --install`",
};
const CXX_COMPILER: Tool = Tool {
    part: "C++ compiler",
    variable: Some("CXX"),
    names: &["c++", "g++", "clang++"],
    version_flag: "--version",
    absent: Standing::Missing,
    remedy: "needed to build the Kafka client: `apt-get install build-essential`, `xcode-select --install`",
};
const MAKE: Tool = Tool {
    part: "make",
    variable: None,
    names: &["make", "gmake"],
    version_flag: "--version",
    absent: Standing::Missing,
    remedy: "needed to build the Kafka client: `apt-get install build-essential`, `xcode-select --install`",
};
const JAVA: Tool = Tool {
    part: "Java",
    variable: None,
    names: &["java"],
    version_flag: "-version",
    absent: Standing::Optional,
    remedy: "for tests on Apache Kafka (17 or newer): `apt-get install default-jre-headless`",
};
const NODE: Tool = Tool {
    part: "Node.js",
    variable: None,
    names: &["node", "nodejs"],
    version_flag: "--version",
    absent: Standing::Optional,
    remedy: "for tests of the edge and the web pages: `apt-get install nodejs npm`",
};
const CHROMIUM: Tool = Tool {
    part: "Chromium",
    variable: None,
    names: &[
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ],
    version_flag: "--version",
    absent: Standing::Optional,
    remedy: "for tests of the web pages: `apt-get install chromium`",
};

fn postgres(found: Result<Installation, PostgresError>) -> Check {
    let part = "PostgreSQL";
    match found {
        Ok(Installation { bin_dir, version, .. }) => Check::ok(
            part,
            format!(
                "{version} in {} ({OLDEST_MAJOR} or newer will do)",
                bin_dir.display()
            ),
        ),
        Err(error) => Check::missing(part, error.to_string()),
    }
}

fn tool(tool: &Tool) -> Check {
    let named = tool
        .variable
        .and_then(env::var_os)
        .filter(|name| !name.is_empty());
    let path = env::var_os("PATH").unwrap_or_default();
    let program = match named {
        // Such a variable may hold flags behind the name.
        Some(named) => named
            .to_str()
            .and_then(|n| n.split_whitespace().next())
            .and_then(|n| locate(n, &path)),
        None => tool.names.iter().find_map(|name| locate(name, &path)),
    };
    match program {
        Some(program) => Check::ok(tool.part, version(&program, tool.version_flag)),
        None => Check {
            part: tool.part,
            standing: tool.absent,
            words: tool.remedy.to_owned(),
        },
    }
}

/// The program of that name in `path`, or the file itself where the name is a path.
fn locate(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![PathBuf::from(name)]
    } else {
        env::split_paths(path)
            .map(|directory| directory.join(name))
            .collect()
    };
    candidates
        .into_iter()
        .find(|file| file.is_file() && access(file, AccessFlags::X_OK).is_ok())
}

/// What a program says of itself, in its first line.
fn version(program: &Path, flag: &str) -> String {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).output();
    let said = output.ok().and_then(|output| {
        // Java says it on standard error.
        [output.stdout, output.stderr].iter().find_map(|text| {
            String::from_utf8_lossy(text)
                .lines()
                .map(str::trim)
                .find(|line| !line.is_empty())
                .map(str::to_owned)
        })
    });
    match said {
        Some(said) => format!("{said} ({})", program.display()),
        None => program.display().to_string(),
    }
}

fn port(data: &Path, http: Option<SocketAddr>) -> Check {
    let part = "address";
    let address = http.unwrap_or(PREFERRED);
    let error = match TcpListener::bind(address) {
        Ok(_) => return Check::ok(part, format!("{address} is free")),
        Err(error) => error,
    };
    if runs_at(data, address) {
        return Check::ok(
            part,
            format!("{address} is taken by the system that runs on {}", data.display()),
        );
    }
    if http.is_none() {
        return Check::ok(
            part,
            format!("{address} is taken, so `belay up` will take a free port"),
        );
    }
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "{address} is taken by another program: stop that one, or choose another with --http (port 0 takes a free one)"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("{address} is reserved for root: choose a port from 1024 on with --http")
        }
        _ => format!("{address} cannot be used ({error}): choose another with --http"),
    };
    Check::missing(part, advice)
}

fn runs_at(data: &Path, http: SocketAddr) -> bool {
    let system = DataDir::open(data).and_then(|dir| dir.system());
    system.is_ok_and(|system| system.http == format!("http://{http}"))
}

fn directory(data: &Path) -> Check {
    let part = "data directory";
    match DataDir::open(data) {
        Err(
            error @ (DataDirError::Newer { .. } | DataDirError::Damaged { .. } | DataDirError::Io { .. }),
        ) => {
            return Check::missing(part, error.to_string());
        }
        Ok(_) | Err(DataDirError::NotRunning { .. } | DataDirError::Running { .. }) => {}
    }
    let existing = nearest_existing(data);
    if !existing.is_dir() {
        return Check::missing(
            part,
            format!(
                "{} is not a directory: choose another place with --data",
                existing.display()
            ),
        );
    }
    if access(&existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
        return Check::missing(
            part,
            format!(
                "{} cannot be written by this user: choose another place with --data",
                existing.display()
            ),
        );
    }
    let words = if data.is_dir() { "is there" } else { "will be made" };
    Check::ok(part, format!("{} {words}", data.display()))
}

fn free_space(data: &Path) -> Check {
    let part = "free space";
    let existing = nearest_existing(data);
    let file_system = match statvfs(&existing) {
        Ok(file_system) => file_system,
        Err(error) => {
            return Check::missing(
                part,
                format!("cannot be read for {}: {error}", existing.display()),
            );
        }
    };
    #[allow(clippy::useless_conversion, reason = "macOS counts blocks in 32 bits")]
    let free_bytes =
        u64::from(file_system.blocks_available()).saturating_mul(u64::from(file_system.fragment_size()));
    let free_mb = free_bytes / (1024 * 1024);
    if free_mb < FREE_SPACE_NEEDED_MB {
        return Check::missing(
            part,
            format!(
                "{free_mb} MB at {}, and {FREE_SPACE_NEEDED_MB} MB are needed: make room, or choose another place with --data",
                existing.display()
            ),
        );
    }
    Check::ok(part, format!("{free_mb} MB at {}", existing.display()))
}

fn user(is_root: bool, exists: impl Fn(&str) -> bool) -> Check {
    let part = "user";
    if !is_root {
        return Check::ok(part, "an ordinary one");
    }
    // The same names, in the same order, as those that the private PostgreSQL is run as.
    match ["postgres", "nobody"].into_iter().find(|name| exists(name)) {
        Some(name) => Check::ok(
            part,
            format!(
                "root: PostgreSQL refuses root, so it runs as `{name}`; where `{name}` cannot enter the data directory, \
                 its files are kept under /var/lib/belay"
            ),
        ),
        None => Check::missing(
            part,
            "root, and PostgreSQL refuses root: create a user to run it as (`useradd --system postgres`), or run as an \
             ordinary user",
        ),
    }
}

fn open_files() -> Check {
    let part = "open files";
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return Check::missing(part, format!("the limit cannot be read: {error}")),
    };
    if soft >= OPEN_FILES_NEEDED {
        return Check::ok(part, format!("{soft} allowed"));
    }
    let remedy = if hard >= OPEN_FILES_NEEDED {
        format!("run `ulimit -n {OPEN_FILES_NEEDED}` in this shell first")
    } else {
        "raise the hard limit (limits.conf, or LimitNOFILE= of the service)".to_owned()
    };
    Check::missing(
        part,
        format!("{soft} allowed, and {OPEN_FILES_NEEDED} are needed: {remedy}"),
    )
}

/// The directory itself, or the innermost one above it that exists.
fn nearest_existing(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute
        .ancestors()
        .find(|parent| parent.exists())
        .unwrap_or(Path::new("/"))
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_postgresql_comes_with_what_to_do() {
        let check = postgres(Err(PostgresError::Missing));
        assert_eq!(check.standing, Standing::Missing);
        assert!(
            check.words.contains("apt-get install postgresql"),
            "{}",
            check.words
        );
    }

    #[test]
    fn root_needs_a_user_for_postgresql() {
        assert_eq!(user(false, |_| false).standing, Standing::Ok);
        assert_eq!(user(true, |_| false).standing, Standing::Missing);
        assert!(user(true, |name| name == "nobody").words.contains("`nobody`"));
    }

    #[test]
    fn an_absent_program_is_missing_or_optional_as_its_entry_says() {
        let absent = |absent| Tool {
            part: "x",
            variable: None,
            names: &["belay-no-such-program"],
            version_flag: "-v",
            absent,
            remedy: "get it",
        };
        assert_eq!(tool(&absent(Standing::Missing)).standing, Standing::Missing);
        assert_eq!(tool(&absent(Standing::Optional)).standing, Standing::Optional);
    }

    #[test]
    fn a_program_is_found_in_the_path_only_when_it_can_be_run() {
        assert!(locate("sh", std::ffi::OsStr::new("/nowhere:/bin")).is_some());
        assert_eq!(locate("passwd", std::ffi::OsStr::new("/etc")), None);
        assert!(locate("/bin/sh", std::ffi::OsStr::new("")).is_some());
    }
}
