//! The declaration of the topics.

use std::collections::BTreeSet;

use contracts::{
    topics::{PRODUCT_EVENTS, PURCHASE_EVENTS, TOPICS, subject},
    traffic::{TRAFFIC, groups_of},
};

use crate::samples;

#[test]
fn every_message_is_on_a_topic_and_every_message_of_a_topic_is_in_the_contract() {
    let on_topics: BTreeSet<&str> = TOPICS
        .iter()
        .flat_map(|topic| topic.messages())
        .map(|message| message.name)
        .collect();
    let all: BTreeSet<&str> = samples::all()
        .iter()
        .map(|sample| sample.message_type.name)
        .collect();
    assert_eq!(on_topics, all);
}

#[test]
fn no_topic_is_declared_twice_and_no_subject_means_two_things() {
    let names: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    assert_eq!(names.len(), TOPICS.len());
    let subjects: Vec<String> = TOPICS
        .iter()
        .flat_map(|topic| {
            topic
                .messages()
                .into_iter()
                .map(|message| subject(topic.name, message))
        })
        .collect();
    assert_eq!(subjects.iter().collect::<BTreeSet<_>>().len(), subjects.len());
}

#[test]
fn topics_have_names_that_kafka_takes_and_partitions_to_scale_to() {
    for topic in TOPICS {
        assert!(
            topic.name.len() <= 249 && topic.name.ends_with(".v1"),
            "{}",
            topic.name
        );
        let plain =
            |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || ".-".contains(letter);
        assert!(topic.name.chars().all(plain), "{}", topic.name);
        assert!(
            topic.partitions >= 5,
            "{}: a participant scales to 5 instances",
            topic.name
        );
    }
}

#[test]
fn every_topic_has_somebody_who_writes_it_and_a_group_that_reads_it() {
    let written: BTreeSet<&str> = TRAFFIC
        .iter()
        .flat_map(|traffic| traffic.produces)
        .copied()
        .collect();
    let read: BTreeSet<&str> = TRAFFIC
        .iter()
        .flat_map(|traffic| traffic.reads)
        .filter(|reading| reading.keeps_offsets)
        .flat_map(|reading| reading.topics)
        .copied()
        .collect();
    let all: BTreeSet<&str> = TOPICS.iter().map(|topic| topic.name).collect();
    assert_eq!(written, all);
    assert_eq!(read, all);
}

#[test]
fn a_group_has_its_services_name_in_its_own() {
    for traffic in TRAFFIC {
        let name = format!("belay.{}", traffic.service);
        for reading in traffic.reads {
            let below = reading.group.strip_prefix(&name);
            assert!(
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
                "{}",
                reading.group
            );
        }
    }
    let groups: Vec<&str> = groups_of(PURCHASE_EVENTS).collect();
    assert!(groups.contains(&"belay.bff.acknowledgements"), "{groups:?}");
    assert!(!groups.contains(&"belay.bff.live"), "{groups:?}");
}

#[test]
fn settings_say_everything_that_a_brokers_defaults_could_change() {
    let topic = |name: &str| TOPICS.iter().find(|topic| topic.name == name).unwrap();
    let pairs = |name: &str, copies| {
        let settings = topic(name).settings(copies);
        let pairs: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join(" ")
    };
    assert_eq!(
        pairs(PURCHASE_EVENTS, 3),
        "cleanup.policy=delete max.message.bytes=1048588 min.insync.replicas=2 retention.ms=604800000"
    );
    assert_eq!(
        pairs(PRODUCT_EVENTS, 1),
        "cleanup.policy=compact max.message.bytes=1048588 min.insync.replicas=1 retention.ms=-1"
    );
}
