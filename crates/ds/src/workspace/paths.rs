use std::path::{Component, Path, PathBuf};

/// Names that no file of a workspace has, at any depth: `ds`' and git's own folders. A server must not be able to write
/// there (a hook in `.git/` would run), and they must not be committed.
pub(crate) const NOT_VERSIONED: [&str; 2] = [".ds", ".git"];

/// Whether a path from the server lies where only `ds` or git may write. Compared without case, since some file
/// systems do.
pub(crate) fn is_protected(path: &str) -> bool {
    path.split('/').any(|segment| NOT_VERSIONED.iter().any(|name| segment.eq_ignore_ascii_case(name)))
}

/// A path typed in `directory` as a path below `root`, with `.` and `..` worked out by name alone.
pub(super) fn relative(root: &Path, directory: &Path, typed: &Path) -> Option<String> {
    let absolute = normalise(&directory.join(typed))?;
    let below = absolute.strip_prefix(normalise(root)?).ok()?.to_owned();
    let parts: Option<Vec<&str>> = below.components().map(|part| part.as_os_str().to_str()).collect();
    Some(parts?.join("/"))
}

fn normalise(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            other => clean.push(other),
        }
    }
    Some(clean)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_paths_are_relative_to_where_they_are_typed() {
        let at = |directory: &str, typed: &str| relative(Path::new("/w"), Path::new(directory), Path::new(typed));
        assert_eq!(at("/w/docs", "a.md").as_deref(), Some("docs/a.md"));
        assert_eq!(at("/w/docs", "../b//c").as_deref(), Some("b/c"));
        assert_eq!(at("/w/docs", "..").as_deref(), Some(""));
        assert_eq!(at("/w", "/w/x").as_deref(), Some("x"));
        assert_eq!(at("/w", "../other"), None);
        assert_eq!(at("/w", "/etc/passwd"), None);
    }

    #[test]
    fn folders_of_ds_and_git_are_protected_at_any_depth() {
        for path in [".ds/config.json", ".DS/x", "sub/.git/hooks/post-checkout", ".Git"] {
            assert!(is_protected(path), "{path}");
        }
        for path in [".dsfoo", ".ds-notes/x", ".gitignore", "git/x", ".docstore/ci.yaml", ".dsignore"] {
            assert!(!is_protected(path), "{path}");
        }
    }
}
