//! Files that are made from the code and checked in.

use std::path::Path;

/// Compares a file of the repository with what the code says; writes it instead when `UPDATE_GENERATED=1` is set.
#[track_caller]
pub(crate) fn check(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    let first = written.lines().zip(text.lines()).position(|(old, new)| old != new);
    let line = first.unwrap_or_else(|| written.lines().count().min(text.lines().count()));
    assert!(
        written == text,
        "{path} is not what the code says, from line {}:\n  file: {}\n  code: {}\nrun scripts/generate",
        line + 1,
        written.lines().nth(line).unwrap_or("(ends)"),
        text.lines().nth(line).unwrap_or("(ends)"),
    );
}
