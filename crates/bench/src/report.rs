//! The figures as a table: for people, for a page of the documentation, for a program.

use serde::Serialize;

/// One measured figure beside its floor.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    /// What to pass as `--only` to measure it again.
    pub(crate) name: String,
    /// In words.
    pub(crate) work: String,
    /// How much history the repo had, if that matters.
    pub(crate) history: String,
    /// What was measured.
    pub(crate) measured: String,
    /// The same of the bare SQL, or of git.
    pub(crate) floor: Option<String>,
    /// Ours by theirs: of rates and of times alike, the part of the floor's speed that is left.
    pub(crate) part_of_floor: Option<f64>,
    /// What is aimed at.
    pub(crate) aim: Option<Aim>,
}

/// A bound and whether it was kept.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Aim {
    pub(crate) text: String,
    pub(crate) met: bool,
}

impl Aim {
    /// At least such a part of the floor's speed. Without a floor there is nothing to say.
    pub(crate) fn part(part: Option<f64>, least: f64) -> Option<Self> {
        part.map(|part| Self { text: format!("at least {least} of the floor's speed"), met: part >= least })
    }

    /// Less than so many of a unit.
    pub(crate) fn below(value: f64, bound: f64, unit: &str) -> Option<Self> {
        Some(Self { text: format!("below {bound} {unit}"), met: value < bound })
    }

    /// At least so many of a unit.
    pub(crate) fn at_least(value: f64, bound: f64, unit: &str) -> Option<Self> {
        Some(Self { text: format!("at least {bound} {unit}"), met: value >= bound })
    }

    /// Both.
    pub(crate) fn and(first: Option<Self>, second: Option<Self>) -> Option<Self> {
        match (first, second) {
            (Some(first), Some(second)) => {
                Some(Self { text: format!("{}, {}", first.text, second.text), met: first.met && second.met })
            }
            (first, second) => first.or(second),
        }
    }
}

/// All figures of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Where and with what it ran.
    pub(crate) conditions: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

impl Line {
    fn cells(&self) -> [String; 6] {
        let part = self.part_of_floor.map_or_else(String::new, |part| format!("{part:.2}"));
        let aim = self
            .aim
            .as_ref()
            .map_or_else(String::new, |aim| format!("{}: {}", aim.text, if aim.met { "met" } else { "MISSED" }));
        let work = if self.history.is_empty() { self.work.clone() } else { format!("{}, {}", self.work, self.history) };
        [self.name.clone(), work, self.measured.clone(), self.floor.clone().unwrap_or_default(), part, aim]
    }

    /// The line by itself, as it is shown while the others are still being measured.
    pub(crate) fn to_text(&self) -> String {
        let [name, work, measured, floor, part, aim] = self.cells();
        let mut text = format!("{name:<28} {work}\n    {measured}");
        for (label, cell) in [("floor", floor), ("part of the floor's speed", part), ("aim", aim)] {
            if !cell.is_empty() {
                text.push_str(&format!("\n    {label}: {cell}"));
            }
        }
        text
    }
}

impl Report {
    /// Adds a line and shows it.
    pub(crate) fn add(&mut self, line: Line) {
        println!("{}", line.to_text());
        self.lines.push(line);
    }

    /// As Markdown.
    pub(crate) fn to_markdown(&self) -> String {
        let mut text = String::new();
        for condition in &self.conditions {
            text.push_str(&format!("- {condition}\n"));
        }
        text.push_str("\n| `--only` | Work | Measured | Floor in the same run | Part of the floor's speed | Aim |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for line in &self.lines {
            let [name, rest @ ..] = line.cells();
            text.push_str(&format!("| `{name}` | {} |\n", rest.join(" | ")));
        }
        text
    }
}
