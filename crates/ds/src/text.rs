//! Line diffs and three-way merges of text.

use std::time::Duration;

use similar::{ChangeTag, ConflictStyle, TextDiff, TextMerge};

use crate::output::Paint;

/// The largest file that is merged or shown line by line, in bytes.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024 * 1024;
/// After this, a diff is finished coarsely instead of minimally.
const DIFF_TIME_MAX: Duration = Duration::from_secs(2);
/// Unchanged lines shown around a change.
const CONTEXT_LINES: usize = 3;
/// Marker lines begin with seven of their character, as everywhere.
const MARKERS: [&str; 3] = ["<<<<<<< ", "=======", ">>>>>>> "];

/// The outcome of a three-way merge.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    pub(crate) bytes: Vec<u8>,
    /// Places where both sides changed the same lines; they carry markers.
    pub(crate) conflicts: usize,
}

/// What the two sides of a merge are called in its markers.
pub(crate) struct Labels<'a> {
    pub(crate) base: &'a str,
    pub(crate) ours: &'a str,
    pub(crate) theirs: &'a str,
}

/// Whether bytes can be merged and shown by lines.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.len() <= TEXT_BYTES_MAX && !bytes.contains(&0) && std::str::from_utf8(bytes).is_ok()
}

/// Merges line by line; `None` when one of the three is not text.
pub(crate) fn merge(base: &[u8], ours: &[u8], theirs: &[u8], labels: &Labels<'_>) -> Option<Merged> {
    if !(is_text(base) && is_text(ours) && is_text(theirs)) {
        return None;
    }
    let mut merge = TextMerge::from_lines(base, ours, theirs);
    merge.conflict_style(ConflictStyle::Merge).labels(labels.base, labels.ours, labels.theirs);
    let mut bytes = Vec::with_capacity(ours.len() + theirs.len());
    merge.to_writer(&mut bytes).ok()?;
    Some(Merged { bytes, conflicts: merge.conflict_count() })
}

/// Whether a file still holds the markers of a conflict, all three kinds in order.
pub(crate) fn has_conflict_markers(bytes: &[u8]) -> bool {
    let mut expected = MARKERS.iter();
    let mut next = expected.next();
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Some(marker) = next
            && line.starts_with(marker.as_bytes())
        {
            next = expected.next();
        }
    }
    next.is_none()
}

/// How many lines a change adds and removes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LineCounts {
    pub(crate) added: usize,
    pub(crate) removed: usize,
}

pub(crate) fn count_lines(old: &[u8], new: &[u8]) -> LineCounts {
    let mut counts = LineCounts::default();
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(old, new);
    for change in diff.iter_all_changes() {
        match change.tag() {
            ChangeTag::Insert => counts.added += 1,
            ChangeTag::Delete => counts.removed += 1,
            ChangeTag::Equal => {}
        }
    }
    counts
}

/// One file of a patch, in the form that `patch` and git read. `None` is a file that is not there.
pub(crate) fn unified_diff(path: &str, old: Option<&[u8]>, new: Option<&[u8]>, colour: bool) -> Vec<u8> {
    let old_name = if old.is_some() { format!("a/{path}") } else { "/dev/null".to_owned() };
    let new_name = if new.is_some() { format!("b/{path}") } else { "/dev/null".to_owned() };
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    if !(is_text(old) && is_text(new)) {
        return format!("Binary files {old_name} and {new_name} differ\n").into_bytes();
    }
    let diff = TextDiff::configure().timeout(DIFF_TIME_MAX).diff_lines(old, new);
    let mut bytes = Vec::new();
    let written = diff.unified_diff().context_radius(CONTEXT_LINES).header(&old_name, &new_name).to_writer(&mut bytes);
    if bytes.is_empty() && old_name != new_name && (old_name == "/dev/null" || new_name == "/dev/null") {
        // An empty file that appears or goes has no lines to show.
        return format!("--- {old_name}\n+++ {new_name}\n").into_bytes();
    }
    // Writing into memory does not fail.
    if written.is_err() || !colour {
        return bytes;
    }
    let mut painted = Vec::with_capacity(bytes.len() * 2);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let text = String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(line));
        let paint = match line.first() {
            _ if line.starts_with(b"--- ") || line.starts_with(b"+++ ") => Some(Paint::Bold),
            Some(b'+') => Some(Paint::Green),
            Some(b'-') => Some(Paint::Red),
            Some(b'@') => Some(Paint::Cyan),
            _ => None,
        };
        match paint {
            Some(paint) => painted.extend_from_slice(paint.on(true, text).as_bytes()),
            None => painted.extend_from_slice(text.as_bytes()),
        }
        painted.push(b'\n');
    }
    painted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: Labels<'_> = Labels { base: "base", ours: "feature", theirs: "main" };

    fn text(merged: &Merged) -> &str {
        std::str::from_utf8(&merged.bytes).unwrap()
    }

    #[test]
    fn edits_of_different_lines_go_together() {
        let merged = merge(b"a\nb\nc\nd\n", b"A\nb\nc\nd\n", b"a\nb\nc\nD\n", &LABELS).unwrap();
        assert_eq!((text(&merged), merged.conflicts), ("A\nb\nc\nD\n", 0));
    }

    #[test]
    fn edits_of_the_same_line_are_marked() {
        let merged = merge(b"a\nb\n", b"a\nours\n", b"a\ntheirs\n", &LABELS).unwrap();
        insta::assert_snapshot!(text(&merged), @r"
        a
        <<<<<<< feature
        ours
        =======
        theirs
        >>>>>>> main
        ");
        assert_eq!(merged.conflicts, 1);
        assert!(has_conflict_markers(&merged.bytes));
        assert!(!has_conflict_markers(b"Title\n=======\ntext >>>>>>> \n"));
        assert!(merge(b"a", b"\0", b"b", &LABELS).is_none());
    }

    #[test]
    fn a_patch_is_one_that_others_can_read() {
        let patch = unified_diff("docs/a.md", Some(b"one\ntwo\n"), Some(b"one\n2"), false);
        insta::assert_snapshot!(String::from_utf8(patch).unwrap(), @r"
        --- a/docs/a.md
        +++ b/docs/a.md
        @@ -1,2 +1,2 @@
         one
        -two
        +2
        \ No newline at end of file
        ");
        let gone = String::from_utf8(unified_diff("x", Some(b"1\n"), None, false)).unwrap();
        assert!(gone.starts_with("--- a/x\n+++ /dev/null\n@@ -1 +0,0 @@\n-1\n"), "{gone}");
        assert_eq!(unified_diff("x.png", Some(b"\0"), None, false), b"Binary files a/x.png and /dev/null differ\n");
        assert_eq!(count_lines(b"a\nb\n", b"a\nc\nd\n"), LineCounts { added: 2, removed: 1 });
    }

    fn lines() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof!["a", "b", "c"], 0..6)
            .prop_map(|lines| lines.into_iter().map(|line| line + "\n").collect::<String>().into_bytes())
    }

    proptest! {
        #[test]
        fn a_side_without_edits_yields_to_the_other(base in lines(), side in lines()) {
            let ours = merge(&base, &side, &base, &LABELS).unwrap();
            let theirs = merge(&base, &base, &side, &LABELS).unwrap();
            let both = merge(&base, &side, &side, &LABELS).unwrap();
            for merged in [ours, theirs, both] {
                prop_assert_eq!((&merged.bytes, merged.conflicts), (&side, 0));
            }
        }
    }
}
