//! Compatibility levels and the check of a new schema against older ones.

use apache_avro::{
    Schema,
    schema_compatibility::{Compatibility, SchemaCompatibility},
};

/// What a new version of a schema must be able to do, in Confluent's terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Anything is accepted.
    None,
    /// The new schema reads what the last version wrote.
    Backward,
    /// The new schema reads what every version wrote.
    BackwardTransitive,
    /// The last version reads what the new schema writes.
    Forward,
    /// Every version reads what the new schema writes.
    ForwardTransitive,
    /// Both, with the last version.
    Full,
    /// Both, with every version: old and new binaries may run together in any order.
    #[default]
    FullTransitive,
}

impl Level {
    /// Every level.
    pub const ALL: [Self; 7] = [
        Self::None,
        Self::Backward,
        Self::BackwardTransitive,
        Self::Forward,
        Self::ForwardTransitive,
        Self::Full,
        Self::FullTransitive,
    ];

    /// Confluent's name of the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Backward => "BACKWARD",
            Self::BackwardTransitive => "BACKWARD_TRANSITIVE",
            Self::Forward => "FORWARD",
            Self::ForwardTransitive => "FORWARD_TRANSITIVE",
            Self::Full => "FULL",
            Self::FullTransitive => "FULL_TRANSITIVE",
        }
    }

    /// The level of that name, if there is one; capital letters as Confluent writes them.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    /// Must the new schema read what the old one wrote?
    fn reads_old(self) -> bool {
        match self {
            Self::Backward | Self::BackwardTransitive | Self::Full | Self::FullTransitive => true,
            Self::None | Self::Forward | Self::ForwardTransitive => false,
        }
    }

    /// Must the old schema read what the new one writes?
    fn read_by_old(self) -> bool {
        match self {
            Self::Forward | Self::ForwardTransitive | Self::Full | Self::FullTransitive => true,
            Self::None | Self::Backward | Self::BackwardTransitive => false,
        }
    }

    fn transitive(self) -> bool {
        match self {
            Self::BackwardTransitive | Self::ForwardTransitive | Self::FullTransitive => true,
            Self::None | Self::Backward | Self::Forward | Self::Full => false,
        }
    }
}

/// Checks `new` against `older` (a subject's versions with their schemas, oldest first) and
/// returns a sentence for each violation; none means compatible.
///
/// Stricter than the Avro rules in one case: where one schema spells a named type out and the
/// other refers to it by name at the same place, they count as different.
pub(super) fn violations(level: Level, new: &Schema, older: &[(i32, Schema)]) -> Vec<String> {
    let first = if level.transitive() {
        0
    } else {
        older.len().saturating_sub(1)
    };
    let mut found = Vec::new();
    for (version, old) in &older[first..] {
        if level.reads_old()
            && let Err(reason) = can_read(new, old)
        {
            found.push(format!(
                "the new schema cannot read what version {version} wrote: {reason}"
            ));
        }
        if level.read_by_old()
            && let Err(reason) = can_read(old, new)
        {
            found.push(format!(
                "version {version} cannot read what the new schema writes: {reason}"
            ));
        }
    }
    found
}

/// Longest reason that is repeated to the client, in characters: Avro's errors may contain both
/// schemas in full.
const LONGEST_REASON: usize = 300;

fn can_read(reader: &Schema, writer: &Schema) -> Result<(), String> {
    match SchemaCompatibility::can_read(writer, reader) {
        Ok(Compatibility::Full) => Ok(()),
        // "Some values can be read" is not enough: the others would be parked.
        Ok(Compatibility::Partial) => Err("some values would be lost".to_owned()),
        Err(error) => {
            let words = error.to_string();
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(words.chars().take(LONGEST_REASON).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: &str) -> Schema {
        Schema::parse_str(&format!(
            r#"{{"type":"record","name":"Thing","fields":[{fields}]}}"#
        ))
        .unwrap()
    }

    const A: &str = r#"{"name":"a","type":"string"}"#;
    const B: &str = r#"{"name":"b","type":"int"}"#;
    const B_WITH_DEFAULT: &str = r#"{"name":"b","type":"int","default":0}"#;

    fn accepted(level: Level, new: &Schema, older: &[&Schema]) -> bool {
        let older = older
            .iter()
            .zip(1..)
            .map(|(schema, version)| (version, (*schema).clone()))
            .collect::<Vec<_>>();
        violations(level, new, &older).is_empty()
    }

    #[test]
    fn a_field_with_a_default_may_come_and_go_at_every_level() {
        let without = record(A);
        let with = record(&format!("{A},{B_WITH_DEFAULT}"));
        for level in Level::ALL {
            assert!(accepted(level, &with, &[&without]), "{level:?} adding");
            assert!(accepted(level, &without, &[&with]), "{level:?} removing");
        }
    }

    #[test]
    fn a_field_without_a_default_may_only_come_forward_and_go_backward() {
        let without = record(A);
        let with = record(&format!("{A},{B}"));
        for level in Level::ALL {
            assert_eq!(
                accepted(level, &with, &[&without]),
                !level.reads_old(),
                "{level:?}"
            );
            assert_eq!(
                accepted(level, &without, &[&with]),
                !level.read_by_old(),
                "{level:?}"
            );
        }
    }

    #[test]
    fn only_transitive_levels_look_behind_the_last_version() {
        let first = record(A);
        let second = record(&format!("{A},{B_WITH_DEFAULT}"));
        let third = record(&format!("{A},{B}"));
        for level in Level::ALL {
            let refused = level.reads_old() && level.transitive();
            assert_eq!(accepted(level, &third, &[&first, &second]), !refused, "{level:?}");
        }
    }

    #[test]
    fn an_enum_that_loses_a_symbol_does_not_read_the_old_one() {
        let kind = |symbols: &str| {
            Schema::parse_str(&format!(
                r#"{{"type":"enum","name":"Kind","symbols":[{symbols}]}}"#
            ))
            .unwrap()
        };
        let (wide, narrow) = (kind(r#""A","B""#), kind(r#""A""#));
        assert!(!accepted(Level::Backward, &narrow, &[&wide]));
        assert!(accepted(Level::Backward, &wide, &[&narrow]));
    }

    #[test]
    fn every_level_is_found_by_its_name() {
        for level in Level::ALL {
            assert_eq!(Level::parse(level.name()), Some(level));
        }
        assert_eq!(Level::parse("full"), None);
    }
}
