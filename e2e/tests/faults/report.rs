//! The tables.

/// What one fault came to.
#[derive(Debug)]
pub struct Row {
    pub fault: String,
    pub times: u32,
    /// Purchases under way when it happened, all times together.
    pub in_flight: i64,
    pub violations: Vec<String>,
    pub seconds: f64,
}

impl Row {
    /// A fault that has not happened yet.
    pub fn new(fault: &str) -> Self {
        Self {
            fault: fault.to_owned(),
            times: 0,
            in_flight: 0,
            violations: Vec::new(),
            seconds: 0.0,
        }
    }
}

/// All rows, for a terminal and for Markdown alike.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| fault | times | purchases in flight | violations | seconds |".to_owned(),
        "|---|--:|--:|--:|--:|".to_owned(),
    ];
    for row in rows {
        lines.push(format!(
            "| {} | {} | {} | {} | {:.0} |",
            row.fault,
            row.times,
            row.in_flight,
            row.violations.len(),
            row.seconds
        ));
    }
    lines.push(format!(
        "| all | {} | {} | {} | {:.0} |",
        rows.iter().map(|row| row.times).sum::<u32>(),
        rows.iter().map(|row| row.in_flight).sum::<i64>(),
        rows.iter().map(|row| row.violations.len()).sum::<usize>(),
        rows.iter().map(|row| row.seconds).sum::<f64>()
    ));
    lines.join("\n")
}
