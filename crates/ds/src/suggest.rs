/// How alike two names must be, from 0 to 1, to be worth a suggestion.
const SIMILARITY_MIN: f64 = 0.75;
/// Suggestions given at most.
const SUGGESTIONS_MAX: usize = 3;

/// The names most like the one that was typed.
pub(crate) fn close_matches<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Vec<&'n str> {
    let mut scored: Vec<(f64, &str)> = names
        .into_iter()
        .map(|name| {
            let last = |text: &'_ str| text.rsplit('/').next().unwrap_or_default().to_owned();
            // `login` means `feature/login` as well.
            (strsim::jaro_winkler(typed, name).max(strsim::jaro_winkler(&last(typed), &last(name)) - 0.05), name)
        })
        .filter(|(score, _)| *score >= SIMILARITY_MIN)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| name).collect()
}

#[cfg(test)]
mod tests {
    use super::close_matches;

    #[test]
    fn typos_find_their_branch() {
        let names = ["main", "feature/add-guide", "feature/login", "bugfix"];
        assert_eq!(close_matches("mian", names), ["main"]);
        assert_eq!(close_matches("login", names), ["feature/login"]);
        assert_eq!(close_matches("feature/add-giude", names)[0], "feature/add-guide");
        assert!(close_matches("zzz", names).is_empty());
    }
}
