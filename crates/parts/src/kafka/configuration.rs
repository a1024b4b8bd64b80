//! The broker's configuration, and how it is run.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::KafkaOptions;
use crate::{certificates::Certificates, home::Home, java, process::Launch};

/// Where the broker listens, on 127.0.0.1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub plain: u16,
    /// Where clients are told to find it.
    pub advertised: u16,
    pub sasl: u16,
    pub mutual: u16,
    pub controller: u16,
}

/// A cluster id has 16 bytes in URL-safe base64. Every test cluster has the same, also one that takes another's place: no client can
/// go by it to know that everything is new.
const CLUSTER_ID: &str = "YmVsYXktdGVzdC1jbHVzdA";

/// One appender, to where the guard puts it.
const LOGGING: &str = "appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{HH:mm:ss.SSS} %-5p %c{1} %m%n
rootLogger.level=INFO
rootLogger.appenderRef.console.ref=console
";

/// Writes the broker's configuration, certificate and logging into its directory.
pub(super) fn write(
    home: &Home,
    ports: &Ports,
    options: &KafkaOptions,
    password: &str,
    certificates: &Certificates,
) -> anyhow::Result<()> {
    home.write("log4j2.properties", LOGGING)?;
    let server = &certificates.server;
    let certificate = home.write("server.pem", &format!("{}{}", server.key, server.certificate))?;
    let authority = home.write("authority.pem", &certificates.authority)?;
    let Ports {
        plain,
        advertised,
        sasl,
        mutual,
        controller,
    } = ports;
    let protected = format!("SASL_SSL://127.0.0.1:{sasl},SSL://127.0.0.1:{mutual}");
    let listeners = format!("PLAINTEXT://127.0.0.1:{plain},{protected}");
    let reached = format!("PLAINTEXT://127.0.0.1:{advertised},{protected}");
    let mut text = format!(
        "process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={reached},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
ssl.keystore.type=PEM
ssl.keystore.location={certificate}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required{users};
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
",
        certificate = certificate.display(),
        authority = authority.display(),
        data = home.path().join("data").display(),
        users = options
            .users
            .iter()
            .map(|user| format!(" user_{user}=\"{password}\""))
            .collect::<String>(),
    );
    if options.authorize {
        text.push_str(
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
",
        );
    }
    home.write("server.properties", &text)?;
    Ok(())
}

/// Makes the data directory, with the users of SCRAM in its first records.
pub(super) async fn format(
    java: &Path,
    programs: &Path,
    home: &Home,
    options: &KafkaOptions,
    password: &str,
) -> anyhow::Result<()> {
    let mut arguments = command_line(programs, home, 128, "kafka.tools.StorageTool");
    arguments.extend(["format", "--standalone", "--cluster-id", CLUSTER_ID, "--config"].map(OsString::from));
    arguments.push(home.path().join("server.properties").into());
    for user in &options.users {
        for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256"] {
            arguments.push("--add-scram".into());
            arguments.push(format!("{mechanism}=[name={user},password={password}]").into());
        }
    }
    let output = Command::new(java)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("{} cannot be run", java.display()))?;
    ensure!(
        output.status.success(),
        "Kafka's data cannot be made:\n{}{}",
        String::from_utf8_lossy(&output.stdout).trim(),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// How the broker is run.
pub(super) fn launch(java: &Path, programs: &Path, home: &Home, heap: u32) -> Launch {
    let mut arguments = command_line(programs, home, heap, "kafka.Kafka");
    arguments.push(home.path().join("server.properties").into());
    Launch {
        name: "kafka",
        program: PathBuf::from(java),
        arguments,
        environment: Vec::new(),
    }
}

/// The virtual machine's part of the command line, up to the class with `main`.
pub(crate) fn command_line(programs: &Path, home: &Home, heap: u32, class: &str) -> Vec<OsString> {
    let mut arguments = java::options(heap);
    let mut logging = OsString::from("-Dlog4j2.configurationFile=");
    logging.push(home.path().join("log4j2.properties"));
    arguments.push(logging);
    arguments.push("-cp".into());
    arguments.push(programs.join("lib/*").into());
    arguments.push(class.into());
    arguments
}

/// The same logging for what else runs from Kafka's programs.
pub(crate) fn write_logging(home: &Home) -> anyhow::Result<()> {
    home.write("log4j2.properties", LOGGING).map(|_| ())
}
