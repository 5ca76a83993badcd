//! Guesses what somebody meant by a name that does not exist. Knows nothing of settings.

/// Most edits between a name and the one that was meant.
const MOST_EDITS: usize = 3;

/// Shortest part of a name that is taken for the whole one, in bytes.
const SHORTEST_PART: usize = 4;

/// The candidate nearest to the wrong name, if there is one near enough. Case counts nothing, dashes are underscores.
pub(super) fn closest<'a>(
    wrong: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let normal = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wrong = normal(wrong);
    candidates
        .filter_map(|candidate| {
            let name = normal(candidate);
            let distance = edits(&wrong, &name);
            let is_near = distance <= (name.chars().count() / 3).clamp(1, MOST_EDITS);
            let is_part = wrong.len() >= SHORTEST_PART && name.contains(&wrong);
            (is_near || is_part).then_some((!is_near, distance, candidate))
        })
        .min()
        .map(|(_, _, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that make one text the other (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("path", "path", 0),
            ("acess", "access", 1),
            ("pahts", "paths", 1),
            ("listen", "silent", 4),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = ["access_minutes", "refresh_days", "issuer", "dir"];
        let closest = |wrong| closest(wrong, keys.into_iter());
        assert_eq!(closest("acess_minutes"), Some("access_minutes"));
        assert_eq!(closest("Access-Minutes"), Some("access_minutes"));
        assert_eq!(closest("refresh"), Some("refresh_days"));
        assert_eq!(closest("di"), Some("dir"));
        assert_eq!(closest("colour"), None);
        assert_eq!(closest("day"), None);
    }
}
