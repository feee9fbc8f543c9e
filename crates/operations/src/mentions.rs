//! What texts mention (contract, server §5.11): `proposal:<id>` and `commit:<sequence>` in issues and their comments, `#7` in
//! the descriptions of proposals.

use std::collections::BTreeSet;

use docstore_models::RefType;
use uuid::Uuid;

use crate::limits::reached;

/// A text ties to at most so many things, the first ones: each is a row, written in one statement. No text that somebody
/// wrote for people to read comes near.
pub(crate) const MENTIONS_MAX: usize = 1000;

/// The length of a hyphenated UUID.
const UUID_CHARS: usize = 36;

/// Numbers of this many digits after `#` are taken for colours.
const COLOUR_DIGITS: usize = 6;

/// The proposals and commits that the text of an issue mentions, each once.
pub(crate) fn mentioned_in_issue(text: &str) -> Vec<(RefType, String)> {
    let proposals = behind(text, "proposal:").filter_map(|(_, rest)| {
        let id = rest.get(..UUID_CHARS).filter(|_| !starts_with_word(&rest[UUID_CHARS..]))?;
        Some((RefType::Proposal, Uuid::try_parse(id).ok()?.to_string()))
    });
    let commits = behind(text, "commit:").filter_map(|(_, rest)| {
        let (number, _) = whole_number(rest)?;
        Some((RefType::Commit, number.to_string()))
    });
    bounded(proposals.chain(commits))
}

/// The numbers of the issues that the description of a proposal mentions, each once.
pub(crate) fn mentioned_in_proposal(text: &str) -> Vec<i64> {
    bounded(text.match_indices('#').filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c == '&' || is_word(c)) {
            return None;
        }
        let (number, digits) = whole_number(&text[at + 1..])?;
        (digits != COLOUR_DIGITS).then_some(number)
    }))
}

/// Whatever stands behind each place where a word begins with the prefix, which ends in no letter.
fn behind<'a>(text: &'a str, prefix: &'static str) -> impl Iterator<Item = (usize, &'a str)> {
    text.match_indices(prefix)
        .filter(|(at, _)| !text[..*at].chars().next_back().is_some_and(is_word))
        .map(move |(at, _)| (at, &text[at + prefix.len()..]))
}

/// The positive number that a text begins with, and how many digits it has, if no letter follows.
fn whole_number(text: &str) -> Option<(i64, usize)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|number| *number > 0)?;
    (!starts_with_word(&text[digits..])).then_some((number, digits))
}

fn starts_with_word(text: &str) -> bool {
    text.chars().next().is_some_and(is_word)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn bounded<T: Ord>(found: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = BTreeSet::new();
    for one in found {
        if all.len() == MENTIONS_MAX && !all.contains(&one) {
            reached("mentions");
            break;
        }
        all.insert(one);
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0190b6a0-0000-7000-8000-000000000001";

    #[test]
    fn issues_mention_proposals_and_commits() {
        let text = format!("see proposal:{ID}, (proposal:{ID}) and commit:7; commit:007, again commit:12.");
        assert_eq!(
            mentioned_in_issue(&text),
            [(RefType::Proposal, ID.to_owned()), (RefType::Commit, "12".to_owned()), (RefType::Commit, "7".to_owned())]
        );
        assert_eq!(
            mentioned_in_issue(&format!("proposal:{}", ID.to_uppercase())),
            [(RefType::Proposal, ID.to_owned())]
        );
    }

    #[test]
    fn what_only_looks_like_it_is_no_mention() {
        for text in [
            "xcommit:7",
            "_commit:7",
            "commit:7x",
            "commit:7_",
            "commit: 7",
            "commit:-7",
            "commit:0",
            "commit:99999999999999999999",
            "commit:",
            "Commit:7",
            "proposal:",
            "proposal:7",
            "proposal:ääääääääääääääääääääääääääää",
            "#7",
        ] {
            assert_eq!(mentioned_in_issue(text), [], "{text}");
        }
        assert_eq!(mentioned_in_issue(&format!("proposal:{ID}0")), []);
        assert_eq!(mentioned_in_issue(&format!("aproposal:{ID}")), []);
        assert_eq!(mentioned_in_issue(&format!("proposal:{}", ID.replace('-', "_"))), []);
    }

    #[test]
    fn proposals_mention_issues() {
        assert_eq!(mentioned_in_proposal("#3 fixes #1, #12 (#7)\n#7 ##9 é#5"), [1, 3, 5, 7, 9, 12]);
        assert_eq!(mentioned_in_proposal("#1234567 #12345"), [12345, 1_234_567]);
        for text in
            ["&#39;", "a#1", "_#1", "9#1", "#123456", "#", "#x", "#1x", "#0", "# 1", "#99999999999999999999", ""]
        {
            assert_eq!(mentioned_in_proposal(text), [] as [i64; 0], "{text}");
        }
    }

    #[test]
    fn the_first_thousand_count() {
        let text: String = (1..=1500).map(|n| format!("#{n} #1 ")).collect();
        assert_eq!(mentioned_in_proposal(&text), (1..=1000).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(text in "(#|&|commit:|proposal:|[0-9]{1,7}|é|[a-z_ ]|0190b6a0-0000-7000-8000-000000000001){0,12}") {
            for number in mentioned_in_proposal(&text) {
                prop_assert!(text.contains('#'), "{number}");
            }
            for (_, id) in mentioned_in_issue(&text) {
                prop_assert!(text.contains(&id), "{id}");
            }
        }
    }
}
