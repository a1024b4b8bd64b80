//! The rights that each service needs at the broker, from the declaration of who writes and reads what.
//!
//! An idempotent producer needs nothing but the right to write (since Kafka 3.0), and both kinds of reader need their group's
//! name: librdkafka looks for the coordinator even where no offset is kept.

use std::process::ExitCode;

use contracts::{
    topics::TOPICS,
    traffic::{ASKING, TRAFFIC, Traffic},
};
use serde_json::{Value, json};

use crate::output;

/// Options of `belay topics acls`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What a principal is called before the service's name: `User:belay-` makes `User:belay-orders`.
    #[arg(long, default_value = "User:belay-")]
    principal_prefix: String,
    /// What it is called after: `,OU=Shop` for the names of certificates.
    #[arg(long, default_value = "")]
    principal_suffix: String,
    /// Bootstrap servers to write into the commands.
    #[arg(long, env = "BELAY_KAFKA", default_value = "localhost:9092")]
    kafka: String,
    /// Prints JSON in place of commands.
    #[arg(long)]
    json: bool,
}

/// One right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// Who has it, without prefix: a service's name, or `admin` for whoever runs `belay topics apply`.
    pub who: &'static str,
    /// What it is about.
    pub resource: Resource,
    /// What it lets do.
    pub operations: &'static [&'static str],
}

/// What a right is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// One topic.
    Topic(&'static str),
    /// One group.
    Group(&'static str),
}

/// Prints the rights.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let rights = rights();
    let text = if args.json {
        let rights: Vec<Value> = rights.iter().map(|right| right.json(args)).collect();
        serde_json::to_string_pretty(&json!({ "rights": rights }))?
    } else {
        commands(&rights, args).join("\n")
    };
    output::result(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// All rights, by service.
#[must_use]
pub fn rights() -> Vec<Right> {
    TRAFFIC.iter().flat_map(of_service).chain(of_admin()).collect()
}

fn of_service(traffic: &'static Traffic) -> impl Iterator<Item = Right> {
    let who = traffic.service;
    let right = move |resource, operations| Right {
        who,
        resource,
        operations,
    };
    let writes = traffic
        .produces
        .iter()
        .map(move |topic| right(Resource::Topic(topic), &["Write", "Describe"]));
    let mut topics: Vec<&str> = traffic
        .reads
        .iter()
        .flat_map(|reading| reading.topics)
        .copied()
        .collect();
    topics.sort_unstable();
    topics.dedup();
    let reads = topics
        .into_iter()
        .map(move |topic| right(Resource::Topic(topic), &["Read", "Describe"]));
    let groups = traffic
        .reads
        .iter()
        .map(move |reading| right(Resource::Group(reading.group), &["Read", "Describe"]));
    writes.chain(reads).chain(groups)
}

/// What `belay topics apply` does itself, and no more: it never reads or writes a message.
fn of_admin() -> impl Iterator<Item = Right> {
    let topics = TOPICS.iter().map(|topic| Right {
        who: "admin",
        resource: Resource::Topic(topic.name),
        operations: &["Create", "Alter", "AlterConfigs", "Describe", "DescribeConfigs"],
    });
    let groups = TRAFFIC
        .iter()
        .flat_map(|traffic| traffic.reads)
        .filter(|reading| reading.keeps_offsets)
        .map(|reading| Right {
            who: "admin",
            resource: Resource::Group(reading.group),
            operations: &["Describe"],
        });
    let asking = Right {
        who: "admin",
        resource: Resource::Group(ASKING),
        operations: &["Describe"],
    };
    topics.chain(groups).chain([asking])
}

/// Lines for Kafka's own tool: one for each principal and what it may do, because every call of the tool takes a second or
/// two. Adding a right that is there already changes nothing.
fn commands(rights: &[Right], args: &Args) -> Vec<String> {
    let together = rights.chunk_by(|one, next| (one.who, one.operations) == (next.who, next.operations));
    together
        .map(|rights| {
            let operations: Vec<String> = rights[0]
                .operations
                .iter()
                .map(|operation| format!("--operation {operation}"))
                .collect();
            let resources: Vec<String> = rights
                .iter()
                .map(|right| match right.resource {
                    Resource::Topic(name) => format!("--topic {name}"),
                    Resource::Group(name) => format!("--group {name}"),
                })
                .collect();
            format!(
                "kafka-acls.sh --bootstrap-server {} --command-config admin.properties --add --allow-principal '{}' {} {}",
                args.kafka,
                rights[0].principal(args),
                operations.join(" "),
                resources.join(" ")
            )
        })
        .collect()
}

impl Right {
    fn principal(&self, args: &Args) -> String {
        format!("{}{}{}", args.principal_prefix, self.who, args.principal_suffix)
    }

    fn json(&self, args: &Args) -> Value {
        let (kind, name) = match self.resource {
            Resource::Topic(name) => ("topic", name),
            Resource::Group(name) => ("group", name),
        };
        json!({
            "principal": self.principal(args),
            "resource_type": kind,
            "resource_name": name,
            "pattern_type": "literal",
            "operations": self.operations,
            "permission": "allow",
            "host": "*",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> Args {
        Args {
            principal_prefix: "User:belay-".to_owned(),
            principal_suffix: String::new(),
            kafka: "broker:9092".to_owned(),
            json: false,
        }
    }

    #[test]
    fn a_participant_reads_its_commands_and_writes_replies_and_nothing_else() {
        let rights: Vec<Right> = rights()
            .into_iter()
            .filter(|right| right.who == "orders")
            .collect();
        let begin = "kafka-acls.sh --bootstrap-server broker:9092 --command-config admin.properties --add --allow-principal \
                     'User:belay-orders'";
        assert_eq!(
            commands(&rights, &args()),
            [
                format!("{begin} --operation Write --operation Describe --topic purchase.replies.v1"),
                format!(
                    "{begin} --operation Read --operation Describe --topic orders.commands.v1 --group belay.orders"
                ),
            ]
        );
    }

    #[test]
    fn nobody_may_read_or_write_everything() {
        for right in rights() {
            let (Resource::Topic(name) | Resource::Group(name)) = right.resource;
            assert!(
                !name.contains('*') && !right.operations.contains(&"All"),
                "{right:?}"
            );
        }
    }

    #[test]
    fn rights_as_json_name_the_principal_and_the_resource() {
        let right = &rights()[0];
        let json = right.json(&args());
        assert_eq!(json["principal"], "User:belay-bff");
        assert_eq!(json["resource_type"], "topic");
        assert_eq!(json["operations"], json!(["Write", "Describe"]));
    }
}
