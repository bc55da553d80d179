//! Text tables for people: each column is as wide as its widest cell. Programs get JSON.

/// Formats rows of cells; the first row is the heading.
pub(super) fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let mut table = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        table += cells.join("  ").trim_end();
        table.push('\n');
    }
    table
}
