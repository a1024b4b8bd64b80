//! The declaration of the topics.

use std::collections::BTreeSet;

use contracts::topics::{TOPICS, subject};

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
