//! Apache Kafka and Kafka Connect with Debezium as child processes, which end with the test.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use belay::cdc::Connector;
use host::kafka::KafkaArgs;
use testkit::eventually;

/// A Java program may take this long on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(120);

/// Log to the file that takes the output.
const LOGGING: &str = "
appender.out.type=Console
appender.out.name=OUT
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=OUT
";

/// A child process that is killed with this handle.
#[derive(Debug)]
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to kill, and still something to collect.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a class of Kafka's; its output goes to a file.
fn java(class: &str, arguments: &[&str], directory: &Path, log: &str) -> Process {
    let lib = fetched("kafka").join("lib").join("*");
    let output = fs::File::create(directory.join(log)).unwrap();
    fs::write(directory.join("log4j2.properties"), LOGGING).unwrap();
    let child = Command::new("java")
        .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args(["-Dlog4j2.configurationFile=log4j2.properties", "-cp"])
        .arg(lib)
        .arg(class)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .spawn()
        .unwrap_or_else(|error| panic!("java cannot be run: {error}"));
    Process(child)
}

/// Where a pinned part is, fetched if need be.
fn fetched(part: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../parts/fetch");
    let output = Command::new(script)
        .arg(part)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{part} cannot be had");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// A broker of its own, with one node and no topics.
#[derive(Debug)]
pub struct Kafka {
    pub bootstrap: String,
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Kafka {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (client, controller) = (free_port(), free_port());
        let properties = [
            "process.roles=broker,controller".to_owned(),
            "node.id=1".to_owned(),
            format!("controller.quorum.bootstrap.servers=127.0.0.1:{controller}"),
            format!("listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}"),
            format!(
                "advertised.listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}"
            ),
            "controller.listener.names=CONTROLLER".to_owned(),
            "inter.broker.listener.name=PLAINTEXT".to_owned(),
            "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned(),
            format!("log.dirs={}", directory.path().join("data").display()),
            "offsets.topic.replication.factor=1".to_owned(),
            "offsets.topic.num.partitions=4".to_owned(),
            "group.initial.rebalance.delay.ms=0".to_owned(),
            "auto.create.topics.enable=false".to_owned(),
        ];
        fs::write(directory.path().join("server.properties"), properties.join("\n")).unwrap();
        let id = "belayTestClusterId0000";
        let mut format = java(
            "kafka.tools.StorageTool",
            &["format", "--standalone", "-t", id, "-c", "server.properties"],
            directory.path(),
            "format.log",
        );
        assert!(
            format.0.wait().unwrap().success(),
            "see {}",
            directory.path().display()
        );
        let process = java(
            "kafka.Kafka",
            &["server.properties"],
            directory.path(),
            "kafka.log",
        );
        let bootstrap = format!("127.0.0.1:{client}");
        let settings = KafkaArgs::default().settings(&bootstrap, 500).unwrap();
        eventually("the broker answers", START_LIMIT, async || {
            let settings = settings.clone();
            let probed = tokio::task::spawn_blocking(move || settings.probe(Duration::from_secs(2)));
            probed.await.unwrap().ok()
        })
        .await;
        Self {
            bootstrap,
            _process: process,
            _directory: directory,
        }
    }
}

/// A Connect worker of its own, which keeps its offsets in a file.
#[derive(Debug)]
pub struct Connect {
    _process: Process,
    _directory: tempfile::TempDir,
}

impl Connect {
    /// Starts a worker with these connectors and returns when all of them run.
    pub async fn start<'a>(bootstrap: &str, connectors: impl Iterator<Item = &'a Connector>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = free_port();
        // Connect looks for plugins one level below.
        let plugins = directory.path().join("plugins");
        fs::create_dir(&plugins).unwrap();
        std::os::unix::fs::symlink(fetched("debezium"), plugins.join("debezium")).unwrap();
        let properties = [
            format!("bootstrap.servers={bootstrap}"),
            "key.converter=org.apache.kafka.connect.storage.StringConverter".to_owned(),
            "value.converter=org.apache.kafka.connect.converters.ByteArrayConverter".to_owned(),
            format!(
                "offset.storage.file.filename={}",
                directory.path().join("offsets").display()
            ),
            "offset.flush.interval.ms=1000".to_owned(),
            format!("plugin.path={}", plugins.display()),
            format!("listeners=http://127.0.0.1:{port}"),
        ];
        fs::write(directory.path().join("worker.properties"), properties.join("\n")).unwrap();
        let mut arguments = vec!["worker.properties".to_owned()];
        let mut names = Vec::new();
        for connector in connectors {
            let file = format!("{}.json", connector.name);
            fs::write(
                directory.path().join(&file),
                serde_json::to_vec(connector).unwrap(),
            )
            .unwrap();
            arguments.push(file);
            names.push(connector.name.clone());
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let process = java(
            "org.apache.kafka.connect.cli.ConnectStandalone",
            &arguments,
            directory.path(),
            "connect.log",
        );
        for name in names {
            let status = format!("http://127.0.0.1:{port}/connectors/{name}/status");
            eventually("the connector runs", START_LIMIT, async || {
                let answer = reqwest::get(&status).await.ok()?.bytes().await.ok()?;
                let answer: serde_json::Value = serde_json::from_slice(&answer).ok()?;
                let state = answer.pointer("/tasks/0/state")?;
                assert_ne!(state, "FAILED", "{answer}");
                (state == "RUNNING").then_some(())
            })
            .await;
        }
        Self {
            _process: process,
            _directory: directory,
        }
    }
}
