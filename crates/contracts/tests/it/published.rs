//! What was ever published stays, unchanged and compatible.
//!
//! `avro/published/<full name>/<n>.avsc` is version n of a schema; `avro/published.sha256` holds the hashes of all of them,
//! in the format of `sha256sum`, so that `cd avro && sha256sum -c published.sha256` checks them too. To publish the
//! current schemas: `cargo test -p contracts --test it -- --ignored publish`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    avro,
    compatibility::{Version, violations},
    files,
};

fn hash(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn list() -> PathBuf {
    avro().join("published.sha256")
}

/// Hashes by file, as they are written down.
fn known() -> BTreeMap<String, String> {
    let text = fs::read_to_string(list()).unwrap();
    text.lines()
        .map(|line| {
            let (hash, file) = line
                .split_once("  ")
                .unwrap_or_else(|| panic!("not a line of sha256sum: {line}"));
            (file.to_owned(), hash.to_owned())
        })
        .collect()
}

/// The texts of all published versions by record, oldest first, with their files.
fn published() -> BTreeMap<String, Vec<(String, String)>> {
    let mut all = BTreeMap::new();
    for folder in entries(&avro().join("published")) {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let count = entries(&folder).len();
        // Numbered without a gap: version n is file n.
        let versions = (1..=count).map(|version| {
            let file = format!("published/{name}/{version}.avsc");
            let text = fs::read_to_string(avro().join(&file))
                .unwrap_or_else(|error| panic!("{file} is missing among {count} files: {error}"));
            (file, text)
        });
        all.insert(name.clone(), versions.collect());
    }
    all
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn no_published_version_is_ever_changed_or_removed() {
    let known = known();
    let actual: BTreeMap<String, String> = published()
        .into_values()
        .flatten()
        .map(|(file, text)| (file, hash(&text)))
        .collect();
    for (file, hash) in &actual {
        match known.get(file) {
            Some(known) => assert_eq!(
                known, hash,
                "avro/{file} was changed: restore it and publish a new version"
            ),
            None => panic!("avro/{file} is new: add this line to avro/published.sha256\n{hash}  {file}"),
        }
    }
    for file in known.keys() {
        assert!(
            actual.contains_key(file),
            "avro/{file} was removed: messages of that version may still be around"
        );
    }
}

#[test]
fn every_current_schema_is_the_newest_published_one() {
    let published = published();
    for file in files::all() {
        let name = file.full_name();
        let versions = published.get(&name).map_or(&[][..], Vec::as_slice);
        let newest = versions.last().map(|(_, text)| json(text));
        assert!(
            newest == Some(json(&file.text)),
            "{} is not the newest published version: copy it to avro/published/{name}/{}.avsc and add its hash to \
             avro/published.sha256, or run: cargo test -p contracts --test it -- --ignored publish",
            file.path.display(),
            versions.len() + 1,
        );
    }
}

/// A record that is no longer sent may still lie on a topic.
#[test]
fn no_published_record_has_gone() {
    let current: Vec<String> = files::all().iter().map(files::File::full_name).collect();
    for name in published().keys() {
        assert!(
            current.contains(name),
            "{name} was published, so avro/ must keep it"
        );
    }
}

/// Old and new programs run together in any order: each version reads what every other one wrote. The files of
/// `avro/<owner>/` are checked as they are, so that a change is judged before it is published.
#[test]
fn every_version_reads_what_every_other_one_wrote() {
    let broken = broken(&published());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Every violation among the published versions, and of the current schemas against them.
fn broken(published: &BTreeMap<String, Vec<(String, String)>>) -> Vec<String> {
    let version = |(file, text): &(String, String)| Version {
        file: file.clone(),
        text: text.clone(),
    };
    let mut broken = Vec::new();
    for versions in published.values() {
        for (index, old) in versions.iter().enumerate() {
            for new in &versions[index + 1..] {
                broken.extend(violations(&version(old), &version(new)));
            }
        }
    }
    for file in files::all() {
        let current = Version {
            file: format!("{}/{}.avsc", file.owner, file.record),
            text: file.text.clone(),
        };
        for old in published.get(&file.full_name()).into_iter().flatten() {
            broken.extend(violations(&version(old), &current));
        }
    }
    broken
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
#[ignore = "writes files: run it to publish the current schemas"]
fn publish() {
    let published = published();
    let broken = broken(&published);
    assert!(broken.is_empty(), "nothing is published:\n{}", broken.join("\n"));
    let mut lines = if list().exists() { known() } else { BTreeMap::new() };
    for schema in files::all() {
        let name = schema.full_name();
        let versions = published.get(&name).map_or(&[][..], Vec::as_slice);
        if versions
            .last()
            .is_some_and(|(_, text)| json(text) == json(&schema.text))
        {
            continue;
        }
        let file = format!("published/{name}/{}.avsc", versions.len() + 1);
        fs::create_dir_all(avro().join("published").join(&name)).unwrap();
        fs::write(avro().join(&file), &schema.text).unwrap();
        lines.insert(file, hash(&schema.text));
    }
    let text: String = lines
        .iter()
        .map(|(file, hash)| format!("{hash}  {file}\n"))
        .collect();
    fs::write(list(), text).unwrap();
}
