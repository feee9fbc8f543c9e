//! What a person sees: data on standard output, talk on standard error, progress only on a terminal.

use std::{borrow::Cow, fmt::Display, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Rows with aligned columns. Every column but the last is padded to its width; nothing is cut.
pub(crate) struct Table {
    widths: Vec<usize>,
    gap: &'static str,
    lines: Vec<String>,
}

impl Table {
    /// Starts with the header. A width of 0 stands for the last column.
    pub(crate) fn new(gap: &'static str, columns: &[(&str, usize)]) -> Self {
        let mut table = Self { widths: columns.iter().map(|(_, width)| *width).collect(), gap, lines: Vec::new() };
        let header: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
        table.row(&header);
        table
    }

    pub(crate) fn row(&mut self, cells: &[&str]) {
        let cells: Vec<String> =
            cells.iter().zip(&self.widths).map(|(cell, width)| pad(&printable(cell), *width)).collect();
        self.lines.push(cells.join(self.gap).trim_end().to_owned());
    }

    pub(crate) fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// Fills up to a width on the screen, where some characters take two columns and some none.
fn pad(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(text.width())))
}

/// Text from elsewhere with control characters made visible, so that it cannot steer the terminal.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().any(char::is_control) {
        text.chars()
            .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
            .collect::<String>()
            .into()
    } else {
        Cow::Borrowed(text)
    }
}

/// The same for text of several lines: newlines and tabs stay.
pub(crate) fn printable_lines(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// A number and what it counts: `1 file`, `2 files`. The lines of the original client, which scripts read, say `1 files`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(count: N, one: &str, many: &str) -> String {
    let what = if count == N::from(1) { one } else { many };
    format!("{count} {what}")
}

/// A title for a column of a table: what is wider than 38 columns of a screen ends in an ellipsis.
pub(crate) fn cut(title: &str) -> String {
    const WIDTH: usize = 38;
    let title = printable(title);
    if title.width() <= WIDTH {
        return title.into_owned();
    }
    let mut kept = String::new();
    for c in title.chars() {
        if kept.width() + c.width().unwrap_or_default() >= WIDTH {
            break;
        }
        kept.push(c);
    }
    format!("{kept}…")
}

/// The first line of a message.
pub(crate) fn first_line(message: &str) -> Cow<'_, str> {
    printable(message.lines().next().unwrap_or_default())
}

/// Colours of a terminal.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    Red,
    Green,
    Yellow,
    Cyan,
    Bold,
}

impl Paint {
    pub(crate) fn on(self, enabled: bool, text: impl Display) -> String {
        let code = match self {
            Self::Red => 31,
            Self::Green => 32,
            Self::Yellow => 33,
            Self::Cyan => 36,
            Self::Bold => 1,
        };
        if enabled { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// A progress bar, or nothing at all when nobody looks.
#[derive(Clone)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(crate) fn hidden() -> Self {
        Self(None)
    }

    pub(crate) fn shown(what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        if let Ok(style) = ProgressStyle::with_template("{msg:<24} {wide_bar} {pos}/{len} {eta:>5}") {
            bar.set_style(style);
        }
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(250));
        Self(Some(bar))
    }

    pub(crate) fn add(&self, count: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(count);
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        // A bar must not stay on the screen under an error message.
        if let Some(bar) = &self.0
            && !bar.is_finished()
        {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_title_is_cut() {
        assert_eq!(cut(&"x".repeat(38)), "x".repeat(38));
        assert_eq!(cut(&"x".repeat(39)), format!("{}…", "x".repeat(37)));
        assert_eq!(cut(&"日".repeat(20)), format!("{}…", "日".repeat(18)));
        assert_eq!(cut("a\nb"), "a\\nb");
    }

    #[test]
    fn columns_line_up_and_cannot_steer_the_terminal() {
        let mut table = Table::new("  ", &[("NAME", 6), ("ROLE", 0)]);
        table.row(&["bob", "writer"]);
        table.row(&["é\u{1b}[2J", "x"]);
        table.row(&["日本", "x"]);
        assert_eq!(table.lines(), ["NAME    ROLE", "bob     writer", "é\\u{1b}[2J  x", "日本    x"]);
    }
}
