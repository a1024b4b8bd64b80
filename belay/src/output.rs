//! Standard output holds what a script needs, and nothing else; everything for people goes to standard error, but for
//! the table that is a command's whole result.

use std::io::{self, Write};

/// Writes a text and a line end to standard output. A reader that has gone away is no error: it has what it wanted.
///
/// # Errors
/// When standard output cannot be written.
pub fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome,
    }
}

/// Tells a person something on standard error. Whether it can be written changes nothing for the command.
pub fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Lays rows out in columns, two spaces apart, the last one as long as it is.
#[must_use]
pub fn table<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells
            .chain([header[column].chars().count()])
            .max()
            .unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |cells: [&str; N]| {
        let padded = cells
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let body = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(header))
        .chain(body)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_columns_as_wide_as_their_widest_cell() {
        let rows = [
            ["longer".to_owned(), "x".to_owned()],
            ["é".to_owned(), String::new()],
        ];
        assert_eq!(table(["a", "b"], &rows), "a       b\nlonger  x\né");
    }
}
